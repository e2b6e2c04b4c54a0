//! How an outcome changes the record, as a pure function of both.

use super::{DeliveryKey, NewDelivery, Record};
use crate::message::QueuedOutcome;
use crate::time::Timestamp;

/// The result of an outcome for the delivery's record.
#[derive(Debug, Clone, PartialEq)]
pub enum Settling {
    /// Write this record in the place of the record that was seen, or as the first one.
    Write(Box<Record>),
    /// The record may not change: it is settled, or already has this step or a later one.
    Superseded,
    /// The record has expired, with its event.
    Gone,
}

/// Applies an outcome to `record`. An attempt that was made without a claim may find no record; the record is then begun from
/// `new`. An attempt with a claim has no `new`, because the claim was written to a record.
#[must_use]
pub fn settling(
    record: Option<&Record>,
    key: &DeliveryKey,
    new: Option<&NewDelivery>,
    outcome: &QueuedOutcome,
    now: Timestamp,
) -> Settling {
    let begun;
    let record = match (record, new.filter(|new| now.as_seconds() < new.expires_at)) {
        (Some(record), _) => record,
        (None, Some(new)) => {
            begun = Record::begin(key.clone(), new.clone());
            &begun
        }
        (None, None) => return Settling::Gone,
    };
    match record.record_attempt(&outcome.holder, outcome.attempt.clone(), outcome.decision) {
        Some(changed) => Settling::Write(Box::new(changed)),
        None => Settling::Superseded,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{attempt, new, record};
    use super::super::{Status, Step};
    use super::*;
    use crate::outcome::Outcome;
    use crate::retry::{Decision, Next, Route};

    const NEXT: Next = Next { at: Timestamp::from_seconds(1_700_000_060), route: Route::Queue };
    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn outcome(decision: Decision) -> QueuedOutcome {
        let mut attempt = attempt(0, 1);
        if decision == Decision::Succeeded {
            attempt.outcome = Outcome::Succeeded { status_code: 200 };
        }
        QueuedOutcome { holder: "me".into(), attempt, decision }
    }

    fn settled(standing: Option<&Record>, new: Option<&NewDelivery>, decision: Decision) -> Settling {
        settling(standing, &record().key, new, &outcome(decision), NOW)
    }

    #[test]
    fn an_outcome_without_a_record_begins_one_with_its_attempt() {
        for (decision, status) in [
            (Decision::Succeeded, Status::Succeeded),
            (Decision::Retry(NEXT), Status::Retrying),
            (Decision::Failed, Status::Failed),
        ] {
            let Settling::Write(begun) = settled(None, Some(&new()), decision) else { panic!("{decision:?}") };
            assert_eq!((begun.status, begun.step, begun.attempts.len()), (status, Step::FIRST, 1));
            assert_eq!((&begun.tenant, begun.expires_at), (&record().tenant, record().expires_at));
        }
    }

    #[test]
    fn an_outcome_without_a_record_is_gone_once_the_delivery_has_expired_and_without_what_a_record_needs() {
        let expired = NewDelivery { expires_at: NOW.as_seconds(), ..new() };
        assert_eq!(settled(None, Some(&expired), Decision::Succeeded), Settling::Gone);
        assert_eq!(settled(None, None, Decision::Succeeded), Settling::Gone);
    }

    #[test]
    fn an_outcome_that_meets_a_record_changes_it_by_the_records_rules_alone() {
        let standing = |status, attempt| Record { status, step: Step { round: 0, attempt }, ..record() };
        for (status, attempt, decision, is_written) in [
            (Status::Pending, 0, Decision::Retry(NEXT), true),
            (Status::Retrying, 1, Decision::Retry(NEXT), false),
            (Status::Retrying, 1, Decision::Succeeded, true),
            (Status::Cancelled, 0, Decision::Failed, false),
            (Status::Succeeded, 1, Decision::Succeeded, false),
        ] {
            for new in [None, Some(new())] {
                let settled = settled(Some(&standing(status, attempt)), new.as_ref(), decision);
                assert_eq!(matches!(settled, Settling::Write(_)), is_written, "{status:?} {decision:?}");
                assert_eq!(settled == Settling::Superseded, !is_written, "{status:?} {decision:?}");
            }
        }
    }
}
