//! The messages on the two queues. Each may be a repeat, late, out of order, or of another version of Pombo.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::body::PackedBody;
use crate::delivery::{DeliveryKey, Head, NewDelivery, Record, Step};
use crate::hops::Hops;
use crate::ids::EndpointId;
use crate::outcome::Attempt;
use crate::rate_limit::Slot;
use crate::retry::Decision;
use crate::text::without_values;
use crate::time::Timestamp;

/// The version that is written. Readers ignore fields that they do not know, so it changes only with the meaning of one.
const VERSION: u32 = 1;

/// After so many times through the queue a waiting message waits in Scheduler: SQS counts receives, and ends a message
/// at thirty; Lambda watches for functions that feed their own queue.
pub const MOST_HOPS: u32 = 100;

/// A message that is none of ours, or is damaged.
///
/// Its text is for the log, so it repeats nothing of the message.
#[derive(Debug, Error)]
#[error("the message cannot be read: {0}")]
pub struct Unreadable(String);

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self(without_values(&error.to_string()))
    }
}

/// A message of the Deliveries queue: make the attempt at (round, attempt), or record that it was made.
///
/// A message of an unknown kind that names a delivery is taken as a plain one for it: the record says what may be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryMessage {
    v: u32,
    /// The delivery.
    pub delivery: DeliveryKey,
    /// The attempt that the message asks for, or reports.
    #[serde(flatten)]
    pub step: Step,
    /// The mark, which ingest gives once: the attempt may be made without a claim, see
    /// [`first_attempt`](crate::first_attempt).
    #[serde(default, skip_serializing_if = "is_false")]
    pub first: bool,
    /// Whether another message with the mark may have asked for the attempt before. Then the receiver may already have had
    /// the request.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repeat: bool,
    /// What a delivery's first message says of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventPart>,
    /// Not to be acted on before this time: Scheduler may fire early, and the queue cannot hold a message for long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How often the message has been put back to wait.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hops: u32,
    /// When this probe was ordered: the endpoint's circuit is open, and the attempt is to tell whether it is back.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "leniently")]
    pub probe: Option<Timestamp>,
    /// The slot that it has reserved, where the endpoint has a rate limit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "leniently")]
    pub slot: Option<Slot>,
    /// An outcome that could not be written to the record.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "leniently")]
    pub record: Option<QueuedOutcome>,
}

/// What a first message carries, so that dispatch reads neither event nor delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventPart {
    /// What a new record needs.
    #[serde(flatten)]
    pub new: NewDelivery,
    /// The endpoint's version when the event came in: an older cached one is read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_version: Option<u64>,
    /// The body; without it, body and hops are read from the event.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub body: Option<PackedBody>,
    /// How many times Pombo has sent the event on before.
    #[serde(default, skip_serializing_if = "Hops::is_none")]
    pub hops: Hops,
}

/// The outcome of an attempt on its way to the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueuedOutcome {
    /// Who made the attempt: the outcome ends this claim.
    pub holder: String,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows, decided when the attempt ended.
    pub decision: Decision,
}

impl DeliveryMessage {
    /// A message by reference: what it needs is in the record and the event.
    #[must_use]
    pub const fn by_reference(delivery: DeliveryKey, step: Step) -> Self {
        Self {
            v: VERSION,
            delivery,
            step,
            first: false,
            repeat: false,
            event: None,
            not_before: None,
            hops: 0,
            probe: None,
            slot: None,
            record: None,
        }
    }

    /// A probe with a held delivery, ordered at `time`.
    #[must_use]
    pub const fn probe(delivery: DeliveryKey, step: Step, time: Timestamp) -> Self {
        let mut message = Self::by_reference(delivery, step);
        message.probe = Some(time);
        message
    }

    /// The first message of a delivery.
    #[must_use]
    pub fn first(delivery: DeliveryKey, event: EventPart) -> Self {
        Self { event: Some(event), ..Self::by_reference(delivery, Step::FIRST) }
    }

