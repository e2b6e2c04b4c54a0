//! Spans: what each line of the log is about.
//!
//! Work is done within a span, so that each line that is written meanwhile has the ids, whoever writes it. All spans have the
//! level ERROR, or a log that is set to ERROR would leave them out, and its lines would have no ids.

use pombo_domain::delivery::{DeliveryKey, Step};
use pombo_domain::ids::{EventId, TenantId};
use tracing::field::{Empty, display};
use tracing::{Span, error_span};

/// The span of a message from a queue. What the message asks for is added when it has been read: see [`note_delivery`],
/// [`note_event`] and [`note_leg`].
#[must_use]
pub fn message(id: &str) -> Span {
    error_span!(
        "message",
        message_id = id,
        delivery = Empty,
        endpoint = Empty,
        event = Empty,
        step = Empty,
        tenant = Empty,
        job = Empty,
        leg = Empty
    )
}

/// The span of the work on one delivery of many, and of one step of it if that is known.
#[must_use]
pub fn delivery(key: &DeliveryKey, step: Option<Step>) -> Span {
    let step = step.map(display);
    error_span!("delivery", delivery = %key, endpoint = %key.endpoint_id, event = %key.event_id, step)
}

/// The span of the work on one event of many.
#[must_use]
pub fn event(tenant: &TenantId, id: &EventId) -> Span {
    error_span!("event", %tenant, event = %id)
}

/// Adds to the current [`message`] that it asks for this step of a delivery.
pub fn note_delivery(key: &DeliveryKey, step: Step) {
    let span = Span::current();
    span.record("delivery", display(key));
    span.record("endpoint", display(&key.endpoint_id));
    span.record("event", display(&key.event_id));
    span.record("step", display(step));
}

/// Adds to the current [`message`] that it asks for an event.
pub fn note_event(tenant: &TenantId, id: &EventId) {
    let span = Span::current();
    span.record("tenant", display(tenant));
    span.record("event", display(id));
}

/// Adds to the current [`message`] that it asks for a leg of a job.
pub fn note_leg(job: &str, leg: &str) {
    let span = Span::current();
    span.record("job", job);
    span.record("leg", leg);
}
