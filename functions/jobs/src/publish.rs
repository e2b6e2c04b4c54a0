//! Publishing: an event that Pombo itself has stored gets its deliveries.
//!
//! It is marked as not queued until every message is on the queue, so a run that dies anywhere is made up for by the next:
//! that of the same message, or the sweep's. A delivery's message that comes twice is dropped by its record. An event that
//! counts failures is closed first: what was sent once must not change.

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::fan_out::{self, Occasion};
use pombo_domain::event::Event;
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use thiserror::Error;

use crate::settings::App;

/// How often an open event is read again because one more failure was counted.
const MOST_CONFLICTS: usize = 10;

/// An event whose deliveries are not all queued. It stays marked.
#[derive(Debug, Error)]
pub(crate) enum PublishError {
    /// A table could not be read or written.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Messages could not be queued.
    #[error("{0} of its deliveries could not be queued")]
    Unsent(usize),
    /// It was counted on, again and again.
    #[error("the event changed {MOST_CONFLICTS} times in a row")]
    Contended,
}

/// Queues the deliveries of an event that is marked; gives whether there was one.
pub(crate) async fn publish(app: &App, tenant: &TenantId, id: &EventId) -> Result<bool, PublishError> {
    let Some(event) = closed(app, tenant, id).await? else { return Ok(false) };
    let routing = app.routing.get(tenant).await?;
    let version_of = |endpoint: &EndpointId| routing.version_of(endpoint);
    let unsent = fan_out::send(&app.clients.protocol.queue, &event, Occasion::Own, version_of, None).await.count();
    if unsent > 0 {
        return Err(PublishError::Unsent(unsent));
    }
    app.clients.events.queued(&event).await?;
    let deliveries = event.fan_out.endpoints().len();
    tracing::info!(event = %id, %tenant, "type" = %event.event_type, deliveries, "Event {id} published.");
    Ok(true)
}

/// The event as it will stay; `None` when there is nothing to queue.
async fn closed(app: &App, tenant: &TenantId, id: &EventId) -> Result<Option<Event>, PublishError> {
    for _ in 0..MOST_CONFLICTS {
        let marked = app.clients.events.marked(tenant, id, clock::now()).await?.filter(|marked| marked.unqueued);
        let Some(marked) = marked else { return Ok(None) };
        match marked.open {
            None => return Ok(Some(marked.event)),
            Some(count) if app.clients.events.close(&marked.event, count).await? => return Ok(Some(marked.event)),
            Some(_) => {}
        }
    }
    Err(PublishError::Contended)
}