    /// The same message with the mark: its attempt may be made without a claim.
    #[must_use]
    pub const fn marked(mut self) -> Self {
        self.first = true;
        self
    }

    /// The same message without the mark: its attempt needs a claim.
    #[must_use]
    pub const fn unmarked(mut self) -> Self {
        self.first = false;
        self
    }

    /// The same message without the mark, as a repeat: a message with the mark may have been handled before.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.repeat = true;
        self.unmarked()
    }

    /// The message as it may be acted on when the queue says that it was received `times` times. The mark is valid for the
    /// first receive only, because a process that had the message before may have made the attempt. An unknown count is not a
    /// first receive.
    #[must_use]
    pub const fn received(self, times: Option<u32>) -> Self {
        if self.first && !matches!(times, Some(1)) { self.repeated() } else { self }
    }

    /// The record that the delivery begins with, if this is a first message.
    #[must_use]
    pub fn new_record(&self) -> Option<Record> {
        let new = self.event.as_ref()?.new.clone();
        let delivery = self.delivery.clone();
        Some(if self.repeat { Record::begin_again(delivery, new) } else { Record::begin(delivery, new) })
    }

    /// A message that carries an outcome to the record.
    #[must_use]
    pub fn outcome(delivery: DeliveryKey, outcome: QueuedOutcome) -> Self {
        Self { record: Some(outcome.clone()), ..Self::by_reference(delivery, outcome.attempt.step) }
    }

    /// The same message with what a new record needs. An outcome carries this part if its attempt was made without a claim,
    /// because there may be no record then.
    #[must_use]
    pub fn with_new_record(mut self, event: EventPart) -> Self {
        self.event = Some(event);
        self.without_body()
    }

    /// What of the message decides what may be done with it, when `holder` handles it.
    #[must_use]
    pub const fn head<'a>(&self, holder: &'a str) -> Head<'a> {
        Head { step: self.step, begins: self.event.is_some(), holder, probe: self.probe, has_slot: self.slot.is_some() }
    }

    /// The same message with the body left out.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        if let Some(event) = &mut self.event {
            event.body = None;
        }
        self
    }

    /// The same message, to be handled again at `time`. The message loses its mark.
    #[must_use]
    pub fn waiting_until(mut self, time: Timestamp) -> Self {
        self.hops = self.hops.saturating_add(1);
        self.unmarked().due_at(time)
    }

    /// The same message, which says that it is due at `time`.
    #[must_use]
    pub const fn due_at(mut self, time: Timestamp) -> Self {
        self.not_before = Some(time);
        self
    }

    /// Reads a message of the Deliveries queue. What is sent on of a newer one is a message of this version.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let message: Self = serde_json::from_str(text)?;
        Ok(Self { v: VERSION, ..message })
    }

    /// The message as it is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// The fair queue's group: one slow endpoint must not delay the messages of others.
    #[must_use]
    pub const fn group(&self) -> &EndpointId {
        &self.delivery.endpoint_id
    }
}

/// A message of the Jobs queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMessage {
    v: u32,
    /// The work.
    #[serde(flatten)]
    pub work: JobWork,
}

/// What a message of the Jobs queue asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JobWork {
    /// Run a leg of a job.
    Leg {
        /// The job's id.
        job: String,
        /// The leg, from 1; 0 when the job is woken: then the next one is asked for.
        leg: u32,
        /// Whether what the job waits for has happened, so that its next leg is to run now.
        #[serde(default, skip_serializing_if = "is_false")]
        wake: bool,
    },
    /// Queue the deliveries of an event that Pombo itself has stored.
    Publish {
        /// The event's key.
        publish: String,
    },
    /// Look for what is stuck.
    Sweep {
        /// Always true.
        sweep: bool,
    },
}

impl JobMessage {
    /// Asks for a leg of a job.
    #[must_use]
    pub const fn leg(job: String, leg: u32) -> Self {
        Self { v: VERSION, work: JobWork::Leg { job, leg, wake: false } }
    }

