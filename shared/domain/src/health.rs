//! The health of an endpoint in trouble: the circuit that keeps a broken one from costing anybody anything, and when it is
//! paused for good.
//!
//! Each process works on what it remembers of an endpoint, for at most half of [`HealthRules::opens_after`]. A failure
//! sets a mark; a success of a process that remembers the mark clears it. So when a mark has stood for the whole of
//! `opens_after`, every process has known it for as long as it may remember, and none has had a success since: the
//! circuit opens on evidence of all of them together, and an endpoint that fails now and then, however busy, never gets
//! there. A healthy endpoint has no mark, and costs no write.
//!
//! While the circuit is open, deliveries are held. One attempt at a time, the *probe*, tells whether the endpoint is back.
//! All of this is decided here, over plain values; each change replaces the revision that was seen.

mod circuit;
mod probe;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::circuit::{Circuit, CircuitState};
pub use self::probe::{Probe, ProbeRefused, ProbeStart};
use crate::ids::{EndpointId, EventId};
use crate::time::Timestamp;

/// How long an endpoint's health is kept after its last change: longer than any trouble counts.
const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

/// For so long a process may remember an endpoint at most: a change of it takes so long to be seen everywhere.
const LONGEST_REMEMBERED: Duration = Duration::from_secs(10);

const DAY: i64 = 86_400;

/// The numbers of the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRules {
    /// At least so many attempts must have failed, with no success known between them.
    pub failures: u32,
    /// For so long the endpoint must have been failing. A process remembers an endpoint for half of it at most.
    pub opens_after: Duration,
    /// So long from one probe of an open circuit to the next.
    pub probe_every: Duration,
    /// After failures on so many days running, and no success since the first, the endpoint is paused.
    pub pauses_after_days: u32,
}

impl HealthRules {
    /// The numbers unless a stack has its own: 5 failures over 20 seconds, a probe every 30 seconds, a pause after 5 days.
    pub const DEFAULT: Self = Self {
        failures: 5,
        opens_after: Duration::from_secs(20),
        probe_every: Duration::from_secs(30),
        pauses_after_days: 5,
    };

    /// How long a process may remember an endpoint with this health. One in trouble is looked at more often, so that an
    /// open circuit is noticed soon.
    #[must_use]
    pub fn remembered_for(&self, health: &Health) -> Duration {
        let longest = (self.opens_after / 2).min(LONGEST_REMEMBERED);
        if health.is_troubled() { longest / 5 } else { longest }
    }
}

/// Why an endpoint was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody asked for it.
    Requested,
    /// Its attempts failed on each of several days running.
    Failing,
    /// It answered 410 Gone, to two different events.
    Gone,
    /// A reason that a newer version wrote.
    #[serde(other)]
    Unknown,
}

/// An open circuit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Since when.
    pub since: Timestamp,
    /// The job that probes, and releases what is held when the circuit closes.
    pub drain: String,
    /// The newest probe, if one was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// When the drain probes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_probe_at: Option<Timestamp>,
}

impl Open {
    /// A circuit that opens now, with the job that looks after it and the time of the first probe.
    #[must_use]
    pub fn new(since: Timestamp, drain: &str, next_probe_at: Timestamp) -> Self {
        Self { since, drain: drain.to_owned(), probe: None, next_probe_at: Some(next_probe_at) }
    }
}

/// What is known of an endpoint's trouble. One that never had any has no such record, and is as [`Health::good`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The first failure since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// How many failures since then; not counted beyond what opens the circuit.
    #[serde(default)]
    pub failures: u32,
    /// The last day with a failure, in days since the epoch (UTC).
    #[serde(default)]
    pub last_day: i64,
    /// How many days running had one; not counted beyond what pauses.
    #[serde(default)]
    pub days: u32,
    /// The event that was first answered with 410 Gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<EventId>,
    /// Whether another event was, too.
    #[serde(default)]
    pub gone_twice: bool,
    /// The circuit, if it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Open>,
    /// When the circuit was last closed: until some time after it, something may still be put on hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// Who wrote this revision.
    pub writer: String,
    /// When the record expires, in Unix seconds.
    pub expires_at: i64,
}

