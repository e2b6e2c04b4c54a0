//! What the proxy saw of each attempt: who claimed it, whether its outcome came to the record, to the queue or nowhere,
//! and who was killed. It explains why a receiver had a request twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pombo_domain::message::DeliveryMessage;
use pombo_tests::Stopped;
use pombo_tests::records::record_in;
use serde_json::Value;

use crate::receivers::Logged;

/// How long after the death of its sender a receiver may log a request, on a busy machine.
const LOGGED_LATE: Duration = Duration::from_secs(2);

/// How long before the death of its process a connection may have been closed, when an attempt is over and not yet recorded.
const CLOSED_BEFORE: Duration = Duration::from_millis(300);

/// A delivery: its endpoint's and its event's id.
pub type Delivery = (String, String);

/// Why a receiver may get a request that nothing records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Its process was killed between the claim, or the request of an attempt without a claim, and the record.
    Killed,
    /// The storm sent a message with the mark twice: each copy is a first receive, and is attempted without a claim.
    HandedOutTwice,
    /// The record could not be written, so that the outcome was queued: who came in between did not know of it.
    OutcomeQueued,
    /// Neither the record nor the queue took the outcome: it is as if the process had died.
    OutcomeRefused,
}

/// What became of a holder's claim, or of its attempt without one.
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
    /// When processes were killed, and the connections of those moments.
    kills: Vec<(Instant, Stopped)>,
    /// When outcomes came to the record.
    recorded: HashMap<Delivery, Vec<Instant>>,
    /// How often a message with the mark was sent once more.
    doubled: HashMap<Delivery, usize>,
}

/// See the module.
#[derive(Default)]
pub struct Witness(Mutex<Seen>);

/// What a call does to a claim.
enum Sign {
    Claims,
    /// Records the outcome of an attempt without a claim, where there is no record.
    Begins,
    Records,
    Queues,
}

impl Witness {
    /// A call came from this port.
    pub fn came(&self, port: u16, operation: &str, body: &Value) {
        if let Some((delivery, holder, sign)) = read(operation, body) {
            let mut seen = self.0.lock().unwrap();
            seen.newest.insert(port, (Instant::now(), invocation(&holder).to_owned()));
            // Nothing was seen of an attempt without a claim before: it was made, whatever becomes of its record.
            if matches!(sign, Sign::Begins) {
                seen.claims.entry(delivery).or_default().entry(holder).or_default();
            }
        }
    }

    /// A call was carried out, whatever its caller hears of it.
    pub fn was_done(&self, operation: &str, body: &Value) {
        let Some((delivery, holder, sign)) = read(operation, body) else { return };
        let mut seen = self.0.lock().unwrap();
        let claims = seen.claims.entry(delivery.clone()).or_default();
        match sign {
            Sign::Claims => drop(claims.entry(holder).or_default()),
            Sign::Begins | Sign::Records => {
                claims.entry(holder).or_default().is_recorded = true;
                seen.recorded.entry(delivery).or_default().push(Instant::now());
            }
            Sign::Queues => claims.entry(holder).or_default().is_queued = true,
        }
    }

    /// A call was spoilt. An outcome is queued only when it could not be recorded, which may have failed at a read before the
    /// write.
    pub fn was_spoilt(&self, operation: &str, body: &Value) {
        if let Some((delivery, holder, Sign::Begins | Sign::Records | Sign::Queues)) = read(operation, body) {
            let mut seen = self.0.lock().unwrap();
            seen.claims.entry(delivery).or_default().entry(holder).or_default().was_refused = true;
        }
    }

    /// A process is killed.
    pub fn was_killed(&self, stopped: Stopped) {
        let mut seen = self.0.lock().unwrap();
        let newest = stopped.ports.iter().filter_map(|port| seen.newest.get(port)).max().cloned();
        seen.killed.extend(newest.map(|(_, invocation)| invocation));
        seen.kills.push((Instant::now(), stopped));
    }

    /// A message was sent once more. Without the mark that is harmless.
    pub fn was_doubled(&self, text: &str) {
        if let Some(message) = DeliveryMessage::parse(text).ok().filter(|message| message.first) {
            *self.0.lock().unwrap().doubled.entry(delivery_of(&message)).or_default() += 1;
        }
    }

