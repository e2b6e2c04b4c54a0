//! Why a delivery is held, and until when: what the door of its endpoint is like now.
//!
//! A record does not say why it was put on hold, since that changes without it: an endpoint whose circuit is open may be
//! paused while it holds them. So a view that shows held deliveries reads their endpoints, in one call for a page, and none
//! for a page on which nothing is held.

use std::collections::{BTreeSet, HashMap};

use pombo_domain::endpoint::EndpointStatus;
use pombo_domain::health::Health;
use pombo_domain::time::Timestamp;
use serde::Serialize;

use crate::settings::App;
use crate::view::DeliveryView;

/// Why a delivery is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    cause: Cause,
    /// When the endpoint is probed next, while its circuit is open.
    next_probe_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    /// The endpoint is paused: the delivery is sent after a resume.
    Paused,
    /// The endpoint's circuit is open: the delivery is sent when the circuit closes.
    Circuit,
    /// The door is open again, or the endpoint was deleted: a drain is about to send it, or to cancel it.
    Releasing,
}

impl Held {
    /// Of a delivery that is held, from its endpoint.
    pub(crate) fn of(status: EndpointStatus, health: &Health) -> Self {
        match (status, &health.open) {
            (EndpointStatus::Paused, _) => Self { cause: Cause::Paused, next_probe_at: None },
            (EndpointStatus::Active, Some(open)) => Self { cause: Cause::Circuit, next_probe_at: open.next_probe_at },
            (EndpointStatus::Active, None) | (EndpointStatus::Deleted, _) => {
                Self { cause: Cause::Releasing, next_probe_at: None }
            }
        }
    }
}

/// Names the causes of those of the deliveries that are held. When the endpoints cannot be read, the deliveries are shown
/// without.
pub(crate) async fn name_causes(app: &App, views: &mut [DeliveryView]) {
    let ids: BTreeSet<_> = views.iter().filter_map(|view| view.held_at()).cloned().collect();
    if ids.is_empty() {
        return;
    }
    let known = match app.clients.endpoints.get_many_with_health(&Vec::from_iter(ids)).await {
        Ok(known) => known,
        Err(error) => {
            return tracing::warn!(%error, "Why deliveries are held could not be read; they are shown without.");
        }
    };
    let causes: HashMap<_, _> =
        known.iter().map(|(endpoint, health)| (&endpoint.id, Held::of(endpoint.status, health))).collect();
    for view in views {
        if let Some(held) = view.held_at().and_then(|id| causes.get(id)).copied() {
            view.name_cause(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::health::Open;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_cause_is_what_keeps_the_door_shut_now() {
        let next = Timestamp::from_seconds(1_700_000_030);
        let open =
            || Health { open: Some(Open::new(Timestamp::from_seconds(1_700_000_000), "d", next)), ..Health::good() };
        for (status, health, cause, next) in [
            (EndpointStatus::Paused, Health::good(), "paused", None),
            (EndpointStatus::Paused, open(), "paused", None),
            (EndpointStatus::Active, open(), "circuit", Some(next)),
            (EndpointStatus::Active, Health::good(), "releasing", None),
            (EndpointStatus::Deleted, open(), "releasing", None),
        ] {
            let held = json!(Held::of(status, &health));
            assert_eq!(held, json!({"cause": cause, "next_probe_at": next}), "{status:?}");
        }
    }
}
