//! What a dead letter of the Deliveries queue calls for, as a pure function of the message and the record.

use pombo_domain::delivery::{Record, Status, Verdict, verdict};
use pombo_domain::message::{DeliveryMessage, QueuedOutcome};
use pombo_domain::outcome::{Attempt, Outcome};
use pombo_domain::retry::Decision;
use pombo_domain::time::Timestamp;

/// What to do with a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Remedy {
    /// It carries an outcome: apply it.
    Settle(Box<QueuedOutcome>),
    /// Nobody will make the attempt: write this record in the place of the one seen. The operator sees it and can replay.
    Fail(Box<Record>),
    /// The outcome of its attempt stands: make sure that the next step is on its way.
    Ensure,
    /// There is nothing to be done for it.
    Discard,
    /// A process may be making the attempt at this moment: look again in the next sweep.
    Leave,
}

/// The remedy for `message`. `holder` is who sweeps.
pub(super) fn remedy(message: &DeliveryMessage, record: Option<&Record>, holder: &str, now: Timestamp) -> Remedy {
    if let Some(outcome) = &message.record {
        return Remedy::Settle(Box::new(outcome.clone()));
    }
    match verdict(record, message.head(holder), now) {
        Verdict::Drop(_) => Remedy::Discard,
        Verdict::Ensure => Remedy::Ensure,
        Verdict::Wait { .. } => Remedy::Leave,
        // What is held is not lost: it is visible, and the drain sends it when the endpoint is back.
        Verdict::Claim if record.is_some_and(|record| record.status == Status::Held) => Remedy::Discard,
        Verdict::Claim | Verdict::Early { .. } => fail(message, record, holder, now),
    }
}

fn fail(message: &DeliveryMessage, record: Option<&Record>, holder: &str, now: Timestamp) -> Remedy {
    // A process that received the message while it had its mark may have made the attempt.
    let begun = || message.clone().received(None).new_record();
    let Some(seen) = record.cloned().or_else(begun) else { return Remedy::Discard };
    if seen.expires_at <= now.as_seconds() {
        return Remedy::Discard;
    }
    let attempt = Attempt {
        step: message.step,
        started_at: now,
        duration_ms: 0,
        outcome: Outcome::DeadLettered,
        answer: None,
        sent_to: None,
        redelivered: seen.was_abandoned(holder),
        trigger: Record::trigger(message.step),
    };
    seen.record_attempt(holder, attempt, Decision::Failed)
        .map_or(Remedy::Discard, |record| Remedy::Fail(Box::new(record)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Step};
    use pombo_domain::hops::Hops;
    use pombo_domain::message::EventPart;
    use pombo_domain::outcome::Trigger;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(100_000);
    const ALL: [Status; 6] =
        [Status::Pending, Status::Retrying, Status::Held, Status::Succeeded, Status::Failed, Status::Cancelled];

    fn key() -> DeliveryKey {
        DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: "e".parse().unwrap(),
        }
    }

    fn new(expires_at: i64) -> NewDelivery {
        NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at }
    }

    fn at(status: Status, attempt: u32) -> Record {
        Record { status, step: Step { round: 0, attempt }, ..Record::begin(key(), new(200_000)) }
    }

    fn plain(attempt: u32) -> DeliveryMessage {
        DeliveryMessage::by_reference(key(), Step { round: 0, attempt })
    }

    fn first(expires_at: i64) -> DeliveryMessage {
        DeliveryMessage::first(
            key(),
            EventPart { new: new(expires_at), endpoint_version: None, body: None, hops: Hops::NONE },
        )
    }

    fn name(remedy: &Remedy) -> &'static str {
        match remedy {
            Remedy::Settle(_) => "settle",
            Remedy::Fail(_) => "fail",
            Remedy::Ensure => "ensure",
            Remedy::Discard => "discard",
            Remedy::Leave => "leave",
        }
    }

    #[test]
    fn a_plain_message_by_the_status_and_step_of_its_record() {
        for status in ALL {
            // The message asks for the second attempt: it is ahead of a record without one.
            for (record_at, expected) in [(0, "discard"), (1, "fail"), (2, "ensure"), (3, "discard")] {
                let expected = match status {
                    Status::Succeeded | Status::Failed | Status::Cancelled => "discard",
                    Status::Held if expected == "fail" => "discard",
                    _ => expected,
                };
                let remedy = remedy(&plain(2), Some(&at(status, record_at)), "me", NOW);
                assert_eq!(name(&remedy), expected, "{status:?} at {record_at}");
            }
        }
    }

    #[test]
    fn a_live_claim_is_left_alone_and_a_dead_one_is_not() {
        let claimed = |until: u64| at(Status::Retrying, 1).claimed("other", NOW.plus(Duration::from_secs(until)));
        assert_eq!(remedy(&plain(2), Some(&claimed(1)), "me", NOW), Remedy::Leave);
        let Remedy::Fail(failed) = remedy(&plain(2), Some(&claimed(0)), "me", NOW) else { panic!("not failed") };
        assert!(failed.attempts[0].redelivered, "the dead process may have sent it");
    }

    #[test]
    fn without_a_record_only_what_begins_one_becomes_a_failed_delivery() {
        assert_eq!(remedy(&plain(1), None, "me", NOW), Remedy::Discard);
        assert_eq!(remedy(&first(100_000), None, "me", NOW), Remedy::Discard, "its event has expired");
        let Remedy::Fail(failed) = remedy(&first(100_001), None, "me", NOW) else { panic!("not failed") };
        assert_eq!((failed.status, failed.step, failed.tenant.as_str()), (Status::Failed, Step::FIRST, "t"));
    }

    #[test]
    fn a_failed_delivery_says_that_it_was_dead_lettered_at_the_messages_step() {
        let Remedy::Fail(failed) = remedy(&plain(2), Some(&at(Status::Retrying, 1)), "me", NOW) else {
            panic!("not failed")
        };
        let attempt = &failed.attempts[0];
        assert_eq!((failed.status, failed.step), (Status::Failed, Step { round: 0, attempt: 2 }));
        assert_eq!((&attempt.outcome, attempt.trigger), (&Outcome::DeadLettered, Trigger::Retry));
        assert_eq!(failed.next, None);
    }

    #[test]
    fn an_outcome_is_applied_whatever_the_record_says() {
        let attempt = Attempt {
            step: Step::FIRST,
            started_at: NOW,
            duration_ms: 1,
            outcome: Outcome::Succeeded { status_code: 200 },
            answer: None,
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        };
        let outcome = QueuedOutcome { holder: "dead".into(), attempt, decision: Decision::Succeeded };
        let message = DeliveryMessage::outcome(key(), outcome.clone());
        for status in ALL {
            assert_eq!(remedy(&message, Some(&at(status, 3)), "me", NOW), Remedy::Settle(Box::new(outcome.clone())));
        }
    }
}