/// A failed attempt, as far as health is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// The event that was sent.
    pub event_id: &'a EventId,
    /// Whether the answer was 410 Gone.
    pub gone: bool,
    /// When the probe was ordered, if it was one: it has ended.
    pub probe: Option<Timestamp>,
}

/// What an attempt changes in an endpoint's health. The record is the one to write in the place of the one seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A mark is set, counted on, or cleared.
    Mark(Health),
    /// The circuit opens.
    Open(Health),
    /// The circuit closes.
    Close(Health),
}

impl Health {
    /// The health of an endpoint that has no record of trouble.
    #[must_use]
    pub const fn good() -> Self {
        Self {
            failing_since: None,
            failures: 0,
            last_day: 0,
            days: 0,
            gone: None,
            gone_twice: false,
            open: None,
            closed_at: None,
            rev: 0,
            writer: String::new(),
            expires_at: 0,
        }
    }

    /// The key of an endpoint's health, beside the endpoint itself.
    #[must_use]
    pub fn key(endpoint_id: &EndpointId) -> String {
        format!("{endpoint_id}#health")
    }

    /// Whether the last that is known of the endpoint is a failure.
    #[must_use]
    pub const fn is_troubled(&self) -> bool {
        self.failing_since.is_some() || self.open.is_some()
    }

    /// What a failed attempt changes; `None` when it says nothing new. `drain` is the job that would look after the
    /// circuit if it opens.
    #[must_use]
    pub fn failed(&self, failure: Failure<'_>, drain: &str, rules: &HealthRules) -> Option<Change> {
        let ended = failure.probe.and_then(|ordered_at| self.probe_ended(ordered_at));
        let mut next = ended.unwrap_or_else(|| self.clone());
        let since = *next.failing_since.get_or_insert(failure.at);
        next.failures = self.failures.saturating_add(1).min(rules.failures);
        let day = failure.at.as_seconds().div_euclid(DAY);
        if day > self.last_day {
            let running = if self.days > 0 && day == self.last_day + 1 { self.days + 1 } else { 1 };
            (next.last_day, next.days) = (day, running.min(rules.pauses_after_days));
        }
        if failure.gone {
            next.gone_twice |= self.gone.as_ref().is_some_and(|first| first != failure.event_id);
            next.gone.get_or_insert_with(|| failure.event_id.clone());
        }
        let long = next.failures >= rules.failures && since.until(failure.at) > rules.opens_after;
        if self.open.is_none() && (long || next.pause_reason(rules).is_some()) {
            next.open = Some(Open::new(failure.at, drain, failure.at.plus(rules.probe_every)));
            return Some(Change::Open(next.kept(failure.at)));
        }
        (next != *self).then(|| Change::Mark(next.kept(failure.at)))
    }

    /// What a success changes; `None` when nothing was wrong.
    #[must_use]
    pub fn succeeded(&self, at: Timestamp) -> Option<Change> {
        self.is_troubled().then(|| match &self.open {
            None => Change::Mark(self.cleared(at)),
            Some(_) => Change::Close(self.cleared(at)),
        })
    }

    /// The record without any trouble, and the circuit closed. A resumed endpoint begins like this, too.
    #[must_use]
    pub fn cleared(&self, at: Timestamp) -> Self {
        let closed_at = if self.open.is_some() { Some(at) } else { self.closed_at };
        Self { closed_at, rev: self.rev, writer: self.writer.clone(), ..Self::good() }.kept(at)
    }

    /// The circuit closed for want of anything to probe with. The mark stays, so that one more failure opens it again.
    #[must_use]
    pub fn closed_unproven(&self, at: Timestamp) -> Self {
        Self { open: None, closed_at: Some(at), ..self.clone() }.kept(at)
    }

    /// Why the endpoint should be paused, if it should.
    #[must_use]
    pub const fn pause_reason(&self, rules: &HealthRules) -> Option<PauseReason> {
        if self.gone_twice {
            Some(PauseReason::Gone)
        } else if self.days >= rules.pauses_after_days {
            Some(PauseReason::Failing)
        } else {
            None
        }
    }

    fn kept(mut self, at: Timestamp) -> Self {
        self.expires_at = at.plus(KEPT_FOR).as_seconds();
        self
    }
}

#[cfg(test)]
mod tests;
