//! A replay that takes one of its owner's places: stored with the list of those that run, in one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::limits::{LimitReached, RunningReplays};

use super::{JobsTable, table_key};
use crate::batch;
use crate::clock;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Reader, decode, encode};
use crate::versioned::{Replacement, Transacted, stored_rev, transact};

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
            let rev = stored_rev(seen.rev);
            let list = if seen.is_full(limit) { self.without_ended(&job.owner, seen).await? } else { seen };
            let list = match list.with(&job, limit) {
                Ok(list) => list,
                Err(reached) => return Ok(Placed::Refused(reached)),
            };
            let writes = vec![self.new_in_transaction(&job)?, self.list_in_transaction(&job.owner, &list, rev)?];
            if transact(&self.client, CALL, writes, None).await? == Transacted::Stored {
                return Ok(Placed::Stored);
            }
            let part = f64::from(clock::random_bits()) / f64::from(u32::MAX);
            tokio::time::sleep(MAX_PAUSE.mul_f64(part)).await;
        }
        Err(AwsError::contention(CALL, "the list of running replays"))
    }

    /// The list of an owner as it is now; an empty one while there is none.
    async fn running(&self, owner: &str) -> Result<RunningReplays, AwsError> {
        const CALL: &str = "dynamodb:GetItem Jobs";
        let key = table_key(&RunningReplays::key(owner));
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        let item = call(CALL, request.send()).await?.item;
        item.map_or_else(|| Ok(RunningReplays::default()), |item| decode(CALL, item))
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
        let mut item = encode("dynamodb:TransactWriteItems Jobs", list)?;
        item.extend(table_key(&RunningReplays::key(owner)));
        Replacement::new(item, "created_key", seen).in_transaction(&self.table)
    }
}
