//! Messages of the two queues: whoever may send to them may send anything, and so may an older and a newer version.

use pombo_domain::body::{MAX_BODY, PackedBody};
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Step, verdict};
use pombo_domain::event::Event;
use pombo_domain::hops::Hops;
use pombo_domain::ids::EndpointId;
use pombo_domain::message::{DeliveryMessage, EventPart, JobMessage, JobWork, QueuedOutcome};
use pombo_domain::outcome::{Attempt, NEWEST_ANSWER, Outcome, Trigger};
use pombo_domain::retry::{Decision, Next, Route};
use pombo_domain::schedule::{Carrier, carrier};
use pombo_domain::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);

fn key() -> DeliveryKey {
    DeliveryKey {
        endpoint_id: EndpointId::generate([3; 10]),
        accepted_at: NOW,
        event_id: "evt_1".parse().expect("an id"),
    }
}

fn new() -> NewDelivery {
    NewDelivery {
        tenant: "acme".parse().expect("an id"),
        event_type: "student.created".parse().expect("a type"),
        expires_at: 1_800_000_000,
    }
}

fn outcome(outcome: Outcome, decision: Decision) -> QueuedOutcome {
    let attempt = Attempt {
        step: Step { round: 1, attempt: 2 },
        started_at: NOW,
        duration_ms: 20,
        outcome,
        answer: Some("no \u{ffff}".into()),
        sent_to: None,
        redelivered: true,
        trigger: Trigger::Replay,
    };
    QueuedOutcome { holder: "request/message".to_owned(), attempt, decision }
}

/// One of each kind.
pub fn seeds() -> Vec<String> {
    let event = |body| EventPart { new: new(), endpoint_version: Some(3), body, hops: Hops::NONE };
    let next = Next { at: NOW, route: Route::Scheduler };
    let refused = Outcome::Connection { detail: "reset".into() };
    let deliveries = [
        DeliveryMessage::first(key(), event(Some(PackedBody::pack(br#"{"type":"a","data":{}}"#)))),
        DeliveryMessage::first(key(), event(Some(PackedBody::pack(&b"pombo ".repeat(50))))),
        DeliveryMessage::first(key(), event(None)).waiting_until(NOW),
        DeliveryMessage::first(key(), event(None)).marked(),
        DeliveryMessage::first(key(), event(None)).repeated(),
        DeliveryMessage::by_reference(key(), Step { round: 2, attempt: 3 }),
        DeliveryMessage::probe(key(), Step { round: 0, attempt: 3 }, NOW),
        DeliveryMessage::outcome(key(), outcome(Outcome::Succeeded { status_code: 204 }, Decision::Succeeded)),
        DeliveryMessage::outcome(key(), outcome(refused, Decision::Retry(next))),
        DeliveryMessage::outcome(key(), outcome(Outcome::TimedOut, Decision::Failed)),
        DeliveryMessage::outcome(key(), outcome(Outcome::TimedOut, Decision::Failed)).with_new_record(event(None)),
    ];
    let slot = format!(
        r#"{{"v":1,"delivery":"{}","round":0,"attempt":1,"slot":{{"at":"{NOW}","since":4,"missed":2}}}}"#,
        key()
    );
    let jobs = [
        JobMessage::leg("a job".to_owned(), 3),
        JobMessage::wake("a job".to_owned()),
        JobMessage::publish("pombo#evt_1".to_owned()),
        JobMessage::sweep(),
    ];
    let deliveries = deliveries.iter().map(DeliveryMessage::to_json);
    deliveries.chain(jobs.iter().map(JobMessage::to_json)).chain([slot]).collect()
}

/// Reads a text as a message of either queue.
pub fn hold_for(text: &str) {
    if let Ok(message) = DeliveryMessage::parse(text) {
        reads_back(text, &message);
        judged(&message);
        if let Some(outcome) = &message.record {
            recorded(outcome);
        }
        if let Some(body) = message.event.as_ref().and_then(|event| event.body.as_ref())
            && let Ok(body) = body.unpack()
        {
            assert!(body.len() <= MAX_BODY + 1024 || body.len() <= text.len(), "{} bytes", body.len());
        }
    }
    if let Ok(message) = JobMessage::parse(text) {
        let json = message.to_json();
        assert!(is_taken_by_sqs(&json));
        assert_eq!(JobMessage::parse(&json).expect("what was written"), message);
        if let JobWork::Publish { publish } = &message.work
            && let Ok((tenant, id)) = Event::parse_key(publish)
        {
            assert_eq!(Event::key(&tenant, &id), *publish);
        }
    }
}

fn reads_back(text: &str, message: &DeliveryMessage) {
    let json = message.to_json();
    assert!(is_taken_by_sqs(&json), "{json}");
    assert_eq!(DeliveryMessage::parse(&json).expect("what was written"), *message);
    let waiting = message.clone().waiting_until(NOW).without_body();
    assert_eq!(DeliveryMessage::parse(&waiting.to_json()).expect("what waits"), waiting);
    if let Some(rest) = text.trim_start().strip_prefix('{') {
        let newer = format!(r#"{{"of a newer version":{{"x":[1,null]}},{rest}"#);
        assert_eq!(DeliveryMessage::parse(&newer).expect("a field that is unknown"), *message);
    }
}

/// `SendMessage`: "allowed Unicode characters".
fn is_taken_by_sqs(json: &str) -> bool {
    let taken = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    json.chars().all(taken)
}

fn judged(message: &DeliveryMessage) {
    let begun = Record::begin(message.delivery.clone(), new());
    for record in [None, Some(begun.clone()), Some(begun.round_opened("job", NOW)), Some(begun.claimed("other", NOW))] {
        let _ = verdict(record.as_ref(), message.head("me"), NOW);
    }
    if let Some(slot) = message.slot {
        let _ = slot.wait(NOW);
    }
}

fn recorded(outcome: &QueuedOutcome) {
    let before = Record::begin(key(), new()).round_opened("job", NOW).claimed(&outcome.holder, NOW);
    let Some(after) = before.record_attempt(&outcome.holder, outcome.attempt.clone(), outcome.decision) else { return };
    assert!(after.step >= before.step, "a step went back");
    assert!(after.claim.is_none() && after.attempts.len() == 1);
    assert!(after.attempts[0].answer.as_ref().is_none_or(|answer| answer.text.len() <= NEWEST_ANSWER));
    assert!(after.round_opened("job", NOW).step >= after.step, "a replay went back");
    if let Some(next) = after.next {
        let is_possible = match carrier(next, NOW) {
            Carrier::Queue(seconds) => seconds <= 900,
            Carrier::Schedule(at) => NOW.until(at).as_secs() >= 60 && at >= next.at && at.as_millis() % 1000 == 0,
        };
        // The last second of the year 9999 is no whole one.
        assert!(is_possible || next.at.as_seconds() == 253_402_207_199, "{next:?}");
    }
    let _ = outcome.attempt.ended_at();
}
