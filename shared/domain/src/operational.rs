//! Operational events: what happens to endpoints and deliveries, told through the same path as any event.
//!
//! They belong to the tenant `pombo`, and an operator subscribes by registering an endpoint for it. Nothing is told of that
//! tenant's own endpoints and deliveries: news of a piece of news that could not be delivered would beget more of the same.
//! None names a URL, a header or a secret.
//!
//! Failed deliveries are counted: one event an endpoint and minute, whose id follows from both. While its minute lasts the
//! stored event is *open*, and each failure replaces it by one with a higher count; see [`Failures`].

mod failures;

use std::time::Duration;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

pub use self::failures::{Failures, Minute};
use crate::body::{PackedBody, fingerprint, wire_body};
use crate::endpoint::{Endpoint, EndpointStatus};
use crate::event::{Event, FanOut};
use crate::event_type::{EventType, Pattern};
use crate::health::PauseReason;
use crate::hops::Hops;
use crate::ids::{EndpointId, EventId, TenantId};
use crate::invalid::Invalid;
use crate::routing::RoutingRecord;
use crate::time::Timestamp;

/// The types of all operational events, below `pombo.`.
const TYPES: [&str; 9] = [
    "endpoint.created",
    "endpoint.updated",
    "endpoint.deleted",
    "endpoint.paused",
    "endpoint.resumed",
    "endpoint.secret_rotated",
    "circuit.opened",
    "circuit.closed",
    "delivery.failed",
];

/// Checks that an endpoint of this tenant can ever get an event through this subscription: operational events belong to the
/// tenant `pombo`, which has no others.
pub fn check_subscription(pattern: &Pattern, tenant: &TenantId) -> Result<(), Invalid> {
    if !tenant.is_reserved() {
        return if pattern.is_reserved() {
            Err(Invalid::rule(
                "must not be pombo or below it: operational events go to endpoints of the tenant pombo alone, and those \
                 need an API key for the whole stack",
            ))
        } else {
            Ok(())
        };
    }
    if TYPES.into_iter().any(|name| pattern.matches(&EventType::of_pombo(name))) {
        Ok(())
    } else {
        let known = TYPES.map(|name| format!("pombo.{name}")).join(", ");
        Err(Invalid::from(format!(
            "must match an operational event, since the tenant pombo has no others: *, pombo.* or one of {known}"
        )))
    }
}

/// What happened to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It was registered.
    Created,
    /// It was changed.
    Updated {
        /// The fields that are no longer what they were.
        fields: Vec<String>,
    },
    /// It was deleted.
    Deleted,
    /// It was paused.
    Paused {
        /// Why.
        reason: PauseReason,
        /// The first failure since its last success, when that is the reason.
        failing_since: Option<Timestamp>,
    },
    /// It was resumed.
    Resumed,
    /// It has a new signing secret.
    SecretRotated,
    /// Its deliveries are held from now on.
    CircuitOpened {
        /// The first failure since its last success.
        failing_since: Timestamp,
        /// How many attempts failed since then, as far as they were counted.
        failures: u32,
    },
    /// Its deliveries are sent again, and those that were held are released.
    CircuitClosed {
        /// Since when the circuit was open.
        open_since: Timestamp,
        /// Whether an attempt succeeded. Otherwise nothing was held to probe the endpoint with.
        proven: bool,
    },
}

impl Happening {
    /// What a change by an operator was, by what the endpoint was like before and after it.
    #[must_use]
    pub fn between(before: &Endpoint, after: &Endpoint) -> Self {
        use EndpointStatus::{Active, Deleted, Paused};
        match (before.status, after.status) {
            (Active | Paused, Deleted) => Self::Deleted,
            (Active, Paused) => {
                let reason = after.pause.map_or(PauseReason::Requested, |pause| pause.reason);
                Self::Paused { reason, failing_since: None }
            }
            (Paused, Active) => Self::Resumed,
            _ if is_rotation(before, after) => Self::SecretRotated,
            _ => Self::Updated { fields: changed_fields(before, after) },
        }
    }

    /// The type of its event.
    #[must_use]
    pub fn event_type(&self) -> EventType {
        EventType::of_pombo(match self {
            Self::Created => "endpoint.created",
            Self::Updated { .. } => "endpoint.updated",
            Self::Deleted => "endpoint.deleted",
            Self::Paused { .. } => "endpoint.paused",
            Self::Resumed => "endpoint.resumed",
            Self::SecretRotated => "endpoint.secret_rotated",
            Self::CircuitOpened { .. } => "circuit.opened",
            Self::CircuitClosed { .. } => "circuit.closed",
        })
    }
}

