//! Dead letters of the Deliveries queue: each is taken for what it is, and what can become a visible delivery becomes one.

use futures::stream::{self, StreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_aws::logs::spans;
use pombo_aws::protocol::{SeenRecord, SettleError};
use pombo_aws::queue::Incoming;
use pombo_domain::message::DeliveryMessage;
use thiserror::Error;
use tracing::Instrument as _;

use super::remedy::{Remedy, remedy};
use super::{HIDDEN_SECONDS, MOST_RECEIVES};
use crate::settings::App;

/// How often a letter is judged anew because its record changed.
const MOST_CONFLICTS: usize = 10;

/// What this part of a sweep found.
#[derive(Debug, Default)]
pub(super) struct DeadDeliveries {
    /// Outcomes that were applied.
    pub(super) recorded: usize,
    /// Deliveries that became `failed`.
    pub(super) failed: usize,
    /// Deliveries whose next step was put on its way again.
    pub(super) ensured: usize,
    /// Letters with nothing to be done for.
    pub(super) discarded: usize,
    /// Letters left for the next sweep.
    pub(super) left: usize,
    /// Letters that cannot be read; they stay.
    pub(super) unreadable: usize,
}

impl DeadDeliveries {
    /// Letters that are there no longer.
    pub(super) const fn taken(&self) -> usize {
        self.recorded + self.failed + self.ensured + self.discarded
    }
}

/// A letter that could not be dealt with; it stays for the next sweep.
#[derive(Debug, Error)]
enum LetterError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Settle(#[from] SettleError),
    #[error("the record changed {MOST_CONFLICTS} times in a row")]
    Contended,
}

/// What was done for a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Recorded,
    Failed,
    Ensured,
    Discarded,
    Left,
}

/// Takes the dead letters there are, at most so many.
pub(super) async fn take(app: &App, writer: &str) -> Result<DeadDeliveries, AwsError> {
    let mut found = DeadDeliveries::default();
    for _ in 0..MOST_RECEIVES {
        let letters = app.dead_deliveries.receive(HIDDEN_SECONDS).await?;
        if letters.is_empty() {
            break;
        }
        let mut answers =
            stream::iter(letters.iter().map(|letter| take_one(app, letter, writer))).buffer_unordered(letters.len());
        while let Some(done) = answers.next().await {
            match done {
                None => found.unreadable += 1,
                Some(Done::Recorded) => found.recorded += 1,
                Some(Done::Failed) => found.failed += 1,
                Some(Done::Ensured) => found.ensured += 1,
                Some(Done::Discarded) => found.discarded += 1,
                Some(Done::Left) => found.left += 1,
            }
        }
    }
    Ok(found)
}

/// Deals with one letter and deletes it; `None` when it cannot be read.
async fn take_one(app: &App, letter: &Incoming, writer: &str) -> Option<Done> {
    let message = DeliveryMessage::parse(&letter.body).ok()?;
    let span = spans::delivery(&message.delivery, Some(message.step));
    Some(take_readable(app, letter, &message, writer).instrument(span).await)
}

async fn take_readable(app: &App, letter: &Incoming, message: &DeliveryMessage, writer: &str) -> Done {
    let done = match deal(app, message, writer).await {
        Ok(Done::Left) => return Done::Left,
        Ok(done) => done,
        Err(error) => {
            let delivery = &message.delivery;
            tracing::error!(%error, "A dead letter of delivery {delivery} could not be dealt with and stays.");
            return Done::Left;
        }
    };
    if let Err(error) = app.dead_deliveries.delete(letter).await {
        // The next sweep finds it dealt with.
        tracing::warn!(%error, "A dead letter could not be deleted.");
    }
    done
}

async fn deal(app: &App, message: &DeliveryMessage, writer: &str) -> Result<Done, LetterError> {
    let mut record = match message.record {
        Some(_) => None,
        None => app.clients.protocol.deliveries.get(&message.delivery).await?,
    };
    for _ in 0..MOST_CONFLICTS {
        let failed = match remedy(message, record.as_ref(), writer, clock::now()) {
            Remedy::Settle(outcome) => {
                let new = message.event.as_ref().map(|event| &event.new);
                app.clients.protocol.settle(&message.delivery, SeenRecord::NotRead, new, &outcome).await?;
                return Ok(Done::Recorded);
            }
            Remedy::Ensure => {
                if let Some(record) = &record {
                    app.clients.protocol.ensure_next(record).await?;
                }
                return Ok(Done::Ensured);
            }
            Remedy::Discard => return Ok(Done::Discarded),
            Remedy::Leave => return Ok(Done::Left),
            Remedy::Fail(failed) => *failed,
        };
        let seen = record.as_ref().map(|record| record.rev);
        match app.clients.protocol.put_failed(seen, failed, writer).await? {
            Put::Stored(_) => return Ok(Done::Failed),
            Put::Conflict(standing) => record = standing.map(|record| *record),
        }
    }
    Err(LetterError::Contended)
}