    /// Wakes a job. An older version takes it for a leg that is passed, which hurries nothing.
    #[must_use]
    pub const fn wake(job: String) -> Self {
        Self { v: VERSION, work: JobWork::Leg { job, leg: 0, wake: true } }
    }

    /// Asks for the deliveries of a stored event, by its key.
    #[must_use]
    pub const fn publish(key: String) -> Self {
        Self { v: VERSION, work: JobWork::Publish { publish: key } }
    }

    /// Asks for a sweep; the recurring schedule sends it.
    #[must_use]
    pub const fn sweep() -> Self {
        Self { v: VERSION, work: JobWork::Sweep { sweep: true } }
    }

    /// Reads a message of the Jobs queue.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        Ok(serde_json::from_str(text)?)
    }

    /// The message as it is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }
}

/// As JSON that SQS takes. It refuses two characters that JSON may hold as they are, U+FFFE and U+FFFF (`SendMessage`:
/// "allowed Unicode characters"), and a receiver's answer may hold anything. Beyond ASCII, JSON has characters in texts
/// only, so that they can be escaped wherever they stand.
fn to_json<T: Serialize>(message: &T) -> String {
    // Plain structures with text keys: writing them cannot fail.
    let json = serde_json::to_string(message).unwrap_or_default();
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    } else {
        json
    }
}

