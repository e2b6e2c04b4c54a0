//! The Endpoints table, and the one transaction that changes an endpoint together with its tenant's routing record.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, TransactWriteItem};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::Job;
use pombo_domain::routing::RoutingRecord;

use crate::error::AwsError;
use crate::item::{Item, number, text};
use crate::jobs::{self, JobsTable};
use crate::routing::{self, RoutingTable};

/// The table of endpoints.
#[derive(Debug, Clone)]
pub struct EndpointsTable {
    client: Client,
    table: String,
}

/// A change of an endpoint: everything that is written together, or not at all.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// The endpoint as it shall be.
    pub endpoint: &'a Endpoint,
    /// The version that was seen; `None` for a new endpoint.
    pub seen: Option<u64>,
    /// The tenant's routing record as it shall be: one version above the one that was seen.
    pub routing: &'a RoutingRecord,
    /// A job that the change begins.
    pub job: Option<&'a Job>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is written.
    Stored,
    /// Another change came between: read again and repeat.
    Conflict,
}

impl EndpointsTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The endpoint as it is now: one strongly consistent read. A tombstone comes as `Deleted`.
    pub async fn get(&self, id: &EndpointId) -> Result<Option<Endpoint>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Endpoints";
        let request = self.client.get_item().table_name(&self.table).key("endpoint_id", text(id)).consistent_read(true);
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(|item| from_item(CALL, item)).transpose()
    }

    /// The endpoints of these ids as they are now, in the order of the ids; at most 100.
    pub async fn get_many(&self, ids: &[EndpointId]) -> Result<Vec<Endpoint>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Endpoints";
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = ids.iter().map(|id| Item::from([("endpoint_id".into(), text(id))])).collect();
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .consistent_read(true)
            .build()
            .map_err(|error| AwsError::unreadable(CALL, error))?;
        let mut left = Some(HashMap::from([(self.table.clone(), wanted)]));
        let mut found = HashMap::with_capacity(ids.len());
        while let Some(request_items) = left.take() {
            let request = self.client.batch_get_item().set_request_items(Some(request_items));
            let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
            for item in answer.responses.into_iter().flatten().flat_map(|(_, items)| items) {
                let endpoint = from_item(CALL, item)?;
                found.insert(endpoint.id.clone(), endpoint);
            }
            left = answer.unprocessed_keys.filter(|keys| !keys.is_empty());
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    /// Writes a change in one transaction. `token` is unique to the caller's request: a repeat of the same change within
    /// ten minutes is the same transaction.
    pub async fn change(
        &self,
        routing: &RoutingTable,
        jobs: Option<&JobsTable>,
        change: &Change<'_>,
        token: &str,
    ) -> Result<Changed, AwsError> {
        const CALL: &str = "dynamodb:TransactWriteItems Endpoints";
        let unreadable = |error: &dyn std::fmt::Display| AwsError::unreadable(CALL, error);
        let endpoint_item: Item = serde_dynamo::to_item(change.endpoint).map_err(|error| unreadable(&error))?;
        let endpoint = put(&self.table, endpoint_item, "endpoint_id", "version", change.seen)?;
        let seen = Some(change.routing.version.saturating_sub(1)).filter(|version| *version > 0);
        let route = put(routing.table(), routing::to_item(change.routing), "tenant", "version", seen)?;
        let mut writes = vec![endpoint, route];
        if let (Some(job), Some(jobs)) = (change.job, jobs) {
            let item = jobs::to_item(job).map_err(|error| unreadable(&error))?;
            writes.push(put(jobs.table(), item, "created_key", "rev", None)?);
        }
        let request = self.client.transact_write_items().set_transact_items(Some(writes)).client_request_token(token);
        match request.send().await {
            Ok(_) => Ok(Changed::Stored),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                    if codes.any(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict")) {
                        Ok(Changed::Conflict)
                    } else {
                        Err(AwsError::new(CALL, error))
                    }
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(Changed::Conflict),
                _ => Err(AwsError::new(CALL, error)),
            },
        }
    }
}

/// A put in the place of the version `seen`, or of nothing.
fn put(table: &str, item: Item, key: &str, version: &str, seen: Option<u64>) -> Result<TransactWriteItem, AwsError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match seen {
        None => put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", key),
        Some(seen) => put
            .condition_expression("#version = :seen")
            .expression_attribute_names("#version", version)
            .expression_attribute_values(":seen", number(seen)),
    };
    let put = put.build().map_err(|error| AwsError::unreadable("dynamodb:TransactWriteItems", error))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn from_item(call: &str, item: HashMap<String, AttributeValue>) -> Result<Endpoint, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
