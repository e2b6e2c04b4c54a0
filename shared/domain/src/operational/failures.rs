//! Deliveries that failed for good, counted by endpoint and minute.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Times, whole};
use crate::delivery::{DeliveryKey, Record};
use crate::event::{Event, FanOut};
use crate::event_type::EventType;
use crate::ids::{EndpointId, EventId, TenantId};
use crate::outcome::Outcome;
use crate::time::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// A minute of the clock, within which an endpoint's failed deliveries are counted in one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(i64);

impl Minute {
    /// That of a time.
    #[must_use]
    pub const fn of(time: Timestamp) -> Self {
        Self(time.as_seconds().div_euclid(60))
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// When it ends, and its event is due.
    #[must_use]
    pub fn ends_at(self) -> Timestamp {
        Timestamp::from_seconds(self.0.saturating_mul(60)).plus(MINUTE)
    }

    /// The id of the event that counts an endpoint's failures in it.
    #[must_use]
    pub fn event_id(self, endpoint_id: &EndpointId) -> EventId {
        EventId::of_failures(endpoint_id, self.0)
    }
}

/// `data` of `pombo.delivery.failed`: how many deliveries to an endpoint failed for good since the first of them, and the
/// latest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    endpoint_id: EndpointId,
    tenant: TenantId,
    name: String,
    since: Timestamp,
    /// How many deliveries failed.
    pub count: u64,
    latest: Latest,
}

/// The delivery that failed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Latest {
    delivery_id: DeliveryKey,
    event_id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    failed_at: Timestamp,
    outcome: Option<Outcome>,
}

impl Failures {
    /// The first of a minute. `name` is what its endpoint is called.
    #[must_use]
    pub fn first(record: &Record, name: String, now: Timestamp) -> Self {
        let (endpoint_id, tenant) = (record.key.endpoint_id.clone(), record.tenant.clone());
        Self { endpoint_id, tenant, name, since: now, count: 1, latest: Latest::of(record, now) }
    }

    /// One more.
    #[must_use]
    pub fn and(self, record: &Record, now: Timestamp) -> Self {
        Self { count: self.count + 1, latest: Latest::of(record, now), ..self }
    }

    /// The type of their event.
    #[must_use]
    pub fn event_type() -> EventType {
        EventType::of_pombo("delivery.failed")
    }

    /// The event under which they are told.
    #[must_use]
    pub fn event(&self, minute: Minute, fan_out: FanOut, retention: Duration) -> Event {
        let times = Times {
            happened: self.latest.failed_at,
            accepted: self.since,
            expires_at: self.since.plus(retention).as_seconds(),
        };
        let id = minute.event_id(&self.endpoint_id);
        whole(TenantId::pombo(), id, Self::event_type(), self, times, fan_out)
    }

    /// What a stored event tells; `None` for one that is of another kind or damaged.
    #[must_use]
    pub fn read(event: &Event) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            data: Failures,
        }
        let body = event.body.unpack().ok()?;
        serde_json::from_slice::<Body>(&body).ok().map(|body| body.data)
    }
}

impl Latest {
    fn of(record: &Record, now: Timestamp) -> Self {
        Self {
            delivery_id: record.key.clone(),
            event_id: record.key.event_id.clone(),
            event_type: record.event_type.clone(),
            failed_at: now,
            outcome: record.attempts.last().map(|attempt| attempt.outcome.clone()),
        }
    }
}
