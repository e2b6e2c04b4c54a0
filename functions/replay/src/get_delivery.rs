//! `GET /v1/deliveries/{id}`: everything about one delivery: its attempts, the event that is sent, and the endpoint.
//!
//! Each attempt shows the URL that it was sent to and the endpoint's version then. The endpoint itself is shown as it is
//! now; an attempt of another version says that the endpoint has changed since.

use futures::try_join;
use pombo_aws::clock;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::health::{Circuit, Health};
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::held::Held;
use crate::pending;
use crate::settings::App;
use crate::view::{DeliveryView, Urls};
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
    /// Without the query, which may hold a token, and masked for whoever does not manage endpoints. `None` of a deleted one.
    url: Option<String>,
    status: EndpointStatus,
    version: u64,
    since: Timestamp,
    circuit: Circuit,
}

/// Answers with the delivery. One whose first message is still on its way is `pending`; with `tenant`, one of another
/// tenant does not exist.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&["tenant"])?;
    let named = request.query::<TenantId>("tenant")?;
    let wanted = named.map(|named| caller.tenant_for(Some(named))).transpose()?;
    let visible = |tenant: &TenantId| caller.sees(tenant) && wanted.as_ref().is_none_or(|wanted| wanted == tenant);
    let unknown = || match &wanted {
        Some(tenant) => caller.not_found_in("delivery", tenant, true),
        None => caller.not_found("delivery"),
    };
    let key: DeliveryKey = id.parse().map_err(|_| unknown())?;
    let now = clock::now();
    let (record, endpoint) =
        try_join!(app.clients.protocol.deliveries.get(&key), app.clients.endpoints.get_with_health(&key.endpoint_id))?;
    if let Some(record) = record {
        if !visible(&record.tenant) || record.expires_at <= now.as_seconds() {
            return Err(unknown());
        }
        let event = app.clients.events.get(&record.tenant, &key.event_id, now).await?;
        // An id may be used again when its first event has expired.
        let event = event.filter(|event| event.accepted_at == key.accepted_at);
        let urls = urls(caller, endpoint.as_ref());
        return Ok(whole(DeliveryView::with(record, caller, urls), urls, endpoint.as_ref(), event.as_ref()));
    }
    let known = endpoint.filter(|(endpoint, _)| visible(&endpoint.tenant)).ok_or_else(unknown)?;
    let event = pending::event_of(app, &known.0, &key, now).await?.ok_or_else(unknown)?;
    let urls = urls(caller, Some(&known));
    Ok(whole(DeliveryView::pending(&event, key, app.clients.window, now), urls, Some(&known), Some(&event)))
}

/// How much a caller sees of the URLs of an endpoint.
fn urls(caller: &Caller, known: Option<&(Endpoint, Health)>) -> Urls {
    match known {
        Some((endpoint, _)) if endpoint.status != EndpointStatus::Deleted => {
            if caller.manages_endpoints() {
                Urls::Whole
            } else {
                Urls::Masked
            }
        }
        _ => Urls::Hidden,
    }
}

/// A delivery is worth showing without an event that cannot be read.
fn whole(
    mut delivery: DeliveryView,
    urls: Urls,
    known: Option<&(Endpoint, Health)>,
    event: Option<&Event>,
) -> Response {
    if let Some((endpoint, _)) = known {
        delivery.compare_to_version(endpoint.version);
    }
    if let Some((endpoint, health)) = known.filter(|_| delivery.held_at().is_some()) {
        delivery.name_cause(Held::of(endpoint.status, health));
    }
    let endpoint = known.map(|(endpoint, health)| EndpointView {
        id: &endpoint.id,
        name: &endpoint.name,
        url: urls.show(Some(endpoint.url.without_query().to_owned())),
        status: endpoint.status,
        version: endpoint.version,
        since: endpoint.updated_at,
        circuit: Circuit::of(health),
    });
    let body = event.and_then(|event| unpacked(event).ok());
    let event = body.as_ref().and_then(|body| Wire::read(body).ok());
    Response::json(200, &Answer { delivery, endpoint, event })
}

