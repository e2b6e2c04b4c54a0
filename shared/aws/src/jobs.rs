//! The Jobs table.

mod limited;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TransactWriteItem};
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::time::Timestamp;

pub use self::limited::Placed;
use crate::batch;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{BadAttribute, Item, Reader, number, text, unknown_to_item};
use crate::versioned::{self, Replacement, next_rev};

/// The one partition of the index of all jobs by time. There are few jobs, and only a new one is written there.
const ALL_JOBS: &str = "jobs";

/// The table of jobs.
#[derive(Debug, Clone)]
pub struct JobsTable {
    client: Client,
    table: String,
}

/// The result of a write of a job.
pub type PutJob = versioned::Put<Job>;

impl JobsTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The job as it is now: one strongly consistent read.
    pub async fn get(&self, key: &JobKey) -> Result<Option<Job>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Jobs";
        let request =
            self.client.get_item().table_name(&self.table).set_key(Some(table_key(key))).consistent_read(true);
        call(CALL, request.send()).await?.item.map(|item| from_item(CALL, item)).transpose()
    }

    /// Writes `job` in the place of the revision `seen`; with `None`, as a new one. As for deliveries, a condition that
    /// fails on our own write is a success.
    pub async fn put(&self, seen: Option<u64>, job: Job, writer: &str) -> Result<PutJob, AwsError> {
        const CALL: &str = "dynamodb:PutItem Jobs";
        let job = Job { rev: next_rev(seen), writer: writer.to_owned(), ..job };
        let written = replacement(CALL, seen, &job)?.put(&self.client, CALL, &self.table).await?;
        written.of(job, |item| from_item(CALL, item))
    }

    /// The keys of at most `limit` running jobs of a shard that were due before `before`: stalled ones.
    pub async fn due(&self, shard: u8, before: Timestamp, limit: usize) -> Result<Vec<JobKey>, AwsError> {
        const CALL: &str = "dynamodb:Query Jobs/by_due";
        keys_of(CALL, versioned::due(&self.client, CALL, &self.table, shard, before, limit).await?)
    }

    /// The keys of at most `limit` jobs, newest first: of an owner, or of everybody, behind the job `after`; and whether there
    /// may be more behind them.
    pub async fn list(
        &self,
        owner: Option<&str>,
        after: Option<&JobKey>,
        limit: usize,
    ) -> Result<(Vec<JobKey>, bool), AwsError> {
        const CALL: &str = "dynamodb:Query Jobs";
        let (index, hash, partition) = match owner {
            Some(owner) => (None, "owner", owner),
            None => (Some("by_time".to_owned()), "list", ALL_JOBS),
        };
        let start = after.map(|key| {
            let mut start = table_key(key);
            start.insert(hash.into(), text(partition));
            start
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .set_index_name(index)
            .key_condition_expression("#hash = :partition")
            .expression_attribute_names("#hash", hash)
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":partition", text(partition))
            .projection_expression("#owner, created_key")
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = call(CALL, request.send()).await?;
        let more = answer.last_evaluated_key.is_some();
        Ok((keys_of(CALL, answer.items.unwrap_or_default())?, more))
    }

    /// These jobs as they are now, in the order of the keys; those that are gone are left out, and those that
    /// cannot be read: a kind of job that a newer version began must not hide the others.
    pub async fn get_many(&self, keys: &[JobKey]) -> Result<Vec<Job>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Jobs";
        let wanted: Vec<_> = keys.iter().map(table_key).collect();
        let mut found = HashMap::with_capacity(keys.len());
        for item in batch::get(&self.client, CALL, &self.table, &wanted, KeysAndAttributes::builder()).await? {
            match from_item(CALL, item) {
                Ok(job) => _ = found.insert(job.key(), job),
                Err(error) => tracing::error!(%error, "A job cannot be read; it is left as it is."),
            }
        }
        Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
    }

    /// A new job as a part of a transaction.
    pub fn new_in_transaction(&self, job: &Job) -> Result<TransactWriteItem, AwsError> {
        let job = Job { rev: next_rev(None), ..job.clone() };
        replacement("dynamodb:TransactWriteItems Jobs", None, &job)?.in_transaction(&self.table)
    }
}

fn replacement(call: &str, seen: Option<u64>, job: &Job) -> Result<Replacement<'static>, AwsError> {
    let item = to_item(job).map_err(|error| AwsError::unreadable(call, error))?;
    Ok(Replacement::new(item, "created_key", seen))
}

fn table_key(key: &JobKey) -> Item {
    Item::from([("owner".into(), text(&key.owner)), ("created_key".into(), text(&key.created_key))])
}

fn keys_of(call: &str, items: Vec<Item>) -> Result<Vec<JobKey>, AwsError> {
    let key = |item| {
        let mut item = Reader(item);
        Ok(JobKey { owner: item.take("owner")?, created_key: item.take("created_key")? })
    };
    let keys: Result<_, BadAttribute> = items.into_iter().map(key).collect();
    keys.map_err(|error| AwsError::unreadable(call, error))
}

/// A job as it is stored. A running one has a timer, under which the sweep finds it when it is stalled.
fn to_item(job: &Job) -> Result<Item, BadAttribute> {
    let mut item = unknown_to_item(&job.unknown)?;
    item.extend(serde_dynamo::to_item::<_, Item>(job).map_err(|error| BadAttribute::new("job", error))?);
    item.insert("list".into(), text(ALL_JOBS));
    if job.status == JobStatus::Running {
        item.insert("due_shard".into(), text(job.key().shard()));
        item.insert("due_at".into(), number(job.due.as_millis()));
    }
    Ok(item)
}

fn from_item(call: &str, item: Item) -> Result<Job, AwsError> {
    read(item).map_err(|error| AwsError::unreadable(call, error))
}

/// Reads a job. What this version would not write is unknown to it, and kept; but a job whose filter says more than this
/// version understands is not read at all: it would replay what nobody ordered.
fn read(mut item: Item) -> Result<Job, BadAttribute> {
    let unreadable = |error: serde_dynamo::Error| BadAttribute::new("job", error);
    let job: Job = serde_dynamo::from_item(item.clone()).map_err(unreadable)?;
    let known = to_item(&job)?;
    if let (Some(AttributeValue::M(ordered)), Some(AttributeValue::M(known))) =
        (item.get("filter"), known.get("filter"))
        && let Some(name) = ordered.keys().find(|name| !known.contains_key(*name))
    {
        return Err(BadAttribute::new("filter", format!("has {name}, which this version does not know")));
    }
    item.retain(|name, _| !known.contains_key(name));
    Ok(Job { unknown: Reader(item).unknown()?, ..job })
}
