//! The drain: moves the held deliveries of an endpoint that was resumed or deleted, oldest first.
//!
//! A process that saw the endpoint paused may still be on its way to put a delivery on hold when the drain begins, and an
//! index shows a change late. So the drain goes on looking until a look that began well after the door opened finds
//! nothing. Released deliveries of a deleted endpoint are cancelled by dispatch, as every other is.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::deliveries::{List, Window};
use pombo_domain::delivery::{Listing, Status};
use pombo_domain::endpoint::EndpointStatus;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Job, JobStatus, LARGEST_PAGE, Row};
use pombo_domain::time::Timestamp;

use super::kind::Page;
use super::rows::Records;
use crate::settings::App;

/// The longest pause between two looks; what is put on hold late is released at most so much later.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many windows of an index in which nothing is held any more are read in one look.
const MOST_STALE_WINDOWS: usize = 6;

/// What a look found.
#[derive(Debug)]
enum Look {
    /// Held deliveries.
    Held(Vec<Row>, Records),
    /// The index names deliveries, and none of those read is held any more: it lags behind the last leg.
    Stale,
    /// The index is empty.
    Nothing,
}

/// The next page of a drain.
pub(super) async fn next_page(
    app: &App,
    job: &Job,
    endpoint_id: &EndpointId,
    began: Timestamp,
) -> Result<Page, AwsError> {
    let endpoint = app.endpoints.get(endpoint_id).await?;
    if endpoint.is_some_and(|endpoint| endpoint.status == EndpointStatus::Paused) {
        return Ok(Page::End(JobStatus::Cancelled));
    }
    Ok(match look(app, endpoint_id).await? {
        Look::Held(rows, records) => Page::Rows { rows, records },
        Look::Stale => Page::Nothing { look_again_in: Duration::from_secs(1) },
        Look::Nothing => after_empty_look(job.created_at, began, app.settle),
    })
}

/// What an empty look that began at `began` means for a drain of `created_at`.
fn after_empty_look(created_at: Timestamp, began: Timestamp, settle: Duration) -> Page {
    let settled = created_at.plus(settle);
    if began >= settled {
        Page::End(JobStatus::Done)
    } else {
        Page::Nothing { look_again_in: began.until(settled).min(LONGEST_PAUSE) }
    }
}

/// Looks for held deliveries. The index names candidates; only what its record says is held comes on the page, so that
/// an index that lags cannot bring back what an earlier leg released.
async fn look(app: &App, endpoint_id: &EndpointId) -> Result<Look, AwsError> {
    let list = List::ByEndpoint(Listing::endpoint_partition(endpoint_id, Status::Held));
    let mut after = None;
    for _ in 0..MOST_STALE_WINDOWS {
        let first = after.is_none();
        let window = Window { since: None, until: None, after, limit: LARGEST_PAGE, oldest_first: true };
        let candidates = app.protocol.deliveries.list(&list, &window).await?;
        if candidates.is_empty() {
            return Ok(if first { Look::Nothing } else { Look::Stale });
        }
        let mut records = app.protocol.deliveries.get_many(&candidates).await?;
        records.retain(|_, record| record.status == Status::Held);
        let held = candidates.iter().filter_map(|key| records.get(key));
        let rows: Vec<_> = held.map(|record| Row { delivery: record.key.clone(), round: record.step.round }).collect();
        if !rows.is_empty() {
            return Ok(Look::Held(rows, records));
        }
        after = candidates.last().cloned();
    }
    Ok(Look::Stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_look_ends_the_drain_only_when_it_began_after_the_settling_time() {
        let created = Timestamp::from_seconds(1000);
        let settle = Duration::from_secs(120);
        for (began, expected) in
            [(1000, Some(30)), (1080, Some(30)), (1100, Some(20)), (1119, Some(1)), (1120, None), (5000, None)]
        {
            let pause = match after_empty_look(created, Timestamp::from_seconds(began), settle) {
                Page::Nothing { look_again_in } => Some(look_again_in.as_secs()),
                Page::End(JobStatus::Done) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(pause, expected, "a look at {began}");
        }
    }
}
