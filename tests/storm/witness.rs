//! What the proxy saw of each attempt: who claimed it, whether its outcome came to the record, to the queue or nowhere,
//! and who was killed. It explains why a receiver had a request twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Instant;

use pombo_domain::message::DeliveryMessage;
use serde_json::Value;

/// A delivery: its endpoint's and its event's id.
pub type Delivery = (String, String);

/// Why a receiver may get a request that nothing records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its process was killed between the claim and the record.
    Killed,
    /// The record could not be written, so that the outcome was queued: who came in between did not know of it.
    OutcomeQueued,
    /// Neither the record nor the queue took the outcome: it is as if the process had died.
    OutcomeRefused,
}

/// What became of a holder's claim.
#[derive(Debug, Default)]
struct Claim {
    is_recorded: bool,
    is_queued: bool,
    was_refused: bool,
}

#[derive(Default)]
struct Seen {
    claims: HashMap<Delivery, BTreeMap<String, Claim>>,
    /// The invocation that used a port last, and when.
    newest: HashMap<u16, (Instant, String)>,
    killed: HashSet<String>,
}

/// See the module.
#[derive(Default)]
pub struct Witness(Mutex<Seen>);

/// What a call does to a claim.
enum Sign {
    Claims,
    Records,
    Queues,
}

impl Witness {
    /// A call came from this port.
    pub fn came(&self, port: u16, operation: &str, body: &Value) {
        if let Some((_, holder, _)) = read(operation, body) {
            let invocation = invocation(&holder).to_owned();
            self.0.lock().unwrap().newest.insert(port, (Instant::now(), invocation));
        }
    }

    /// A call was carried out, whatever its caller hears of it.
    pub fn was_done(&self, operation: &str, body: &Value) {
        let Some((delivery, holder, sign)) = read(operation, body) else { return };
        let mut seen = self.0.lock().unwrap();
        let claims = seen.claims.entry(delivery).or_default();
        match sign {
            Sign::Claims => drop(claims.entry(holder).or_default()),
            Sign::Records => claims.entry(holder).or_default().is_recorded = true,
            Sign::Queues => claims.entry(holder).or_default().is_queued = true,
        }
    }

    /// A call was spoilt.
    pub fn was_spoilt(&self, operation: &str, body: &Value) {
        if let Some((delivery, holder, Sign::Records)) = read(operation, body) {
            let mut seen = self.0.lock().unwrap();
            seen.claims.entry(delivery).or_default().entry(holder).or_default().was_refused = true;
        }
    }

    /// The process that has these ports was killed.
    pub fn was_killed(&self, ports: &[u16]) {
        let mut seen = self.0.lock().unwrap();
        let newest = ports.iter().filter_map(|port| seen.newest.get(port)).max().cloned();
        seen.killed.extend(newest.map(|(_, invocation)| invocation));
    }

    /// For each claim of a delivery whose holder may have sent a request that nothing records: why.
    pub fn causes(&self, delivery: &Delivery) -> Vec<Cause> {
        let seen = self.0.lock().unwrap();
        let claims = seen.claims.get(delivery).into_iter().flatten();
        claims
            .filter_map(|(holder, claim)| {
                let was_killed = seen.killed.contains(invocation(holder));
                match claim {
                    Claim { is_queued: true, .. } => Some(Cause::OutcomeQueued),
                    Claim { is_recorded: false, .. } if was_killed => Some(Cause::Killed),
                    Claim { is_recorded: false, was_refused: true, .. } => Some(Cause::OutcomeRefused),
                    _ => None,
                }
            })
            .collect()
    }
}

fn invocation(holder: &str) -> &str {
    holder.split('/').next().unwrap_or_default()
}

/// Whose claim a call is about, and what it does to it.
fn read(operation: &str, body: &Value) -> Option<(Delivery, String, Sign)> {
    match operation {
        "PutItem" => {
            let item = &body["Item"];
            let text = |name: &str| item[name]["S"].as_str();
            let (_, event) = text("sort_key")?.split_once('#')?;
            let writer = text("writer")?.to_owned();
            let holds = item["claim"]["M"]["holder"]["S"].as_str() == Some(&writer);
            let sign = if holds { Sign::Claims } else { Sign::Records };
            Some(((text("endpoint_id")?.to_owned(), event.to_owned()), writer, sign))
        }
        "SendMessage" => {
            let message = DeliveryMessage::parse(body["MessageBody"].as_str()?).ok()?;
            let delivery = (message.delivery.endpoint_id.to_string(), message.delivery.event_id.to_string());
            Some((delivery, message.record?.holder, Sign::Queues))
        }
        _ => None,
    }
}
