//! A webhook receiver on this machine: it keeps every request as it came, checks the signature with the crate a receiver
//! would use, and answers as it is told to.
//!
//! It runs on a thread of its own, so that it answers whatever the caller's runtime is doing.

use std::{
    collections::HashMap,
    fmt,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use standardwebhooks::Webhook;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    exchange::{Answer, Received, Signature},
    page,
};

/// A running receiver; it ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Responder = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

struct Shared {
    responder: Responder,
    /// The address to which no page may send, if pages are refused.
    refuses_pages_at: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    /// How often each (path, `webhook-id`) has come.
    times: HashMap<(String, String), usize>,
    /// The secret of each path.
    secrets: HashMap<String, String>,
}

impl Receiver {
    /// One that answers `204` to everything.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        Self::start_with(|_| Answer::status(204))
    }

    /// One that answers what `responder` says. It is asked in the order of arrival, before the answer's delay.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_with(responder: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::listen(Box::new(responder), false)
    }

    /// The same for a receiver on a developer's machine: what a web page may have sent is answered `403` and forgotten.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start_without_pages(responder: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Result<Self> {
        Self::listen(Box::new(responder), true)
    }

    fn listen(responder: Responder, refuses_pages: bool) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the receiver cannot listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let refuses_pages_at = refuses_pages.then(|| address.to_string());
        let shared = Arc::new(Shared { responder, refuses_pages_at, state: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Its URL with `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests to `path` must be signed under `secret` (`whsec_...`).
    pub fn expect_secret(&self, path: &str, secret: &str) {
        self.shared.state().secrets.insert(path.to_owned(), secret.to_owned());
    }

    /// Everything that has come, in order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.state().received.clone()
    }

    /// How much has come: cheaper than looking at it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.state().received.len()
    }

    /// Waits until `count` requests have come; gives all that have by then.
    ///
    /// # Errors
    /// When they have not come in time.
    pub async fn wait_for(&self, count: usize, at_most: Duration) -> Result<Vec<Received>> {
        let started = Instant::now();
        while self.count() < count {
            if started.elapsed() > at_most {
                bail!("{} of {count} requests came in {at_most:?}", self.count());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(self.received())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request down and says what to answer.
    fn take(&self, port: u16, method: String, path: String, headers: HeaderMap, body: Bytes) -> Answer {
        let (at, signature) = (SystemTime::now(), Signature::Unchecked);
        let mut received = Received { method, path, headers, body, at, port, times: 0, signature };
        let mut state = self.state();
        if let Some(secret) = state.secrets.get(&received.path) {
            received.signature = check(secret, &received);
        }
        let times = state.times.entry((received.path.clone(), received.webhook_id().to_owned())).or_default();
        *times += 1;
        received.times = *times;
        state.received.push(received.clone());
        drop(state);
        (self.responder)(&received)
    }
}

fn check(secret: &str, received: &Received) -> Signature {
    let verified = Webhook::new(secret).and_then(|webhook| webhook.verify(&received.body, &received.headers));
    match verified {
        Ok(()) => Signature::Verified,
        Err(error) => Signature::Refused(error.to_string()),
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(peer.port(), request, &shared));
            // A connection that breaks is the sender's to notice.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// An error closes the connection without an answer.
async fn answer(port: u16, request: Request<Incoming>, shared: &Shared) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    if shared.refuses_pages_at.as_ref().is_some_and(|address| page::may_have_sent(&head.headers, address)) {
        return Response::builder().status(403).body(Full::default()).map_err(io::Error::other);
    }
    let Ok(body) = body.collect().await else { return Err(ErrorKind::ConnectionAborted.into()) };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let answer = shared.take(port, head.method.to_string(), path.to_owned(), head.headers, body.to_bytes());
    tokio::time::sleep(answer.delay).await;
    if answer.hang_up {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(answer.body))).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    /// Posts a body, signed under `secret`.
    async fn post(url: &str, id: &str, body: &str, secret: &str) -> reqwest::Result<reqwest::Response> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        let signature = Webhook::new(secret).unwrap().sign(id, now, body.as_bytes()).unwrap();
        reqwest::Client::new()
            .post(url)
            .header("webhook-id", id)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature)
            .body(body.to_owned())
            .send()
            .await
    }

    #[tokio::test]
    async fn a_request_is_kept_as_it_came_and_its_signature_checked() {
        let receiver = Receiver::start().unwrap();
        receiver.expect_secret("/hook", SECRET);
        let body = "{ \"a\" : 1.50 }";
        assert_eq!(post(&receiver.url("/hook"), "evt_1", body, SECRET).await.unwrap().status(), 204);
        let received = receiver.wait_for(1, Duration::from_secs(5)).await.unwrap();
        assert_eq!((received[0].method.as_str(), received[0].path.as_str()), ("POST", "/hook"));
        assert_eq!(received[0].webhook_id(), "evt_1");
        assert_eq!(received[0].body, body);
        assert_eq!(received[0].signature, Signature::Verified);
    }

    #[tokio::test]
    async fn a_signature_under_another_secret_is_refused_and_one_without_a_secret_unchecked() {
        let receiver = Receiver::start().unwrap();
        receiver.expect_secret("/hook", SECRET);
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        post(&receiver.url("/hook"), "evt_1", "{}", other).await.unwrap();
        post(&receiver.url("/free"), "evt_1", "{}", other).await.unwrap();
        let received = receiver.received();
        assert!(matches!(received[0].signature, Signature::Refused(_)));
        assert_eq!(received[1].signature, Signature::Unchecked);
    }

    #[tokio::test]
    async fn the_responder_sees_repeats_and_decides_the_answer() {
        let receiver = Receiver::start_with(|received| match received.times {
            1 => Answer::status(500).with_body("no").with_header("retry-after", "3"),
            2 => Answer::hang_up(),
            _ => Answer::status(202).after(Duration::from_millis(50)),
        })
        .unwrap();
        let url = receiver.url("/hook");
        let first = post(&url, "evt_1", "{}", SECRET).await.unwrap();
        assert_eq!((first.status().as_u16(), first.headers()["retry-after"].to_str().unwrap()), (500, "3"));
        assert_eq!(first.text().await.unwrap(), "no");
        assert!(post(&url, "evt_1", "{}", SECRET).await.is_err());
        let started = Instant::now();
        assert_eq!(post(&url, "evt_1", "{}", SECRET).await.unwrap().status(), 202);
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_eq!(post(&url, "evt_2", "{}", SECRET).await.unwrap().status(), 500, "another event starts anew");
    }

    #[tokio::test]
    async fn a_receiver_that_was_dropped_listens_no_more() {
        let receiver = Receiver::start().unwrap();
        let url = receiver.url("/");
        drop(receiver);
        assert!(post(&url, "evt_1", "{}", SECRET).await.is_err());
    }
}
