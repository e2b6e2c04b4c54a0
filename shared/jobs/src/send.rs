//! Many messages at once. A message that cannot be sent is an error: whoever sends has to do it again as a whole, which
//! repeats the others, and repeats are dropped by their records.

use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::protocol::{Protocol, outgoing};
use pombo_aws::queue::{LARGEST_BATCH, Outgoing, Queue};
use pombo_domain::delivery::{Record, Status};
use pombo_domain::message::{DeliveryMessage, JobMessage};
use pombo_domain::schedule::{Carrier, carrier};
use pombo_domain::time::Timestamp;
use thiserror::Error;

/// How many calls are under way at one time.
const AT_ONCE: usize = 8;
/// How often a refused entry is sent.
const MOST_TRIES: u32 = 4;
/// The wait before a refused entry is sent the second time; doubled each time after.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Not all messages could be sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// A call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// The queue refused messages however often they were sent.
    #[error("the queue refused {count} messages: {code}")]
    Refused {
        /// How many.
        count: usize,
        /// The error code of one of them.
        code: String,
    },
}

/// Sends each message; refused entries are sent again.
pub async fn send_all(queue: &Queue, messages: &[Outgoing]) -> Result<(), SendError> {
    stream::iter(messages.chunks(LARGEST_BATCH).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |batch| send_batch(queue, batch.to_vec()))
        .await
}

async fn send_batch(queue: &Queue, mut batch: Vec<Outgoing>) -> Result<(), SendError> {
    let mut wait = FIRST_WAIT;
    for tried in 1.. {
        let refused = queue.send_batch(&batch).await?;
        let Some(first) = refused.first() else { break };
        if tried == MOST_TRIES {
            return Err(SendError::Refused { count: refused.len(), code: first.code.clone() });
        }
        batch = refused.iter().filter_map(|entry| batch.get(entry.index).cloned()).collect();
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    Ok(())
}

/// Puts the next attempt of each record on its way, at the time and by the route that the record says. One that has none
/// any more is left alone.
pub async fn send_next(protocol: &Protocol, records: &[Record], now: Timestamp) -> Result<(), SendError> {
    let (mut queued, mut scheduled) = (Vec::new(), Vec::new());
    for record in records {
        let (Status::Retrying, Some(next)) = (record.status, record.next) else { continue };
        match carrier(next, now) {
            Carrier::Queue(delay_seconds) => queued.push(outgoing(&next_attempt(record), delay_seconds)),
            Carrier::Schedule(_) => scheduled.push(record),
        }
    }
    send_all(&protocol.queue, &queued).await?;
    let mut ensured = stream::iter(scheduled.into_iter().map(|record| protocol.ensure_next(record))).buffered(AT_ONCE);
    while ensured.try_next().await?.is_some() {}
    Ok(())
}

/// The message for the attempt behind a record's step.
pub fn next_attempt(record: &Record) -> DeliveryMessage {
    DeliveryMessage::by_reference(record.key.clone(), record.step.next())
}

/// A message of the Jobs queue that asks for a leg, after `pause`.
pub fn leg_message(job: String, leg: u32, pause: Duration) -> Outgoing {
    let seconds = pause.as_millis().div_ceil(1000);
    Outgoing {
        body: JobMessage::leg(job, leg).to_json(),
        group: None,
        delay_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
    }
}
