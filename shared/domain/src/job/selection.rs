//! What a replay by filter selects, and how far it has come.
//!
//! A selection is walked oldest first along a list that is sorted by the time at which events were accepted; `after` is the
//! last delivery that was looked at. So no delivery is looked at twice, however often it changes its status meanwhile.
//!
//! What is accepted while it is walked stays out: the range ends a little before the order, when everything accepted has
//! become visible. Deliveries that are missing are another matter. An event may be accepted by a process that knew the
//! endpoint as paused when it was no longer, so a selection of those that reaches up to its order looks once more, when no
//! such process can be left. That is safe, for what was found the first time has a record and is missing no longer.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::{DeliveryKey, Record, Status};
use crate::event_type::{EventType, Pattern};
use crate::first_attempt::FirstAttemptWindow;
use crate::ids::{EndpointId, TenantId};
use crate::invalid::{Invalid, InvalidField};
use crate::rate_limit::PerSecond;
use crate::time::Timestamp;

/// How far the clocks of two processes may be apart, to be on the safe side.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// Whose deliveries are selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredScope", into = "StoredScope")]
pub enum Scope {
    /// An endpoint's.
    Endpoint(EndpointId),
    /// A tenant's.
    Tenant(TenantId),
    /// Everybody's.
    Stack,
}

/// A scope as it is written: one of the three.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct StoredScope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<EndpointId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stack: Option<bool>,
}

impl From<Scope> for StoredScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Endpoint(id) => Self { endpoint_id: Some(id), ..Self::default() },
            Scope::Tenant(tenant) => Self { tenant: Some(tenant), ..Self::default() },
            Scope::Stack => Self { stack: Some(true), ..Self::default() },
        }
    }
}

impl TryFrom<StoredScope> for Scope {
    type Error = Invalid;

    fn try_from(stored: StoredScope) -> Result<Self, Invalid> {
        Self::one_of(stored.endpoint_id, stored.tenant, stored.stack)
    }
}

impl Scope {
    /// The one that is given.
    pub fn one_of(
        endpoint_id: Option<EndpointId>,
        tenant: Option<TenantId>,
        stack: Option<bool>,
    ) -> Result<Self, Invalid> {
        match (endpoint_id, tenant, stack.unwrap_or_default()) {
            (Some(id), None, false) => Ok(Self::Endpoint(id)),
            (None, Some(tenant), false) => Ok(Self::Tenant(tenant)),
            (None, None, true) => Ok(Self::Stack),
            _ => Err(Invalid::rule("must name one of endpoint_id, tenant, and \"stack\": true for everything")),
        }
    }
}

/// Which deliveries a replay is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Whose they are.
    #[serde(flatten)]
    pub scope: Scope,
    /// Of events of these types.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<Pattern>,
    /// Of events accepted at this time or later.
    pub since: Timestamp,
    /// Of events accepted before this time; [`Filter::OPEN`] in an order that names no end.
    pub until: Timestamp,
}

impl Filter {
    /// The end of a range that has no end of its own: as late as allowed.
    pub const OPEN: Timestamp = Timestamp::from_millis(i64::MAX);
}

/// What of the deliveries is replayed: those in a status, and those that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "String")]
pub enum Include {
    /// Every attempt failed.
    Failed,
    /// Put on hold.
    Held,
    /// Ended by an operator or a deletion.
    Cancelled,
    /// Waiting for their next attempt, which the replay takes the place of.
    Retrying,
    /// Taken by the receiver.
    Succeeded,
    /// Without an outcome: their first message is sent again.
    Pending,
    /// Not there, though the endpoint subscribes to the event now: it was paused, or did not exist.
    Missing,
}

impl TryFrom<String> for Include {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "failed" => Ok(Self::Failed),
            "held" => Ok(Self::Held),
            "cancelled" => Ok(Self::Cancelled),
            "retrying" => Ok(Self::Retrying),
            "succeeded" => Ok(Self::Succeeded),
            "pending" => Ok(Self::Pending),
            "missing" => Ok(Self::Missing),
            _ => Err(Invalid::rule("must be failed, held, cancelled, retrying, succeeded, pending or missing")),
        }
    }
}

impl Include {
    /// The status of those that have a record.
    #[must_use]
    pub const fn status(self) -> Option<Status> {
        match self {
            Self::Failed => Some(Status::Failed),
            Self::Held => Some(Status::Held),
            Self::Cancelled => Some(Status::Cancelled),
            Self::Retrying => Some(Status::Retrying),
            Self::Succeeded => Some(Status::Succeeded),
            Self::Pending => Some(Status::Pending),
            Self::Missing => None,
        }
    }
}

