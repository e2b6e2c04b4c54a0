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
use pombo_domain::job::{Job, LARGEST_PAGE, StopReason};
use pombo_domain::time::Timestamp;
use pombo_jobs::Known;

use super::held::{Look, look};
use super::page::Page;
use super::{auto_pause, probe};
use crate::settings::App;

/// The shortest and the longest pause between two looks that find nothing. What is put on hold late is released at most so
/// much later; most of that comes, or shows in the index, in the first moments.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// From one released delivery to the next: a hundred a second, so that a receiver that has just come back is not run over.
const SHORTEST_SPACING: Duration = Duration::from_millis(10);
/// The longest that sending a page may take: a message can wait 15 minutes.
const LONGEST_PAGE: Duration = Duration::from_secs(600);

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
        return release(app, endpoint_id, SHORTEST_SPACING, job.created_at, began).await;
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
    let limit = endpoint.rate_limit.as_ref();
    let slot = limit.map_or(0, |limit| limit.per_second.interval_micros());
    Duration::from_micros(u64::try_from(slot).unwrap_or_default()).max(SHORTEST_SPACING)
}

/// Releases a page of what is held behind a door that opened at `opened_at`.
async fn release(
    app: &App,
    endpoint_id: &EndpointId,
    spacing: Duration,
    opened_at: Timestamp,
    began: Timestamp,
) -> Result<Page, AwsError> {
    let fits = (LONGEST_PAGE.as_millis() / spacing.as_millis().max(1)).max(1);
    let most = usize::try_from(fits).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE);
    Ok(match look(app, endpoint_id, most).await? {
        Look::Held(rows, records) => {
            let known = Box::new(Known { records, ..Known::default() });
            Page::Rows { rows, known, spacing }
        }
        Look::Stale => Page::Nothing { look_again_in: Duration::from_secs(1) },
        Look::Nothing => after_empty_look(opened_at, began, app.clients.settle),
    })
}

/// What an empty look that began at `began` means for a drain whose door opened at `opened_at`. The pauses grow with the
/// time since then.
fn after_empty_look(opened_at: Timestamp, began: Timestamp, settle: Duration) -> Page {
    let settled = opened_at.plus(settle);
    if began >= settled {
        return Page::End;
    }
    let pause = opened_at.until(began).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    Page::Nothing { look_again_in: began.until(settled).min(pause) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_look_ends_the_drain_only_when_it_began_after_the_settling_time() {
        let opened = Timestamp::from_seconds(1000);
        let settle = Duration::from_secs(120);
        for (began, expected) in [
            (999, Some(1)),
            (1000, Some(1)),
            (1004, Some(4)),
            (1080, Some(30)),
            (1100, Some(20)),
            (1119, Some(1)),
            (1120, None),
            (5000, None),
        ] {
            let pause = match after_empty_look(opened, Timestamp::from_seconds(began), settle) {
                Page::Nothing { look_again_in } => Some(look_again_in.as_secs()),
                Page::End => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(pause, expected, "a look at {began}");
        }
    }
}
