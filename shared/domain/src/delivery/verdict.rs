//! What a message may do, as a pure function of the record and the message.

use std::time::Duration;

use super::{Record, Step};
use crate::time::Timestamp;

/// What of a message decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    /// The attempt that the message asks for.
    pub step: Step,
    /// Whether the message says what a new record needs, so that it may begin one.
    pub begins: bool,
    /// Who handles the message: invocation and message.
    pub holder: &'a str,
    /// When the probe was ordered that the message asks for, if it asks for one.
    pub probe: Option<Timestamp>,
    /// Whether the message has reserved a slot of the endpoint's rate limit. Slots are reserved for attempts that are due, and
    /// the slot says how long to wait from then on: a changed limit or a pause takes hold of what waits.
    pub has_slot: bool,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Claim the next attempt, then make it.
    Claim,
    /// Another process may be sending: come back as a new message after its claim has ended. Never dropped, for that
    /// process may be dead.
    Wait {
        /// When the claim ends.
        until: Timestamp,
    },
    /// The attempt is not due yet: come back as a new message at that time. Scheduler may fire up to a minute early, and a
    /// queue may deliver a message twice.
    Early {
        /// When the attempt is due.
        due: Timestamp,
    },
    /// The outcome stands already; make sure that the next step is on its way, then drop.
    Ensure,
    /// There is nothing left to do.
    Drop(DropReason),
}

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The delivery has come to an end.
    Settled,
    /// Its step is ahead of the message's: the message is late or of an older round. Or the probe was made.
    Passed,
    /// The message asks for a later step than the record's next one. No part of Pombo sends such a message, because a record
    /// is written before the message that it calls for.
    Ahead,
    /// The record has expired, with its event.
    Gone,
}

/// How much before its time an attempt may be made: messages are delayed by whole seconds, and clocks differ.
const EARLY_ENOUGH: Duration = Duration::from_secs(1);

