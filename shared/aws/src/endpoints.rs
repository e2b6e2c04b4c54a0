//! The Endpoints table, and the one transaction that changes an endpoint together with its tenant's routing record.

mod limits;
mod tenants;

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{KeysAndAttributes, TransactWriteItem};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::Job;
use pombo_domain::routing::RoutingRecord;

use crate::batch;
use crate::effect::call;
use crate::error::AwsError;
use crate::health;
use crate::item::{Item, decode, encode, text};
use crate::jobs::JobsTable;
use crate::routing::{self, RoutingTable};
use crate::versioned::{Replacement, Transacted, stored_rev, transact};

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
        call(CALL, request.send()).await?.item.map(|item| decode(CALL, item)).transpose()
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
            known.push((decode(CALL, endpoint)?, health.unwrap_or_else(Health::good)));
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
        let endpoint = Replacement::new(encode(CALL, change.endpoint)?, "endpoint_id", change.seen);
        let route = routing::to_item(change.routing).map_err(|error| AwsError::unreadable(CALL, error))?;
        let seen = stored_rev(change.routing.version.saturating_sub(1));
        let route = Replacement::new(route, "tenant", seen).numbered_by("version");
        let endpoint = endpoint.numbered_by("version").in_transaction(&self.table)?;
        let route = route.in_transaction(routing.table())?;
        let mut writes = vec![endpoint, route];
        writes.extend(change.also.iter().cloned());
        if let Some(table) = jobs {
            for job in change.jobs {
                writes.push(table.new_in_transaction(job)?);
            }
        }
        match transact(&self.client, CALL, writes, Some(token)).await? {
            Transacted::Stored => Ok(Changed::Stored),
            Transacted::Conflict(_) => Ok(Changed::Conflict),
        }
    }
}
