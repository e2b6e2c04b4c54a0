//! The record of a delivery and every change that may be made to it.
//!
//! Each method takes the record that was seen and gives the one to write in its place; the caller writes it under the
//! condition that the seen one still stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{DeliveryKey, Status, Step};
use crate::event_type::EventType;
use crate::ids::TenantId;
use crate::outcome::{Attempt, NEWEST_ANSWER, OLDER_ANSWER, SUCCESS_ANSWER, Trigger};
use crate::retry::{Decision, Next, Route};
use crate::time::Timestamp;

/// How many attempts are kept whole; older ones are counted.
pub const MOST_ATTEMPTS: usize = 12;

/// Maximum number of the endpoint's versions whose URLs are kept: the newest ones.
pub const MAX_URLS: usize = 4;

/// The holder of a claim that was never made.
const WITHOUT_CLAIM: &str = "without a claim";

/// A process's exclusive right to make the next attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Invocation and message.
    pub holder: String,
    /// When the invocation must have ended.
    pub until: Timestamp,
}

/// What a new record needs beside its key; the first message of a delivery carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDelivery {
    /// Whose event it is.
    pub tenant: TenantId,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// When event and delivery expire, in Unix seconds.
    pub expires_at: i64,
}

/// A delivery as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its key.
    pub key: DeliveryKey,
    /// Whose event it is.
    pub tenant: TenantId,
    /// The event's type.
    pub event_type: EventType,
    /// Where it stands.
    pub status: Status,
    /// The last outcome recorded; never goes back.
    pub step: Step,
    /// Who may make the next attempt, if somebody may.
    pub claim: Option<Claim>,
    /// The next attempt; always there while `retrying`.
    pub next: Option<Next>,
    /// When the sweep looks for the next attempt again, if it has queued that once more. A change of `next` clears it.
    pub next_look: Option<Timestamp>,
    /// The newest attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// The URL of each version of the endpoint that those attempts were sent to, as [`SentTo`] cuts it.
    pub urls: BTreeMap<u64, String>,
    /// How many attempts before those are no longer kept.
    pub older_attempts: u32,
    /// The job that last opened a round or released the delivery.
    pub job: Option<String>,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// Who wrote this revision: tells a write whose answer was lost from another's.
    pub writer: String,
    /// When the record expires, in Unix seconds.
    pub expires_at: i64,
    /// What a newer version stored beside these; kept as it is.
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// The places in the sparse indexes that a record takes while it is neither pending nor succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Endpoint and status.
    pub endpoint_status: String,
    /// Tenant, status and shard.
    pub tenant_status: String,
    /// Status and shard.
    pub stack_status: String,
    /// Time, event and endpoint.
    pub list_key: String,
    /// The shard of the timers, while `retrying`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// When the sweep has to look for the next attempt, in Unix milliseconds, while `retrying`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
}

impl Listing {
    /// The partition of `by_endpoint`.
    #[must_use]
    pub fn endpoint_partition(endpoint: &crate::ids::EndpointId, status: Status) -> String {
        format!("{endpoint}#{}", status.as_str())
    }

    /// A partition of `by_tenant`.
    #[must_use]
    pub fn tenant_partition(tenant: &TenantId, status: Status, shard: u8) -> String {
        format!("{tenant}#{}#{shard}", status.as_str())
    }

    /// A partition of `by_stack`.
    #[must_use]
    pub fn stack_partition(status: Status, shard: u8) -> String {
        format!("{}#{shard}", status.as_str())
    }
}

impl Record {
    /// The record of a delivery that nobody has tried yet. It is first written with a claim, a hold or an end.
    #[must_use]
    pub fn begin(key: DeliveryKey, new: NewDelivery) -> Self {
        Self {
            key,
            tenant: new.tenant,
            event_type: new.event_type,
            status: Status::Pending,
            step: Step::default(),
            claim: None,
            next: None,
            next_look: None,
            attempts: Vec::new(),
            urls: BTreeMap::new(),
            older_attempts: 0,
            job: None,
            rev: 0,
            writer: String::new(),
            expires_at: new.expires_at,
            unknown: BTreeMap::new(),
        }
    }

    /// Begins the record of a delivery whose first attempt may have been made without a claim, by a process that is dead. The
    /// record begins with the claim that this process would have had, already ended. The next attempt therefore says that it
    /// may be the second one.
    #[must_use]
    pub fn begin_again(key: DeliveryKey, new: NewDelivery) -> Self {
        let until = key.accepted_at;
        Self::begin(key, new).claimed(WITHOUT_CLAIM, until)
    }