/// The verdict on a message at `now`.
#[must_use]
pub fn verdict(record: Option<&Record>, head: Head<'_>, now: Timestamp) -> Verdict {
    let Some(record) = record else {
        return if head.begins { Verdict::Claim } else { Verdict::Drop(DropReason::Gone) };
    };
    if record.status.is_settled() {
        return Verdict::Drop(DropReason::Settled);
    }
    if record.step > head.step {
        return Verdict::Drop(DropReason::Passed);
    }
    if record.step == head.step {
        return Verdict::Ensure;
    }
    if head.probe.is_some_and(|ordered| record.was_tried_since(ordered)) {
        return Verdict::Drop(DropReason::Passed);
    }
    if head.step != record.step.next() {
        return Verdict::Drop(DropReason::Ahead);
    }
    if let Some(claim) = record.live_claim(now)
        && claim.holder != head.holder
    {
        return Verdict::Wait { until: claim.until };
    }
    match record.due() {
        Some(due) if head.probe.is_none() && !head.has_slot && now.plus(EARLY_ENOUGH) < due => Verdict::Early { due },
        _ => Verdict::Claim,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::Status;
    use super::super::record::tests::{attempt, record};
    use super::*;
    use crate::outcome::Attempt;
    use crate::retry::{Next, Route};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_000_001);

    fn head(round: u32, attempt: u32) -> Head<'static> {
        Head { step: Step { round, attempt }, begins: false, holder: "me", probe: None, has_slot: false }
    }

    fn at(status: Status, round: u32, attempt: u32) -> Record {
        Record { status, step: Step { round, attempt }, ..record() }
    }

    #[test]
    fn without_a_record_only_a_first_message_begins_one() {
        assert_eq!(verdict(None, Head { begins: true, ..head(0, 1) }, NOW), Verdict::Claim);
        assert_eq!(verdict(None, head(0, 2), NOW), Verdict::Drop(DropReason::Gone));
    }

    #[test]
    fn a_settled_delivery_drops_every_message() {
        for status in [Status::Succeeded, Status::Failed, Status::Cancelled] {
            for step in [(0, 1), (0, 2), (9, 9)] {
                let verdict = verdict(Some(&at(status, 0, 1)), head(step.0, step.1), NOW);
                assert_eq!(verdict, Verdict::Drop(DropReason::Settled), "{status:?} {step:?}");
            }
        }
    }

    #[test]
    fn by_its_step_a_message_is_passed_ensured_or_claimed() {
        for (step, expected) in [
            ((0, 9), Verdict::Drop(DropReason::Passed)),
            ((1, 1), Verdict::Drop(DropReason::Passed)),
            ((1, 2), Verdict::Ensure),
            ((1, 3), Verdict::Claim),
            ((1, 4), Verdict::Drop(DropReason::Ahead)),
            ((2, 1), Verdict::Drop(DropReason::Ahead)),
            ((9, 9), Verdict::Drop(DropReason::Ahead)),
        ] {
            for status in [Status::Pending, Status::Retrying, Status::Held] {
                assert_eq!(
                    verdict(Some(&at(status, 1, 2)), head(step.0, step.1), NOW),
                    expected,
                    "{status:?} {step:?}"
                );
            }
        }
    }

    #[test]
    fn a_live_claim_of_another_is_waited_for_and_ones_own_or_a_dead_one_is_not() {
        let claimed = |holder, until| at(Status::Pending, 0, 0).claimed(holder, until);
        let verdict = |record: Record| verdict(Some(&record), head(0, 1), NOW);
        assert_eq!(verdict(claimed("other", LATER)), Verdict::Wait { until: LATER });
        assert_eq!(verdict(claimed("me", LATER)), Verdict::Claim);
        assert_eq!(verdict(claimed("other", NOW)), Verdict::Claim);
    }

    #[test]
    fn a_probe_is_made_once_however_often_its_message_comes() {
        let ordered = |millis| Head { probe: Some(Timestamp::from_millis(millis)), ..head(0, 1) };
        let mut held = at(Status::Held, 0, 0);
        assert_eq!(verdict(Some(&held), ordered(5), NOW), Verdict::Claim);
        held.attempts.push(Attempt { started_at: Timestamp::from_millis(7), ..attempt(0, 1) });
        assert_eq!(verdict(Some(&held), ordered(5), NOW), Verdict::Drop(DropReason::Passed));
        assert_eq!(verdict(Some(&held), ordered(8), NOW), Verdict::Claim, "the next probe");
        assert_eq!(verdict(Some(&held), head(0, 1), NOW), Verdict::Claim, "what is no probe");
    }

    #[test]
    fn an_attempt_waits_until_it_is_due_and_a_probe_does_not() {
        let due = |millis| {
            let next = Next { at: NOW.plus(Duration::from_millis(millis)), route: Route::Scheduler };
            Record { next: Some(next), ..at(Status::Retrying, 0, 1) }
        };
        let early = Verdict::Early { due: NOW.plus(Duration::from_secs(20)) };
        assert_eq!(verdict(Some(&due(20_000)), head(0, 2), NOW), early);
        assert_eq!(verdict(Some(&due(20_000)), head(0, 2), NOW.plus(Duration::from_secs(20))), Verdict::Claim);
        assert_eq!(
            verdict(Some(&due(1_000)), head(0, 2), NOW),
            Verdict::Claim,
            "messages are delayed by whole seconds"
        );
        let probe = Head { probe: Some(NOW), ..head(0, 2) };
        assert_eq!(verdict(Some(&due(20_000)), probe, NOW), Verdict::Claim);
        let slotted = Head { has_slot: true, ..head(0, 2) };
        assert_eq!(verdict(Some(&due(3_600_000)), slotted, NOW), Verdict::Claim, "its slot says when");
        assert_eq!(verdict(Some(&due(20_000)), head(0, 1), NOW), Verdict::Ensure);
        let looked_at = due(0).looked_at(LATER.plus(Duration::from_secs(3600)));
        assert_eq!(verdict(Some(&looked_at), head(0, 2), NOW), Verdict::Claim, "the sweep's own message");
        let held = Record { status: Status::Held, ..due(20_000) };
        assert_eq!(verdict(Some(&held), head(0, 2), NOW), Verdict::Claim, "what is held has no timer");
    }

    proptest! {
        /// Of two machines whose clocks are apart, one holds a claim and the other is asked for the same attempt. The longest
        /// claim is that of an invocation that has just begun.
        #[test]
        fn whatever_the_clocks_say_what_is_to_be_done_is_claimed_or_waited_for_and_not_for_ever(
            apart in -300_000i64..=300_000, left in 0i64..=65_000, attempt in 1u32..20,
        ) {
            let until = Timestamp::from_millis(NOW.as_millis() + left + apart);
            let record = at(Status::Pending, 0, 0).claimed("other", until);
            let record = Record { step: Step { round: 0, attempt: attempt - 1 }, ..record };
            match verdict(Some(&record), head(0, attempt), NOW) {
                Verdict::Claim => prop_assert!(apart <= -left, "a claim ends early by what the clocks are apart, no more"),
                Verdict::Wait { until: end } => {
                    prop_assert_eq!(end, until);
                    prop_assert!(NOW.until(end).as_millis() <= 365_000);
                    prop_assert_eq!(verdict(Some(&record), head(0, attempt), end), Verdict::Claim);
                }
                other => prop_assert!(false, "lost: {:?}", other),
            }
        }
    }

    #[test]
    fn a_claim_does_not_change_what_a_passed_or_equal_step_says() {
        let record = at(Status::Retrying, 0, 2).claimed("other", LATER);
        assert_eq!(verdict(Some(&record), head(0, 2), NOW), Verdict::Ensure);
        assert_eq!(verdict(Some(&record), head(0, 1), NOW), Verdict::Drop(DropReason::Passed));
    }
}
