//! The request to a receiver, bounded in time and memory, and never sent where the address policy forbids.
//!
//! A request is sent once. The one exception is a connection that had been idle and broke before an answer: the receiver
//! closed it while the request was on its way, which is no failure of the receiver's, so the request goes out once more,
//! on a new connection and within the same deadline. A new connection that breaks is a failed attempt.
//!
//! Of an answer's head, at most 100 lines and 16 KiB are taken, of its body 16 KiB read, and a receiver that sends on is
//! left. Less than 128 KiB are buffered for it, with exceptions that `reqwest` leaves no way around, since it passes on
//! neither hyper's nor h2's own bounds, and its connections cannot be wrapped:
//!
//! - over HTTP/1, hyper's buffer of 408 KiB, for a head, a chunk's size or interim answers without end;
//! - over HTTP/2, a head in six frames of 16 KiB, and frames of a byte each: below 256 KiB; and interim answers without
//!   end, of which h2 keeps what one turn of the connection's task reads: some megabytes.
//!
//! Each is measured, with every other way to misbehave, in `tests/bounds.rs`.

mod classify;
mod clients;
mod resolve;
#[cfg(test)]
mod tests;
mod tls;

use std::time::Duration;

use pombo_aws::clock;
use pombo_aws::effect::effect;
use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::outcome::{NEWEST_ANSWER, Outcome, RefusedBy};
use pombo_domain::retry::parse_retry_after;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};

use self::classify::{broke_before_answer, classify, too_large};
use self::clients::{Clients, HEAD_BYTES, HEADER_LINES, Known, LIMITS, Limits};
use self::resolve::{Lookup, Resolver};
pub use self::tls::NoRootCertificates;

/// How much of a failure's answer is read.
const ANSWER_BYTES: usize = 16 * 1024;
/// What the smallest piece of an answer counts for, so that taking its bytes one by one ends, too.
const PIECE_BYTES: usize = 64;
/// How long a success's body is drained, so that its connection can be used again; then it is closed.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// What came of a request.
#[derive(Debug)]
pub struct Exchange {
    /// The attempt's outcome.
    pub outcome: Outcome,
    /// The start of a failure's answer, at most [`NEWEST_ANSWER`] bytes.
    pub answer: Option<String>,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
    /// How long the request took, to the end of the answer's head or to its failure.
    pub took: Duration,
}

impl Exchange {
    /// One in which no answer came.
    #[must_use]
    pub const fn without_answer(outcome: Outcome, took: Duration) -> Self {
        Self { outcome, answer: None, retry_after: None, took }
    }
}

/// Makes the requests.
#[derive(Debug)]
pub struct HttpSender {
    clients: Clients,
    policy: AddressPolicy,
}

impl HttpSender {
    /// Under this address policy, trusting the certificate authorities that the system trusts.
    ///
    /// # Errors
    /// When the system trusts none.
    pub fn new(policy: AddressPolicy) -> Result<Self, NoRootCertificates> {
        let tls = tls::tls_config(tls::system_roots()?)?;
        Ok(Self::with(policy, tls, resolve::system(), LIMITS))
    }

    fn with(policy: AddressPolicy, tls: rustls::ClientConfig, lookup: Lookup, limits: Limits) -> Self {
        let resolver = Resolver { policy: policy.clone(), lookup };
        Self { clients: Clients::new(tls, resolver, limits), policy }
    }

    /// Posts `body` under one deadline for everything from name resolution to the end.
    ///
    /// The request carries `headers`, `user-agent`, `accept`, and what HTTP itself needs (`host`, `content-length`).
    pub async fn post(
        &self,
        url: &EndpointUrl,
        headers: &[(&str, String)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Exchange {
        let started = Instant::now();
        let deadline = started + timeout;
        // A resolver never sees an address in a URL, so the URL itself is judged, and again each time.
        if let Err(refusal) = url.judge(&self.policy) {
            return Exchange::without_answer(Outcome::refused(&refusal, RefusedBy::Url), started.elapsed());
        }
        match self.send(url, &header_map(headers), &body, deadline).await {
            Err(outcome) => Exchange::without_answer(outcome, started.elapsed()),
            Ok(answer) => read(answer, started.elapsed(), deadline).await,
        }
    }

    /// Sends the request, and once more where it went out on a connection that had been idle and turned out closed.
    async fn send(
        &self,
        url: &EndpointUrl,
        headers: &HeaderMap,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Response, Outcome> {
        let authority = format!("{}://{}:{}", url.as_url().scheme(), url.host(), url.port());
        let broken = |error: reqwest::Error| classify(&error, self.clients.limits().connect);
        let known = self.clients.of(&authority).map_err(broken)?;
        let opened = known.opened();
        let answer = match send_with(&known, url, headers, body, deadline).await {
            Err(Some(error)) if known.opened() == opened && broke_before_answer(&error) => {
                self.clients.forget(&authority);
                send_with(&self.clients.fresh().map_err(broken)?, url, headers, body, deadline).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|error| {
            // An HTTP/2 connection outlives its failed request. If it is dead, the next one would wait in vain, too.
            self.clients.forget(&authority);
            error.map_or(Outcome::TimedOut, broken)
        })?;
        match too_large(answer.headers(), HEADER_LINES, HEAD_BYTES) {
            Some(outcome) => Err(outcome),
            None => Ok(answer),
        }
    }
}

/// Sends a request with this client; an error without a cause is the deadline's.
async fn send_with(
    known: &Known,
    url: &EndpointUrl,
    headers: &HeaderMap,
    body: &[u8],
    deadline: Instant,
) -> Result<Response, Option<reqwest::Error>> {
    let request = known.client.post(url.as_url().clone()).headers(headers.clone()).body(body.to_vec());
    timeout_at(deadline, effect("http:POST endpoint", request.send())).await.map_err(|_| None)?.map_err(Some)
}

fn header_map(headers: &[(&str, String)]) -> HeaderMap {
    let valid = headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    valid.collect()
}

/// The outcome is decided by the status line; the rest is read only to say why a failure failed.
async fn read(mut answer: Response, took: Duration, deadline: Instant) -> Exchange {
    let status_code = answer.status().as_u16();
    if answer.status().is_success() {
        let drain_until = deadline.min(Instant::now() + DRAIN_TIME);
        let _ = timeout_at(drain_until, collect(&mut answer, &mut Vec::new())).await;
        return Exchange::without_answer(Outcome::Succeeded { status_code }, took);
    }
    let now = clock::now();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?, now));
    let mut start = Vec::new();
    let _ = timeout_at(deadline, collect(&mut answer, &mut start)).await;
    Exchange { outcome: Outcome::HttpStatus { status_code }, answer: text(&start), retry_after, took }
}

/// Reads the body up to its end, its breaking, or [`ANSWER_BYTES`], and keeps its start.
async fn collect(answer: &mut Response, start: &mut Vec<u8>) {
    // A character's length more than is shown, so that the last one is cut off as a whole.
    const KEPT: usize = NEWEST_ANSWER + 4;
    let mut read = 0;
    while read < ANSWER_BYTES {
        let Ok(Some(data)) = answer.chunk().await else { return };
        read += data.len().max(PIECE_BYTES);
        start.extend_from_slice(&data[..data.len().min(KEPT - start.len())]);
    }
}

/// The start of an answer as an operator reads it: what is not UTF-8 is replaced.
fn text(start: &[u8]) -> Option<String> {
    let mut text = String::from_utf8_lossy(start).into_owned();
    text.truncate(text.floor_char_boundary(NEWEST_ANSWER));
    (!text.is_empty()).then_some(text)
}
