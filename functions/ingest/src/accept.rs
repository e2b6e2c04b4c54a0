//! Accepting an event: store it once, queue its deliveries, and only then say so.

use std::collections::HashMap;

use pombo_aws::events::PutEvent;
use pombo_aws::{clock, fan_out};
use pombo_domain::body::{PackedBody, fingerprint};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_requests::{NewEvent, too_large};
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::Invocation;
use crate::settings::App;

/// What the app is told.
#[derive(Debug, Serialize)]
struct Accepted<'a> {
    id: &'a EventId,
    tenant: &'a TenantId,
    #[serde(rename = "type")]
    event_type: &'a EventType,
    accepted_at: Timestamp,
    deliveries: usize,
    duplicate: bool,
}

/// `POST /v1/events`.
pub async fn accept(
    app: &App,
    caller: &Caller,
    request: &Request,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let new = NewEvent::read(request, clock::now())?;
    let tenant = caller.tenant_for(new.tenant.clone())?;
    // One read decides who gets the event: an endpoint registered before this moment does.
    let routing = app.routing.get(&tenant).await?;
    let fan_out = routing.matching(&new.event_type).map(|route| route.endpoint_id.clone()).collect();
    let event = event(app, &new, tenant, FanOut::new(fan_out))?;
    let (event, duplicate) = match app.events.put_new(&event, &invocation.request_id, clock::now()).await? {
        PutEvent::Stored => (event, false),
        PutEvent::Exists(existing) if existing.fingerprint == event.fingerprint => (*existing, true),
        PutEvent::Exists(_) => return Err(id_taken(&event)),
        PutEvent::TooLarge => return Err(does_not_fit(&event)),
    };
    let versions: HashMap<_, _> = routing.routes.iter().map(|route| (&route.endpoint_id, route.version)).collect();
    let version_of = |endpoint: &EndpointId| versions.get(endpoint).copied();
    let unsent = fan_out::send(&app.queue, &event, version_of, Some(invocation.last_call_at)).await;
    if unsent > 0 {
        tracing::error!(event = %event.id, tenant = %event.tenant, unsent, "Deliveries of the event could not be queued.");
        return Err(not_queued(&event, unsent));
    }
    let deliveries = event.fan_out.endpoints().len();
    tracing::info!(event = %event.id, tenant = %event.tenant, "type" = %event.event_type, deliveries, duplicate, "Event accepted.");
    let accepted = Accepted {
        id: &event.id,
        tenant: &event.tenant,
        event_type: &event.event_type,
        accepted_at: event.accepted_at,
        deliveries,
        duplicate,
    };
    Ok(Response::json(202, &accepted))
}

fn event(app: &App, new: &NewEvent<'_>, tenant: TenantId, fan_out: FanOut) -> Result<Event, Problem> {
    let accepted_at = clock::now();
    let id = match &new.id {
        Some(id) => id.clone(),
        None => EventId::generate(clock::random().map_err(|error| Problem::unavailable(error.to_string()))?),
    };
    let body = new.wire_body(accepted_at)?;
    Ok(Event {
        tenant,
        id,
        event_type: new.event_type.clone(),
        accepted_at,
        body: PackedBody::pack(&body),
        fan_out,
        fingerprint: fingerprint(&new.event_type, new.data),
        expires_at: accepted_at.plus(app.retention).as_seconds(),
    })
}

/// DynamoDB takes 400 KB of an item.
fn does_not_fit(event: &Event) -> Problem {
    let (packed, endpoints) = (event.body.bytes.len(), event.fan_out.endpoints().len());
    too_large(&format!(
        "compressed it takes {packed} bytes, beside the list of its {endpoints} endpoints, and at most 409600 are stored"
    ))
}

fn id_taken(event: &Event) -> Problem {
    let detail = format!(
        "The tenant {} has another event with the id {}: its type or data differ. Give this one an id of its own.",
        event.tenant, event.id
    );
    Problem::new(409, detail)
}

fn not_queued(event: &Event, unsent: usize) -> Problem {
    let detail = format!(
        "The event is stored, but {unsent} of its deliveries could not be queued. Repeat the request with the id {}: \
         nothing is sent twice.",
        event.id
    );
    Problem { extra: vec![("id", event.id.to_string())], ..Problem::unavailable(detail) }
}
