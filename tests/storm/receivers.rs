//! The receivers: they fail at random while the storm lasts, and keep a log of what they answered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local::{Answer, Received, Receiver};
use pombo_tests::{Hook, Stack};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::witness::Delivery;

/// Tenants; every fifth has two endpoints. A table's partition stays small.
const TENANTS: usize = 24;

/// How an endpoint is called by: its receiver is down until the storm ends, so that its circuit opens.
const DOWN: usize = 8;

/// An endpoint's deadline, in seconds.
const DEADLINE: u64 = 2;

/// What a receiver did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// 200, at once.
    Took,
    /// 200, after the sender's deadline.
    TookLate,
    /// Another status.
    Refused,
    /// It closed the connection.
    HungUp,
}

/// A request as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub did: Did,
    /// The same for the second try of an attempt on a new connection, and for no other attempt.
    pub signature: String,
    /// The sender's port.
    pub port: u16,
    pub at: Instant,
}

/// An endpoint of the storm.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub id: String,
    pub tenant: String,
    pub path: String,
}

type Log = Arc<Mutex<HashMap<(String, String), Vec<Logged>>>>;

/// All endpoints, with the one receiver that stands for theirs.
pub struct Receivers {
    pub endpoints: Vec<Endpoint>,
    receiver: Receiver,
    log: Log,
    storms: Arc<AtomicBool>,
}

impl Receivers {
    pub async fn register(stack: &Stack, dice: &Arc<Dice>) -> Self {
        let (log, storms) = (Log::default(), Arc::new(AtomicBool::new(true)));
        let (noted, still, dice) = (Arc::clone(&log), Arc::clone(&storms), Arc::clone(dice));
        let receiver = Receiver::start_with(move |received| {
            let did = if still.load(Ordering::SeqCst) { decide(&dice, received) } else { Did::Took };
            let signature = received.header("webhook-signature").to_owned();
            let logged = Logged { did, signature, port: received.port, at: Instant::now() };
            let delivery = (received.path.clone(), received.event_id().to_owned());
            noted.lock().unwrap().entry(delivery).or_default().push(logged);
            answer(did, received.times)
        })
        .unwrap();
        let mut endpoints = Vec::new();
        for number in 0..TENANTS + TENANTS / 5 {
            let tenant = format!("tenant{}", if number < TENANTS { number } else { (number - TENANTS) * 5 });
            let path = path(number);
            let id = Hook::register(stack, &receiver, &tenant, &path, options(number)).await;
            endpoints.push(Endpoint { id, tenant, path });
        }
        Self { endpoints, receiver, log, storms }
    }

    /// From now on everything is taken.
    pub fn calm_down(&self) {
        self.storms.store(false, Ordering::SeqCst);
    }

    /// The requests of a delivery to an endpoint.
    pub fn log(&self, endpoint: &Endpoint, event: &str) -> Vec<Logged> {
        let log = self.log.lock().unwrap();
        log.get(&(endpoint.path.clone(), event.to_owned())).cloned().unwrap_or_default()
    }

    /// Every request that came.
    pub fn received(&self) -> Vec<Received> {
        self.receiver.received()
    }

    /// The delivery that a request was of.
    pub fn delivery(&self, received: &Received) -> Option<Delivery> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.path == received.path)?;
        Some((endpoint.id.clone(), received.event_id().to_owned()))
    }
}

impl Endpoint {
    /// Whether it was down through the whole storm.
    pub fn was_down(&self) -> bool {
        self.path == path(DOWN)
    }
}

/// The tenant of the event of this number.
pub fn tenant_of(event: usize) -> String {
    format!("tenant{}", event % TENANTS)
}

/// How many endpoints a tenant has.
pub fn endpoints_of(tenant: &str) -> usize {
    let number: usize = tenant.trim_start_matches("tenant").parse().unwrap();
    if number.is_multiple_of(5) && number / 5 < TENANTS / 5 { 2 } else { 1 }
}

fn path(number: usize) -> String {
    format!("/{number}")
}

/// Every second endpoint's retries go through Scheduler.
fn options(number: usize) -> Value {
    let policy = if goes_by_scheduler(number) { json!("standard") } else { json!({"delays_seconds": [1, 2, 4]}) };
    json!({"retry_policy": policy, "timeout_seconds": DEADLINE})
}

fn goes_by_scheduler(number: usize) -> bool {
    number % 2 == 1
}

fn decide(dice: &Dice, received: &Received) -> Did {
    let (path, id) = (&received.path, received.event_id());
    let number: usize = path.trim_start_matches('/').parse().unwrap();
    if number == DOWN || dice.of(("never", path, id)) < 0.01 && !goes_by_scheduler(number) {
        return Did::Refused;
    }
    // The third attempt of the standard policy is five minutes after the second.
    let refusals = match (goes_by_scheduler(number), received.times) {
        (true, 1) => 0.2,
        (true, _) => return Did::Took,
        (false, _) => 0.07,
    };
    match dice.of(("answer", path, id, received.times)) {
        place if place < 0.02 => Did::HungUp,
        place if place < 0.03 => Did::TookLate,
        place if place < 0.03 + refusals => Did::Refused,
        _ => Did::Took,
    }
}

fn answer(did: Did, times: usize) -> Answer {
    match did {
        Did::Took => Answer::status(200),
        Did::TookLate => Answer::status(200).after(Duration::from_millis(DEADLINE * 1000 + 500)),
        Did::HungUp => Answer::hang_up(),
        Did::Refused if times.is_multiple_of(2) => Answer::status(429).with_header("retry-after", "1"),
        Did::Refused => Answer::status(500),
    }
}
