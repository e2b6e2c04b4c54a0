//! Events that Pombo itself has stored and whose deliveries should have been queued: their process died, or their message
//! was lost.

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::logs::spans;
use pombo_domain::delivery::SHARDS;
use tracing::Instrument as _;

use crate::publish::publish;
use crate::settings::App;

/// The most events that a sweep publishes from one shard.
const MOST_OF_A_SHARD: usize = 25;

/// What this part of a sweep found.
#[derive(Debug, Default)]
pub(super) struct Unqueued {
    /// Events that were published.
    pub(super) published: usize,
    /// Events that could not be; they stay for the next sweep.
    pub(super) left: usize,
}

/// Publishes what is overdue.
pub(super) async fn publish_overdue(app: &App) -> Result<Unqueued, AwsError> {
    let now = clock::now();
    let shards = try_join_all((0..SHARDS).map(|shard| app.clients.events.due(shard, now, MOST_OF_A_SHARD))).await?;
    let mut found = Unqueued::default();
    for (tenant, id) in shards.concat() {
        match publish(app, &tenant, &id).instrument(spans::event(&tenant, &id)).await {
            Ok(true) => found.published += 1,
            // The index was behind: somebody else has published it.
            Ok(false) => {}
            Err(error) => {
                tracing::error!(event = %id, %tenant, %error, "Event {id} could not be published.");
                found.left += 1;
            }
        }
    }
    Ok(found)
}
