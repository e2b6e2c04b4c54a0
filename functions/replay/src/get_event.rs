//! `GET /v1/events/{id}`, by its own id or by its `webhook-id`: an event with its data, as the app sent it, and what became of its deliveries.

use std::collections::BTreeSet;

use futures::try_join;
use pombo_aws::clock;
use pombo_domain::event::Event;
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use pombo_domain::posted_by::PostedBy;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::held;
use crate::settings::App;
use crate::view::DeliveryView;
use crate::wire::{Damaged, Wire, unpacked};

/// Maximum size of an answer, in bytes as [`escaped`] counts them, before parts of it are left out. Lambda sends 6,291,556
/// bytes at most, the status and the headers among them.
const MAX_ANSWER: usize = 6_200_000;

/// At so many endpoints a delivery is looked for that the event was not fanned out to.
const MOST_OTHERS: usize = 500;

#[derive(Debug, Serialize)]
struct EventView<'a> {
    id: &'a EventId,
    /// How receivers know it.
    webhook_id: WebhookId,
    tenant: &'a TenantId,
    #[serde(rename = "type")]
    event_type: &'a EventType,
    accepted_at: Timestamp,
    /// The API key, or the signer, that posted it; `null` for an event of Pombo's own.
    posted_by: Option<&'a PostedBy>,
    data: Option<&'a RawValue>,
    /// Whether `data` is `null` because the answer would be too large with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    data_left_out: bool,
    deliveries: &'a [DeliveryView],
}

/// Answers with the event. Its deliveries are those of its fan-out list, whose keys follow from it, and behind them those
/// that it came to have since: a replay of what was missing makes deliveries to endpoints that it was not fanned out to. They
/// are looked for at the endpoints that the tenant has now.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&["tenant"])?;
    let named = request.query::<TenantId>("tenant")?;
    let is_named = named.is_some();
    let tenant = caller.tenant_for(named)?;
    let (tenant, id) = find(caller, tenant, is_named, id)?;
    let unknown = || caller.not_found_in("event", &tenant, is_named);
    let now = clock::now();
    let (event, routing) = try_join!(app.clients.events.get(&tenant, &id, now), app.routing.get(&tenant))?;
    let event = event.ok_or_else(unknown)?;
    let fanned_out = event.fan_out.endpoints();
    let keys: Vec<_> =
        fanned_out.iter().chain(&others(&event, routing)).map(|id| event.delivery_to(id.clone())).collect();
    let mut records = app.clients.protocol.deliveries.get_many(&keys).await?;
    let deliveries = keys.into_iter().enumerate().filter_map(|(place, key)| match records.remove(&key) {
        Some(record) => Some(DeliveryView::of(record, caller)),
        None => (place < fanned_out.len()).then(|| DeliveryView::pending(&event, key, app.clients.window, now)),
    });
    let mut deliveries: Vec<_> = deliveries.collect();
    held::name_causes(app, &mut deliveries).await;
    show(&event, deliveries)
}

/// Whose event an id of the path names, and its id there. A `webhook-id` with a tenant in it says so itself: it needs no
/// `tenant`, and one that contradicts it finds nothing. For a caller that is bound to another tenant there is no such event.
fn find(caller: &Caller, tenant: TenantId, is_named: bool, id: &str) -> Result<(TenantId, EventId), Problem> {
    if let Ok(id) = id.parse() {
        return Ok((tenant, id));
    }
    let unknown = || caller.not_found_in("event", &tenant, is_named);
    let webhook_id: WebhookId = id.parse().map_err(|_| unknown())?;
    let (own, id) = webhook_id.into_parts();
    let contradicts = is_named && own != tenant;
    if contradicts || !caller.sees(&own) { Err(unknown()) } else { Ok((own, id)) }
}

/// The tenant's endpoints that the event was not fanned out to, those first that would get it now.
fn others(event: &Event, routing: RoutingRecord) -> Vec<EndpointId> {
    let fanned_out: BTreeSet<_> = event.fan_out.endpoints().iter().collect();
    let mut others = routing.routes;
    others.retain(|route| !fanned_out.contains(&route.endpoint_id));
    others.sort_by_key(|route| !route.patterns.iter().any(|pattern| pattern.matches(&event.event_type)));
    others.into_iter().take(MOST_OTHERS).map(|route| route.endpoint_id).collect()
}