    /// For each request of a delivery that nothing records: why there may be such a one. `log` is what came to its receiver.
    ///
    /// An attempt without a claim may be seen by its receiver alone. That its process was killed is told by the port of the
    /// request.
    pub fn causes(&self, delivery: &Delivery, log: &[Logged]) -> Vec<Cause> {
        let seen = self.0.lock().unwrap();
        let mut causes = seen.causes_of_claims(delivery);
        let by_claim = causes.iter().filter(|cause| **cause == Cause::Killed).count();
        let by_port = log.iter().filter(|logged| seen.was_killed_before_its_record(delivery, logged)).count();
        causes.extend(std::iter::repeat_n(Cause::Killed, by_port.saturating_sub(by_claim)));
        let doubled = seen.doubled.get(delivery).copied().unwrap_or_default();
        causes.extend(std::iter::repeat_n(Cause::HandedOutTwice, doubled));
        causes
    }
}

impl Seen {
    /// Whether the sender of a request was killed, and no outcome had come to the record between.
    fn was_killed_before_its_record(&self, delivery: &Delivery, logged: &Logged) -> bool {
        let killed = self.kills.iter().find(|(at, stopped)| {
            // A request that was on its way at that moment is logged a little later.
            let has_it = stopped.ports.contains(&logged.port) && *at + LOGGED_LATE > logged.at;
            // When a receiver hangs up, dispatch closes its other connections to it as well.
            let may_have_had_it =
                !stopped.all_ports.contains(&logged.port) && (logged.at..logged.at + CLOSED_BEFORE).contains(at);
            has_it || may_have_had_it
        });
        let recorded = self.recorded.get(delivery);
        let is_recorded = |until| recorded.is_some_and(|times| times.iter().any(|at| (logged.at..until).contains(at)));
        killed.is_some_and(|(at, _)| !is_recorded(*at))
    }

