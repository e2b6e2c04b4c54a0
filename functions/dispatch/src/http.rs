//! The request to a receiver, bounded in time and memory, and never sent where the address policy forbids.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pombo_aws::clock;
use pombo_domain::address::{AddressPolicy, EndpointUrl, Refusal};
use pombo_domain::outcome::Outcome;
use pombo_domain::retry::parse_retry_after;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect;
use thiserror::Error;

use crate::classify::{self, classify};

/// What receivers see as the user agent.
const USER_AGENT: &str = concat!("Pombo/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the five seconds after which common servers close theirs.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// How much of a failure's answer is read.
const ANSWER_BYTES: usize = 16 * 1024;
/// How long a success's body is drained, so that its connection can be used again; then it is closed.
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// How many header lines an answer may have.
const HEADER_LINES: usize = 100;
/// How large an answer's header may be over HTTP/2.
const HEADER_BYTES: u32 = 16 * 1024;
/// The most receivers whose last answer is remembered.
const MOST_REMEMBERED: usize = 5000;

/// What came of a request.
#[derive(Debug)]
pub struct Exchange {
    /// The attempt's outcome.
    pub outcome: Outcome,
    /// The start of a failure's answer.
    pub answer: Option<String>,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
    /// How long the request took, to the status line or to its failure.
    pub took: Option<Duration>,
}

impl Exchange {
    /// One in which no answer came.
    #[must_use]
    pub const fn without_answer(outcome: Outcome, took: Duration) -> Self {
        Self { outcome, answer: None, retry_after: None, took: Some(took) }
    }
}

/// Makes the requests.
#[derive(Debug)]
pub struct HttpSender {
    pooled: reqwest::Client,
    /// Makes a new connection each time: for what broke on one that the receiver had closed in the meantime.
    unpooled: reqwest::Client,
    policy: AddressPolicy,
    /// When each receiver last answered: only then may a connection to it be idle in the pool.
    answered: Mutex<HashMap<String, Instant>>,
}

impl HttpSender {
    /// Under this address policy.
    pub fn new(policy: AddressPolicy) -> Result<Self, reqwest::Error> {
        let builder = || {
            reqwest::Client::builder()
                .user_agent(USER_AGENT)
                .redirect(redirect::Policy::none())
                .no_proxy()
                .referer(false)
                .retry(reqwest::retry::never())
                .connect_timeout(CONNECT_TIMEOUT)
                .http1_max_headers(HEADER_LINES)
                .http2_max_header_list_size(HEADER_BYTES)
                .dns_resolver(Resolver { policy: policy.clone() })
        };
        Ok(Self {
            pooled: builder().pool_idle_timeout(IDLE_CONNECTION).build()?,
            unpooled: builder().pool_max_idle_per_host(0).build()?,
            policy,
            answered: Mutex::default(),
        })
    }

    /// Posts `body` under one deadline for everything from name resolution to the end.
    pub async fn post(
        &self,
        url: &EndpointUrl,
        headers: &[(&str, String)],
        body: Vec<u8>,
        timeout: Duration,
    ) -> Exchange {
        let started = Instant::now();
        let exchange = self.exchange(url, headers, body, started, timeout);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(exchange) => exchange,
            Err(_) => Exchange::without_answer(Outcome::TimedOut, started.elapsed()),
        }
    }

    async fn exchange(
        &self,
        url: &EndpointUrl,
        headers: &[(&str, String)],
        body: Vec<u8>,
        started: Instant,
        timeout: Duration,
    ) -> Exchange {
        // A resolver never sees an address in a URL, so the URL itself is judged, and again each time.
        if let Err(refusal) = url.judge(&self.policy) {
            return Exchange::without_answer(Outcome::Refused { detail: refusal.to_string() }, started.elapsed());
        }
        let headers = header_map(headers);
        let may_be_stale = self.may_be_pooled(url);
        let request = |client: &reqwest::Client| {
            client.post(url.as_url().clone()).headers(headers.clone()).body(body.clone()).send()
        };
        let answer = match request(&self.pooled).await {
            Err(error) if may_be_stale && classify::broke_before_answer(&error) => request(&self.unpooled).await,
            answer => answer,
        };
        match answer {
            Err(error) => Exchange::without_answer(classify(&error), started.elapsed()),
            Ok(answer) => {
                self.remember(url);
                // A little is kept back, so that a body that never ends does not cost the status that came.
                let left = timeout.saturating_sub(started.elapsed()).saturating_sub(Duration::from_millis(50));
                read(answer, started.elapsed(), left).await
            }
        }
    }

    fn may_be_pooled(&self, url: &EndpointUrl) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.get(&authority(url)).is_some_and(|last| last.elapsed() < IDLE_CONNECTION * 2)
    }

    fn remember(&self, url: &EndpointUrl) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.len() >= MOST_REMEMBERED {
            answered.clear();
        }
        answered.insert(authority(url), Instant::now());
    }
}

fn authority(url: &EndpointUrl) -> String {
    format!("{}:{}", url.host(), url.port())
}

/// The outcome is decided by the status line; the rest is read only to say why a failure failed.
async fn read(mut answer: reqwest::Response, took: Duration, left: Duration) -> Exchange {
    let status_code = answer.status().as_u16();
    if answer.status().is_success() {
        let _ = tokio::time::timeout(left.min(DRAIN_TIME), collect(&mut answer, &mut Vec::new())).await;
        return Exchange::without_answer(Outcome::Succeeded { status_code }, took);
    }
    let now = clock::now();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?, now));
    let mut text = Vec::new();
    let _ = tokio::time::timeout(left, collect(&mut answer, &mut text)).await;
    let answer = (!text.is_empty()).then(|| String::from_utf8_lossy(&text).into_owned());
    Exchange { outcome: Outcome::HttpStatus { status_code }, answer, retry_after, took: Some(took) }
}

/// Collects the body up to its end, its breaking, or [`ANSWER_BYTES`].
async fn collect(answer: &mut reqwest::Response, text: &mut Vec<u8>) {
    while let Ok(Some(chunk)) = answer.chunk().await {
        let room = ANSWER_BYTES - text.len();
        text.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if text.len() >= ANSWER_BYTES {
            return;
        }
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

/// Why a name gave no address to connect to.
#[derive(Debug, Error)]
pub enum NoAddress {
    /// The address policy refuses an address of it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not resolve.
    #[error("{host} does not resolve: {error}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the system's resolver says.
        error: std::io::Error,
    },
}

/// Resolves names to addresses that passed the policy. What it gives is what is connected to, so an answer that changes
/// between check and connection changes nothing.
struct Resolver {
    policy: AddressPolicy,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map(Iterator::collect);
            let addresses: Vec<SocketAddr> = match found {
                Ok(addresses) => addresses,
                Err(error) => return Err(NoAddress::Unresolved { host, error }.into()),
            };
            let judged: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
            policy.judge_resolved(&host, &judged).map_err(NoAddress::from)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
