//! Deliveries whose next attempt should have begun long ago: their message or schedule was lost.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use futures::stream::{self, StreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_aws::logs::spans;
use pombo_aws::protocol::outgoing;
use pombo_aws::queue::LARGEST_BATCH;
use pombo_domain::delivery::{Record, SHARDS};
use pombo_domain::time::Timestamp;
use pombo_jobs::send::{next_attempt, send_all};

use crate::settings::App;

/// The most deliveries that a sweep queues again from one shard; a thousand from all.
const MOST_OF_A_SHARD: usize = 1000 / SHARDS as usize;
/// With more than so many messages waiting, what is overdue is late because the queue is: more messages would not help.
const LONG_QUEUE: u64 = 10_000;
/// How long a delivery that was queued again is left alone.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(3600);
/// How many batches are written and sent at one time.
const AT_ONCE: usize = 4;

/// What this part of a sweep found.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    /// Deliveries that were queued again.
    pub(super) queued: usize,
    /// Deliveries that could not be; a later sweep sees them again.
    pub(super) left: usize,
    /// Candidates that are no longer overdue, or are being sent.
    pub(super) skipped: usize,
    /// Whether they were left alone because the queue is long.
    pub(super) queue_too_long: bool,
}

/// Queues what is overdue.
pub(super) async fn queue_again(app: &App, writer: &str) -> Result<Overdue, AwsError> {
    let before = clock::now().minus(app.overdue);
    let shards = (0..SHARDS).map(|shard| app.clients.protocol.deliveries.due(shard, before, MOST_OF_A_SHARD));
    let candidates = try_join_all(shards).await?.concat();
    if candidates.is_empty() {
        return Ok(Overdue::default());
    }
    if app.clients.protocol.queue.length().await? > LONG_QUEUE {
        return Ok(Overdue { skipped: candidates.len(), queue_too_long: true, ..Overdue::default() });
    }
    let records = app.clients.protocol.deliveries.get_readable(&candidates).await?;
    let records: Vec<_> = records.into_values().collect();
    let batches = records.chunks(LARGEST_BATCH).map(|batch| queue_batch(app, batch, writer));
    let batches: Vec<_> = stream::iter(batches).buffer_unordered(AT_ONCE).collect().await;
    let sum = |of: fn(&Batch) -> usize| batches.iter().map(of).sum::<usize>();
    let (queued, left) = (sum(|batch| batch.queued), sum(|batch| batch.left));
    Ok(Overdue { queued, left, skipped: candidates.len() - queued - left, queue_too_long: false })
}

/// What became of a batch.
#[derive(Debug, Default)]
struct Batch {
    queued: usize,
    left: usize,
}

/// Queues a batch of what is overdue: writes the records, then sends their messages. Whatever fails, or kills the sweep,
/// leaves few records with an hour to wait and no message on its way.
async fn queue_batch(app: &App, records: &[Record], writer: &str) -> Batch {
    let written = join_all(records.iter().map(|record| postpone(app, record, writer))).await;
    let left = written.iter().filter(|written| written.is_err()).count();
    let written: Vec<_> = written.into_iter().flatten().flatten().collect();
    let messages: Vec<_> = written.iter().map(|record| outgoing(&next_attempt(record), 0)).collect();
    match send_all(&app.clients.protocol.queue, &messages).await {
        Ok(()) => Batch { queued: messages.len(), left },
        Err(error) => {
            tracing::error!(deliveries = messages.len(), %error, "Overdue deliveries could not be queued; they are seen again in an hour.");
            Batch { queued: 0, left: left + messages.len() }
        }
    }
}

/// Writes down that a record was looked at; gives the record if its message is to be sent.
async fn postpone(app: &App, record: &Record, writer: &str) -> Result<Option<Record>, AwsError> {
    let Some(postponed) = postponed(record, app.overdue, clock::now()) else { return Ok(None) };
    match app.clients.protocol.deliveries.put(Some(record.rev), postponed, writer).await {
        Ok(Put::Stored(stored)) => Ok(Some(*stored)),
        // It has moved: it is stuck no longer.
        Ok(Put::Conflict(_)) => Ok(None),
        Err(error) => {
            spans::delivery(&record.key, Some(record.step)).in_scope(|| {
                tracing::error!(%error, "An overdue delivery could not be written; the next sweep sees it again.");
            });
            Err(error)
        }
    }
}

/// The record that the next sweeps leave alone; `None` when it is not stuck.
fn postponed(record: &Record, overdue: Duration, now: Timestamp) -> Option<Record> {
    let is_stuck = record.look_due().is_some_and(|due| due < now.minus(overdue)) && record.live_claim(now).is_none();
    is_stuck.then(|| record.looked_at(now.plus(LEFT_ALONE_FOR)))
}

#[cfg(test)]
mod tests {
    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Status, Step};
    use pombo_domain::retry::{Next, Route};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(100_000);
    const OVERDUE: Duration = Duration::from_secs(900);

    fn retrying(due: i64) -> Record {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
        let next = Next { at: Timestamp::from_seconds(due), route: Route::Scheduler };
        let step = Step { round: 0, attempt: 1 };
        Record { status: Status::Retrying, step, next: Some(next), ..Record::begin(key, new) }
    }

    #[test]
    fn only_what_is_retrying_overdue_and_claimed_by_nobody_is_queued_again() {
        let stuck = retrying(99_099);
        let live = stuck.claimed("other", NOW.plus(Duration::from_secs(1)));
        let dead = stuck.claimed("other", NOW);
        for (record, expected) in [
            (stuck.clone(), true),
            (dead, true),
            (live, false),
            (retrying(99_100), false),
            (retrying(200_000), false),
            (stuck.held("me"), false),
            (stuck.cancelled(), false),
            (Record { next: None, ..stuck.clone() }, false),
        ] {
            assert_eq!(postponed(&record, OVERDUE, NOW).is_some(), expected, "{record:?}");
        }
    }

    #[test]
    fn it_is_left_alone_for_an_hour_and_its_step_stays() {
        let stuck = retrying(1000).claimed("dead", NOW);
        let moved = postponed(&stuck, OVERDUE, NOW).unwrap();
        assert_eq!((moved.step, moved.status), (stuck.step, Status::Retrying));
        assert_eq!((moved.due(), moved.look_due()), (stuck.due(), Some(NOW.plus(LEFT_ALONE_FOR))));
        assert_eq!(postponed(&moved, OVERDUE, NOW.plus(LEFT_ALONE_FOR)), None);
        assert!(postponed(&moved, OVERDUE, NOW.plus(LEFT_ALONE_FOR + OVERDUE * 2)).is_some());
        assert!(moved.was_abandoned("me"), "the attempt may have been sent");
    }
}
