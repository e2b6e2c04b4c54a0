//! `GET /v1/deliveries/{id}`: everything about one delivery: its attempts, the event that is sent, and the endpoint.
//!
//! What an endpoint was like at an attempt is not kept. It is shown as it is now, with the time since when it has been so: of
//! an attempt that began later (by more than the ten seconds for which an endpoint is remembered), that is what it was.

use futures::try_join;
use pombo_aws::clock;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::pending;
use crate::settings::App;
use crate::view::DeliveryView;
use crate::wire::{Wire, unpacked};

#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    delivery: DeliveryView,
    /// Gone when the tombstone of a deleted one has expired.
    endpoint: Option<EndpointView<'a>>,
    /// Gone when it has expired.
    event: Option<Wire<'a>>,
}

#[derive(Debug, Serialize)]
struct EndpointView<'a> {
    id: &'a EndpointId,
    name: &'a str,
    /// Without the query, which may hold a token.
    url: &'a str,
    status: EndpointStatus,
    since: Timestamp,
}

/// Answers with the delivery. One whose first message is still on its way is `pending`; with `tenant`, one of another
/// tenant does not exist.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&["tenant"])?;
    let named = request.query::<TenantId>("tenant")?;
    let wanted = named.map(|named| caller.tenant_for(Some(named))).transpose()?;
    let visible = |tenant: &TenantId| caller.sees(tenant) && wanted.as_ref().is_none_or(|wanted| wanted == tenant);
    let unknown = || Problem::not_found("delivery");
    let key: DeliveryKey = id.parse().map_err(|_| unknown())?;
    let now = clock::now();
    let (record, endpoint) = try_join!(app.protocol.deliveries.get(&key), app.endpoints.get(&key.endpoint_id))?;
    if let Some(record) = record {
        if !visible(&record.tenant) || record.expires_at <= now.as_seconds() {
            return Err(unknown());
        }
        let event = app.events.get(&record.tenant, &key.event_id, now).await?;
        // An id may be used again when its first event has expired.
        let event = event.filter(|event| event.accepted_at == key.accepted_at);
        return Ok(whole(DeliveryView::of(record), endpoint.as_ref(), event.as_ref()));
    }
    let endpoint = endpoint.filter(|endpoint| visible(&endpoint.tenant)).ok_or_else(unknown)?;
    let event = pending::event_of(app, &endpoint, &key, now).await?.ok_or_else(unknown)?;
    Ok(whole(DeliveryView::pending(&event, key), Some(&endpoint), Some(&event)))
}

/// A delivery is worth showing without an event that cannot be read.
fn whole(delivery: DeliveryView, endpoint: Option<&Endpoint>, event: Option<&Event>) -> Response {
    let endpoint = endpoint.map(|endpoint| EndpointView {
        id: &endpoint.id,
        name: &endpoint.name,
        url: endpoint.url.without_query(),
        status: endpoint.status,
        since: endpoint.updated_at,
    });
    let body = event.and_then(|event| unpacked(event).ok());
    let event = body.as_ref().and_then(|body| Wire::read(body).ok());
    Response::json(200, &Answer { delivery, endpoint, event })
}

#[cfg(test)]
mod tests {
    use pombo_domain::body::{PackedBody, wire_body};
    use pombo_domain::event::FanOut;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    fn event(body: &[u8]) -> Event {
        Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            body: PackedBody::pack(body),
            fan_out: FanOut::default(),
            fingerprint: String::new(),
            expires_at: 2,
        }
    }

    fn endpoint() -> Endpoint {
        serde_json::from_value(json!({
            "endpoint_id": "ep_aaaaaaaaaaaaaaaa", "tenant": "acme", "name": "<b>", "url": "https://example.com/hook?t=1",
            "event_types": ["*"], "retry_policy": "standard", "timeout_seconds": 15, "status": "deleted", "version": 3,
            "secrets": [{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "created_at": "2026-01-01T00:00:00.000Z"}],
            "headers": {"x-api-key": "receivers-own"},
            "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-02T00:00:00.000Z",
        }))
        .unwrap()
    }

    #[test]
    fn the_body_is_shown_byte_for_byte_and_of_the_endpoint_no_secret() {
        let data: &RawValue = serde_json::from_str(r#"{ "z":1.10, "a" : 1e400 }"#).unwrap();
        let event = event(&wire_body(&"a.b".parse().unwrap(), Timestamp::from_seconds(7), data));
        let delivery = DeliveryView::pending(&event, event.delivery_to(endpoint().id));
        let body = whole(delivery, Some(&endpoint()), Some(&event)).body;
        let shown = r#""event":{"timestamp":"1970-01-01T00:00:07.000Z","data":{ "z":1.10, "a" : 1e400 }}"#;
        assert!(body.contains(shown), "{body}");
        assert!(["whsec", "receivers-own", "t=1"].iter().all(|secret| !body.contains(secret)), "{body}");
        let endpoint = r#""endpoint":{"id":"ep_aaaaaaaaaaaaaaaa","name":"<b>","url":"https://example.com/hook","status":"deleted","since":"2026-01-02T00:00:00.000Z"}"#;
        assert!(body.contains(endpoint), "{body}");
    }

    #[test]
    fn what_is_gone_or_damaged_leaves_the_rest() {
        let damaged = event(b"nonsense");
        let delivery = || DeliveryView::pending(&damaged, damaged.delivery_to(endpoint().id));
        for event in [None, Some(&damaged)] {
            let body: Value = serde_json::from_str(&whole(delivery(), None, event).body).unwrap();
            assert_eq!(
                (&body["event_id"], &body["endpoint"], &body["event"]),
                (&json!("evt_1"), &json!(null), &json!(null))
            );
        }
    }
}
