//! The health of endpoints: an item of its own beside each endpoint that has had trouble.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;

use crate::error::AwsError;
use crate::item::{Item, decode, encode, text};
use crate::versioned::{Replacement, Written, next_rev, stored_rev};

/// Writes the health of endpoints, in the table of endpoints. They are read together, by
/// [`get_with_health`](crate::endpoints::EndpointsTable::get_with_health).
#[derive(Debug, Clone)]
pub struct HealthTable {
    client: Client,
    table: String,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutHealth {
    /// It is written; the health with its new revision.
    Stored(Box<Health>),
    /// Another process was faster: read and decide again.
    Conflict,
}

impl HealthTable {
    /// In the table of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Writes `next` in the place of `seen`, alone or together with other writes. `writer` tells a write whose answer was
    /// lost from another's.
    pub async fn put(
        &self,
        id: &EndpointId,
        seen: &Health,
        next: Health,
        writer: &str,
        also: Vec<TransactWriteItem>,
    ) -> Result<PutHealth, AwsError> {
        const PUT: &str = "dynamodb:PutItem Endpoints";
        const TRANSACT: &str = "dynamodb:TransactWriteItems Endpoints";
        let next = Health { writer: writer.to_owned(), ..next };
        let (next, write) = replacement(id, seen, next)?;
        let written = if also.is_empty() {
            Some(write.put(&self.client, PUT, &self.table).await?)
        } else {
            write.put_with(&self.client, TRANSACT, &self.table, also, None).await?
        };
        Ok(if written == Some(Written::Stored) { PutHealth::Stored(Box::new(next)) } else { PutHealth::Conflict })
    }
}

/// The write of `next` in the place of `seen` as a part of a transaction.
pub(crate) fn in_transaction(
    table: &str,
    id: &EndpointId,
    seen: &Health,
    next: &Health,
) -> Result<TransactWriteItem, AwsError> {
    let (_, write) = replacement(id, seen, next.clone())?;
    write.in_transaction(table)
}

/// The health with its next revision, and its write in the place of `seen`.
fn replacement(id: &EndpointId, seen: &Health, next: Health) -> Result<(Health, Replacement<'static>), AwsError> {
    let seen = stored_rev(seen.rev);
    let next = Health { rev: next_rev(seen), ..next };
    let mut item = encode("dynamodb:PutItem Endpoints", &next)?;
    item.insert("endpoint_id".into(), text(Health::key(id)));
    Ok((next, Replacement::new(item, "endpoint_id", seen)))
}

pub(crate) fn from_item(call: &str, item: Item) -> Result<Health, AwsError> {
    decode(call, item)
}
