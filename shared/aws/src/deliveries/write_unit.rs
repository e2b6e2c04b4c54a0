//! Keeps the record of a first success within one write unit.
//!
//! Most deliveries succeed at their first attempt, so the size of their records sets the price of an event. The
//! receiver's answer is kept as far as there is room for it.

use pombo_domain::delivery::{Record, Status};

use super::item::to_item;
use crate::item::{BadAttribute, size_of};

/// Maximum size of an item whose write costs one unit, in bytes (DynamoDB Developer Guide, "Read/write capacity mode").
const WRITE_UNIT: usize = 1024;
/// Bytes that the marks of a cut add: `cut`, and `n` with a number.
const CUT_MARKS: usize = 18;

/// Cuts the answer of a first success to the room that the write unit leaves. Other records are returned unchanged.
pub(super) fn within_a_unit(mut record: Record) -> Result<Record, BadAttribute> {
    while record.status == Status::Succeeded && record.older_attempts == 0 {
        let excess = size_of(&to_item(&record)?).saturating_sub(WRITE_UNIT);
        let [attempt] = &mut record.attempts[..] else { break };
        let Some(answer) = attempt.answer.as_mut().filter(|_| excess > 0) else { break };
        let room = answer.text.len().saturating_sub(excess + CUT_MARKS);
        if room > 0 {
            answer.shorten(room);
        } else {
            attempt.answer = None;
        }
    }
    Ok(record)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Step};
    use pombo_domain::ids::EndpointId;
    use pombo_domain::outcome::{Answer, Attempt, Outcome, SUCCESS_ANSWER, SentTo, Trigger};
    use pombo_domain::retry::Decision;
    use pombo_domain::time::Timestamp;
    use proptest::prelude::*;

    use super::*;

    /// A first success with identifiers of these sizes, and this answer.
    fn first_success(id: usize, event_type: usize, url: usize, answer: &str) -> Record {
        let accepted_at = Timestamp::from_millis(1_764_288_000_000);
        let id = "x".repeat(id);
        let key =
            DeliveryKey { endpoint_id: EndpointId::generate([9; 10]), accepted_at, event_id: id.parse().unwrap() };
        let new = NewDelivery {
            tenant: id.parse().unwrap(),
            event_type: "x".repeat(event_type).parse().unwrap(),
            expires_at: 1_766_880_000,
        };
        let mut answer = Answer::from(answer);
        answer.shorten(SUCCESS_ANSWER);
        let attempt = Attempt {
            step: Step::FIRST,
            started_at: accepted_at,
            duration_ms: 29_999,
            outcome: Outcome::Succeeded { status_code: 200 },
            sent_to: Some(SentTo { version: 123_456_789_012, url: Some("x".repeat(url)) }),
            answer: answer.if_any(),
            redelivered: true,
            trigger: Trigger::First,
        };
        // An emulator may give other ids than AWS.
        let writer = "x".repeat(36 + 1 + 36);
        let record = Record { writer, rev: 2, ..Record::begin(key, new) };
        record.record_attempt("me", attempt, Decision::Succeeded).unwrap()
    }

    fn size(record: &Record) -> usize {
        size_of(&to_item(record).unwrap())
    }

    /// Number of bytes that are kept of an answer with `answer` bytes.
    fn kept(id: usize, event_type: usize, url: usize, answer: usize) -> usize {
        let record = within_a_unit(first_success(id, event_type, url, &"y".repeat(answer))).unwrap();
        record.attempts[0].answer.as_ref().map_or(0, |answer| answer.text.len())
    }

    #[test]
    fn of_a_usual_delivery_512_bytes_of_the_answer_are_kept_and_of_the_largest_fewer() {
        assert_eq!(kept(30, 30, 60, 10_000), 512);
        assert!((350..450).contains(&kept(64, 128, 120, 10_000)), "{}", kept(64, 128, 120, 10_000));
        let largest = first_success(64, 128, 120, "");
        assert_eq!(within_a_unit(largest.clone()).unwrap(), largest, "there is nothing to cut");
    }

    #[test]
    fn a_failure_and_a_late_success_keep_their_answers() {
        let success = first_success(64, 128, 120, &"y".repeat(300));
        let failed = Record { status: Status::Failed, ..success.clone() };
        let retried = Record { older_attempts: 1, ..success };
        for record in [failed, retried] {
            assert_eq!(within_a_unit(record.clone()).unwrap(), record);
        }
    }

    proptest! {
        #[test]
        fn a_first_success_is_written_for_one_unit(
            id in 1usize..=64, event_type in 1usize..=128, url in 20usize..=120, answer in "\\PC{0,600}",
        ) {
            let record = first_success(id, event_type, url, &answer);
            let fitted = within_a_unit(record.clone()).unwrap();
            prop_assert!(size(&fitted) <= WRITE_UNIT, "{} bytes", size(&fitted));
            if size(&record) <= WRITE_UNIT {
                prop_assert_eq!(fitted, record, "nothing is cut without need");
            } else if let Some(answer) = &fitted.attempts[0].answer {
                prop_assert!(answer.cut);
                prop_assert!(size(&fitted) > WRITE_UNIT - CUT_MARKS - 4, "room is left: {} bytes", size(&fitted));
            }
        }
    }
}
