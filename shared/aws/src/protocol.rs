//! The driver of the delivery protocol: carries out what `pombo-domain` decides.
//!
//! The order of its writes is what makes a crash harmless. The record, with the time of the next attempt, is written
//! before anything is scheduled; whoever finds a record without its next message on the way ensures it again. A message
//! or a schedule made twice finds the record ahead of it and is dropped.

use aws_config::SdkConfig;
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Settling, Status, settling};
use pombo_domain::message::{DeliveryMessage, QueuedOutcome};
use pombo_domain::retry::Decision;
use pombo_domain::schedule::{Carrier, carrier, fallback_delay, schedule_name, waiting_carrier};
use pombo_domain::time::Timestamp;
use thiserror::Error;

use crate::clock;
use crate::deliveries::{DeliveriesTable, Put};
use crate::error::AwsError;
use crate::logs::spans;
use crate::metrics::{Metric, Metrics};
use crate::operations::Operations;
use crate::queue::{Outgoing, Queue};
use crate::scheduler::{Scheduler, SchedulerTarget};
use crate::settings::{self, BadSetting};

/// How often a write is repeated against others that are faster. Each that loses means that another has won, so the
/// record moves; more than a few in a row is a fault.
const MOST_CONFLICTS: usize = 10;

/// The tables and services that a delivery goes through.
#[derive(Debug)]
pub struct Protocol {
    /// The records.
    pub deliveries: DeliveriesTable,
    /// The Deliveries queue.
    pub queue: Queue,
    /// The one-shots that feed it.
    pub scheduler: Scheduler,
    /// What is told of endpoints and deliveries.
    pub operations: Operations,
    /// What is counted.
    pub metrics: Metrics,
}

/// The delivery's record as a caller knows it.
#[derive(Debug, Clone, PartialEq)]
pub enum SeenRecord {
    /// The caller knows nothing, so the record is read.
    NotRead,
    /// There was no record when the attempt began.
    None,
    /// This record.
    Found(Box<Record>),
}

/// What became of an outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled {
    /// It is recorded.
    Recorded(Box<Record>),
    /// The record may not change: it is settled, or has this step or a later one already.
    Superseded(Box<Record>),
    /// The record has expired, with its event.
    Gone,
}

