//! A replay that takes one of its owner's places: stored with the list of those that run, in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::limits::{LimitReached, RunningReplays};

use super::{JobsTable, table_key};
use crate::batch;
use crate::clock;
use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, Reader, put_versioned};

/// How often an order is decided again because another was faster. Each time that one took a place.
const MAX_TRIES: u32 = 30;

/// The longest pause before the next try.
const MAX_PAUSE: Duration = Duration::from_millis(200);

/// The result of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// The job is stored.
    Stored,
    /// The owner has as many as may run.
    Refused(LimitReached),
}

impl JobsTable {
    /// Stores a new job, if at most `limit` of its owner's run with it.
    pub async fn put_limited(&self, job: &Job, limit: usize, writer: &str) -> Result<Placed, AwsError> {
        const CALL: &str = "dynamodb:TransactWriteItems Jobs";
        let job = Job { writer: writer.to_owned(), ..job.clone() };
        for _ in 0..MAX_TRIES {
            let seen = self.running(&job.owner).await?;
            if seen.jobs.contains(&job.created_key) {
                // A try that was still in progress when it was given up has come through.
                return Ok(Placed::Stored);
            }
            let rev = Some(seen.rev).filter(|rev| *rev > 0);
            let list = if seen.is_full(limit) { self.without_ended(&job.owner, seen).await? } else { seen };
            let list = match list.with(&job, limit) {
                Ok(list) => list,
                Err(reached) => return Ok(Placed::Refused(reached)),
            };
            let writes = vec![self.new_in_transaction(&job)?, self.list_in_transaction(&job.owner, &list, rev)?];
            // The SDK gives the transaction a token of its own, under which its repeats are one.
            let request = self.client.transact_write_items().set_transact_items(Some(writes));
            let error = match effect(CALL, request.send()).await {
                Ok(_) => return Ok(Placed::Stored),
                Err(error) => error,
            };
            if !is_conflict(error.as_service_error()) {
                return Err(AwsError::new(CALL, error));
            }
            let part = f64::from(clock::random_bits()) / f64::from(u32::MAX);
            tokio::time::sleep(MAX_PAUSE.mul_f64(part)).await;
        }
        Err(AwsError::unreadable(CALL, "the list of running replays changed many times in a row"))
    }

    /// The list of an owner as it is now; an empty one while there is none.
    async fn running(&self, owner: &str) -> Result<RunningReplays, AwsError> {
        const CALL: &str = "dynamodb:GetItem Jobs";
        let key = table_key(&RunningReplays::key(owner));
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        let read = |item| serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(CALL, error));
        answer.item.map_or_else(|| Ok(RunningReplays::default()), read)
    }

    /// The list with the jobs alone that run now, those of a status that this version does not know included.
    async fn without_ended(&self, owner: &str, list: RunningReplays) -> Result<RunningReplays, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Jobs";
        let key = |created_key: &String| JobKey { owner: owner.to_owned(), created_key: created_key.clone() };
        let keys: Vec<_> = list.jobs.iter().map(|job| table_key(&key(job))).collect();
        let part = KeysAndAttributes::builder()
            .projection_expression("created_key, #status")
            .expression_attribute_names("#status", "status");
        let mut running = BTreeSet::new();
        for item in batch::get(&self.client, CALL, &self.table, &keys, part).await? {
            let mut item = Reader(item);
            let has_ended = matches!(item.take_nested("status"), Ok(Some(JobStatus::Done | JobStatus::Cancelled)));
            if !has_ended {
                let job: String = item.take("created_key").map_err(|error| AwsError::unreadable(CALL, error))?;
                running.insert(job);
            }
        }
        Ok(list.only(|job| running.contains(job)))
    }

    fn list_in_transaction(
        &self,
        owner: &str,
        list: &RunningReplays,
        seen: Option<u64>,
    ) -> Result<TransactWriteItem, AwsError> {
        let unreadable = |error: serde_dynamo::Error| AwsError::unreadable("dynamodb:TransactWriteItems Jobs", error);
        let mut item: Item = serde_dynamo::to_item(list).map_err(unreadable)?;
        item.extend(table_key(&RunningReplays::key(owner)));
        put_versioned(&self.table, item, "created_key", "rev", seen)
    }
}

/// Whether another write came between.
fn is_conflict(error: Option<&TransactWriteItemsError>) -> bool {
    match error {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            codes.any(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict"))
        }
        Some(TransactWriteItemsError::TransactionInProgressException(_)) => true,
        _ => false,
    }
}
