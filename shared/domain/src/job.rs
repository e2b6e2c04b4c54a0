//! Jobs: work in many legs, each of which may die anywhere and run again.
//!
//! A leg first stores the page of deliveries that it works on, then changes them one by one under a condition, queues
//! their messages, and only then moves the job on. A leg that runs again takes the stored page: a delivery that bears the
//! job's id was changed by the run before, counts as queued, and its message is sent again.
//!
//! A message may come twice, and a circuit that closes *wakes* its drain by a message of its own, while the message for the
//! drain's next leg is still delayed. Only one of the messages may have a successor. So a job remembers which message's run
//! brought it to its leg: that message alone queues the leg again when it comes again, since its run may have died before it
//! did. Every other message that asks for a leg which is passed is a spare.

mod ask;
mod counts;
mod key;
mod plan;
mod selection;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::ask::{Arrival, Ask, Asked, LegVerdict};
pub use self::counts::{Counts, RowResult};
pub use self::key::JobKey;
pub use self::plan::{RowPlan, Seen};
pub use self::selection::{Filter, Include, Look, Ordered, Scope, Selection, Source, Unrecorded};
use crate::delivery::DeliveryKey;
use crate::ids::EndpointId;
use crate::time::Timestamp;
use crate::unknown::Unknown;

/// The most deliveries in a page: what fits the job's item, and one leg's time.
pub const LARGEST_PAGE: usize = 500;

/// A leg that has not ended by then is stalled: the sweep queues it again. Longer than a leg can run.
pub const STALLED_AFTER: Duration = Duration::from_secs(300);

/// What a job does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobKind {
    /// Opens the next round of chosen deliveries, which are its only page.
    Replay,
    /// Opens the next round of all deliveries that match, or the first of those that are missing.
    ReplayMatching(Selection),
    /// Moves the held deliveries of an endpoint whose circuit opened, or that was resumed or deleted.
    Drain {
        /// The endpoint.
        endpoint_id: EndpointId,
    },
}

/// Why a job was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// An operator asked for it.
    Requested,
    /// Its endpoint is paused.
    EndpointPaused,
    /// Its endpoint is deleted.
    EndpointDeleted,
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
    /// Whether it had no outcome then, or no record: its first message is to be sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub first: bool,
}

/// A job as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// How it came to that leg; `None` at the first one, and when an older version brought it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// The page of that leg, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Vec<Row>>,
    /// How far apart the deliveries of that page are sent, in microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spacing_us: u64,
    /// Whether it is to stop. What its page has changed is still sent and counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
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
    /// What a newer version stored beside these; kept as it is. The adapter reads and writes it.
    #[serde(skip)]
    pub unknown: Unknown,
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
            arrival: None,
            page: None,
            spacing_us: 0,
            stopping: false,
            stop_reason: None,
            counts: Counts::default(),
            created_at: now,
            updated_at: now,
            due: now.plus(STALLED_AFTER),
            rev: 0,
            writer: String::new(),
            expires_at: now.plus(retention).as_seconds(),
            unknown: Unknown::none(),
        }
    }

    /// The job's key.
    #[must_use]
    pub fn key(&self) -> JobKey {
        JobKey { owner: self.owner.clone(), created_key: self.created_key.clone() }
    }

    /// The job with the page of its leg stored, to be sent so far apart.
    #[must_use]
    pub fn with_page(&self, page: Vec<Row>, spacing: Duration, now: Timestamp) -> Self {
        let spacing_us = u64::try_from(spacing.as_micros()).unwrap_or(u64::MAX);
        Self { page: Some(page), spacing_us, updated_at: now, due: now.plus(STALLED_AFTER), ..self.clone() }
    }

    /// When the delivery at `place` in the page is to be sent, if the first is sent at `now`.
    fn due_at_place(&self, place: usize, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_micros(self.spacing_us.saturating_mul(place as u64)))
    }

    /// How long sending the page takes: before that, the next leg has nothing to do.
    #[must_use]
    pub fn page_takes(&self) -> Duration {
        let rows = self.page.as_ref().map_or(0, Vec::len) as u64;
        Duration::from_micros(self.spacing_us.saturating_mul(rows))
    }

    /// How long its leg is still to wait: a page before it is on its way for so long, or there was nothing to do.
    #[must_use]
    pub fn pause_left(&self, now: Timestamp) -> Duration {
        now.until(self.due.minus(STALLED_AFTER))
    }

    /// The job after its leg: counted, and at its next leg, due to be stalled `pause` later than one without a pause.
    #[must_use]
    pub fn leg_done(&self, results: impl IntoIterator<Item = RowResult>, pause: Duration, now: Timestamp) -> Self {
        let mut counts = self.counts.clone();
        results.into_iter().for_each(|result| counts.add(result));
        let due = now.plus(STALLED_AFTER + pause);
        Self { page: None, spacing_us: 0, leg: self.leg + 1, counts, updated_at: now, due, ..self.clone() }
    }

    /// The job after its page was worked: as after any leg, but that one that was told to stop does so, and one that has no
    /// other page ends with it.
    #[must_use]
    pub fn page_done(&self, results: impl IntoIterator<Item = RowResult>, pause: Duration, now: Timestamp) -> Self {
        let job = self.leg_done(results, pause, now);
        match &job.kind {
            JobKind::Replay => job.ended(JobStatus::Done, now),
            JobKind::ReplayMatching(selection) if selection.look == Look::Over => job.ended(JobStatus::Done, now),
            _ if job.stopping => job.stopped(StopReason::Requested, now),
            JobKind::ReplayMatching(_) | JobKind::Drain { .. } => job,
        }
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

    /// The job, stopped before its end.
    #[must_use]
    pub fn stopped(&self, reason: StopReason, now: Timestamp) -> Self {
        Self { stop_reason: Some(reason), ..self.ended(JobStatus::Cancelled, now) }
    }

    /// The job when an operator wants it stopped. While it has a page, some of that may be changed already: it is worked
    /// to its end, so that the counts say of everything what became of it.
    #[must_use]
    pub fn stop_requested(&self, now: Timestamp) -> Self {
        if self.page.is_some() {
            Self { stopping: true, updated_at: now, ..self.clone() }
        } else {
            self.stopped(StopReason::Requested, now)
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
