//! One event that is delivered at once and one that is retried, told as it happens.
//!
//! What is told is what was seen: the receiver's requests, and the records that the APIs show. The endpoint has the default
//! retry policy, so the retry is one that EventBridge Scheduler makes, a minute later.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{
    exchange::{Answer, Received, Signature},
    progress::Progress,
    receiver::Receiver,
    stack::LocalStack,
};

/// The path of the receiver.
const PATH: &str = "/webhooks";

/// The demo's endpoint, by which a later start finds it in kept data.
const NAME: &str = "local demo";

/// The event that is accepted at once, and the one whose first attempt the receiver fails.
const ACCEPTED: &str = "student.created";
const FAILED_ONCE: &str = "student.graduated";

/// How long a request may take until it comes. A retry waits for its time, and Scheduler is precise to a minute.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
const RETRY_WITHIN: Duration = Duration::from_secs(240);

/// A demo that was shown; its receiver is still there.
pub(crate) struct Demo<'a> {
    stack: &'a LocalStack,
    progress: Progress,
    arrivals: UnboundedReceiver<Received>,
    /// Ends with the demo.
    _receiver: Receiver,
}

impl<'a> Demo<'a> {
    /// Shows it, from the registration to the retried delivery.
    pub(crate) async fn show(stack: &'a LocalStack, progress: Progress) -> Result<Self> {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let receiver = Receiver::start_without_pages(move |received| {
            let _ = arrived.send(received.clone());
            answer(received)
        })?;
        register(stack, &receiver).await?;
        let mut demo = Self { stack, progress, arrivals, _receiver: receiver };
        demo.tell(format!("a receiver listens on {} and is registered for student.*", demo._receiver.url(PATH)));
        demo.delivered_at_once().await?;
        demo.delivered_on_retry().await?;
        Ok(demo)
    }

    /// Tells what else arrives, for as long as it is let.
    pub(crate) async fn go_on(mut self) -> Result<()> {
        while let Some(received) = self.arrivals.recv().await {
            self.tell_arrival(&received);
        }
        Ok(())
    }

    async fn delivered_at_once(&mut self) -> Result<()> {
        let event = self.post(ACCEPTED).await?;
        self.arrival(&event, FIRST_WITHIN).await?;
        Ok(())
    }

    async fn delivered_on_retry(&mut self) -> Result<()> {
        let event = self.post(FAILED_ONCE).await?;
        self.arrival(&event, FIRST_WITHIN).await?;
        let delivery = self.delivery(&event, "retrying", FIRST_WITHIN).await?;
        self.tell(format!("{event}: {}", scheduled(&delivery)?));
        self.arrival(&event, RETRY_WITHIN).await?;
        let delivery = self.delivery(&event, "succeeded", FIRST_WITHIN).await?;
        let attempts = delivery["attempts"].as_array().map_or(0, Vec::len);
        self.tell(format!("{event}: delivered, after {attempts} attempts"));
        Ok(())
    }

    /// Posts an event; its id.
    async fn post(&self, event_type: &str) -> Result<String> {
        let event = json!({"type": event_type, "data": {"name": "Ada", "grade": 9.50}});
        let (status, answer) = self.stack.ingest().post("/v1/events", &event).await?;
        ensure!(status == 202, "the event was not accepted: {status} {answer}");
        let id = answer["id"].as_str().context("the accepted event has no id")?.to_owned();
        self.tell(format!("{id}: accepted, {event_type}, deliveries: {}", answer["deliveries"]));
        Ok(id)
    }

    /// Waits for the event's next arrival at the receiver; tells it, and what arrives meanwhile.
    async fn arrival(&mut self, event: &str, within: Duration) -> Result<()> {
        let arrivals = async {
            while let Some(received) = self.arrivals.recv().await {
                self.tell_arrival(&received);
                if received.webhook_id() == event {
                    return received.signature;
                }
            }
            Signature::Unchecked
        };
        match tokio::time::timeout(within, arrivals).await {
            Ok(Signature::Verified) => Ok(()),
            Ok(signature) => {
                bail!("the event {event} arrived, but not with a signature that can be trusted: {signature:?}")
            }
            Err(_) => bail!("the event {event} did not arrive within {} s", within.as_secs()),
        }
    }

    /// Waits until the event's delivery has a status; the delivery.
    async fn delivery(&self, event: &str, status: &str, within: Duration) -> Result<Value> {
        let replay = self.stack.replay();
        let started = Instant::now();
        loop {
            let (code, answer) = replay.get(&format!("/v1/events/{event}")).await?;
            ensure!(code == 200, "the event {event} cannot be looked at: {code} {answer}");
            let delivery = &answer["deliveries"][0];
            if delivery["status"] == status {
                return Ok(delivery.clone());
            }
            ensure!(started.elapsed() < within, "the delivery of {event} is not {status}, but {}", delivery["status"]);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn tell_arrival(&self, received: &Received) {
        let signature = match &received.signature {
            Signature::Verified => "signature verified".to_owned(),
            Signature::Refused(reason) => format!("SIGNATURE REFUSED ({reason})"),
            Signature::Unchecked => "signature not checked".to_owned(),
        };
        let id = received.webhook_id();
        let attempt = received.times;
        self.tell(match answer(received).status {
            204 if attempt == 1 => format!("{id}: delivered, {signature}, {}", event_type(received)),
            204 => format!("{id}: retried, {signature}"),
            status => format!("{id}: attempt {attempt} failed, the receiver answered {status} ({signature})"),
        });
    }

    fn tell(&self, what: String) {
        self.progress.say(format!("{}  {what}", clock(Timestamp::now())));
    }
}

/// The receiver fails the first attempt of one type of event.
fn answer(received: &Received) -> Answer {
    if received.times == 1 && event_type(received) == FAILED_ONCE {
        Answer::status(500).with_body("the demo fails this one on purpose")
    } else {
        Answer::status(204)
    }
}

fn event_type(received: &Received) -> String {
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    body["type"].as_str().unwrap_or("a body without a type").to_owned()
}

/// Registers the receiver, in place of those of earlier starts.
async fn register(stack: &LocalStack, receiver: &Receiver) -> Result<()> {
    let endpoints = stack.endpoints();
    let (status, listed) = endpoints.get("/v1/endpoints?limit=100").await?;
    ensure!(status == 200, "the endpoints cannot be listed: {status} {listed}");
    for endpoint in listed["endpoints"].as_array().into_iter().flatten() {
        if endpoint["name"] == NAME
            && let Some(id) = endpoint["id"].as_str()
        {
            endpoints.delete(&format!("/v1/endpoints/{id}")).await?;
        }
    }
    let endpoint = json!({"name": NAME, "url": receiver.url(PATH), "event_types": ["student.*"]});
    let (status, created) = endpoints.post("/v1/endpoints", &endpoint).await?;
    ensure!(status == 201, "the receiver could not be registered: {status} {created}");
    let secret = created["secret"].as_str().context("the new endpoint has no secret")?;
    receiver.expect_secret(PATH, secret);
    Ok(())
}

/// When a delivery is tried again.
fn scheduled(delivery: &Value) -> Result<String> {
    let due = delivery["next_attempt_at"].as_str().context("the delivery has no next attempt")?;
    let due: Timestamp = due.parse().context("the next attempt's time is not a time")?;
    let left = due.duration_since(Timestamp::now()).max(SignedDuration::ZERO).as_secs();
    Ok(format!("retry scheduled for {} (in {left} s; Scheduler may take up to a minute longer)", clock(due)))
}

fn clock(time: Timestamp) -> String {
    time.strftime("%H:%M:%S UTC").to_string()
}