/// A rotation leaves the schemes as they are; with other schemes there may be other keys, too.
fn is_rotation(before: &Endpoint, after: &Endpoint) -> bool {
    before.secrets != after.secrets && before.secrets.signatures() == after.secrets.signatures()
}

/// The fields that differ, but for those that every change moves, and the keys, which follow from `signatures`.
fn changed_fields(before: &Endpoint, after: &Endpoint) -> Vec<String> {
    let fields = |endpoint| match serde_json::to_value(endpoint) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names
        .filter(|name| !matches!(name.as_str(), "version" | "updated_at" | "secrets" | "signing_keys"))
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// `data` of an event about an endpoint.
#[derive(Debug, Serialize)]
struct Told<'a> {
    endpoint_id: &'a EndpointId,
    tenant: &'a TenantId,
    name: &'a str,
    /// The endpoint's version after the change: tells the order of events that come in no order.
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<PauseReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<bool>,
}

/// The event that tells of it; none when nobody subscribes, or when the endpoint is of the tenant `pombo`.
///
/// `endpoint` is as it is after the change, `routing` is the routing record of the tenant `pombo`.
#[must_use]
pub fn event(
    endpoint: &Endpoint,
    what: &Happening,
    routing: &RoutingRecord,
    id: EventId,
    now: Timestamp,
    retention: Duration,
) -> Option<Event> {
    let event_type = what.event_type();
    let fan_out = audience(&endpoint.tenant, &event_type, routing)?;
    let mut told = Told {
        endpoint_id: &endpoint.id,
        tenant: &endpoint.tenant,
        name: &endpoint.name,
        version: endpoint.version,
        fields: None,
        reason: None,
        failing_since: None,
        failures: None,
        open_since: None,
        proven: None,
    };
    match what {
        Happening::Created | Happening::Deleted | Happening::Resumed | Happening::SecretRotated => {}
        Happening::Updated { fields } => told.fields = Some(fields),
        Happening::Paused { reason, failing_since } => {
            told.reason = Some(*reason);
            told.failing_since = *failing_since;
        }
        Happening::CircuitOpened { failing_since, failures } => {
            told.failing_since = Some(*failing_since);
            told.failures = Some(*failures);
        }
        Happening::CircuitClosed { open_since, proven } => {
            told.open_since = Some(*open_since);
            told.proven = Some(*proven);
        }
    }
    let expires_at = now.plus(retention).as_seconds();
    Some(whole(TenantId::pombo(), id, event_type, &told, Times { happened: now, accepted: now, expires_at }, fan_out))
}

/// Who gets events of a type about this tenant's things; `None` when nobody does.
#[must_use]
pub fn audience(subject: &TenantId, event_type: &EventType, routing: &RoutingRecord) -> Option<FanOut> {
    if subject.is_reserved() {
        return None;
    }
    let endpoints: Vec<_> = routing.matching(event_type).map(|route| route.endpoint_id.clone()).collect();
    if endpoints.is_empty() { None } else { Some(FanOut::new(endpoints)) }
}

/// `data` of a ping.
#[derive(Debug, Serialize)]
struct Ping<'a> {
    endpoint_id: &'a EndpointId,
    tenant: &'a TenantId,
    name: &'a str,
    requested_at: Timestamp,
}

/// The event with which an operator tries an endpoint: the endpoint's own tenant's, and for that endpoint alone.
#[must_use]
pub fn ping(endpoint: &Endpoint, id: EventId, now: Timestamp, retention: Duration) -> Event {
    let data = Ping { endpoint_id: &endpoint.id, tenant: &endpoint.tenant, name: &endpoint.name, requested_at: now };
    let times = Times { happened: now, accepted: now, expires_at: now.plus(retention).as_seconds() };
    let fan_out = FanOut::new(vec![endpoint.id.clone()]);
    whole(endpoint.tenant.clone(), id, EventType::ping(), &data, times, fan_out)
}

/// The times of an event.
struct Times {
    happened: Timestamp,
    accepted: Timestamp,
    expires_at: i64,
}

fn whole<T: Serialize>(
    tenant: TenantId,
    id: EventId,
    event_type: EventType,
    data: &T,
    times: Times,
    fan_out: FanOut,
) -> Event {
    // Plain structures with text keys: writing them cannot fail.
    let data = to_raw_value(data).unwrap_or_else(|_| RawValue::NULL.to_owned());
    Event {
        tenant,
        id,
        accepted_at: times.accepted,
        body: PackedBody::pack(&wire_body(&event_type, times.happened, &data)),
        fan_out,
        fingerprint: fingerprint(&event_type, &data),
        expires_at: times.expires_at,
        hops: Hops::NONE,
        posted_by: None,
        event_type,
    }
}

#[cfg(test)]
mod tests;
