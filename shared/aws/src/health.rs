//! The health of endpoints: an item of its own beside each endpoint that has had trouble.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, number, put_versioned, text};

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
    /// Another process was faster: read again, and decide anew.
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
        let next = Health { rev: seen.rev + 1, writer: writer.to_owned(), ..next };
        if also.is_empty() { self.put_alone(id, seen, next).await } else { self.put_with(id, seen, next, also).await }
    }

    async fn put_alone(&self, id: &EndpointId, seen: &Health, next: Health) -> Result<PutHealth, AwsError> {
        const CALL: &str = "dynamodb:PutItem Endpoints";
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(CALL, id, &next)?))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match seen.rev {
            0 => request.condition_expression("attribute_not_exists(endpoint_id)"),
            rev => request.condition_expression("rev = :seen").expression_attribute_values(":seen", number(rev)),
        };
        let error = match effect(CALL, request.send()).await {
            Ok(_) => return Ok(PutHealth::Stored(Box::new(next))),
            Err(error) => error,
        };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            return Err(AwsError::new(CALL, error));
        };
        let standing = failed.item.clone().map(|item| from_item(CALL, item)).transpose()?;
        let ours = standing.is_some_and(|health| health.rev == next.rev && health.writer == next.writer);
        Ok(if ours { PutHealth::Stored(Box::new(next)) } else { PutHealth::Conflict })
    }

    /// The SDK gives the transaction a token of its own, under which its repeats are one.
    async fn put_with(
        &self,
        id: &EndpointId,
        seen: &Health,
        next: Health,
        mut writes: Vec<TransactWriteItem>,
    ) -> Result<PutHealth, AwsError> {
        const CALL: &str = "dynamodb:TransactWriteItems Endpoints";
        writes.push(in_transaction(&self.table, id, seen, &next)?);
        let request = self.client.transact_write_items().set_transact_items(Some(writes));
        match effect(CALL, request.send()).await {
            Ok(_) => Ok(PutHealth::Stored(Box::new(next))),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let mut codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                    if codes.any(|code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict")) {
                        Ok(PutHealth::Conflict)
                    } else {
                        Err(AwsError::new(CALL, error))
                    }
                }
                _ => Err(AwsError::new(CALL, error)),
            },
        }
    }
}

/// The write of `next` in the place of `seen` as a part of a transaction.
pub(crate) fn in_transaction(
    table: &str,
    id: &EndpointId,
    seen: &Health,
    next: &Health,
) -> Result<TransactWriteItem, AwsError> {
    let next = Health { rev: seen.rev + 1, ..next.clone() };
    let item = to_item("dynamodb:TransactWriteItems Endpoints", id, &next)?;
    put_versioned(table, item, "endpoint_id", "rev", Some(seen.rev).filter(|rev| *rev > 0))
}

fn to_item(call: &str, id: &EndpointId, health: &Health) -> Result<Item, AwsError> {
    let mut item: Item = serde_dynamo::to_item(health).map_err(|error| AwsError::unreadable(call, error))?;
    item.insert("endpoint_id".into(), text(Health::key(id)));
    Ok(item)
}

pub(crate) fn from_item(call: &str, item: Item) -> Result<Health, AwsError> {
    serde_dynamo::from_item(item).map_err(|error| AwsError::unreadable(call, error))
}
