//! The request to a receiver, bounded in time and memory, and never sent where the address policy forbids.
//!
//! When a request is sent again within an attempt is said in `send.rs`.
//!
//! The status line of an answer decides, if its head is complete and within 256 KiB and 1,000 lines (`head.rs`). The
//! first 16 KiB of the body are read (`answer.rs`); then the answer is dropped. A process has ten requests under way at a
//! time and 256 MiB of memory by default. `reqwest` passes on neither all of hyper's bounds nor all of h2's, and its
//! connections cannot be wrapped, so each kind of receiver has a bound of its own for what is buffered for it:
//!
//! - 128 KiB: every kind that is not named below, whatever the body does;
//! - HTTP/1, a head, a chunk's size or interim answers without end: three times hyper's buffer of 408 KiB, as it is copied;
//! - HTTP/2, a body in frames of one byte: 256 KiB;
//! - HTTP/2, a head without end: 4 MiB;
//! - HTTP/2, interim answers without end: 72 MiB, since h2 keeps what one turn of the connection's task reads.
//!
//! Each is measured in `tests/bounds.rs`, with every other way to misbehave. Ten at once fit into the memory of a function,
//! except ten floods of interim answers over HTTP/2 that are at their peak at the same moment.

mod answer;
mod classify;
mod clients;
mod head;
mod resolve;
mod send;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::time::Duration;

use pombo_aws::clock::Clock;
use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::endpoint::SetBy;
use pombo_domain::hops::{HOPS_HEADER, Hops};
use pombo_domain::outcome::{Answer, Outcome, RefusedBy, SUCCESS_ANSWER};
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use self::clients::{Clients, LIMITS, Limits};
use self::resolve::{Lookup, Resolver};
use self::send::{Request, Sent};
pub use self::tls::NoRootCertificates;

/// How long a success's body is drained, so that its connection can be used again; then it is closed.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// What came of a request.
#[derive(Debug)]
pub struct Exchange {
    /// The attempt's outcome.
    pub outcome: Outcome,
    /// The parts of the answer that are kept.
    pub answer: Option<Answer>,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the request was sent again although the receiver may have had it.
    pub redelivered: bool,
    /// How long the request took, to the end of the answer's head or to its failure.
    pub took: Duration,
}

impl Exchange {
    /// One in which no answer came.
    #[must_use]
    pub const fn without_answer(outcome: Outcome, took: Duration) -> Self {
        Self { outcome, answer: None, retry_after: None, redelivered: false, took }
    }
}

/// Makes the requests.
#[derive(Debug)]
pub struct HttpSender {
    /// To URLs that a tenant's key has set.
    tenants: Lane,
    /// To URLs that a key for the whole stack has set.
    stacks: Lane,
}

/// Requests under one address policy. A connection that was opened under one policy never serves requests under another.
#[derive(Debug)]
struct Lane {
    clients: Clients,
    policy: AddressPolicy,
}

impl HttpSender {
    /// Under this address policy, trusting the certificate authorities that the system trusts.
    ///
    /// # Errors
    /// When the system trusts none.
    pub fn new(policy: AddressPolicy, clock: Clock) -> Result<Self, NoRootCertificates> {
        let tls = tls::tls_config(tls::system_roots()?)?;
        Ok(Self::with(policy, tls, resolve::system(), LIMITS, clock))
    }

    fn with(policy: AddressPolicy, tls: rustls::ClientConfig, lookup: Lookup, limits: Limits, clock: Clock) -> Self {
        let lane = |set_by| {
            let policy = policy.for_url_set_by(set_by);
            let resolver = Resolver::new(policy.clone(), Lookup::clone(&lookup));
            Lane { clients: Clients::new(tls.clone(), resolver, limits, clock.clone()), policy }
        };
        Self { tenants: lane(SetBy::Tenant), stacks: lane(SetBy::Stack) }
    }

    const fn lane(&self, set_by: SetBy) -> &Lane {
        match set_by {
            SetBy::Tenant => &self.tenants,
            SetBy::Stack => &self.stacks,
        }
    }

    /// Posts `body` to a URL, under the policy that its setter has and one deadline for everything from name resolution to
    /// the end.
    ///
    /// The request carries `headers`, `user-agent`, `accept`, and what HTTP itself needs (`host`, `content-length`).
    pub async fn post(
        &self,
        url: &EndpointUrl,
        set_by: SetBy,
        headers: &[(&str, String)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Exchange {
        let started = Instant::now();
        let deadline = started + timeout;
        let lane = self.lane(set_by);
        // A resolver never sees an address in a URL, so the URL itself is judged, and again each time.
        if let Err(refusal) = url.judge(&lane.policy) {
            return Exchange::without_answer(Outcome::refused(&refusal, RefusedBy::Url), started.elapsed());
        }
        let request = Request { url, headers: header_map(headers), body, deadline };
        let Sent { result, redelivered } = send::send(&lane.clients, &request).await;
        let exchange = match result {
            Err(outcome) => Exchange::without_answer(outcome, started.elapsed()),
            Ok(response) => read(response, started.elapsed(), deadline).await,
        };
        Exchange { redelivered, ..exchange }
    }
}

fn header_map(headers: &[(&str, String)]) -> HeaderMap {
    let valid = headers.iter().filter_map(|(name, value)| {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    });
    valid.collect()
}

/// The outcome is decided by the status line. The rest is read to show what the receiver said.
async fn read(mut response: Response, took: Duration, deadline: Instant) -> Exchange {
    let status_code = response.status().as_u16();
    if response.status().is_success() {
        let mut answer = answer::read(&mut response, deadline.min(Instant::now() + DRAIN_TIME)).await;
        answer.shorten(SUCCESS_ANSWER);
        return Exchange {
            answer: answer.if_any(),
            ..Exchange::without_answer(Outcome::Succeeded { status_code }, took)
        };
    }
    let retry_after = answer::retry_after(response.headers());
    let hops = response.headers().get(HOPS_HEADER).and_then(|value| value.to_str().ok());
    let outcome = if Hops::is_refusal(status_code, hops) { Outcome::Loop } else { Outcome::HttpStatus { status_code } };
    let answer = answer::read(&mut response, deadline).await.if_any();
    Exchange { answer, retry_after, ..Exchange::without_answer(outcome, took) }
}