fn show(event: &Event, mut deliveries: Vec<DeliveryView>) -> Result<Response, Problem> {
    let damaged = |Damaged| Problem::unavailable("The stored event cannot be read.");
    let body = unpacked(event).map_err(damaged)?;
    let Wire { data, .. } = Wire::read(&body).map_err(damaged)?;
    let view = |deliveries: &[DeliveryView], data: Option<&RawValue>| {
        let view = EventView {
            id: &event.id,
            webhook_id: event.webhook_id(),
            tenant: &event.tenant,
            event_type: &event.event_type,
            accepted_at: event.accepted_at,
            posted_by: event.posted_by.as_ref(),
            data,
            data_left_out: data.is_none(),
            deliveries,
        };
        Response::json(200, &view)
    };
    let mut answer = view(&deliveries, Some(data));
    for (newest_attempts, data) in [(1, Some(data)), (0, Some(data)), (0, None)] {
        if escaped(&answer.body) <= MAX_ANSWER {
            break;
        }
        deliveries = deliveries.into_iter().map(|delivery| delivery.shortened(newest_attempts)).collect();
        answer = view(&deliveries, data);
    }
    Ok(answer)
}

/// Size of a body as Lambda counts it: as a JSON string.
fn escaped(body: &str) -> usize {
    body.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t') { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use pombo_domain::api_key::Scope;
    use pombo_domain::body::{PackedBody, wire_body};
    use pombo_domain::delivery::{Record, Step};
    use pombo_domain::event::FanOut;
    use pombo_domain::first_attempt::FirstAttemptWindow;
    use pombo_domain::hops::Hops;
    use pombo_domain::outcome::{Attempt, Outcome, Trigger};
    use pombo_domain::routing::Route;

    use super::*;

    fn event(data: &str) -> Event {
        let data: &RawValue = serde_json::from_str(data).unwrap();
        Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            body: PackedBody::pack(&wire_body(&"a.b".parse().unwrap(), Timestamp::from_seconds(1), data)),
            fan_out: FanOut::new(vec![EndpointId::generate([1; 10])]),
            fingerprint: String::new(),
            expires_at: 2,
            hops: Hops::NONE,
            posted_by: None,
        }
    }

    /// How many bytes Lambda sends for the answer, and what it says of data and of a delivery's attempts.
    fn sent(data: &str, deliveries: usize) -> (usize, bool, usize) {
        let event = event(data);
        let failed = |attempt| Attempt {
            step: Step { round: 0, attempt },
            started_at: event.accepted_at,
            duration_ms: 84,
            outcome: Outcome::HttpStatus { status_code: 500 },
            answer: Some("x".repeat(200).as_str().into()),
            sent_to: None,
            redelivered: false,
            trigger: Trigger::Retry,
        };
        let key = event.delivery_to(EndpointId::generate([1; 10]));
        let attempts = (1..=3).map(failed).collect();
        let record = Record { attempts, ..Record::begin(key, event.new_delivery()) };
        let caller = Caller::without_key("k".into(), None, Scope::Ops);
        let shown = vec![DeliveryView::of(record, &caller); deliveries];
        let answer = show(&event, shown).unwrap();
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["deliveries"].as_array().unwrap().len(), deliveries);
        assert_eq!(body["data"].is_null(), body["data_left_out"] == true);
        let attempts = body["deliveries"][0]["attempts"].as_array().unwrap().len();
        (serde_json::Value::from(answer).to_string().len(), body["data"].is_null(), attempts)
    }

    #[test]
    fn attempts_and_then_the_data_are_left_out_of_an_answer_that_lambda_would_not_send() {
        let quotes = |bytes: usize| format!("\"{}\"", "\\\"".repeat(bytes / 2));
        for (data, deliveries, left) in [
            (quotes(100), 1000, (false, 3)),
            (quotes(2_000_000), 1500, (false, 1)),
            (quotes(2_000_000), 3000, (false, 0)),
            (quotes(2_000_000), 7000, (true, 0)),
        ] {
            let (bytes, without_data, attempts) = sent(&data, deliveries);
            assert!(bytes <= 6_291_556, "{deliveries} deliveries: {bytes}");
            assert_eq!((without_data, attempts), left, "{deliveries} deliveries: {bytes}");
        }
    }

    #[test]
    fn data_is_shown_byte_for_byte_with_the_pending_deliveries() {
        let data = r#"{ "z":1.10, "a" : 1e400,"big":123456789012345678901234567890, "é":"\u00e9\uffff￿","data":[] }"#;
        let event = event(data);
        let endpoint = EndpointId::generate([1; 10]);
        let pending = DeliveryView::pending(
            &event,
            event.delivery_to(endpoint),
            FirstAttemptWindow::default(),
            event.accepted_at,
        );
        let response = show(&event, vec![pending]).unwrap();
        let expected = format!(
            r#"{{"id":"evt_1","webhook_id":"acme~evt_1","tenant":"acme","type":"a.b","accepted_at":"1970-01-01T00:00:01.000Z","posted_by":null,"data":{data},"deliveries":[{{"id":"#
        );
        assert!(response.body.starts_with(&expected), "{}", response.body);
        assert!(response.body.contains(r#""status":"pending","round":0,"attempt":0,"#), "{}", response.body);
        let damaged = Event { body: PackedBody::pack(b"nonsense"), ..event };
        assert_eq!(show(&damaged, Vec::new()).unwrap_err().status, 503);
    }

    #[test]
    fn an_event_is_found_by_its_webhook_id_too_and_not_by_anothers() {
        let found = |bound: Option<&str>, named: Option<&str>, id: &str| {
            let tenant = |name: &str| name.parse::<TenantId>().unwrap();
            let caller = Caller::without_key("k".into(), bound.map(tenant), Scope::Ops);
            let searched = caller.tenant_for(named.map(tenant)).unwrap();
            find(&caller, searched, named.is_some(), id)
                .map(|(tenant, id)| format!("{tenant} {id}"))
                .map_err(|problem| problem.status)
        };
        for (bound, named, id, expected) in [
            (None, None, "e-1", Ok("default e-1")),
            (None, Some("acme"), "e-1", Ok("acme e-1")),
            (None, None, "acme~e-1", Ok("acme e-1")),
            (None, Some("acme"), "acme~e-1", Ok("acme e-1")),
            (Some("acme"), None, "acme~e-1", Ok("acme e-1")),
            (Some("acme"), None, "e-1", Ok("acme e-1")),
            (None, Some("other"), "acme~e-1", Err(404)),
            (None, Some("default"), "acme~e-1", Err(404)),
            (Some("other"), None, "acme~e-1", Err(404)),
            (None, None, "default~e-1", Err(404)),
            (None, None, "acme~e.1", Err(404)),
        ] {
            assert_eq!(found(bound, named, id), expected.map(str::to_owned), "{bound:?} {named:?} {id}");
        }
    }

    #[test]
    fn deliveries_are_looked_for_beyond_the_fan_out_list_first_where_they_match() {
        let id = |byte: u8| EndpointId::generate([byte; 10]);
        let route = |byte, pattern: &str| Route {
            endpoint_id: id(byte),
            version: 1,
            active: true,
            patterns: vec![pattern.parse().unwrap()],
            unknown: Vec::new(),
        };
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            body: PackedBody::pack(b""),
            fan_out: FanOut::new(vec![id(2)]),
            fingerprint: String::new(),
            expires_at: 2,
            hops: Hops::NONE,
            posted_by: None,
        };
        let routing = |routes| RoutingRecord { routes, ..RoutingRecord::empty("acme".parse().unwrap()) };
        let routes = vec![route(1, "x"), route(2, "*"), route(3, "a.*")];
        assert_eq!(others(&event, routing(routes)), [id(3), id(1)]);
        let many = (0..600).map(|n| Route {
            endpoint_id: EndpointId::generate([3, 0, 0, 0, 0, 0, 0, 0, (n / 200) as u8, (n % 200) as u8]),
            ..route(1, "x")
        });
        assert_eq!(others(&event, routing(many.collect())).len(), MOST_OTHERS);
    }
}
