//! The Deliveries table: the record of each delivery, and the sparse lists of those that did not succeed.

mod item;
mod lists;
mod stored;
mod write_unit;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::time::Timestamp;
use tracing::Span;

use self::item::{REV, WRITER, from_item, key_of, table_key, to_item};
pub use self::lists::{List, Window};
use self::write_unit::within_a_unit;
use crate::batch;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Item, Reader};
use crate::logs::spans;
use crate::versioned::{self, Replacement, next_rev};

/// The call that reads many records.
const BATCH_GET: &str = "dynamodb:BatchGetItem Deliveries";

/// The item of a record, as it is stored.
pub fn item_of(record: &Record) -> Result<Item, AwsError> {
    to_item(record).map_err(|error| AwsError::unreadable("a record", error))
}

/// The record of an item that has all the attributes of a record.
pub fn record_of(item: Item) -> Result<Record, AwsError> {
    read("an item", item)
}

fn read(call: &str, item: Item) -> Result<Record, AwsError> {
    from_item(item).map_err(|error| AwsError::unreadable(call, error))
}

/// The table of deliveries.
#[derive(Debug, Clone)]
pub struct DeliveriesTable {
    client: Client,
    table: String,
}

/// The result of a write of a record.
pub type Put = versioned::Put<Record>;

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
        call(CALL, request.send()).await?.item.map(|item| read(CALL, item)).transpose()
    }

    /// The records of these keys as they are now, in no order; keys without a record are left out.
    pub async fn get_many(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Record>, AwsError> {
        let records = self.read_many(keys).await?.into_iter().map(|item| read(BATCH_GET, item));
        records.map(|record| record.map(|record| (record.key.clone(), record))).collect()
    }

    /// As [`DeliveriesTable::get_many`], but a record that cannot be read is logged and left out: one that a newer version
    /// wrote must not stand in the way of all the others.
    pub async fn get_readable(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Record>, AwsError> {
        let mut records = HashMap::with_capacity(keys.len());
        for item in self.read_many(keys).await? {
            let key = item::key_in(&item);
            match read(BATCH_GET, item) {
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
        let (record, write) = replacement(CALL, seen, record, writer)?;
        write.put(&self.client, CALL, &self.table).await?.of(record, |item| read(CALL, item))
    }

    /// As [`DeliveriesTable::put`], and writes `other` with it or nothing of both; `None` when it is the condition of the
    /// other that failed, or when another transaction is at either of them: make the other again and repeat. `token` is
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
        let (record, write) = replacement(CALL, seen, record, writer)?;
        let written = write.put_with(&self.client, CALL, &self.table, vec![other], Some(token)).await?;
        written.map(|written| written.of(record, |item| read(CALL, item))).transpose()
    }

    /// The keys of at most `limit` deliveries of a shard whose next attempt was due before `before`, longest overdue
    /// first.
    pub async fn due(&self, shard: u8, before: Timestamp, limit: usize) -> Result<Vec<DeliveryKey>, AwsError> {
        const CALL: &str = "dynamodb:Query Deliveries/by_due";
        keys_of(CALL, versioned::due(&self.client, CALL, &self.table, shard, before, limit).await?)
    }
}

/// The record with its next revision, and its write.
fn replacement(
    call: &str,
    seen: Option<u64>,
    record: Record,
    writer: &str,
) -> Result<(Record, Replacement<'static>), AwsError> {
    let record = Record { rev: next_rev(seen), writer: writer.to_owned(), ..record };
    let item = within_a_unit(record).and_then(|record| Ok((to_item(&record)?, record)));
    let (item, record) = item.map_err(|error| AwsError::unreadable(call, error))?;
    Ok((record, Replacement::new(item, "sort_key", seen).numbered_by(REV).written_by(WRITER)))
}

fn keys_of(call: &str, items: Vec<Item>) -> Result<Vec<DeliveryKey>, AwsError> {
    let key = |item| key_of(&mut Reader(item)).map_err(|error| AwsError::unreadable(call, error));
    items.into_iter().map(key).collect()
}
