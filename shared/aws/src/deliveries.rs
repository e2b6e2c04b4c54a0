//! The Deliveries table: the record of each delivery, and the sparse lists of those that did not succeed.

mod item;
mod lists;
mod write_unit;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, KeysAndAttributes, Put as PutItem, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::time::Timestamp;
use tracing::Span;

use self::item::{from_item, key_of, table_key, to_item};
pub use self::lists::{List, Window};
use self::write_unit::within_a_unit;
use crate::batch;
use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, Reader, number, text};
use crate::logs::spans;

/// The call that reads many records.
const BATCH_GET: &str = "dynamodb:BatchGetItem Deliveries";

/// Reads a record that came with many.
fn read(item: Item) -> Result<Record, AwsError> {
    from_item(item).map_err(|error| AwsError::unreadable(BATCH_GET, error))
}

/// The table of deliveries.
#[derive(Debug, Clone)]
pub struct DeliveriesTable {
    client: Client,
    table: String,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Put {
    /// It is written; the record with its new revision.
    Stored(Box<Record>),
    /// Another was faster; the record as it stands, or none when it is gone.
    Conflict(Option<Box<Record>>),
}

impl DeliveriesTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The record as it is now: one strongly consistent read.
    pub async fn get(&self, key: &DeliveryKey) -> Result<Option<Record>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Deliveries";
        let request =
            self.client.get_item().table_name(&self.table).set_key(Some(table_key(key))).consistent_read(true);
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(from_item).transpose().map_err(|error| AwsError::unreadable(CALL, error))
    }

    /// The records of these keys as they are now, in no order; keys without a record are left out.
    pub async fn get_many(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Record>, AwsError> {
        let records = self.read_many(keys).await?.into_iter().map(read);
        records.map(|record| record.map(|record| (record.key.clone(), record))).collect()
    }

    /// As [`DeliveriesTable::get_many`], but a record that cannot be read is logged and left out: one that a newer version
    /// wrote must not stand in the way of all the others.
    pub async fn get_readable(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Record>, AwsError> {
        let mut records = HashMap::with_capacity(keys.len());
        for item in self.read_many(keys).await? {
            let key = item::key_in(&item);
            match read(item) {
                Ok(record) => _ = records.insert(record.key.clone(), record),
                Err(error) => {
                    let span = key.map_or_else(Span::none, |key| spans::delivery(&key, None));
                    span.in_scope(|| tracing::error!(%error, "A delivery cannot be read; it is left as it is."));
                }
            }
        }
        Ok(records)
    }

    async fn read_many(&self, keys: &[DeliveryKey]) -> Result<Vec<Item>, AwsError> {
        let keys: Vec<_> = keys.iter().map(table_key).collect();
        batch::get(&self.client, BATCH_GET, &self.table, &keys, KeysAndAttributes::builder()).await
    }

    /// Writes `record` in the place of the revision `seen`; with `None`, where there is no record yet.
    ///
    /// `writer` is unique to who writes: a condition that fails on our own write, because the SDK repeated a call whose
    /// answer was lost, is a success.
    pub async fn put(&self, seen: Option<u64>, record: Record, writer: &str) -> Result<Put, AwsError> {
        const CALL: &str = "dynamodb:PutItem Deliveries";
        let record = Record { rev: seen.unwrap_or(0) + 1, writer: writer.to_owned(), ..record };
        let record = within_a_unit(record).map_err(|error| AwsError::unreadable(CALL, error))?;
        let item = to_item(&record).map_err(|error| AwsError::unreadable(CALL, error))?;
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen {
            None => request.condition_expression("attribute_not_exists(sort_key)"),
            Some(seen) => {
                request.condition_expression("rev = :seen").expression_attribute_values(":seen", number(seen))
            }
        };
        let error = match effect(CALL, request.send()).await {
            Ok(_) => return Ok(Put::Stored(Box::new(record))),
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(AwsError::new(CALL, error));
        };
        let standing = failed.item.clone().map(from_item).transpose();
        standing.map(|standing| against(&record, standing)).map_err(|error| AwsError::unreadable(CALL, error))
    }

    /// As [`DeliveriesTable::put`], and writes `other` with it or nothing of both; `None` when it is the condition of the
    /// other that failed, or when another transaction is at either of them: make the other anew and repeat. `token` is
    /// unique to the call.
    pub async fn put_with(
        &self,
        seen: Option<u64>,
        record: Record,
        writer: &str,
        other: TransactWriteItem,
        token: &str,
    ) -> Result<Option<Put>, AwsError> {
        const CALL: &str = "dynamodb:TransactWriteItems Deliveries";
        let record = Record { rev: seen.unwrap_or(0) + 1, writer: writer.to_owned(), ..record };
        let item = to_item(&record).map_err(|error| AwsError::unreadable(CALL, error))?;
        let put = PutItem::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match seen {
            None => put.condition_expression("attribute_not_exists(sort_key)"),
            Some(seen) => put.condition_expression("rev = :seen").expression_attribute_values(":seen", number(seen)),
        };
        let put = put.build().map_err(|error| AwsError::unreadable(CALL, error))?;
        let request = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put).build())
            .transact_items(other)
            .client_request_token(token);
        let error = match effect(CALL, request.send()).await {
            Ok(_) => return Ok(Some(Put::Stored(Box::new(record)))),
            Err(error) => error,
        };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled.cancellation_reasons(),
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => return Ok(None),
            _ => return Err(AwsError::new(CALL, error)),
        };
        let is = |reason: &CancellationReason, code: &str| reason.code() == Some(code);
        match reasons.first() {
            Some(ours) if is(ours, "ConditionalCheckFailed") => {
                let standing = ours.item.clone().filter(|item| !item.is_empty()).map(from_item).transpose();
                standing
                    .map(|standing| Some(against(&record, standing)))
                    .map_err(|error| AwsError::unreadable(CALL, error))
            }
            _ if reasons
                .iter()
                .any(|reason| is(reason, "ConditionalCheckFailed") || is(reason, "TransactionConflict")) =>
            {
                Ok(None)
            }
            _ => Err(AwsError::new(CALL, error)),
        }
    }

    /// The keys of at most `limit` deliveries of a shard whose next attempt was due before `before`, longest overdue
    /// first.
    pub async fn due(&self, shard: u8, before: Timestamp, limit: usize) -> Result<Vec<DeliveryKey>, AwsError> {
        const CALL: &str = "dynamodb:Query Deliveries/by_due";
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_due")
            .key_condition_expression("due_shard = :shard AND due_at < :before")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":before", number(before.as_millis()))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        keys_of(CALL, answer.items.unwrap_or_default())
    }
}

/// What a refused write came to, by the record that stands: it may be our own.
fn against(record: &Record, standing: Option<Record>) -> Put {
    match standing {
        Some(standing) if standing.rev == record.rev && standing.writer == record.writer => {
            Put::Stored(Box::new(standing))
        }
        standing => Put::Conflict(standing.map(Box::new)),
    }
}

fn keys_of(call: &str, items: Vec<Item>) -> Result<Vec<DeliveryKey>, AwsError> {
    let key = |item| key_of(&mut Reader(item)).map_err(|error| AwsError::unreadable(call, error));
    items.into_iter().map(key).collect()
}