/// Along which list the deliveries are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The lists of those that did not succeed, by status.
    Listed,
    /// All deliveries of the endpoint that have a record.
    Deliveries,
    /// The events of the endpoint's tenant: what has no record is found nowhere else.
    Events,
}

/// At which of its looks along the list a selection is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// The whole range.
    #[default]
    First,
    /// What came late, of those that are missing.
    Last,
    /// Everything was looked at.
    Over,
}

/// What a replay selects, and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Which deliveries.
    pub filter: Filter,
    /// What of them.
    pub include: BTreeSet<Include>,
    /// How many a second are sent at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<PerSecond>,
    /// Up to this delivery, this look is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<DeliveryKey>,
    /// Which look it is.
    #[serde(default)]
    pub look: Look,
}

/// When the replay was ordered, and how long it takes until what an old state let through is visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    /// When.
    pub at: Timestamp,
    /// How long after that nothing can come the old way.
    pub settle: Duration,
}

impl Ordered {
    /// What was accepted before this time was visible when the order came.
    #[must_use]
    pub fn settled_before(self) -> Timestamp {
        self.at.minus(self.settle / 2)
    }

    /// When the last look begins, and what it looks at: events accepted from the first time and before the second.
    #[must_use]
    pub fn last_look(self) -> (Timestamp, Timestamp) {
        (self.at.minus(self.settle), self.at.plus(self.settle))
    }
}

/// What decides whether an event that has no record at the endpoint is one that the endpoint should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecorded<'a> {
    /// The event's type.
    pub event_type: &'a EventType,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it expires, in Unix seconds.
    pub expires_at: i64,
    /// Whether it was fanned out to the endpoint.
    pub fanned_out: bool,
    /// What the endpoint subscribes to now.
    pub subscribes: &'a [Pattern],
}

impl Selection {
    /// A selection that was asked for at `ordered`. An open range ends where the deliveries can no longer be seen whole; an end
    /// beyond that is refused.
    pub fn new(
        filter: Filter,
        include: BTreeSet<Include>,
        rate_per_second: Option<PerSecond>,
        ordered: Ordered,
    ) -> Result<Self, InvalidField> {
        let missing = include.contains(&Include::Missing);
        let latest = if missing { ordered.at } else { ordered.settled_before() };
        if filter.until != Filter::OPEN && filter.until > latest {
            let rule = format!(
                "must not be after {latest}: what was accepted since may still be on its way for the first time. Leave it \
                 out to go as far as that"
            );
            return Err(Invalid::from(rule).in_field("filter.until"));
        }
        let filter = Filter { until: filter.until.min(latest), ..filter };
        if filter.since >= filter.until {
            let rule = format!(
                "must be before until, and before {latest}: what was accepted since may still be on its way for the first time"
            );
            return Err(Invalid::from(rule).in_field("filter.since"));
        }
        let selection = Self { filter, include, rate_per_second, after: None, look: Look::First };
        selection.source()?;
        Ok(selection)
    }

    /// The deliveries that an open range has left out of the selection: those of events accepted from this time on. None where
    /// only missing ones are selected, which are looked for up to the order and once more later.
    #[must_use]
    pub fn left_out_since(&self, ordered: Ordered) -> Option<Timestamp> {
        let only_missing = self.include.iter().all(|include| *include == Include::Missing);
        let reaches = self.filter.until >= ordered.settled_before();
        (reaches && !only_missing).then(|| ordered.settled_before())
    }

    /// The time from which selected deliveries without a record may count as being sent: the window of events accepted since
    /// then was open when the order came. `None` if no such delivery can be selected. The range still includes these
    /// deliveries. Those that have a record by now are replayed; those that count as being sent are only counted.
    #[must_use]
    pub fn being_sent_since(&self, ordered: Ordered, window: FirstAttemptWindow) -> Option<Timestamp> {
        let since = ordered.at.minus(window.length()).max(self.filter.since);
        let last = self.filter.until.min(ordered.settled_before());
        (self.include.contains(&Include::Pending) && since < last).then_some(since)
    }

    /// What an endpoint missed that was paused at `paused_at` and resumed at `now`.
    #[must_use]
    pub fn missed(endpoint_id: EndpointId, paused_at: Timestamp, now: Timestamp) -> Self {
        Self {
            filter: Filter {
                scope: Scope::Endpoint(endpoint_id),
                event_type: None,
                since: paused_at.minus(CLOCKS_DIFFER),
                until: now,
            },
            include: BTreeSet::from([Include::Missing]),
            rate_per_second: None,
            after: None,
            look: Look::First,
        }
    }

