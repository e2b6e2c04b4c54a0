//! Jobs: work in many legs, each of which may die anywhere and run again.
//!
//! A leg first stores the page of deliveries that it works on, then changes them one by one under a condition, queues
//! their messages, and only then moves the job on. A leg that runs again takes the stored page: a delivery that bears the
//! job's id was changed by the run before, counts as queued, and its message is sent again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cursor::{seal, unseal};
use crate::delivery::{DeliveryKey, Record, SHARDS, Status, shard_of};
use crate::ids::{EndpointId, TenantId, base32};
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// The most deliveries in a page: what fits the job's item, and one leg's time.
pub const LARGEST_PAGE: usize = 500;

/// A leg that has not ended by then is stalled: the sweep queues it again. Longer than a leg can run.
pub const STALLED_AFTER: Duration = Duration::from_secs(300);

/// The key of a job: whose it is, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    /// A tenant's name, or `*` for the whole stack.
    pub owner: String,
    /// When it was made, and a random part.
    pub created_key: String,
}

impl JobKey {
    /// A new job's key.
    #[must_use]
    pub fn generate(tenant: Option<&TenantId>, now: Timestamp, random: [u8; 10]) -> Self {
        let owner = tenant.map_or_else(|| "*".to_owned(), ToString::to_string);
        Self { owner, created_key: format!("{now}#{}", base32(&random)) }
    }

    /// Which shard of the timers holds the job.
    #[must_use]
    pub fn shard(&self) -> u8 {
        shard_of(&self.created_key, SHARDS)
    }
}

/// The id of a job: its key as base64url.
impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seal(&format!("{}/{}", self.owner, self.created_key)))
    }
}

impl FromStr for JobKey {
    type Err = Invalid;

    fn from_str(id: &str) -> Result<Self, Invalid> {
        let text = unseal(id).ok_or(Invalid::rule("must be a job's id"))?;
        let (owner, created_key) = text.split_once('/').ok_or(Invalid::rule("must be a job's id"))?;
        let time = created_key.split_once('#').and_then(|(time, _)| time.parse::<Timestamp>().ok());
        if (owner == "*" || owner.parse::<TenantId>().is_ok()) && time.is_some() {
            Ok(Self { owner: owner.to_owned(), created_key: created_key.to_owned() })
        } else {
            Err(Invalid::rule("must be a job's id"))
        }
    }
}

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    /// Opens the next round of chosen deliveries, which are its only page.
    Replay,
    /// Moves the held deliveries of an endpoint that was resumed or deleted.
    Drain {
        /// The endpoint.
        endpoint_id: EndpointId,
    },
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    /// It has legs to run.
    Running,
    /// It has done all.
    Done,
    /// It was stopped, or what it worked on is gone.
    Cancelled,
}

/// A delivery of a page, with the round that was seen when the page was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The delivery.
    pub delivery: DeliveryKey,
    /// Its round then.
    pub round: u32,
}

/// What a job has done so far. `matched` is `queued` and all `skipped` together once the job has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Deliveries that were chosen.
    pub matched: u64,
    /// Deliveries whose message was queued.
    pub queued: u64,
    /// Deliveries that were left alone, by reason.
    #[serde(default)]
    pub skipped: BTreeMap<RowResult, u64>,
}

impl Counts {
    /// Counts one delivery.
    pub fn add(&mut self, result: RowResult) {
        self.matched += 1;
        match result {
            RowResult::Queued => self.queued += 1,
            reason => *self.skipped.entry(reason).or_default() += 1,
        }
    }
}

/// What became of one delivery of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowResult {
    /// Its message was queued.
    Queued,
    /// It is being sent at this moment.
    InFlight,
    /// It changed since the page was made: another replay was faster, or it is no longer held.
    Changed,
    /// There is no such delivery, or it has expired.
    NotFound,
    /// Its endpoint is paused: a replay would only be held.
    EndpointPaused,
    /// Its endpoint was deleted: a replay would only be cancelled.
    EndpointDeleted,
}

/// What a job wants of one delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum RowPlan {
    /// Write this record in the place of the one seen, then queue its next attempt.
    Write(Box<Record>),
    /// An earlier run of the leg wrote it: it counts as queued. If its next attempt is still to come, that is queued
    /// again, for the time that the record says.
    QueueAgain,
    /// Leave it alone.
    Skip(RowResult),
}

