//! Deliveries that have no record yet.
//!
//! A delivery's record is first written by the process that takes its first message. Until then the event's fan-out list
//! alone says that there is a delivery. Its key names endpoint and event; the tenant, which the event's key needs, is the
//! endpoint's.

use pombo_aws::AwsError;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event::Event;
use pombo_domain::time::Timestamp;

use crate::settings::App;

/// The event on whose fan-out list the delivery stands, if there is one.
pub(crate) async fn event_of(
    app: &App,
    endpoint: &Endpoint,
    key: &DeliveryKey,
    now: Timestamp,
) -> Result<Option<Event>, AwsError> {
    let event = app.clients.events.get(&endpoint.tenant, &key.event_id, now).await?;
    Ok(event
        .filter(|event| event.accepted_at == key.accepted_at && event.fan_out.endpoints().contains(&key.endpoint_id)))
}
