//! The Deliveries table: the record of each delivery, and the sparse lists of those that did not succeed.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};
use pombo_domain::delivery::{DeliveryKey, Listing, Record, Step};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;

use crate::error::AwsError;
use crate::item::{BadAttribute, Item, Reader, nested, number, text};

/// The most keys that one `BatchGetItem` takes.
const LARGEST_BATCH: usize = 100;

/// The attributes that only indexes use; they follow from the record.
const LISTING: [&str; 6] = ["endpoint_status", "tenant_status", "stack_status", "list_key", "due_shard", "due_at"];

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

/// A list of deliveries, newest first or oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// All of an endpoint, whatever their status.
    OfEndpoint(EndpointId),
    /// Those of an endpoint in a status that is listed: the partition of `by_endpoint`.
    ByEndpoint(String),
    /// Those of a tenant: a partition of `by_tenant`.
    ByTenant(String),
    /// Those of the stack: a partition of `by_stack`.
    ByStack(String),
}

/// The part of a list that a page takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Behind this delivery, in the direction of the list.
    pub after: Option<DeliveryKey>,
    /// At most so many.
    pub limit: usize,
    /// Oldest first, instead of newest first.
    pub oldest_first: bool,
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
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(from_item).transpose().map_err(|error| AwsError::unreadable(CALL, error))
    }

    /// The records of these keys as they are now, in no order; keys without a record are left out.
    pub async fn get_many(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, Record>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Deliveries";
        let mut records = HashMap::with_capacity(keys.len());
        for chunk in keys.chunks(LARGEST_BATCH) {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(chunk.iter().map(table_key).collect()))
                .consistent_read(true)
                .build()
                .map_err(|error| AwsError::unreadable(CALL, error))?;
            let mut left = Some(HashMap::from([(self.table.clone(), wanted)]));
            while let Some(request_items) = left.take() {
                let request = self.client.batch_get_item().set_request_items(Some(request_items));
                let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
                for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                    let record = from_item(item).map_err(|error| AwsError::unreadable(CALL, error))?;
                    records.insert(record.key.clone(), record);
                }
                left = answer.unprocessed_keys.filter(|keys| !keys.is_empty());
            }
        }
        Ok(records)
    }

    /// Writes `record` in the place of the revision `seen`; with `None`, where there is no record yet.
    ///
    /// `writer` is unique to who writes: a condition that fails on our own write, because the SDK repeated a call whose
    /// answer was lost, is a success.
    pub async fn put(&self, seen: Option<u64>, record: Record, writer: &str) -> Result<Put, AwsError> {
        const CALL: &str = "dynamodb:PutItem Deliveries";
        let record = Record { rev: seen.unwrap_or(0) + 1, writer: writer.to_owned(), ..record };
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
        let error = match request.send().await {
            Ok(_) => return Ok(Put::Stored(Box::new(record))),
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(AwsError::new(CALL, error));
        };
        match failed.item.clone().map(from_item).transpose() {
            Err(error) => Err(AwsError::unreadable(CALL, error)),
            Ok(Some(existing)) if existing.rev == record.rev && existing.writer == record.writer => {
                Ok(Put::Stored(Box::new(existing)))
            }
            Ok(existing) => Ok(Put::Conflict(existing.map(Box::new))),
        }
    }

    /// The keys of a page of a list. Those of an index are candidates: the record says whether they still belong.
    pub async fn list(&self, list: &List, window: &Window) -> Result<Vec<DeliveryKey>, AwsError> {
        const CALL: &str = "dynamodb:Query Deliveries";
        let (index, hash, partition, range) = match list {
            List::OfEndpoint(endpoint) => (None, "endpoint_id", endpoint.to_string(), "sort_key"),
            List::ByEndpoint(partition) => (Some("by_endpoint"), "endpoint_status", partition.clone(), "sort_key"),
            List::ByTenant(partition) => (Some("by_tenant"), "tenant_status", partition.clone(), "list_key"),
            List::ByStack(partition) => (Some("by_stack"), "stack_status", partition.clone(), "list_key"),
        };
        // A key begins with its time, so a time alone sorts before every key of its millisecond.
        let since = window.since.map_or_else(|| "0".to_owned(), |time| time.to_string());
        let until = window.until.map_or_else(|| "9999-12-31".to_owned(), |time| time.to_string());
        let start = window.after.as_ref().map(|key| {
            let mut start = table_key(key);
            start.insert(hash.into(), text(&partition));
            if range == "list_key" {
                start.insert(range.into(), text(key.list_key()));
            }
            start
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .set_index_name(index.map(ToOwned::to_owned))
            .key_condition_expression("#hash = :partition AND #range BETWEEN :since AND :until")
            .expression_attribute_names("#hash", hash)
            .expression_attribute_names("#range", range)
            .expression_attribute_values(":partition", text(&partition))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":until", text(until))
            .projection_expression("endpoint_id, sort_key")
            .scan_index_forward(window.oldest_first)
            .set_exclusive_start_key(start)
            .limit(i32::try_from(window.limit).unwrap_or(i32::MAX));
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        keys_of(CALL, answer.items.unwrap_or_default())
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
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        keys_of(CALL, answer.items.unwrap_or_default())
    }
}