#[cfg(test)]
mod tests {
    use pombo_domain::api_key::Scope;
    use pombo_domain::body::{PackedBody, wire_body};
    use pombo_domain::delivery::Record;
    use pombo_domain::event::FanOut;
    use pombo_domain::first_attempt::FirstAttemptWindow;
    use pombo_domain::health::Open;
    use pombo_domain::hops::Hops;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    fn caller(scope: Scope) -> Caller {
        Caller::without_key("k".into(), None, scope)
    }

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
            hops: Hops::NONE,
            posted_by: None,
        }
    }

    fn endpoint() -> Endpoint {
        serde_json::from_value(json!({
            "endpoint_id": "ep_aaaaaaaaaaaaaaaa", "tenant": "acme", "name": "<b>", "url": "https://example.com/hook/token?t=1",
            "event_types": ["*"], "retry_policy": "standard", "timeout_seconds": 15, "status": "paused", "version": 3,
            "secrets": [{"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "created_at": "2026-01-01T00:00:00.000Z"}],
            "headers": {"x-api-key": "receivers-own"},
            "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-02T00:00:00.000Z",
        }))
        .unwrap()
    }

    /// The view of a delivery that has no record and no first attempt under way.
    fn pending(event: &Event) -> DeliveryView {
        DeliveryView::pending(event, event.delivery_to(endpoint().id), FirstAttemptWindow::default(), event.accepted_at)
    }

    #[test]
    fn one_without_a_record_says_until_when_it_counts_as_being_sent_and_no_longer() {
        let (event, window) = (event(b"nonsense"), FirstAttemptWindow::new(std::time::Duration::from_secs(180)));
        let closes_at = window.closes_at(event.accepted_at);
        for (now, shown) in [(event.accepted_at, json!(closes_at)), (closes_at, Value::Null)] {
            let view = DeliveryView::pending(&event, event.delivery_to(endpoint().id), window, now);
            let body: Value = serde_json::from_str(&whole(view, Urls::Hidden, None, None).body).unwrap();
            assert_eq!((&body["status"], &body["being_sent_until"]), (&json!("pending"), &shown));
        }
    }

    #[test]
    fn the_body_is_shown_byte_for_byte_and_of_the_endpoint_no_secret() {
        let data: &RawValue = serde_json::from_str(r#"{ "z":1.10, "a" : 1e400 }"#).unwrap();
        let event = event(&wire_body(&"a.b".parse().unwrap(), Timestamp::from_seconds(7), data));
        let delivery = pending(&event);
        let body = whole(delivery, Urls::Masked, Some(&(endpoint(), Health::good())), Some(&event)).body;
        let shown = r#""event":{"timestamp":"1970-01-01T00:00:07.000Z","data":{ "z":1.10, "a" : 1e400 }}"#;
        assert!(body.contains(shown), "{body}");
        assert!(["whsec", "receivers-own", "t=1", "token"].iter().all(|secret| !body.contains(secret)), "{body}");
        let endpoint = r#""endpoint":{"id":"ep_aaaaaaaaaaaaaaaa","name":"<b>","url":"https://example.com/hook/…","status":"paused","version":3,"since":"2026-01-02T00:00:00.000Z","circuit":{"state":"closed","since":null,"next_probe_at":null}}"#;
        assert!(body.contains(endpoint), "{body}");
    }

    #[test]
    fn the_urls_are_whole_for_who_manages_endpoints_and_gone_with_the_endpoint() {
        let known = |status| (Endpoint { status, ..endpoint() }, Health::good());
        for status in [EndpointStatus::Active, EndpointStatus::Paused] {
            assert_eq!(urls(&caller(Scope::Admin), Some(&known(status))), Urls::Whole);
            assert_eq!(urls(&caller(Scope::Ops), Some(&known(status))), Urls::Masked);
        }
        let deleted = known(EndpointStatus::Deleted);
        for scope in [Scope::Admin, Scope::Ops] {
            let caller = caller(scope);
            assert_eq!([urls(&caller, Some(&deleted)), urls(&caller, None)], [Urls::Hidden; 2]);
        }
        let event = event(b"nonsense");
        let delivery = pending(&event);
        let body: Value = serde_json::from_str(&whole(delivery, Urls::Hidden, Some(&deleted), None).body).unwrap();
        assert_eq!((&body["endpoint"]["url"], &body["endpoint"]["status"]), (&json!(null), &json!("deleted")));
    }

    #[test]
    fn one_that_is_held_says_why_and_its_endpoint_shows_its_circuit() {
        let event = event(b"nonsense");
        let at = |seconds: i64| Timestamp::from_seconds(1_700_000_000 + seconds);
        let health = Health { open: Some(Open::new(at(0), "d", at(30))), ..Health::good() };
        let known = (Endpoint { status: EndpointStatus::Active, ..endpoint() }, health);
        let held = DeliveryView::of(
            Record::begin(event.delivery_to(endpoint().id), event.new_delivery()).held("me"),
            &caller(Scope::Ops),
        );
        let body: Value = serde_json::from_str(&whole(held, Urls::Whole, Some(&known), None).body).unwrap();
        assert_eq!(body["held"], json!({"cause": "circuit", "next_probe_at": at(30)}));
        let circuit = json!({"state": "open", "since": at(0), "next_probe_at": at(30)});
        assert_eq!(body["endpoint"]["circuit"], circuit);
        let pending = pending(&event);
        let body: Value = serde_json::from_str(&whole(pending, Urls::Whole, Some(&known), None).body).unwrap();
        assert_eq!(body["held"], Value::Null, "one that is not held");
    }

    #[test]
    fn what_is_gone_or_damaged_leaves_the_rest() {
        let damaged = event(b"nonsense");
        let delivery = || pending(&damaged);
        for event in [None, Some(&damaged)] {
            let body: Value = serde_json::from_str(&whole(delivery(), Urls::Hidden, None, event).body).unwrap();
            assert_eq!(
                (&body["event_id"], &body["endpoint"], &body["event"]),
                (&json!("evt_1"), &json!(null), &json!(null))
            );
        }
    }
}