fn is_zero(hops: &u32) -> bool {
    *hops == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// What this version cannot read leaves a plain message for the attempt.
fn leniently<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, Trigger};
    use crate::retry::{Next, Route};

    fn key() -> DeliveryKey {
        DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: Timestamp::from_millis(0),
            event_id: "e".parse().unwrap(),
        }
    }

    fn first(body: Option<PackedBody>) -> DeliveryMessage {
        let new = NewDelivery { tenant: "acme".parse().unwrap(), event_type: "a.b".parse().unwrap(), expires_at: 7 };
        DeliveryMessage::first(key(), EventPart { new, endpoint_version: Some(3), body, hops: Hops::NONE })
    }

    #[test]
    fn every_kind_of_message_reads_back() {
        let attempt = Attempt {
            step: Step::FIRST,
            started_at: Timestamp::from_millis(5),
            duration_ms: 1,
            outcome: Outcome::Tls { detail: "x".into() },
            answer: None,
            sent_to: None,
            redelivered: true,
            trigger: Trigger::Retry,
        };
        let decision = Decision::Retry(Next { at: Timestamp::from_millis(9), route: Route::Queue });
        let outcome = QueuedOutcome { holder: "h".into(), attempt, decision };
        for message in [
            first(Some(PackedBody::pack(b"{}"))),
            first(None),
            first(None).marked(),
            first(None).repeated(),
            DeliveryMessage::by_reference(key(), Step { round: 2, attempt: 3 }),
            DeliveryMessage::by_reference(key(), Step::FIRST).waiting_until(Timestamp::from_millis(8)),
            DeliveryMessage::outcome(key(), outcome),
        ] {
            assert_eq!(DeliveryMessage::parse(&message.to_json()).unwrap(), message);
        }
        assert_eq!(first(Some(PackedBody::pack(b"{}"))).without_body(), first(None));
    }

    #[test]
    fn a_first_message_carries_the_hops_of_an_event_that_was_sent_on() {
        let json = |hops: &str| {
            let mut message = first(Some(PackedBody::pack(b"{}")));
            message.event.as_mut().unwrap().hops = hops.parse().unwrap();
            assert_eq!(DeliveryMessage::parse(&message.to_json()).unwrap(), message);
            serde_json::from_str::<Value>(&message.to_json()).unwrap()
        };
        assert_eq!(json("0")["event"].get("hops"), None, "one that came from an app pays no byte for it");
        assert_eq!(json("3")["event"]["hops"], 3);
    }

    #[test]
    fn a_mark_is_good_for_one_receive_and_the_message_then_says_that_it_is_a_repeat() {
        assert_eq!(first(None).marked().received(Some(1)), first(None).marked());
        for times in [None, Some(0), Some(2)] {
            let again = first(None).marked().received(times);
            assert_eq!((again.first, again.repeat), (false, true), "{times:?}");
            let waited = again.waiting_until(Timestamp::from_millis(8));
            assert_eq!((waited.first, waited.repeat), (false, true), "and after a wait");
            assert_eq!(first(None).received(times), first(None), "a message without the mark is no repeat");
        }
    }

    #[test]
    fn a_repeat_begins_a_record_that_tells_of_an_attempt() {
        let tells = |message: DeliveryMessage| message.new_record().map(|record| record.was_abandoned("me"));
        assert_eq!(tells(first(None)), Some(false));
        assert_eq!(tells(first(None).repeated()), Some(true));
        assert_eq!(tells(DeliveryMessage::by_reference(key(), Step::FIRST).repeated()), None);
    }

    #[test]
    fn whatever_a_receiver_answered_is_written_in_characters_that_sqs_takes() {
        let answer: String =
            (0..=0xffff).filter_map(char::from_u32).chain(['\u{10ffff}', '\\', '\u{ffff}', '"']).collect();
        let attempt = Attempt {
            step: Step::FIRST,
            started_at: Timestamp::from_millis(5),
            duration_ms: 1,
            outcome: Outcome::Connection { detail: "\u{fffe}".into() },
            answer: Some(answer.as_str().into()),
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        };
        let outcome = QueuedOutcome { holder: "h".into(), attempt, decision: Decision::Failed };
        let message = DeliveryMessage::outcome(key(), outcome);
        let json = message.to_json();
        let taken =
            |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert_eq!(json.chars().find(|c| !taken(*c)), None);
        assert_eq!(DeliveryMessage::parse(&json).unwrap(), message);
    }

    #[test]
    fn messages_begin_with_version_delivery_round_and_attempt() {
        let json = DeliveryMessage::by_reference(key(), Step { round: 2, attempt: 3 }).to_json();
        assert_eq!(json, format!(r#"{{"v":1,"delivery":"{}","round":2,"attempt":3}}"#, key()));
        assert_eq!(JobMessage::leg("j".into(), 2).to_json(), r#"{"v":1,"job":"j","leg":2}"#);
        assert_eq!(JobMessage::wake("j".into()).to_json(), r#"{"v":1,"job":"j","leg":0,"wake":true}"#);
        assert_eq!(JobMessage::publish("t#e".into()).to_json(), r#"{"v":1,"publish":"t#e"}"#);
        assert_eq!(JobMessage::sweep().to_json(), r#"{"v":1,"sweep":true}"#);
    }

    #[test]
    fn a_newer_kind_that_names_a_delivery_is_taken_as_a_plain_message() {
        let id = key().to_string();
        let plain = DeliveryMessage::by_reference(key(), Step { round: 0, attempt: 2 });
        for newer in [
            format!(r#"{{"v":1,"delivery":"{id}","round":0,"attempt":2,"probe":{{"x":1}}}}"#),
            format!(r#"{{"v":1,"delivery":"{id}","round":0,"attempt":2,"record":{{"shape":"new"}}}}"#),
            format!(r#"{{"v":2,"delivery":"{id}","round":0,"attempt":2,"slot":{{"shape":"new"}},"more":[]}}"#),
        ] {
            assert_eq!(DeliveryMessage::parse(&newer).unwrap(), plain);
        }
        for wrong in ["", "{}", "[]", r#"{"v":1}"#, r#"{"v":1,"delivery":"x","round":0,"attempt":1}"#] {
            assert!(DeliveryMessage::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn job_messages_read_back_and_others_are_refused() {
        for message in [
            JobMessage::leg("j".into(), 2),
            JobMessage::wake("j".into()),
            JobMessage::publish("t#e".into()),
            JobMessage::sweep(),
        ] {
            assert_eq!(JobMessage::parse(&message.to_json()).unwrap(), message);
        }
        for wrong in ["", "{}", r#"{"v":1}"#, r#"{"v":1,"job":"x"}"#] {
            assert!(JobMessage::parse(wrong).is_err(), "{wrong}");
        }
    }
}