fn table_key(key: &DeliveryKey) -> Item {
    Item::from([("endpoint_id".into(), text(&key.endpoint_id)), ("sort_key".into(), text(key.sort_key()))])
}

fn keys_of(call: &str, items: Vec<Item>) -> Result<Vec<DeliveryKey>, AwsError> {
    let key = |item| key_of(&mut Reader(item)).map_err(|error| AwsError::unreadable(call, error));
    items.into_iter().map(key).collect()
}

fn key_of(item: &mut Reader) -> Result<DeliveryKey, Box<dyn std::error::Error + Send + Sync>> {
    let sort_key: String = item.take("sort_key")?;
    Ok(DeliveryKey::from_parts(item.take("endpoint_id")?, &sort_key)?)
}

fn to_item(record: &Record) -> Result<Item, BadAttribute> {
    let mut item = table_key(&record.key);
    item.extend([
        ("tenant".into(), text(&record.tenant)),
        ("type".into(), text(&record.event_type)),
        ("status".into(), text(record.status.as_str())),
        ("round".into(), number(record.step.round)),
        ("attempt".into(), number(record.step.attempt)),
        ("rev".into(), number(record.rev)),
        ("writer".into(), text(&record.writer)),
        ("expires_at".into(), number(record.expires_at)),
    ]);
    if let Some(claim) = &record.claim {
        item.insert("claim".into(), nested("claim", claim)?);
    }
    if let Some(next) = &record.next {
        item.insert("next".into(), nested("next", next)?);
    }
    if !record.attempts.is_empty() {
        item.insert("attempts".into(), nested("attempts", &record.attempts)?);
    }
    if record.older_attempts > 0 {
        item.insert("older_attempts".into(), number(record.older_attempts));
    }
    if let Some(job) = &record.job {
        item.insert("job".into(), text(job));
    }
    for (name, value) in &record.unknown {
        item.insert(name.clone(), nested(name, value)?);
    }
    if let Some(listing) = record.listing() {
        item.extend(listing_attributes(&listing));
    }
    Ok(item)
}

fn listing_attributes(listing: &Listing) -> Vec<(String, AttributeValue)> {
    let mut attributes = vec![
        ("endpoint_status".to_owned(), text(&listing.endpoint_status)),
        ("tenant_status".to_owned(), text(&listing.tenant_status)),
        ("stack_status".to_owned(), text(&listing.stack_status)),
        ("list_key".to_owned(), text(&listing.list_key)),
    ];
    if let (Some(shard), Some(due_at)) = (&listing.due_shard, listing.due_at) {
        attributes.push(("due_shard".to_owned(), text(shard)));
        attributes.push(("due_at".to_owned(), number(due_at)));
    }
    attributes
}

/// What this version does not know is kept as JSON says it, so a newer one may add texts, numbers, lists and maps to a
/// record, but neither sets nor bytes.
fn from_item(mut item: Item) -> Result<Record, Box<dyn std::error::Error + Send + Sync>> {
    for name in LISTING {
        item.remove(name);
    }
    let mut item = Reader(item);
    let mut record = Record {
        key: key_of(&mut item)?,
        tenant: item.take("tenant")?,
        event_type: item.take("type")?,
        status: item.take("status")?,
        step: Step { round: item.take("round")?, attempt: item.take("attempt")? },
        claim: item.take_nested("claim")?,
        next: item.take_nested("next")?,
        attempts: item.take_nested("attempts")?.unwrap_or_default(),
        older_attempts: item.take_optional("older_attempts")?.unwrap_or_default(),
        job: item.take_optional("job")?,
        rev: item.take("rev")?,
        writer: item.take("writer")?,
        expires_at: item.take("expires_at")?,
        unknown: Default::default(),
    };
    for (name, value) in item.0 {
        record.unknown.insert(name, serde_dynamo::from_attribute_value(value)?);
    }
    Ok(record)
}