    /// Along which list the selection is found; a combination that is on none is refused.
    pub fn source(&self) -> Result<Source, InvalidField> {
        let listed = |include: &Include| include.status().is_some_and(|status| Status::LISTED.contains(&status));
        let of_endpoint = matches!(self.filter.scope, Scope::Endpoint(_));
        if self.include.is_empty() {
            return Err(Invalid::rule("must name what is replayed, such as failed").in_field("include"));
        }
        if self.include.iter().all(listed) {
            return Ok(Source::Listed);
        }
        if !of_endpoint {
            return Err(Invalid::rule(
                "must be of failed, held, cancelled and retrying, unless filter names an endpoint_id: \
                 what succeeded, is pending or missing is found by endpoint only. GET /v1/endpoints on the endpoints URL \
                 lists a tenant's endpoints; order a replay for each",
            )
            .in_field("include"));
        }
        let unrecorded = [Include::Pending, Include::Missing];
        let events = self.include.iter().any(|include| unrecorded.contains(include));
        Ok(if events { Source::Events } else { Source::Deliveries })
    }

    /// The range of the look that it is at.
    #[must_use]
    pub fn range(&self, ordered: Ordered) -> (Timestamp, Timestamp) {
        let Filter { since, until, .. } = self.filter;
        if self.look == Look::First {
            return (since, until);
        }
        let (from, to) = ordered.last_look();
        (since.max(from), if until < ordered.at { until } else { to })
    }

    /// Whether it looks a last time.
    #[must_use]
    pub fn looks_again(&self, ordered: Ordered) -> bool {
        self.include.contains(&Include::Missing) && self.filter.until > ordered.last_look().0
    }

    /// The selection when its look has come to the end of the list.
    #[must_use]
    pub fn look_done(&self, ordered: Ordered) -> Self {
        let again = self.look == Look::First && self.looks_again(ordered);
        Self { look: if again { Look::Last } else { Look::Over }, after: None, ..self.clone() }
    }

    /// The selection when it has looked at everything up to a delivery.
    #[must_use]
    pub fn moved_to(&self, after: DeliveryKey) -> Self {
        Self { after: Some(after), ..self.clone() }
    }

    /// Up to which time events were looked at.
    #[must_use]
    pub fn reached(&self) -> Timestamp {
        match (self.look, &self.after) {
            (Look::First, None) => self.filter.since,
            (Look::First, Some(after)) => after.accepted_at,
            (Look::Last | Look::Over, _) => self.filter.until,
        }
    }

    /// Whether a delivery that has a record is selected.
    #[must_use]
    pub fn wants(&self, record: &Record, ordered: Ordered, now: Timestamp) -> bool {
        self.look == Look::First
            && self.wants_status(record.status)
            && record.key.accepted_at < ordered.settled_before()
            && self.wants_type(&record.event_type)
            && record.expires_at > now.as_seconds()
    }

    /// Whether a delivery in this status is one that the replay is about.
    #[must_use]
    pub fn wants_status(&self, status: Status) -> bool {
        self.include.iter().any(|include| include.status() == Some(status))
    }

    /// Whether an event that has no record at the endpoint is selected: as pending, or as missing.
    #[must_use]
    pub fn wants_unrecorded(&self, event: Unrecorded<'_>, ordered: Ordered, now: Timestamp) -> bool {
        let kind = if event.fanned_out {
            self.include.contains(&Include::Pending)
                && self.look == Look::First
                && event.accepted_at < ordered.settled_before()
        } else {
            self.include.contains(&Include::Missing) && would_get(event.event_type, event.subscribes)
        };
        kind && self.wants_type(event.event_type) && event.expires_at > now.as_seconds()
    }

    /// Whether deliveries of events of this type can be selected at all, at an endpoint that subscribes to these: what the
    /// list of events tells, before anything else is read.
    #[must_use]
    pub fn may_want(&self, event_type: &EventType, subscribes: &[Pattern]) -> bool {
        let only_missing = self.look == Look::Last || self.include.iter().all(|include| *include == Include::Missing);
        self.wants_type(event_type) && (!only_missing || would_get(event_type, subscribes))
    }

    fn wants_type(&self, event_type: &EventType) -> bool {
        self.filter.event_type.as_ref().is_none_or(|pattern| pattern.matches(event_type))
    }
}

/// Whether an event is for an endpoint that subscribes to these. A ping is nobody's but that endpoint's which was tried with
/// it.
fn would_get(event_type: &EventType, subscribes: &[Pattern]) -> bool {
    !event_type.is_ping() && subscribes.iter().any(|pattern| pattern.matches(event_type))
}

#[cfg(test)]
mod tests;
