//! The drain: looks after the held deliveries of an endpoint whose circuit opened, or that was resumed or deleted.
//!
//! While the circuit is open, each leg sends a [`probe`](super::probe), or pauses the endpoint for good. Once it is
//! closed, whoever closed it, legs release what is held, oldest first and no faster than the endpoint takes it. The process
//! that closes the circuit wakes the drain, so that the first leg runs at once. If that process dies before it wakes the
//! drain, what is held moves with the leg of the next probe, although no new event comes.
//!
//! A process that saw the door closed may still be on its way to put a delivery on hold when it opens, and an index shows
//! a change late. So the drain goes on looking until a look that began well after the door opened finds nothing. Released
//! deliveries of a deleted endpoint are cancelled by dispatch, as every other is.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Job, StopReason};
use pombo_domain::pace::{RELEASE_PAGE_TIME, RELEASE_SPACING, next_look, release_spacing, rows_in_page};
use pombo_domain::time::Timestamp;
use pombo_jobs::Known;

use super::held::{Look, look};
use super::page::Page;
use super::{auto_pause, probe};
use crate::settings::App;

/// The next page of a drain.
pub(super) async fn next_page(
    app: &App,
    job: &Job,
    endpoint_id: &EndpointId,
    began: Timestamp,
    writer: &str,
) -> Result<Page, AwsError> {
    let known = app.clients.endpoints.get_with_health(endpoint_id).await?;
    let Some((endpoint, health)) = known.filter(|(endpoint, _)| endpoint.status != EndpointStatus::Deleted) else {
        return release(app, endpoint_id, RELEASE_SPACING, job.created_at, began).await;
    };
    if endpoint.status == EndpointStatus::Paused {
        return Ok(Page::Stop(StopReason::EndpointPaused));
    }
    match &health.open {
        // The circuit opened again, with a drain of its own: that one releases what this one has left.
        Some(open) if open.drain != job.key().to_string() => Ok(Page::End),
        Some(open) => match health.pause_reason(&app.clients.rules) {
            Some(reason) => auto_pause::pause(app, &endpoint, &health, reason, writer).await,
            None => probe::probe(app, job, &endpoint, &health, open, began, writer).await,
        },
        None => {
            let opened_at = health.closed_at.map_or(job.created_at, |closed| closed.max(job.created_at));
            release(app, endpoint_id, spacing(&endpoint), opened_at, began).await
        }
    }
}

/// How far apart an endpoint gets deliveries that have waited.
pub(super) fn spacing(endpoint: &Endpoint) -> Duration {
    release_spacing(endpoint.rate_limit.as_ref())
}

/// Releases a page of what is held behind a door that opened at `opened_at`.
async fn release(
    app: &App,
    endpoint_id: &EndpointId,
    spacing: Duration,
    opened_at: Timestamp,
    began: Timestamp,
) -> Result<Page, AwsError> {
    Ok(match look(app, endpoint_id, rows_in_page(spacing, RELEASE_PAGE_TIME)).await? {
        Look::Held(rows, records) => {
            let known = Box::new(Known { records, ..Known::default() });
            Page::Rows { rows, known, spacing }
        }
        Look::Stale => Page::Nothing { look_again_in: Duration::from_secs(1) },
        Look::Nothing => match next_look(opened_at, began, app.clients.settle) {
            Some(look_again_in) => Page::Nothing { look_again_in },
            None => Page::End,
        },
    })
}
