//! The Jobs table.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::time::Timestamp;

use crate::error::AwsError;
use crate::item::{Item, Reader, number, text};

/// The table of jobs.
#[derive(Debug, Clone)]
pub struct JobsTable {
    client: Client,
    table: String,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutJob {
    /// It is written; the job with its new revision.
    Stored(Box<Job>),
    /// Another run was faster; the job as it stands, or none when it is gone.
    Conflict(Option<Box<Job>>),
}

impl JobsTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The job as it is now: one strongly consistent read.
    pub async fn get(&self, key: &JobKey) -> Result<Option<Job>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Jobs";
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("owner", text(&key.owner))
            .key("created_key", text(&key.created_key))
            .consistent_read(true);
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(|item| from_item(CALL, item)).transpose()
    }

    /// Writes `job` in the place of the revision `seen`; with `None`, as a new one. As for deliveries, a condition that
    /// fails on our own write is a success.
    pub async fn put(&self, seen: Option<u64>, job: Job, writer: &str) -> Result<PutJob, AwsError> {
        const CALL: &str = "dynamodb:PutItem Jobs";
        let job = Job { rev: seen.map_or(0, |seen| seen + 1), writer: writer.to_owned(), ..job };
        let item = to_item(&job).map_err(|error| AwsError::unreadable(CALL, error))?;
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            None => request.condition_expression("attribute_not_exists(created_key)"),
            Some(seen) => {
                request.condition_expression("rev = :seen").expression_attribute_values(":seen", number(seen))
            }
        };
        let error = match request.send().await {
            Ok(_) => return Ok(PutJob::Stored(Box::new(job))),
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(AwsError::new(CALL, error));
        };
        match failed.item.clone().map(|item| from_item(CALL, item)).transpose()? {
            Some(existing) if existing.rev == job.rev && existing.writer == job.writer => {
                Ok(PutJob::Stored(Box::new(existing)))
            }
            existing => Ok(PutJob::Conflict(existing.map(Box::new))),
        }
    }

    /// The keys of at most `limit` running jobs of a shard that were due before `before`: stalled ones.
    pub async fn due(&self, shard: u8, before: Timestamp, limit: usize) -> Result<Vec<JobKey>, AwsError> {
        const CALL: &str = "dynamodb:Query Jobs/by_due";
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_due")
            .key_condition_expression("due_shard = :shard AND due_at < :before")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":before", number(before.as_millis()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        let key = |item| {
            let mut item = Reader(item);
            Ok(JobKey { owner: item.take("owner")?, created_key: item.take("created_key")? })
        };
        let keys: Result<_, crate::item::BadAttribute> =
            answer.items.unwrap_or_default().into_iter().map(key).collect();
        keys.map_err(|error| AwsError::unreadable(CALL, error))
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }
}

/// A job as it is stored. A running one has a timer, under which the sweep finds it when it is stalled.
pub(crate) fn to_item(job: &Job) -> Result<Item, serde_dynamo::Error> {
    let mut item: Item = serde_dynamo::to_item(job)?;
    if job.status == JobStatus::Running {
        item.insert("due_shard".into(), text(job.key().shard()));
        item.insert("due_at".into(), number(job.due.as_millis()));
    }
    Ok(item)
}

fn from_item(call: &str, item: Item) -> Result<Job, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
