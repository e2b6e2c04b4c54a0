//! Accepting an event: store it once, queue its deliveries, and only then say so.

use std::collections::HashMap;
use std::time::Duration;

use pombo_aws::clock;
use pombo_aws::events::PutEvent;
use pombo_aws::fan_out::{self, Occasion};
use pombo_domain::body::{MAX_BODY, MAX_PACKED_BODY, PackedBody, fingerprint};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use pombo_domain::posted_by::PostedBy;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_requests::{NewEvent, too_large};
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;
use tracing::Span;
use tracing::field::display;

use crate::Invocation;
use crate::settings::App;

/// Maximum time for storing the list of refused endpoints.
const MAX_NOTE_TIME: Duration = Duration::from_secs(2);

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
    /// Why there are no deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
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
    let posted_by = caller.key_id.as_ref().map_or_else(|| PostedBy::arn(&caller.name), PostedBy::key);
    let event = event(app, &new, tenant, FanOut::new(fan_out), posted_by)?;
    note(&event);
    let (event, refused, duplicate) = match app.events.put_new(&event, &invocation.request_id, clock::now()).await? {
        PutEvent::Stored => (event, FanOut::default(), false),
        PutEvent::Exists(existing) if existing.event.fingerprint == event.fingerprint => {
            (existing.event, existing.refused, true)
        }
        PutEvent::Exists(_) => return Err(id_taken(&event)),
        PutEvent::TooLarge => return Err(does_not_fit(&event)),
    };
    let versions: HashMap<_, _> = routing.routes.iter().map(|route| (&route.endpoint_id, route.version)).collect();
    let version_of = |endpoint: &EndpointId| versions.get(endpoint).copied();
    let occasion = if duplicate { Occasion::Repeated(app.window, &refused) } else { Occasion::Stored(app.window) };
    let unsent = fan_out::send(&app.queue, &event, occasion, version_of, Some(invocation.last_call_at)).await;
    let count = unsent.count();
    if count > 0 {
        tracing::error!(unsent = count, "Deliveries of the event could not be queued.");
        note_refused(app, &event, invocation, unsent.refused).await;
        return Err(not_queued(&event, count));
    }
    let deliveries = event.fan_out.endpoints().len();
    Span::current().record("deliveries", deliveries).record("duplicate", duplicate);
    let accepted = Accepted {
        id: &event.id,
        tenant: &event.tenant,
        event_type: &event.event_type,
        accepted_at: event.accepted_at,
        deliveries,
        duplicate,
        hint: (deliveries == 0).then(|| hint(&routing, &event.event_type, duplicate)),
    };
    Ok(Response::json(202, &accepted))
}

/// Stores the endpoints to which nothing was sent, so that a repeat of the post sends to them at once. Without this list a
/// repeat sends to them when the window has closed. A repeat itself has no such endpoints to store: its messages have no
/// mark, so they count as possibly queued.
async fn note_refused(app: &App, event: &Event, invocation: &Invocation, refused: Vec<EndpointId>) {
    if refused.is_empty() {
        return;
    }
    let refused = FanOut::new(refused);
    let stored = app.events.put_refused(event, &invocation.request_id, &refused);
    // A send that begins as late as allowed leaves three seconds for this call and the answer.
    let problem = match tokio::time::timeout(MAX_NOTE_TIME, stored).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(
        problem,
        "The list of endpoints to which nothing was sent could not be stored. A repeat sends to them later."
    );
}

/// Adds to the request's lines in the log which event they are about.
fn note(event: &Event) {
    let span = Span::current();
    span.record("tenant", display(&event.tenant)).record("event", display(&event.id));
    span.record("type", display(&event.event_type));
}

/// Why nobody gets an event of this type, by the routing record that decided it.
fn hint(routing: &RoutingRecord, event_type: &EventType, duplicate: bool) -> String {
    let tenant = &routing.tenant;
    if duplicate {
        return format!(
            "No active endpoint of the tenant {tenant} subscribed to {event_type} when the event was first accepted, and a \
             repeat changes nothing. A replay that includes `missing` sends it to an endpoint that subscribes now."
        );
    }
    if routing.routes.is_empty() {
        return format!(
            "The tenant {tenant} has no endpoint. Register one with POST /v1/endpoints on the endpoints URL, or check the \
             tenant's name."
        );
    }
    match routing.subscribed(event_type).count() {
        0 => format!(
            "None of the {} of the tenant {tenant} subscribes to {event_type}. Add the type to the `event_types` of one.",
            counted(routing.routes.len(), "endpoint")
        ),
        paused => format!(
            "Each endpoint of the tenant {tenant} that subscribes to {event_type} is paused ({paused} in all). Resuming one \
             with {{\"missed\": \"replay\"}} sends it the event."
        ),
    }
}

