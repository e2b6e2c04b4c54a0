//! `GET /v1/events/{id}`: an event with its data, as the app sent it, and what became of its deliveries.

use pombo_aws::clock;
use pombo_domain::event::Event;
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::settings::App;
use crate::view::DeliveryView;

/// The largest answer in bytes before attempts are left out of it; Lambda sends at most 6 MB.
const LARGEST_ANSWER: usize = 4 << 20;

/// The body as it goes over the wire, with the data untouched.
#[derive(Debug, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Debug, Serialize)]
struct EventView<'a> {
    id: &'a EventId,
    tenant: &'a TenantId,
    #[serde(rename = "type")]
    event_type: &'a EventType,
    accepted_at: Timestamp,
    data: &'a RawValue,
    deliveries: &'a [DeliveryView],
}

/// Answers with the event. The deliveries are those of its fan-out list, whose keys follow from it.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&["tenant"])?;
    let unknown = || Problem::not_found("event");
    let tenant = caller.tenant_for(request.query("tenant")?)?;
    let id: EventId = id.parse().map_err(|_| unknown())?;
    let event = app.events.get(&tenant, &id, clock::now()).await?.ok_or_else(unknown)?;
    let keys: Vec<_> = event.fan_out.endpoints().iter().map(|id| event.delivery_to(id.clone())).collect();
    let mut records = app.protocol.deliveries.get_many(&keys).await?;
    let deliveries = keys.into_iter().map(|key| match records.remove(&key) {
        Some(record) => DeliveryView::of(record),
        None => DeliveryView::pending(&event, key),
    });
    show(&event, deliveries.collect())
}

fn show(event: &Event, deliveries: Vec<DeliveryView>) -> Result<Response, Problem> {
    let damaged = || {
        tracing::error!(event = %event.id, tenant = %event.tenant, "The stored body of event {} is damaged.", event.id);
        Problem::unavailable("The stored event cannot be read.")
    };
    let body = event.body.unpack().map_err(|_| damaged())?;
    let Wire { data } = serde_json::from_slice(&body).map_err(|_| damaged())?;
    let view = |deliveries: &[DeliveryView]| {
        let view = EventView {
            id: &event.id,
            tenant: &event.tenant,
            event_type: &event.event_type,
            accepted_at: event.accepted_at,
            data,
            deliveries,
        };
        Response::json(200, &view)
    };
    let whole = view(&deliveries);
    if whole.body.len() <= LARGEST_ANSWER {
        return Ok(whole);
    }
    let shortened: Vec<_> = deliveries.into_iter().map(DeliveryView::shortened).collect();
    Ok(view(&shortened))
}

#[cfg(test)]
mod tests {
    use pombo_domain::body::{PackedBody, wire_body};
    use pombo_domain::event::FanOut;
    use pombo_domain::ids::EndpointId;

    use super::*;

    #[test]
    fn data_is_shown_byte_for_byte_with_the_pending_deliveries() {
        let data = r#"{ "z":1.10, "a" : 1e400,"big":123456789012345678901234567890, "é":"\u00e9\uffff￿","data":[] }"#;
        let raw: &RawValue = serde_json::from_str(data).unwrap();
        let endpoint = EndpointId::generate([1; 10]);
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            body: PackedBody::pack(&wire_body(&"a.b".parse().unwrap(), Timestamp::from_seconds(1), raw)),
            fan_out: FanOut::new(vec![endpoint.clone()]),
            fingerprint: String::new(),
            expires_at: 2,
        };
        let pending = DeliveryView::pending(&event, event.delivery_to(endpoint));
        let response = show(&event, vec![pending]).unwrap();
        let expected = format!(
            r#"{{"id":"evt_1","tenant":"acme","type":"a.b","accepted_at":"1970-01-01T00:00:01.000Z","data":{data},"deliveries":[{{"id":"#
        );
        assert!(response.body.starts_with(&expected), "{}", response.body);
        assert!(response.body.contains(r#""status":"pending","round":0,"attempt":0,"#), "{}", response.body);
        let damaged = Event { body: PackedBody::pack(b"nonsense"), ..event };
        assert_eq!(show(&damaged, Vec::new()).unwrap_err().status, 503);
    }
}
