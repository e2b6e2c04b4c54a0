//! A client for each receiver, so that what is known of its connections is known of one receiver alone.
//!
//! `reqwest` does not say whether a request went out on a connection that had been used before. It lets its connector be
//! wrapped, though, and so each client counts the connections that it opens: a request during which none was opened went
//! out on an older one. (A request that meets another one's new connection counts as one on a new connection.)

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use pombo_aws::clock::{Clock, Moment};
use reqwest::redirect;
use rustls::ClientConfig;
use tower_layer::Layer;
use tower_service::Service;

use super::head::{HTTP1_HEADER_LINES, HTTP2_HEAD_BYTES};
use super::resolve::Resolver;

/// What receivers see as the user agent.
const USER_AGENT: &str = concat!("Pombo/", env!("CARGO_PKG_VERSION"));
/// How much of one HTTP/2 answer, and of all on one connection, may arrive before it is asked for. Less than the second
/// one the protocol does not allow.
const STREAM_WINDOW: u32 = 16 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 - 1;
/// A batch has ten messages, so no more connections to one receiver are of use.
const MOST_IDLE: usize = 10;
/// Receivers whose clients are kept: a process of Lambda's may have 1,024 files open.
const MOST_KEPT: usize = 64;

/// How long connections may take to open, and live.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For name resolution, TCP and TLS together.
    pub connect: Duration,
    /// How long an idle connection is kept: less than the five seconds after which common servers close theirs.
    pub idle: Duration,
    /// No older connection takes another request, so that a name's new addresses are seen, and judged.
    pub age: Duration,
}

/// The limits of production.
pub const LIMITS: Limits =
    Limits { connect: Duration::from_secs(5), idle: Duration::from_secs(4), age: Duration::from_secs(60) };

/// A client of one receiver.
#[derive(Debug, Clone)]
pub struct Known {
    /// The client.
    pub client: reqwest::Client,
    opened: Arc<AtomicUsize>,
    resolver: Resolver,
    made_at: Moment,
    /// When its last request began.
    used_at: Moment,
}

impl Known {
    /// How many connections the client has begun to open.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// The addresses that the receiver's name resolved to last; none before.
    #[must_use]
    pub fn resolved(&self) -> Vec<IpAddr> {
        self.resolver.found()
    }
}

/// The clients of the receivers that were called lately.
#[derive(Debug)]
pub struct Clients {
    tls: ClientConfig,
    resolver: Resolver,
    limits: Limits,
    clock: Clock,
    kept: Mutex<HashMap<String, Known>>,
}

impl Clients {
    /// None yet.
    #[must_use]
    pub fn new(tls: ClientConfig, resolver: Resolver, limits: Limits, clock: Clock) -> Self {
        Self { tls, resolver, limits, clock, kept: Mutex::default() }
    }

    /// The limits of the connections.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The client of the receiver at `authority`. One whose connections could be too old, or idle for too long, is replaced;
    /// those then close. (The client closes idle connections by itself, but by the monotonic clock alone. A request on one that
    /// died while the process was frozen would hang until its deadline, and the receiver would be charged with that.)
    pub fn of(&self, authority: &str) -> reqwest::Result<Known> {
        let now = self.clock.moment();
        let mut kept = self.kept();
        if let Some(known) = kept.get_mut(authority)
            && known.made_at.until(now) < self.limits.age
            && known.used_at.until(now) <= self.limits.idle
        {
            known.used_at = now;
            return Ok(known.clone());
        }
        let known = self.make(MOST_IDLE)?;
        if kept.len() >= MOST_KEPT {
            let longest_unused =
                kept.iter().min_by_key(|(_, known)| known.used_at.monotonic).map(|(name, _)| name.clone());
            longest_unused.and_then(|name| kept.remove(&name));
        }
        kept.insert(authority.to_owned(), known.clone());
        Ok(known)
    }

    /// A client that opens a connection for each request.
    pub fn fresh(&self) -> reqwest::Result<Known> {
        self.make(0)
    }

    /// Drops a receiver's client, so that the next request goes out on a new connection.
    pub fn forget(&self, authority: &str) {
        self.kept().remove(authority);
    }

    fn make(&self, idle: usize) -> reqwest::Result<Known> {
        let (opened, now) = (Arc::new(AtomicUsize::new(0)), self.clock.moment());
        let resolver = self.resolver.for_one_receiver();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(resolver.clone())
            .connector_layer(CountOpened(Arc::clone(&opened)))
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            // `send.rs` has our own rules, which also hold for the time that is left.
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(self.limits.connect)
            .pool_idle_timeout(self.limits.idle)
            .pool_max_idle_per_host(idle)
            .http1_max_headers(HTTP1_HEADER_LINES)
            .http2_max_header_list_size(HTTP2_HEAD_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .build()?;
        Ok(Known { client, opened, resolver, made_at: now, used_at: now })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the connections that a client begins to open.
#[derive(Debug, Clone)]
struct CountOpened(Arc<AtomicUsize>);

impl<S> Layer<S> for CountOpened {
    type Service = Counting<S>;

    fn layer(&self, connector: S) -> Counting<S> {
        Counting { connector, opened: Arc::clone(&self.0) }
    }
}

/// A connector that is counted.
#[derive(Debug, Clone)]
struct Counting<S> {
    connector: S,
    opened: Arc<AtomicUsize>,
}

impl<S: Service<Target>, Target> Service<Target> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: Target) -> S::Future {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.connector.call(target)
    }
}