    /// The claim that stands at `now`, whoever holds it.
    #[must_use]
    pub fn live_claim(&self, now: Timestamp) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| claim.until > now)
    }

    /// When the next attempt is due; `None` unless the delivery is `retrying`.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.next.filter(|_| self.status == Status::Retrying).map(|next| next.at)
    }

    /// When the sweep has to look whether the next attempt was made; `None` unless the delivery is `retrying`.
    #[must_use]
    pub fn look_due(&self) -> Option<Timestamp> {
        self.due().max(self.next_look.filter(|_| self.due().is_some()))
    }

    /// Whether a claim was left by a process that never recorded an outcome: it may have sent the attempt.
    #[must_use]
    pub fn was_abandoned(&self, holder: &str) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.holder != holder)
    }

    /// Whether an attempt was begun at `time` or later, as far as the record tells.
    #[must_use]
    pub fn was_tried_since(&self, time: Timestamp) -> bool {
        self.attempts.last().is_some_and(|newest| newest.started_at >= time)
    }

    /// Claims the next attempt. A claim never moves the step.
    #[must_use]
    pub fn claimed(&self, holder: &str, until: Timestamp) -> Self {
        Self { claim: Some(Claim { holder: holder.to_owned(), until }), ..self.clone() }
    }

    /// Records an attempt of `holder` and what follows it; `None` when the record may not change.
    ///
    /// A success is recorded unless one stands already, whatever the round: the receiver has the event. A failure only
    /// on a record that is not settled and whose step is behind. A failed probe is kept beside the others, once, and moves
    /// nothing.
    #[must_use]
    pub fn record_attempt(&self, holder: &str, attempt: Attempt, decision: Decision) -> Option<Self> {
        let allowed = match decision {
            Decision::Succeeded => self.status != Status::Succeeded,
            Decision::Retry(_) | Decision::Failed => !self.status.is_settled() && self.step < attempt.step,
            Decision::StillHeld => !self.status.is_settled() && self.step < attempt.step && !self.holds(&attempt),
        };
        if !allowed {
            return None;
        }
        let mut record = self.released_by(holder);
        if decision != Decision::StillHeld {
            record.step = self.step.max(attempt.step);
            record.next_look = None;
        }
        (record.status, record.next) = match decision {
            Decision::Succeeded => (Status::Succeeded, None),
            Decision::Retry(next) => (Status::Retrying, Some(next)),
            Decision::Failed => (Status::Failed, None),
            Decision::StillHeld => (self.status, self.next),
        };
        record.push(attempt);
        Some(record)
    }

    /// Whether the record holds another attempt of the same step. Then the request was made twice.
    #[must_use]
    pub fn holds_another(&self, attempt: &Attempt) -> bool {
        let time = |attempt: &Attempt| (attempt.started_at, attempt.duration_ms);
        self.attempts.iter().any(|known| known.step == attempt.step && time(known) != time(attempt))
    }

    /// The record without the claim of `holder`; another's stays.
    fn released_by(&self, holder: &str) -> Self {
        let claim = self.claim.clone().filter(|claim| claim.holder != holder);
        Self { claim, ..self.clone() }
    }

    /// Whether this very attempt is recorded.
    fn holds(&self, attempt: &Attempt) -> bool {
        self.attempts.iter().any(|known| (known.step, known.started_at) == (attempt.step, attempt.started_at))
    }

    fn push(&mut self, mut attempt: Attempt) {
        if let Some(sent_to) = &mut attempt.sent_to
            && let Some(url) = sent_to.url.take()
        {
            self.urls.insert(sent_to.version, url);
        }
        for older in &mut self.attempts {
            older.shorten_answer(OLDER_ANSWER);
        }
        self.attempts.push(attempt);
        if let Some(newest) = self.attempts.last_mut() {
            newest.shorten_answer(if newest.outcome.is_success() { SUCCESS_ANSWER } else { NEWEST_ANSWER });
        }
        let excess = self.attempts.len().saturating_sub(MOST_ATTEMPTS);
        self.attempts.drain(..excess);
        self.older_attempts += excess as u32;
        let kept: BTreeSet<u64> = self.attempts.iter().filter_map(Attempt::endpoint_version).collect();
        self.urls.retain(|version, _| kept.contains(version));
        while self.urls.len() > MAX_URLS {
            self.urls.pop_first();
        }
    }

    /// Holds the delivery: its endpoint is paused, or its circuit open. It has no timer; the drain moves it on. The claim of
    /// `holder` ends; that of a dead process is left: it tells that the attempt may have been sent.
    #[must_use]
    pub fn held(&self, holder: &str) -> Self {
        Self { status: Status::Held, next: None, next_look: None, ..self.released_by(holder) }
    }

    /// Ends the delivery: an operator asked for it, or its endpoint was deleted. The step is left as it was.
    #[must_use]
    pub fn cancelled(&self) -> Self {
        Self { status: Status::Cancelled, next: None, next_look: None, claim: None, ..self.clone() }
    }

    /// Opens the next round for a replay; the only change that un-settles a delivery. The claim of a dead process is
    /// dropped; the caller has made sure that none is live.
    #[must_use]
    pub fn round_opened(&self, job: &str, due: Timestamp) -> Self {
        Self {
            status: Status::Retrying,
            step: Step { round: self.step.round.saturating_add(1), attempt: 0 },
            next: Some(Next { at: due, route: Route::Queue }),
            next_look: None,
            claim: None,
            job: Some(job.to_owned()),
            ..self.clone()
        }
    }

    /// Lets a held delivery go on with the attempts that it has left.
    #[must_use]
    pub fn released(&self, job: &str, due: Timestamp) -> Self {
        Self {
            status: Status::Retrying,
            next: Some(Next { at: due, route: Route::Queue }),
            next_look: None,
            job: Some(job.to_owned()),
            ..self.clone()
        }
    }

    /// Puts the next attempt at another time, after a long wait. The claim of `holder` ends.
    #[must_use]
    pub fn due_at(&self, holder: &str, next: Next) -> Self {
        let record = self.released_by(holder);
        Self { status: Status::Retrying, next: Some(next), next_look: None, ..record }
    }

    /// The sweep has queued the next attempt once more, and looks again at `time`. The attempt stays due: its message never
    /// came. The claim of a dead process stays: it tells that the attempt may have been sent.
    #[must_use]
    pub fn looked_at(&self, time: Timestamp) -> Self {
        Self { next_look: Some(time), ..self.clone() }
    }

    /// Why the attempt at `step` is made.
    #[must_use]
    pub const fn trigger(step: Step) -> Trigger {
        match step {
            Step { round: 0, attempt: 0 | 1 } => Trigger::First,
            Step { attempt: 0 | 1, .. } => Trigger::Replay,
            Step { .. } => Trigger::Retry,
        }
    }

    /// Whether the attempt at `step` is made although the endpoint's circuit is open, without being its probe. Only a test's
    /// own attempt is: a test that is replayed is a delivery like any other.
    #[must_use]
    pub fn passes_open_circuit(&self, step: Step) -> bool {
        self.event_type.is_ping() && step == Step::FIRST
    }

    /// The record's places in the indexes; `None` for what is pending or succeeded, so that a delivery which succeeds
    /// at once pays for no index write.
    #[must_use]
    pub fn listing(&self) -> Option<Listing> {
        if !Status::LISTED.contains(&self.status) {
            return None;
        }
        let shard = self.key.shard();
        let due = self.look_due();
        Some(Listing {
            endpoint_status: Listing::endpoint_partition(&self.key.endpoint_id, self.status),
            tenant_status: Listing::tenant_partition(&self.tenant, self.status, shard),
            stack_status: Listing::stack_partition(self.status, shard),
            list_key: self.key.list_key(),
            due_shard: due.map(|_| shard.to_string()),
            due_at: due.map(Timestamp::as_millis),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::ids::EndpointId;
    use crate::outcome::{Outcome, SentTo};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_700_000_000_001);
    const NEXT: Next = Next { at: Timestamp::from_millis(1_700_000_060_000), route: Route::Scheduler };

    pub(in crate::delivery) fn new() -> NewDelivery {
        NewDelivery {
            tenant: "acme".parse().unwrap(),
            event_type: "student.created".parse().unwrap(),
            expires_at: 1_702_592_000,
        }
    }

    pub(in crate::delivery) fn record() -> Record {
        let key = DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: NOW,
            event_id: "evt_1".parse().unwrap(),
        };
        Record::begin(key, new())
    }

    pub(in crate::delivery) fn attempt(round: u32, attempt: u32) -> Attempt {
        Attempt {
            step: Step { round, attempt },
            started_at: NOW,
            duration_ms: 20,
            outcome: Outcome::HttpStatus { status_code: 500 },
            answer: Some("x".repeat(3000).as_str().into()),
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        }
    }

    fn at(status: Status, round: u32, attempt: u32) -> Record {
        Record { status, step: Step { round, attempt }, ..record() }
    }

    const ALL: [Status; 6] =
        [Status::Pending, Status::Retrying, Status::Held, Status::Succeeded, Status::Failed, Status::Cancelled];

    #[test]
    fn a_success_is_recorded_unless_one_stands_and_never_moves_the_step_back() {
        for status in ALL {
            let recorded = at(status, 1, 0).record_attempt("me", attempt(0, 3), Decision::Succeeded);
            assert_eq!(recorded.is_some(), status != Status::Succeeded, "{status:?}");
            if let Some(record) = recorded {
                assert_eq!((record.status, record.step), (Status::Succeeded, Step { round: 1, attempt: 0 }));
                assert_eq!((record.next, record.attempts.len()), (None, 1));
            }
        }
    }

    #[test]
    fn only_the_first_attempt_of_a_test_passes_an_open_circuit() {
        let test = Record { event_type: EventType::ping(), ..record() };
        for (round, attempt, passes) in [(0, 1, true), (0, 2, false), (1, 1, false), (1, 0, false)] {
            let step = Step { round, attempt };
            assert_eq!(test.passes_open_circuit(step), passes, "{step}");
            assert!(!record().passes_open_circuit(step), "{step}");
        }
    }

    #[test]
    fn a_failure_is_recorded_only_on_an_unsettled_record_whose_step_is_behind() {
        for status in ALL {
            for (step, behind) in [((0, 1), true), ((0, 2), false), ((0, 3), false), ((1, 0), false)] {
                for decision in [Decision::Retry(NEXT), Decision::Failed] {
                    let recorded = at(status, step.0, step.1).record_attempt("me", attempt(0, 2), decision);
                    assert_eq!(recorded.is_some(), behind && !status.is_settled(), "{status:?} {step:?}");
                }
            }
        }
    }

    #[test]
    fn a_failed_probe_is_kept_once_and_moves_nothing_but_its_claim() {
        let held = at(Status::Held, 0, 2).claimed("me", NOW);
        let probe = attempt(0, 3);
        let after = held.record_attempt("me", probe.clone(), Decision::StillHeld).unwrap();
        assert_eq!((after.status, after.step, &after.claim, after.attempts.len()), (Status::Held, held.step, &None, 1));
        assert_eq!(after.record_attempt("me", probe.clone(), Decision::StillHeld), None, "its outcome came twice");
        let later = Attempt { started_at: NOW.plus(std::time::Duration::from_secs(30)), ..probe.clone() };
        assert!(after.record_attempt("me", later, Decision::StillHeld).is_some(), "the next probe");
        // Released while the probe was under way: it goes on as it was released.
        let released = held.released("job", NOW);
        let after = released.record_attempt("me", probe.clone(), Decision::StillHeld).unwrap();
        assert_eq!((after.status, after.next, after.step), (Status::Retrying, released.next, held.step));
        for settled in [Status::Succeeded, Status::Failed, Status::Cancelled] {
            assert_eq!(at(settled, 0, 2).record_attempt("me", probe.clone(), Decision::StillHeld), None);
        }
        assert_eq!(at(Status::Retrying, 0, 3).record_attempt("me", probe, Decision::StillHeld), None, "passed");
    }

    #[test]
    fn a_record_that_begins_again_tells_of_an_attempt_and_holds_up_nobody() {
        let begun = Record::begin_again(record().key, new());
        assert!(begun.was_abandoned("anybody") && begun.live_claim(begun.key.accepted_at).is_none());
        assert!(begun.held("me").was_abandoned("anybody"), "also after it was held");
        assert_eq!(Record { claim: None, ..begun }, record());
    }

    #[test]
    fn another_attempt_of_the_same_step_is_told_from_the_same_attempt() {
        let record = record().record_attempt("me", attempt(0, 1), Decision::Retry(NEXT)).unwrap();
        assert!(!record.holds_another(&attempt(0, 1)), "the attempt itself");
        assert!(!record.holds_another(&Attempt { started_at: LATER, ..attempt(0, 2) }), "the next step");
        assert!(record.holds_another(&Attempt { started_at: LATER, ..attempt(0, 1) }));
        assert!(record.holds_another(&Attempt { duration_ms: 21, ..attempt(0, 1) }));
    }

    #[test]
    fn an_outcome_ends_its_own_claim_and_no_others() {
        for (holder, left) in [("me", false), ("other", true)] {
            let claimed = record().claimed(holder, NOW);
            for decision in [Decision::Retry(NEXT), Decision::Succeeded] {
                let recorded = claimed.record_attempt("me", attempt(0, 1), decision).unwrap();
                assert_eq!(recorded.claim.is_some(), left);
            }
        }
    }

    #[test]
    fn a_hold_leaves_a_dead_claim_that_tells_of_an_attempt() {
        for (claimed, left) in [("me", false), ("dead", true)] {
            let held = record().claimed(claimed, NOW).held("me");
            assert_eq!((held.status, held.next, held.was_abandoned("next")), (Status::Held, None, left));
        }
    }

    #[test]
    fn a_claim_changes_neither_status_nor_step() {
        for status in ALL {
            let claimed = at(status, 2, 1).claimed("me", NOW);
            assert_eq!((claimed.status, claimed.step), (status, Step { round: 2, attempt: 1 }));
            assert!(claimed.was_abandoned("other") && !claimed.was_abandoned("me"));
        }
    }

    #[test]
    fn a_record_stays_small_however_often_it_is_tried() {
        let mut record = record();
        for number in 1..=30 {
            let sent_to = SentTo { version: number.into(), url: Some(format!("https://example.com/{number}")) };
            let attempt = Attempt { sent_to: Some(sent_to), ..attempt(0, number) };
            record = record.record_attempt("me", attempt, Decision::Retry(NEXT)).unwrap();
        }
        assert_eq!((record.attempts.len(), record.older_attempts), (MOST_ATTEMPTS, 18));
        assert_eq!(record.urls.keys().copied().collect::<Vec<_>>(), [27, 28, 29, 30], "of the newest versions");
        assert!(record.attempts.iter().all(|attempt| attempt.sent_to.as_ref().unwrap().url.is_none()));
        let answers: Vec<usize> = record.attempts.iter().map(|a| a.answer.as_ref().unwrap().text.len()).collect();
        assert_eq!(answers[..11], [OLDER_ANSWER; 11]);
        assert_eq!(answers[11], NEWEST_ANSWER);
    }

    #[test]
    fn each_versions_url_is_kept_once_and_a_successs_answer_is_cut_sooner() {
        let sent = |round, url: &str| Attempt {
            sent_to: Some(SentTo { version: 7, url: Some(url.to_owned()) }),
            ..attempt(0, round)
        };
        let record = record().record_attempt("me", sent(1, "https://a"), Decision::Retry(NEXT)).unwrap();
        let success = Attempt { outcome: Outcome::Succeeded { status_code: 200 }, ..sent(2, "https://a") };
        let record = record.record_attempt("me", success, Decision::Succeeded).unwrap();
        assert_eq!(record.urls, [(7, "https://a".to_owned())].into());
        let versions: Vec<_> = record.attempts.iter().map(Attempt::endpoint_version).collect();
        assert_eq!(versions, [Some(7), Some(7)]);
        let kept: Vec<_> = record.attempts.iter().map(|attempt| attempt.answer.as_ref().unwrap().text.len()).collect();
        assert_eq!(kept, [OLDER_ANSWER, SUCCESS_ANSWER]);
    }

    #[test]
    fn a_replay_opens_the_next_round_and_a_release_keeps_the_step() {
        let opened = at(Status::Failed, 1, 4).round_opened("job", NOW);
        assert_eq!((opened.status, opened.step), (Status::Retrying, Step { round: 2, attempt: 0 }));
        let released = at(Status::Held, 1, 2).released("job", NOW);
        assert_eq!((released.status, released.step), (Status::Retrying, Step { round: 1, attempt: 2 }));
        assert_eq!(released.next.unwrap().at, NOW);
    }

    #[test]
    fn triggers_follow_from_the_step() {
        let trigger = |round, attempt| Record::trigger(Step { round, attempt });
        assert_eq!(
            [trigger(0, 1), trigger(0, 2), trigger(1, 1), trigger(1, 2)],
            [Trigger::First, Trigger::Retry, Trigger::Replay, Trigger::Retry]
        );
    }

    #[test]
    fn what_is_pending_or_succeeded_is_on_no_list_and_only_what_retries_has_a_timer() {
        for status in ALL {
            let record = Record { next: Some(NEXT), ..at(status, 0, 1) };
            let listing = record.listing();
            assert_eq!(listing.is_some(), !matches!(status, Status::Pending | Status::Succeeded), "{status:?}");
            if let Some(listing) = listing {
                assert_eq!(listing.due_at.is_some(), status == Status::Retrying);
                assert!(listing.endpoint_status.ends_with(status.as_str()));
            }
        }
    }
}