/// What to do with a message that asks for a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegVerdict {
    /// Run it.
    Run,
    /// It was passed already: queue the next one, for the run that passed it may have died before it did.
    Passed {
        /// The leg that is next.
        next: u32,
    },
    /// The job has ended.
    Ended,
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Whose it is: a tenant, or `*`.
    pub owner: String,
    /// When it was made, and a random part.
    pub created_key: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: JobKind,
    /// Where it stands.
    pub status: JobStatus,
    /// The leg to run, from 1.
    pub leg: u32,
    /// The page of that leg, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Vec<Row>>,
    /// What it has done.
    pub counts: Counts,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last moved on.
    pub updated_at: Timestamp,
    /// When its leg counts as stalled.
    pub due: Timestamp,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// Who wrote this revision.
    pub writer: String,
    /// When it expires, in Unix seconds.
    pub expires_at: i64,
}

impl Job {
    /// A new job, at its first leg.
    #[must_use]
    pub fn new(key: JobKey, kind: JobKind, now: Timestamp, retention: Duration) -> Self {
        Self {
            owner: key.owner,
            created_key: key.created_key,
            kind,
            status: JobStatus::Running,
            leg: 1,
            page: None,
            counts: Counts::default(),
            created_at: now,
            updated_at: now,
            due: now.plus(STALLED_AFTER),
            rev: 0,
            writer: String::new(),
            expires_at: now.plus(retention).as_seconds(),
        }
    }

    /// The job's key.
    #[must_use]
    pub fn key(&self) -> JobKey {
        JobKey { owner: self.owner.clone(), created_key: self.created_key.clone() }
    }

    /// What to do with a message that asks for `leg`.
    #[must_use]
    pub fn verdict(&self, leg: u32) -> LegVerdict {
        if self.status != JobStatus::Running {
            LegVerdict::Ended
        } else if leg < self.leg {
            LegVerdict::Passed { next: self.leg }
        } else {
            LegVerdict::Run
        }
    }

    /// The job with the page of its leg stored.
    #[must_use]
    pub fn with_page(&self, page: Vec<Row>, now: Timestamp) -> Self {
        Self { page: Some(page), updated_at: now, due: now.plus(STALLED_AFTER), ..self.clone() }
    }

    /// The job after its leg: counted, and at its next leg, due to be stalled `pause` later than one without a pause.
    #[must_use]
    pub fn leg_done(&self, results: impl IntoIterator<Item = RowResult>, pause: Duration, now: Timestamp) -> Self {
        let mut counts = self.counts.clone();
        results.into_iter().for_each(|result| counts.add(result));
        let due = now.plus(STALLED_AFTER + pause);
        Self { page: None, leg: self.leg + 1, counts, updated_at: now, due, ..self.clone() }
    }

    /// The job, whose leg is stalled, with its message sent once more.
    #[must_use]
    pub fn queued_again(&self, now: Timestamp) -> Self {
        Self { due: now.plus(STALLED_AFTER), ..self.clone() }
    }

    /// The job at its end.
    #[must_use]
    pub fn ended(&self, status: JobStatus, now: Timestamp) -> Self {
        Self { status, page: None, updated_at: now, ..self.clone() }
    }

