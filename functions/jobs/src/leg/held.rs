//! What is held behind an endpoint's door.

use pombo_aws::AwsError;
use pombo_aws::deliveries::{List, Window};
use pombo_domain::delivery::{Listing, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::job::Row;
use pombo_jobs::Records;

use crate::settings::App;

/// How many windows of an index in which nothing is held any more are read in one look.
const MOST_STALE_WINDOWS: usize = 6;

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// Held deliveries.
    Held(Vec<Row>, Records),
    /// The index names deliveries, and none of those read is held any more: it lags behind the last leg.
    Stale,
    /// The index is empty.
    Nothing,
}

/// Looks for the oldest held deliveries, at most `most`. The index names candidates; only what its record says is held
/// counts, so that an index that lags cannot bring back what an earlier leg released.
pub(super) async fn look(app: &App, endpoint_id: &EndpointId, most: usize) -> Result<Look, AwsError> {
    let list = List::ByEndpoint(Listing::endpoint_partition(endpoint_id, Status::Held));
    let mut after = None;
    for _ in 0..MOST_STALE_WINDOWS {
        let first = after.is_none();
        let window = Window { since: None, until: None, after, limit: most, oldest_first: true };
        let candidates = app.clients.protocol.deliveries.list(&list, &window).await?;
        if candidates.is_empty() {
            return Ok(if first { Look::Nothing } else { Look::Stale });
        }
        let mut records = app.clients.protocol.deliveries.get_many(&candidates).await?;
        records.retain(|_, record| record.status == Status::Held);
        let held = candidates.iter().filter_map(|key| records.get(key));
        let rows: Vec<_> =
            held.map(|record| Row { delivery: record.key.clone(), round: record.step.round, first: false }).collect();
        if !rows.is_empty() {
            return Ok(Look::Held(rows, records));
        }
        after = candidates.last().cloned();
    }
    Ok(Look::Stale)
}
