//! The lists of deliveries: all of an endpoint, and the sparse indexes of what did not succeed.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;

use super::item::{from_item, key_of, table_key};
use super::{DeliveriesTable, keys_of};
use crate::batch;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Item, Reader, text};

const CALL: &str = "dynamodb:Query Deliveries";

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

impl Window {
    /// The newest, at most so many.
    #[must_use]
    pub const fn newest(limit: usize) -> Self {
        Self { since: None, until: None, after: None, limit, oldest_first: false }
    }
}

impl DeliveriesTable {
    /// The keys of a page of a list. Those of an index are candidates: the record says whether they still belong.
    pub async fn list(&self, list: &List, window: &Window) -> Result<Vec<DeliveryKey>, AwsError> {
        let request = self.query(list, window).projection_expression("endpoint_id, sort_key");
        keys_of(CALL, items(request, window.limit).await?)
    }

    /// The newest deliveries to an endpoint, as they were a moment ago.
    pub async fn newest(&self, endpoint: &EndpointId, limit: usize) -> Result<Vec<Record>, AwsError> {
        let request = self.query(&List::OfEndpoint(endpoint.clone()), &Window::newest(limit));
        let records = items(request, limit).await?.into_iter().map(from_item).collect::<Result<_, _>>();
        records.map_err(|error| AwsError::unreadable(CALL, error))
    }

    /// When each of these deliveries expires, in Unix seconds, as it is now; those that are gone are left out.
    pub async fn expiries(&self, keys: &[DeliveryKey]) -> Result<HashMap<DeliveryKey, i64>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Deliveries";
        let keys: Vec<_> = keys.iter().map(table_key).collect();
        let part = KeysAndAttributes::builder().projection_expression("endpoint_id, sort_key, expires_at");
        let read = |item| {
            let mut item = Reader(item);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((key_of(&mut item)?, item.take("expires_at")?))
        };
        let items = batch::get(&self.client, CALL, &self.table, &keys, part).await?;
        let expiries = items.into_iter().map(read).collect::<Result<_, _>>();
        expiries.map_err(|error| AwsError::unreadable(CALL, error))
    }

    fn query(&self, list: &List, window: &Window) -> QueryFluentBuilder {
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
        self.client
            .query()
            .table_name(&self.table)
            .set_index_name(index.map(ToOwned::to_owned))
            .key_condition_expression("#hash = :partition AND #range BETWEEN :since AND :until")
            .expression_attribute_names("#hash", hash)
            .expression_attribute_names("#range", range)
            .expression_attribute_values(":partition", text(&partition))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":until", text(until))
            .scan_index_forward(window.oldest_first)
            .set_exclusive_start_key(start)
    }
}

/// At most `limit` items. A call looks at no more than 1 MB of them, so that one may not do.
async fn items(request: QueryFluentBuilder, limit: usize) -> Result<Vec<Item>, AwsError> {
    let mut found = Vec::new();
    let mut start = request.get_exclusive_start_key().clone();
    loop {
        let left = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
        let page = request.clone().limit(left).set_exclusive_start_key(start);
        let answer = call(CALL, page.send()).await?;
        found.extend(answer.items.unwrap_or_default());
        start = answer.last_evaluated_key;
        if start.is_none() || found.len() >= limit {
            return Ok(found);
        }
    }
}
