//! The steps of a scenario.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use local::{Answer, Received, Receiver, Signature};
use serde_json::{Value, json};

use crate::limits;
use crate::stack::Stack;

/// A name that no other test uses.
#[must_use]
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("{stem}-{:x}-{}", since.as_millis() & 0xff_ffff, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// How long a test waits for what comes within seconds on a machine that does nothing else. How late a thing may be is
/// asserted where it matters.
pub const SOON: Duration = Duration::from_secs(120);

/// A process remembers for ten seconds who subscribes to operational events: after this, each knows of a new subscription.
pub const SUBSCRIPTION_KNOWN: Duration = Duration::from_secs(11);

/// How long to wait before the next question, after so long a time of asking: a tenth of it. Each question is work for the
/// functions and the emulator, and many scenarios ask at the same time.
fn pause_after(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(Duration::from_millis(100), Duration::from_secs(1))
}

/// Asks again and again until there is an answer; fails with `what` when there is none in time.
pub async fn eventually<T, F>(what: &str, at_most: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        limits::assert_kept();
        if let Some(answer) = ask().await {
            return answer;
        }
        let elapsed = started.elapsed();
        assert!(elapsed < at_most, "after {at_most:?} still not: {what}");
        tokio::time::sleep(pause_after(elapsed)).await;
    }
}

/// An endpoint of a tenant of its own, with its receiver. A test that has one fails at its end if AWS would have refused any
/// request so far.
pub struct Hook {
    /// The stack.
    pub stack: &'static Stack,
    /// The receiver.
    pub receiver: Receiver,
    /// The tenant: no other test's.
    pub tenant: String,
    /// The endpoint's id.
    pub endpoint: String,
}

impl Drop for Hook {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            limits::assert_kept();
        }
    }
}

impl Hook {
    /// Registers an endpoint for all events of a new tenant. `options` are more fields of the endpoint; `responder` answers
    /// for the receiver, which checks every signature.
    pub async fn new(
        stack: &'static Stack,
        options: Value,
        responder: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let receiver = Receiver::start_with(responder).unwrap();
        let tenant = unique("t");
        let endpoint = Self::register(stack, &receiver, &tenant, "/hook", options).await;
        Self { stack, receiver, tenant, endpoint }
    }

    /// Registers one more endpoint; gives its id.
    pub async fn register(stack: &Stack, receiver: &Receiver, tenant: &str, path: &str, options: Value) -> String {
        let mut wanted = json!({"tenant": tenant, "url": receiver.url(path), "event_types": ["*"]});
        for (name, value) in options.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap();
        assert_eq!(status, 201, "{endpoint}");
        let secret = endpoint["secret"].as_str().unwrap();
        stack.keep_secret(secret);
        receiver.expect_secret(path, secret);
        endpoint["id"].as_str().unwrap().to_owned()
    }

    /// Posts an event for the tenant; gives its id.
    pub async fn post(&self) -> String {
        let event = json!({"type": "student.created", "tenant": self.tenant, "data": {"n": 1}});
        self.stack.post(&event).await["id"].as_str().unwrap().to_owned()
    }

    /// The delivery of an event to this endpoint.
    pub async fn delivery(&self, event: &str) -> Value {
        self.stack.delivery(&self.tenant, event).await
    }

    /// Waits until the delivery of an event is as `wanted` says; gives it.
    pub async fn until(&self, event: &str, what: &str, at_most: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, at_most, || async {
            let delivery = self.delivery(event).await;
            if wanted(&delivery) { Some(delivery) } else { None }
        })
        .await
    }

    /// Waits until the delivery of an event has this status; gives it.
    pub async fn until_status(&self, event: &str, status: &str, at_most: Duration) -> Value {
        self.until(event, status, at_most, |delivery| delivery["status"] == status).await
    }

    /// Replays deliveries; gives the answer.
    pub async fn replay(&self, deliveries: &[&str]) -> Value {
        let (status, answer) =
            self.stack.local.replay().post("/v1/replays", &json!({"deliveries": deliveries})).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        answer
    }

    /// Pauses, resumes or deletes the endpoint.
    pub async fn change(&self, how: &str) {
        let api = self.stack.local.endpoints();
        let path = format!("/v1/endpoints/{}", self.endpoint);
        let (status, answer) = match how {
            "delete" => api.delete(&path).await.unwrap(),
            how => api.post(&format!("{path}/{how}"), &json!({})).await.unwrap(),
        };
        assert!((200..300).contains(&status), "{how}: {status} {answer}");
    }

    /// Fails unless every request that came was signed with the endpoint's secret.
    pub fn assert_signed(&self) {
        for received in self.receiver.received() {
            assert_eq!(received.signature, Signature::Verified, "{received:?}");
        }
    }
}
