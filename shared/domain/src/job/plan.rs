//! What a job wants of one delivery.

use super::counts::RowResult;
use super::selection::Selection;
use super::{Job, JobKind, Row};
use crate::delivery::{NewDelivery, Record, Status};
use crate::first_attempt::FirstAttemptWindow;
use crate::time::Timestamp;

/// What a job wants of one delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum RowPlan {
    /// Write this record in the place of the one seen, or where there is none, then queue its next attempt, unless it is
    /// held.
    Write(Box<Record>),
    /// An earlier run of the leg wrote it: it counts as queued. If its next attempt is still to come, that is queued
    /// again, for the time that the record says.
    QueueAgain,
    /// Leave it alone.
    Skip(RowResult),
}

/// What is known of a delivery when its row is worked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Seen<'a> {
    /// Its record.
    pub record: Option<&'a Record>,
    /// What its record would begin with, if its event is there.
    pub new: Option<&'a NewDelivery>,
    /// Whether the event was sent to the endpoint when it came in. Then the first attempt may have been made without a claim,
    /// by a process that is dead or whose outcome waits to be recorded.
    pub fanned_out: bool,
    /// How long first attempts may go without a claim.
    pub window: FirstAttemptWindow,
    /// Why its endpoint takes nothing.
    pub closed: Option<RowResult>,
    /// Whether its endpoint's circuit is open: what a replay would send is held at once. The endpoint's drain has to be
    /// sure to see it, so this is said only of an endpoint that was read a moment ago.
    pub is_open: bool,
}

impl Job {
    /// What the job wants of the delivery at `place` in its page.
    #[must_use]
    pub fn plan(&self, place: usize, row: &Row, seen: Seen<'_>, now: Timestamp) -> RowPlan {
        let id = self.key().to_string();
        let due = self.due_at_place(place, now);
        let bears_our_id = |record: &Record| record.job.as_ref() == Some(&id);
        match &self.kind {
            JobKind::Replay | JobKind::ReplayMatching(_) => {
                let round = if row.first { row.round } else { row.round.saturating_add(1) };
                if seen.record.is_some_and(|record| bears_our_id(record) && record.step.round == round) {
                    return RowPlan::QueueAgain;
                }
                if let Some(reason) = seen.closed {
                    return RowPlan::Skip(reason);
                }
                let selection = match &self.kind {
                    JobKind::ReplayMatching(selection) => Some(selection),
                    _ => None,
                };
                let plan = if row.first {
                    first(row, seen, &id, due, now)
                } else {
                    next_round(row, seen, selection, &id, due, now)
                };
                match plan {
                    // A test that has not been made yet passes an open circuit.
                    RowPlan::Write(record) if seen.is_open && !record.passes_open_circuit(record.step.next()) => {
                        RowPlan::Write(Box::new(record.held(&id)))
                    }
                    plan => plan,
                }
            }
            JobKind::Drain { .. } => {
                let Some(record) = seen.record else { return RowPlan::Skip(RowResult::NotFound) };
                // A page holds what its records said was held, never what a late index says. So what bears the job's id
                // and is held no longer was released by an earlier run of this leg, however far it has come since.
                if record.status == Status::Held {
                    RowPlan::Write(Box::new(record.released(&id, due)))
                } else if bears_our_id(record) && record.step.round == row.round {
                    RowPlan::QueueAgain
                } else {
                    RowPlan::Skip(RowResult::Changed)
                }
            }
        }
    }
}

/// Opens the next round of a delivery.
fn next_round(
    row: &Row,
    seen: Seen<'_>,
    selection: Option<&Selection>,
    id: &str,
    due: Timestamp,
    now: Timestamp,
) -> RowPlan {
    let Some(record) = seen.record else { return RowPlan::Skip(RowResult::NotFound) };
    let wanted = selection.is_none_or(|selection| selection.wants_status(record.status));
    if record.step.round != row.round || !wanted {
        RowPlan::Skip(RowResult::Changed)
    } else if record.live_claim(now).is_some() {
        RowPlan::Skip(RowResult::InFlight)
    } else {
        RowPlan::Write(Box::new(record.round_opened(id, due)))
    }
}

/// Sends the first message of a delivery that has had no outcome, or has no record yet. The claim of a dead process is
/// left: it tells that the attempt may have been sent.
fn first(row: &Row, seen: Seen<'_>, id: &str, due: Timestamp, now: Timestamp) -> RowPlan {
    match (seen.record, seen.new) {
        (Some(record), _) if record.status != Status::Pending => RowPlan::Skip(RowResult::Changed),
        (Some(record), _) if record.live_claim(now).is_some() => RowPlan::Skip(RowResult::InFlight),
        (Some(record), _) => RowPlan::Write(Box::new(record.released(id, due))),
        // The first message may have led to an attempt without a claim that is still under way. A missing delivery has no
        // such message.
        (None, Some(_)) if seen.fanned_out && seen.window.open_until(row.delivery.accepted_at, now).is_some() => {
            RowPlan::Skip(RowResult::InFlight)
        }
        (None, Some(new)) => {
            let begin = if seen.fanned_out { Record::begin_again } else { Record::begin };
            RowPlan::Write(Box::new(begin(row.delivery.clone(), new.clone()).released(id, due)))
        }
        (None, None) => RowPlan::Skip(RowResult::NotFound),
    }
}
