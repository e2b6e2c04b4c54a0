//! The end of patience: an endpoint that has been failing for days, or says that it is gone, is paused.
//!
//! Before that, the newest of its deliveries are looked through: marks are set and cleared by many processes, some of
//! which may have died, and a pause stops all traffic until somebody comes. A success since the failing began refutes it.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::{List, Window};
use pombo_aws::endpoints::{Change, Changed};
use pombo_aws::metrics::Metric;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::{Health, PauseReason};
use pombo_domain::ids::base32;
use pombo_domain::job::StopReason;
use pombo_domain::operational::Happening;
use pombo_domain::time::Timestamp;

use super::circuit;
use super::page::Page;
use crate::settings::App;

/// How many of its newest deliveries are looked through.
const LOOKED_THROUGH: usize = 100;

/// Pauses the endpoint, or finds that it should not be.
pub(super) async fn pause(
    app: &App,
    endpoint: &Endpoint,
    health: &Health,
    reason: PauseReason,
    writer: &str,
) -> Result<Page, AwsError> {
    let again = Page::Nothing { look_again_in: Duration::from_secs(1) };
    if let Some(since) = health.failing_since
        && has_succeeded_since(app, endpoint, since).await?
    {
        tracing::info!(endpoint = %endpoint.id, %since, "The endpoint has had a success; it is not paused.");
        let closed = circuit::close(app, endpoint, health, health.cleared(clock::now()), writer).await?;
        return Ok(if closed { Page::Nothing { look_again_in: Duration::ZERO } } else { again });
    }
    let now = clock::now();
    let routing = app.routing.get(&endpoint.tenant).await?;
    let paused = Endpoint { version: endpoint.version + 1, updated_at: now, ..endpoint.paused(reason, now) };
    let routing = match routing.with(paused.route()) {
        Ok(routing) => routing,
        Err(error) => {
            // A route does not grow by this, so the record was too large before.
            tracing::error!(endpoint = %endpoint.id, %error, "The endpoint cannot be paused.");
            return Ok(Page::Nothing { look_again_in: app.clients.rules.probe_every });
        }
    };
    let what = Happening::Paused { reason, failing_since: health.failing_since };
    let event = app.clients.protocol.operations.prepare(&paused, &what, now).await?;
    let also = event.iter().map(|event| app.clients.protocol.operations.write(event)).collect::<Result<_, _>>()?;
    let change = Change { endpoint: &paused, seen: Some(endpoint.version), routing: &routing, jobs: &[], also };
    let token = clock::random::<16>().map_or_else(|_| writer.chars().take(36).collect(), |random| base32(&random));
    match app.clients.endpoints.change(&app.routing, None, &change, &token).await? {
        Changed::Conflict => Ok(again),
        Changed::Stored => {
            tracing::warn!(endpoint = %endpoint.id, tenant = %endpoint.tenant, ?reason, "The endpoint is paused.");
            app.clients.protocol.metrics.count(Metric::EndpointsPaused, 1);
            if let Some(event) = &event {
                app.clients.protocol.operations.announce(event).await;
            }
            Ok(Page::Stop(StopReason::EndpointPaused))
        }
    }
}

async fn has_succeeded_since(app: &App, endpoint: &Endpoint, since: Timestamp) -> Result<bool, AwsError> {
    let list = List::OfEndpoint(endpoint.id.clone());
    let window = Window { since: None, until: None, after: None, limit: LOOKED_THROUGH, oldest_first: false };
    let newest = app.clients.protocol.deliveries.list(&list, &window).await?;
    let records = app.clients.protocol.deliveries.get_many(&newest).await?;
    Ok(records.values().any(|record| succeeded_since(record, since)))
}

fn succeeded_since(record: &Record, since: Timestamp) -> bool {
    record.attempts.iter().any(|attempt| attempt.outcome.is_success() && attempt.started_at >= since)
}
