//! The Endpoints table, and the one transaction that changes an endpoint together with its tenant's routing record.

mod limits;
mod tenants;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, TransactWriteItem};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::Job;
use pombo_domain::routing::RoutingRecord;

use crate::batch;
use crate::effect::effect;
use crate::error::AwsError;
use crate::health;
use crate::item::{Item, put_versioned, text};
use crate::jobs::JobsTable;
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
    /// The jobs that the change begins.
    pub jobs: &'a [Job],
    /// What else is written with it: the endpoint's health, an event that tells of the change.
    pub also: Vec<TransactWriteItem>,
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
        let answer = effect(CALL, request.send()).await.map_err(|error| AwsError::new(CALL, error))?;
        answer.item.map(|item| from_item(CALL, item)).transpose()
    }

    /// The endpoint and its health as they are now: one strongly consistent call.
    pub async fn get_with_health(&self, id: &EndpointId) -> Result<Option<(Endpoint, Health)>, AwsError> {
        Ok(self.get_many_with_health(std::slice::from_ref(id)).await?.pop())
    }

    /// The endpoints of these ids and their health as they are now, in the order of the ids.
    pub async fn get_many_with_health(&self, ids: &[EndpointId]) -> Result<Vec<(Endpoint, Health)>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Endpoints";
        let keys: Vec<_> = ids.iter().flat_map(|id| [id.to_string(), Health::key(id)]).collect();
        let mut found = self.batch(CALL, &keys).await?;
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(endpoint) = found.remove(id.as_str()) else { continue };
            let health = found.remove(&Health::key(id)).map(|item| health::from_item(CALL, item)).transpose()?;
            known.push((from_item(CALL, endpoint)?, health.unwrap_or_else(Health::good)));
        }
        Ok(known)
    }

    /// The items of these keys as they are now, by key.
    async fn batch(&self, call: &str, keys: &[String]) -> Result<HashMap<String, Item>, AwsError> {
        let keys: Vec<_> = keys.iter().map(|key| Item::from([("endpoint_id".into(), text(key))])).collect();
        let items = batch::get(&self.client, call, &self.table, &keys, KeysAndAttributes::builder()).await?;
        let by_key = |item: Item| Some((item.get("endpoint_id")?.as_s().ok()?.clone(), item));
        Ok(items.into_iter().filter_map(by_key).collect())
    }

    /// The change of an endpoint's health as a part of a transaction: `next` in the place of `seen`.
    pub fn health_in_transaction(
        &self,
        id: &EndpointId,
        seen: &Health,
        next: &Health,
    ) -> Result<TransactWriteItem, AwsError> {
        health::in_transaction(&self.table, id, seen, next)
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
        let endpoint = put_versioned(&self.table, endpoint_item, "endpoint_id", "version", change.seen)?;
        let seen = Some(change.routing.version.saturating_sub(1)).filter(|version| *version > 0);
        let route = put_versioned(
            routing.table(),
            routing::to_item(change.routing).map_err(|error| unreadable(&error))?,
            "tenant",
            "version",
            seen,
        )?;
        let mut writes = vec![endpoint, route];
        writes.extend(change.also.iter().cloned());
        if let Some(table) = jobs {
            for job in change.jobs {
                writes.push(table.new_in_transaction(job)?);
            }
        }
        let request = self.client.transact_write_items().set_transact_items(Some(writes)).client_request_token(token);
        match effect(CALL, request.send()).await {
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

fn from_item(call: &str, item: HashMap<String, AttributeValue>) -> Result<Endpoint, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