    fn causes_of_claims(&self, delivery: &Delivery) -> Vec<Cause> {
        let claims = self.claims.get(delivery).into_iter().flatten();
        claims
            .filter_map(|(holder, claim)| {
                let was_killed = self.killed.contains(invocation(holder));
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

fn delivery_of(message: &DeliveryMessage) -> Delivery {
    (message.delivery.endpoint_id.to_string(), message.delivery.event_id.to_string())
}

fn invocation(holder: &str) -> &str {
    holder.split('/').next().unwrap_or_default()
}

/// Whose claim a call is about, and what it does to it.
fn read(operation: &str, body: &Value) -> Option<(Delivery, String, Sign)> {
    match operation {
        "PutItem" => {
            let record = record_in(&body["Item"])?;
            let holds = record.claim.is_some_and(|claim| claim.holder == record.writer);
            let sign = match holds {
                true => Sign::Claims,
                false if record.rev == 1 && !record.attempts.is_empty() => Sign::Begins,
                false => Sign::Records,
            };
            let delivery = (record.key.endpoint_id.to_string(), record.key.event_id.to_string());
            Some((delivery, record.writer, sign))
        }
        "SendMessage" => {
            let message = DeliveryMessage::parse(body["MessageBody"].as_str()?).ok()?;
            Some((delivery_of(&message), message.record?.holder, Sign::Queues))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Step};
    use pombo_domain::message::QueuedOutcome;
    use pombo_domain::outcome::{Attempt, Outcome, Trigger};
    use pombo_domain::retry::Decision;
    use pombo_domain::time::Timestamp;
    use pombo_tests::records::item_in_json;
    use pombo_tests::scenario;
    use serde_json::json;

    use super::*;
    use crate::receivers::Did;

    const NOW: Timestamp = Timestamp::from_seconds(1);

    /// A record of the delivery that these tests are about.
    fn new_record() -> Record {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: NOW,
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
        Record::begin(key, new)
    }

    fn attempt() -> Attempt {
        Attempt {
            step: Step::FIRST,
            started_at: NOW,
            duration_ms: 1,
            outcome: Outcome::DeadLettered,
            answer: None,
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        }
    }

    /// The record with an outcome, as the invocation wrote it.
    fn recorded(rev: u64) -> Record {
        Record { rev, writer: "invocation/message".to_owned(), attempts: vec![attempt()], ..new_record() }
    }

    fn put(record: &Record) -> Value {
        json!({"Item": item_in_json(record)})
    }

    fn stopped(ports: &[u16], all_ports: &[u16]) -> Stopped {
        Stopped { process: 1, ports: ports.to_vec(), all_ports: all_ports.to_vec() }
    }

    #[scenario]
    fn a_process_that_is_killed_when_it_records_an_attempt_without_a_claim_explains_a_repeat() {
        let delivery = ("ep_aaaaaaaaaaaaaaaa".to_owned(), "e".to_owned());
        let records = put(&recorded(1));
        let came = |body| {
            let witness = Witness::default();
            witness.came(1, "PutItem", body);
            witness
        };
        let witness = came(&records);
        assert_eq!(witness.causes(&delivery, &[]), [], "nobody was killed");
        witness.was_killed(stopped(&[2], &[2]));
        assert_eq!(witness.causes(&delivery, &[]), [], "another process was killed");
        witness.was_killed(stopped(&[1], &[1]));
        assert_eq!(witness.causes(&delivery, &[]), [Cause::Killed]);
        witness.was_done("PutItem", &records);
        assert_eq!(witness.causes(&delivery, &[]), [], "its outcome came to the record first");
        let witness = came(&put(&recorded(2)));
        witness.was_killed(stopped(&[1], &[1]));
        assert_eq!(witness.causes(&delivery, &[]), [], "an attempt with a claim was seen at its claim");
    }

    #[scenario]
    fn a_process_that_is_killed_after_a_request_and_before_its_record_explains_a_repeat() {
        let delivery = ("ep_aaaaaaaaaaaaaaaa".to_owned(), "e".to_owned());
        let logged = Logged { did: Did::Took, signature: String::new(), port: 7, at: Instant::now() };
        let causes = |witness: &Witness| witness.causes(&delivery, std::slice::from_ref(&logged));
        let witness = Witness::default();
        witness.was_killed(stopped(&[6], &[6, 7]));
        assert_eq!(causes(&witness), [], "another process was killed");
        witness.was_killed(stopped(&[6, 7], &[6, 7]));
        assert_eq!(causes(&witness), [Cause::Killed]);
        let records = put(&recorded(1));
        let witness = Witness::default();
        witness.was_done("PutItem", &records);
        witness.was_killed(stopped(&[7], &[7]));
        assert_eq!(causes(&witness), [], "its outcome came to the record before");
        let witness = Witness::default();
        witness.was_killed(stopped(&[7], &[7]));
        for (later, expected) in [(0, vec![Cause::Killed]), (3, vec![])] {
            let logged = Logged { at: Instant::now() + Duration::from_secs(later), ..logged.clone() };
            assert_eq!(witness.causes(&delivery, &[logged]), expected, "logged {later} seconds after the death");
        }
    }

    #[scenario]
    fn a_death_explains_a_repeat_whose_connection_was_closed_shortly_before() {
        let delivery = ("ep_aaaaaaaaaaaaaaaa".to_owned(), "e".to_owned());
        let now = Instant::now();
        for (before, all_ports, expected) in [
            (Duration::ZERO, [6, 8], vec![Cause::Killed]),
            (Duration::ZERO, [6, 7], vec![]),
            (CLOSED_BEFORE, [6, 8], vec![]),
        ] {
            let witness = Witness::default();
            let logged =
                Logged { did: Did::Took, signature: String::new(), port: 7, at: now.checked_sub(before).unwrap() };
            witness.was_killed(stopped(&[6], &all_ports));
            assert_eq!(witness.causes(&delivery, &[logged]), expected, "{before:?} {all_ports:?}");
        }
    }

    #[scenario]
    fn a_message_that_comes_twice_explains_a_repeat_if_it_has_the_mark() {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: "e".parse().unwrap(),
        };
        let message = DeliveryMessage::by_reference(key, Step::FIRST);
        let witness = Witness::default();
        witness.was_doubled(&message.to_json());
        assert_eq!(witness.causes(&delivery_of(&message), &[]), []);
        witness.was_doubled(&message.clone().marked().to_json());
        assert_eq!(witness.causes(&delivery_of(&message), &[]), [Cause::HandedOutTwice]);
    }

    #[scenario]
    fn an_outcome_that_the_queue_refused_explains_a_repeat_whatever_kept_it_from_the_record() {
        let (holder, now) = ("invocation/message", Timestamp::from_seconds(1));
        let delivery = ("ep_aaaaaaaaaaaaaaaa".to_owned(), "e".to_owned());
        let key = DeliveryKey {
            endpoint_id: delivery.0.parse().unwrap(),
            accepted_at: now,
            event_id: delivery.1.parse().unwrap(),
        };
        let claims = put(&Record { writer: holder.to_owned(), ..new_record() }.claimed(holder, now));
        let outcome = QueuedOutcome { holder: holder.to_owned(), attempt: attempt(), decision: Decision::Failed };
        let queues = json!({"MessageBody": DeliveryMessage::outcome(key, outcome).to_json()});

        let witness = Witness::default();
        witness.was_done("PutItem", &claims);
        assert_eq!(witness.causes(&delivery, &[]), []);
        witness.was_spoilt("SendMessage", &queues);
        assert_eq!(witness.causes(&delivery, &[]), [Cause::OutcomeRefused]);
        witness.was_done("SendMessage", &queues);
        assert_eq!(witness.causes(&delivery, &[]), [Cause::OutcomeQueued]);
    }
}