/// An outcome that could not be brought to its end.
#[derive(Debug, Error)]
pub enum SettleError {
    /// It is not recorded: queue it.
    #[error("the outcome could not be recorded: {0}")]
    Record(#[source] AwsError),
    /// It is recorded, but the next attempt is not on its way: whoever sees the message again ensures it.
    #[error("the next attempt could not be sent: {0}")]
    Next(#[source] AwsError),
}

impl Protocol {
    /// From a function's environment.
    pub fn from_environment(config: &SdkConfig) -> Result<Self, BadSetting> {
        let target = SchedulerTarget {
            group: settings::text("SCHEDULE_GROUP")?,
            queue_arn: settings::text("DELIVERIES_QUEUE_ARN")?,
            role_arn: settings::text("SCHEDULER_ROLE_ARN")?,
        };
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        Ok(Self {
            deliveries: DeliveriesTable::new(dynamodb, settings::text("DELIVERIES_TABLE")?),
            queue: Queue::new(sqs, settings::text("DELIVERIES_QUEUE_URL")?),
            scheduler: Scheduler::new(aws_sdk_scheduler::Client::new(config), target),
            operations: Operations::from_environment(config)?,
            metrics: Metrics::from_environment()?,
        })
    }

    /// Records an attempt and ensures what follows. `seen` is the record as the caller knows it. `new` is what a new record
    /// needs, if the attempt was made without a claim.
    pub async fn settle(
        &self,
        key: &DeliveryKey,
        seen: SeenRecord,
        new: Option<&NewDelivery>,
        outcome: &QueuedOutcome,
    ) -> Result<Settled, SettleError> {
        let settled = self.record(key, seen, new, outcome).await.map_err(SettleError::Record)?;
        match &settled {
            Settled::Recorded(record) => self.ensure_next(record).await.map_err(SettleError::Next)?,
            Settled::Superseded(record) if record.step == outcome.attempt.step => {
                self.ensure_next(record).await.map_err(SettleError::Next)?;
            }
            Settled::Superseded(_) | Settled::Gone => {}
        }
        Ok(settled)
    }

    async fn record(
        &self,
        key: &DeliveryKey,
        seen: SeenRecord,
        new: Option<&NewDelivery>,
        outcome: &QueuedOutcome,
    ) -> Result<Settled, AwsError> {
        let mut seen = match seen {
            SeenRecord::NotRead => self.deliveries.get(key).await?.map(Box::new),
            SeenRecord::None => None,
            SeenRecord::Found(record) => Some(record),
        };
        for _ in 0..MOST_CONFLICTS {
            let changed = match (settling(seen.as_deref(), key, new, outcome, clock::now()), seen) {
                (Settling::Write(changed), _) => *changed,
                (Settling::Superseded, Some(record)) => return Ok(Settled::Superseded(record)),
                (Settling::Superseded | Settling::Gone, _) => return Ok(Settled::Gone),
            };
            let rev = (changed.rev > 0).then_some(changed.rev);
            let put = match outcome.decision {
                Decision::Failed => self.put_failed(rev, changed, &outcome.holder).await?,
                _ => self.deliveries.put(rev, changed, &outcome.holder).await?,
            };
            match put {
                Put::Stored(record) => return Ok(Settled::Recorded(record)),
                Put::Conflict(standing) => seen = standing,
            }
        }
        Err(AwsError::contention("dynamodb:PutItem Deliveries", "the record"))
    }

    /// Makes sure that the next attempt of a delivery is on its way; does nothing for one that has none.
    pub async fn ensure_next(&self, record: &Record) -> Result<(), AwsError> {
        let (Status::Retrying, Some(next)) = (record.status, record.next) else { return Ok(()) };
        let now = clock::now();
        let message = DeliveryMessage::by_reference(record.key.clone(), record.step.next());
        self.carry(message, carrier(next, now), next.at, now).await
    }

    /// Puts a message back until `until`. The caller acknowledges the one it has only after this.
    pub async fn wait(&self, message: DeliveryMessage, until: Timestamp) -> Result<(), AwsError> {
        let now = clock::now();
        let carrier = waiting_carrier(&message, until, now);
        self.carry(message.waiting_until(until), carrier, until, now).await
    }

    async fn carry(
        &self,
        message: DeliveryMessage,
        carrier: Carrier,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), AwsError> {
        let at = match carrier {
            Carrier::Queue(delay_seconds) => return self.send(message, delay_seconds).await,
            Carrier::Schedule(at) => at,
        };
        // Scheduler's input is ids and a time; the body is read from the event again. The time is there because Scheduler
        // may fire early, and because the queue may carry the message for a part of the way.
        let message = message.without_body().due_at(due);
        let name = schedule_name(&message.delivery, message.step, due);
        match self.scheduler.create(&name, at, &message.to_json()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                spans::delivery(&message.delivery, Some(message.step)).in_scope(|| {
                    tracing::warn!(%error, "Scheduler failed; the queue carries the message.");
                });
                self.metrics.count(Metric::SchedulesFailed, 1);
                self.send(message, fallback_delay(due, now)).await
            }
        }
    }

    /// Sends a message of the Deliveries queue, without the mark: only ingest gives the mark.
    pub async fn send(&self, message: DeliveryMessage, delay_seconds: u32) -> Result<(), AwsError> {
        self.queue.send(outgoing(&message.unmarked(), delay_seconds)).await
    }
}

/// A message of the Deliveries queue as it is sent, in its endpoint's group.
#[must_use]
pub fn outgoing(message: &DeliveryMessage, delay_seconds: u32) -> Outgoing {
    Outgoing { body: message.to_json(), group: Some(message.group().clone()), delay_seconds }
}