    /// What the job wants of a delivery of its page.
    #[must_use]
    pub fn plan(&self, row: &Row, record: Option<&Record>, now: Timestamp) -> RowPlan {
        let id = self.key().to_string();
        let Some(record) = record else { return RowPlan::Skip(RowResult::NotFound) };
        match self.kind {
            JobKind::Replay => {
                if record.job.as_ref() == Some(&id) && record.step.round == row.round + 1 {
                    RowPlan::QueueAgain
                } else if record.step.round != row.round {
                    RowPlan::Skip(RowResult::Changed)
                } else if record.live_claim(now).is_some() {
                    RowPlan::Skip(RowResult::InFlight)
                } else {
                    RowPlan::Write(Box::new(record.round_opened(&id, now)))
                }
            }
            JobKind::Drain { .. } => {
                // A page holds what its records said was held, never what a late index says. So what bears the job's id
                // and is held no longer was released by an earlier run of this leg, however far it has come since.
                if record.status == Status::Held {
                    RowPlan::Write(Box::new(record.released(&id, now)))
                } else if record.job.as_ref() == Some(&id) && record.step.round == row.round {
                    RowPlan::QueueAgain
                } else {
                    RowPlan::Skip(RowResult::Changed)
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::delivery::{NewDelivery, Step};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_700_000_009_000);

    fn job(kind: JobKind) -> Job {
        Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, Duration::from_secs(86_400))
    }

    fn drain() -> Job {
        job(JobKind::Drain { endpoint_id: EndpointId::generate([1; 10]) })
    }

    fn record(status: Status, round: u32) -> Record {
        let key = DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: NOW,
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
        Record { status, step: Step { round, attempt: 2 }, ..Record::begin(key, new) }
    }

    fn row(round: u32) -> Row {
        Row { delivery: record(Status::Failed, 0).key, round }
    }

    #[test]
    fn an_id_is_the_key_and_reads_back() {
        let tenant = "acme".parse().unwrap();
        for key in [JobKey::generate(None, NOW, [1; 10]), JobKey::generate(Some(&tenant), NOW, [2; 10])] {
            assert_eq!(key.to_string().parse::<JobKey>().unwrap(), key);
        }
        for wrong in ["", "x", &seal("*"), &seal("*/now"), &seal("a b/2026-01-31T09:30:00.050Z#x")] {
            assert!(wrong.parse::<JobKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_leg_runs_once_a_passed_one_queues_the_next_and_an_ended_job_ignores_all() {
        let job = drain().leg_done([RowResult::Queued], Duration::ZERO, NOW);
        assert_eq!((job.leg, job.verdict(1), job.verdict(2)), (2, LegVerdict::Passed { next: 2 }, LegVerdict::Run));
        assert_eq!(job.ended(JobStatus::Done, NOW).verdict(2), LegVerdict::Ended);
    }

    #[test]
    fn counts_add_up() {
        let results =
            [RowResult::Queued, RowResult::InFlight, RowResult::Queued, RowResult::NotFound, RowResult::InFlight];
        let counts = job(JobKind::Replay).leg_done(results, Duration::ZERO, NOW).counts;
        assert_eq!((counts.matched, counts.queued), (5, 2));
        assert_eq!(counts.matched, counts.queued + counts.skipped.values().sum::<u64>());
    }

    #[test]
    fn a_replay_opens_one_round_however_often_its_leg_runs() {
        let job = job(JobKind::Replay);
        let RowPlan::Write(opened) = job.plan(&row(0), Some(&record(Status::Failed, 0)), NOW) else { unreachable!() };
        assert_eq!(opened.step, Step { round: 1, attempt: 0 });
        assert_eq!(job.plan(&row(0), Some(&opened), NOW), RowPlan::QueueAgain);
        let tried = Record { step: Step { round: 1, attempt: 3 }, status: Status::Succeeded, ..*opened };
        assert_eq!(job.plan(&row(0), Some(&tried), NOW), RowPlan::QueueAgain, "its message is dropped by dispatch");
    }

    #[test]
    fn a_replay_leaves_alone_what_is_sent_what_changed_and_what_is_gone() {
        let job = job(JobKind::Replay);
        let claimed = record(Status::Retrying, 0).claimed("x", LATER);
        assert_eq!(job.plan(&row(0), Some(&claimed), NOW), RowPlan::Skip(RowResult::InFlight));
        assert!(matches!(job.plan(&row(0), Some(&claimed), LATER), RowPlan::Write(_)), "a dead claim");
        assert_eq!(job.plan(&row(0), Some(&record(Status::Failed, 1)), NOW), RowPlan::Skip(RowResult::Changed));
        assert_eq!(job.plan(&row(0), None, NOW), RowPlan::Skip(RowResult::NotFound));
    }

    #[test]
    fn a_drain_releases_what_is_held_once() {
        let job = drain();
        let RowPlan::Write(released) = job.plan(&row(0), Some(&record(Status::Held, 0)), NOW) else { unreachable!() };
        assert_eq!((released.status, released.step.attempt), (Status::Retrying, 2));
        assert_eq!(job.plan(&row(0), Some(&released), NOW), RowPlan::QueueAgain);
        let sent = Record { status: Status::Succeeded, ..*released.clone() };
        assert_eq!(job.plan(&row(0), Some(&sent), NOW), RowPlan::QueueAgain, "the earlier run counts");
        let replayed = sent.round_opened("another", NOW);
        assert_eq!(job.plan(&row(0), Some(&replayed), NOW), RowPlan::Skip(RowResult::Changed));
        assert_eq!(job.plan(&row(0), Some(&record(Status::Succeeded, 0)), NOW), RowPlan::Skip(RowResult::Changed));
    }

    #[test]
    fn a_drain_releases_again_what_was_held_again_after_it_had_released_it() {
        let job = drain();
        let RowPlan::Write(released) = job.plan(&row(0), Some(&record(Status::Held, 0)), NOW) else { unreachable!() };
        let held_again = released.held();
        assert!(matches!(job.plan(&row(0), Some(&held_again), NOW), RowPlan::Write(_)));
    }

    #[test]
    fn a_stalled_job_is_due_again_later_and_otherwise_as_it_was() {
        let job = drain().with_page(vec![row(0)], NOW);
        let again = job.queued_again(LATER);
        assert_eq!(again.due, LATER.plus(STALLED_AFTER));
        assert_eq!(Job { due: job.due, ..again }, job);
    }
}