/// A number and its noun: "1 endpoint", "2 endpoints".
fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn event(
    app: &App,
    new: &NewEvent<'_>,
    tenant: TenantId,
    fan_out: FanOut,
    posted_by: PostedBy,
) -> Result<Event, Problem> {
    let accepted_at = clock::now();
    let id = match &new.id {
        Some(id) => id.clone(),
        None => EventId::generate(clock::random().map_err(|error| Problem::unavailable(error.to_string()))?),
    };
    let body = new.wire_body(accepted_at)?;
    let packed = packed(&body)?;
    Ok(Event {
        tenant,
        id,
        event_type: new.event_type.clone(),
        accepted_at,
        body: packed,
        fan_out,
        fingerprint: fingerprint(&new.event_type, new.data),
        expires_at: accepted_at.plus(app.retention).as_seconds(),
        hops: new.hops,
        posted_by: Some(posted_by),
    })
}

/// Packs the body for storage.
///
/// # Errors
/// 413 for a body that is too long even when it is compressed.
fn packed(body: &[u8]) -> Result<PackedBody, Problem> {
    let packed = PackedBody::pack(body);
    let (raw, stored) = (body.len(), packed.bytes.len());
    if stored <= MAX_PACKED_BODY {
        return Ok(packed);
    }
    Err(too_large(&format!(
        "the body for receivers is {raw} bytes (at most {MAX_BODY}), and compressed it takes {stored} bytes (at most \
         {MAX_PACKED_BODY})"
    )))
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
        "The tenant {} has another event with the id {}: its type or data differ. The bytes of `data` are compared, so the \
         same value with another key order or other spaces differs too. Repeat an event byte for byte, or give it an id of \
         its own.",
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

#[cfg(test)]
mod tests {
    use pombo_domain::hops::Hops;
    use pombo_domain::routing::Route;

    use super::*;

    fn routing(routes: &[(bool, &str)]) -> RoutingRecord {
        let route = |(place, (active, pattern)): (usize, &(bool, &str))| Route {
            endpoint_id: EndpointId::generate([place as u8; 10]),
            version: 1,
            active: *active,
            patterns: vec![pattern.parse().unwrap()],
            unknown: Vec::new(),
        };
        let routes = routes.iter().enumerate().map(route).collect();
        RoutingRecord { routes, ..RoutingRecord::empty("acme".parse().unwrap()) }
    }

    #[test]
    fn an_event_that_nobody_gets_says_why() {
        let event_type = "student.created".parse().unwrap();
        for (routes, says) in [
            (vec![], "The tenant acme has no endpoint."),
            (vec![(true, "course.*")], "None of the 1 endpoint of the tenant acme subscribes to student.created."),
            (vec![(true, "course.*"), (false, "teacher.*")], "None of the 2 endpoints of the tenant acme"),
            (vec![(true, "course.*"), (false, "student.*")], "subscribes to student.created is paused (1 in all)."),
            (vec![(false, "*"), (false, "student.*")], "is paused (2 in all)."),
        ] {
            let hint = hint(&routing(&routes), &event_type, false);
            assert!(hint.contains(says), "{hint}");
        }
        let repeated = hint(&routing(&[(true, "student.*")]), &event_type, true);
        assert!(repeated.contains("when the event was first accepted"), "{repeated}");
    }

    #[test]
    fn a_large_body_is_taken_if_it_compresses_and_the_refusal_of_another_says_both_sizes() {
        let size = 3 * 512 * 1024;
        assert_eq!(packed(&b"{\"n\":1}".repeat(size / 7)).unwrap().unpack().unwrap().len(), size / 7 * 7);
        let mut state = 7u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'#' + (state >> 33) as u8 % 90
        });
        let problem = packed(&noise.take(size).collect::<Vec<_>>()).unwrap_err();
        assert_eq!(problem.status, 413);
        assert!(problem.detail.contains("is 1572864 bytes (at most 2097152), and compressed it takes 1"));
        assert!(problem.detail.contains("bytes (at most 358400)"), "{}", problem.detail);
    }

    #[test]
    fn a_taken_id_says_that_bytes_are_compared() {
        let data = serde_json::value::RawValue::from_string(r#"{"b":1,"a":2}"#.into()).unwrap();
        let event_type: EventType = "a".parse().unwrap();
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "e-1".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            body: PackedBody::pack(b""),
            fan_out: FanOut::new(Vec::new()),
            fingerprint: fingerprint(&event_type, &data),
            expires_at: 2,
            hops: Hops::NONE,
            posted_by: None,
            event_type: event_type.clone(),
        };
        let problem = id_taken(&event);
        assert!(problem.status == 409 && problem.detail.contains("The bytes of `data` are compared"), "{problem:?}");
        let turned = serde_json::value::RawValue::from_string(r#"{"a":2,"b":1}"#.into()).unwrap();
        assert_ne!(fingerprint(&event_type, &turned), event.fingerprint, "what the text says");
    }
}
