//! The versioned write: an item is replaced as a whole, if it still has the revision that was seen.
//!
//! Nothing is locked. A process that changes an item reads the item, decides, and replaces the revision that it read by the
//! next one. If another process was faster, the condition fails and the item as it is now comes back.
//!
//! The SDK repeats a call whose answer was lost, and may meet its own write. The stored item then has the revision and the
//! writer of this write, and the failed condition counts as a success. Therefore a writer is unique to the call.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put as PutItem, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use pombo_domain::time::Timestamp;

use crate::effect::{call, effect};
use crate::error::AwsError;
use crate::item::{Item, number, text};

/// The attribute that says who wrote a revision, unless a table has another name for it.
const WRITER: &str = "writer";

/// The result of a versioned write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put<T> {
    /// The value is written, with its new revision.
    Stored(Box<T>),
    /// Another process was faster: the value as it is now, or `None` if it is gone.
    Conflict(Option<Box<T>>),
}

/// The revision that replaces `seen`. The first revision is 1.
pub(crate) fn next_rev(seen: Option<u64>) -> u64 {
    seen.unwrap_or(0) + 1
}

/// The stored revision, for values that have revision 0 while they are not stored.
pub(crate) fn stored_rev(rev: u64) -> Option<u64> {
    Some(rev).filter(|rev| *rev > 0)
}

/// An item that is to replace a revision.
#[derive(Debug)]
pub(crate) struct Replacement<'a> {
    item: Item,
    key: &'a str,
    number: &'a str,
    writer: &'a str,
    seen: Option<u64>,
}

/// The result of the write of a [`Replacement`].
#[derive(Debug, PartialEq)]
pub(crate) enum Written {
    Stored,
    /// Another write was faster: the item as it is now, if there is one.
    Conflict(Option<Item>),
}

/// The result of a transaction.
#[derive(Debug, PartialEq)]
pub(crate) enum Transacted {
    Stored,
    /// A condition failed, or another transaction is changing one of the items. Holds the reason for each write, or no
    /// reasons if an earlier try of the same transaction is in progress.
    Conflict(Vec<CancellationReason>),
}

impl<'a> Replacement<'a> {
    /// Replaces the revision `seen` by `item`. With `None`, the item is written only if there is none. `key` is an attribute
    /// that every item of the table has.
    pub(crate) const fn new(item: Item, key: &'a str, seen: Option<u64>) -> Self {
        Self { item, key, number: "rev", writer: WRITER, seen }
    }

    /// The same for an item whose revision is in the attribute `number`.
    pub(crate) fn numbered_by(self, number: &'a str) -> Self {
        Self { number, ..self }
    }

    /// The same for an item whose writer is in the attribute `writer`.
    pub(crate) fn written_by(self, writer: &'a str) -> Self {
        Self { writer, ..self }
    }

    /// The write as a part of a transaction.
    pub(crate) fn in_transaction(self, table: &str) -> Result<TransactWriteItem, AwsError> {
        let put = PutItem::builder()
            .table_name(table)
            .condition_expression(self.condition())
            .expression_attribute_names("#of", self.attribute())
            .set_expression_attribute_values(self.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_item(Some(self.item));
        let put = put.build().map_err(|error| AwsError::unreadable("dynamodb:TransactWriteItems", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Makes the write.
    pub(crate) async fn put(self, client: &Client, name: &str, table: &str) -> Result<Written, AwsError> {
        let own = self.mark();
        let request = client
            .put_item()
            .table_name(table)
            .condition_expression(self.condition())
            .expression_attribute_names("#of", self.attribute())
            .set_expression_attribute_values(self.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_item(Some(self.item));
        let error = match effect(name, request.send()).await {
            Ok(_) => return Ok(Written::Stored),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => Ok(own.against(failed.item.clone())),
            _ => Err(AwsError::new(name, error)),
        }
    }

    /// Makes this write and the others, or none of them. `None` if the condition of another write failed, or if another
    /// transaction is changing one of the items: then build the other writes again and repeat the call. `token` is unique to
    /// the call; without a token the SDK makes one.
    pub(crate) async fn put_with(
        self,
        client: &Client,
        name: &str,
        table: &str,
        others: Vec<TransactWriteItem>,
        token: Option<&str>,
    ) -> Result<Option<Written>, AwsError> {
        let own = self.mark();
        let writes = [vec![self.in_transaction(table)?], others].concat();
        Ok(match transact(client, name, writes, token).await? {
            Transacted::Stored => Some(Written::Stored),
            Transacted::Conflict(reasons) => own.among(reasons),
        })
    }

    fn condition(&self) -> &'static str {
        if self.seen.is_some() { "#of = :seen" } else { "attribute_not_exists(#of)" }
    }

    /// The attribute that the condition is about.
    fn attribute(&self) -> &'a str {
        if self.seen.is_some() { self.number } else { self.key }
    }

    fn values(&self) -> Option<Item> {
        self.seen.map(|seen| Item::from([(":seen".to_owned(), number(seen))]))
    }

    /// The attributes that tell this write from every other one.
    fn mark(&self) -> Mark {
        let value = |name: &str| Some((name.to_owned(), self.item.get(name)?.clone()));
        Mark(value(self.writer).map(|writer| value(self.number).into_iter().chain([writer]).collect()))
    }
}

/// The revision and the writer of a write; `None` for an item that does not say who wrote it.
struct Mark(Option<Item>);

impl Mark {
    /// The result of a failed condition, judged by the item as it is now.
    fn against(&self, standing: Option<Item>) -> Written {
        // Emulators return an empty item if there is none.
        let standing = standing.filter(|item| !item.is_empty());
        let is_own = |item: &Item| {
            self.0.as_ref().is_some_and(|mark| mark.iter().all(|(name, value)| item.get(name) == Some(value)))
        };
        if standing.as_ref().is_some_and(is_own) { Written::Stored } else { Written::Conflict(standing) }
    }

    /// The result of a transaction that begins with this write; `None` if another write is the reason.
    fn among(&self, reasons: Vec<CancellationReason>) -> Option<Written> {
        let first = reasons.into_iter().next()?;
        (first.code() == Some("ConditionalCheckFailed")).then(|| self.against(first.item))
    }
}

impl Written {
    /// The result for the `value` that was to be written.
    pub(crate) fn of<T>(self, value: T, read: impl FnOnce(Item) -> Result<T, AwsError>) -> Result<Put<T>, AwsError> {
        match self {
            Self::Stored => Ok(Put::Stored(Box::new(value))),
            Self::Conflict(standing) => Ok(Put::Conflict(standing.map(read).transpose()?.map(Box::new))),
        }
    }
}

/// Makes all of these writes, or none.
pub(crate) async fn transact(
    client: &Client,
    name: &str,
    writes: Vec<TransactWriteItem>,
    token: Option<&str>,
) -> Result<Transacted, AwsError> {
    // Without a token the SDK makes one, so that its repeats count as one transaction.
    let request = client.transact_write_items().set_transact_items(Some(writes));
    let request = request.set_client_request_token(token.map(ToOwned::to_owned));
    match effect(name, request.send()).await {
        Ok(_) => Ok(Transacted::Stored),
        Err(error) => match error.as_service_error().and_then(conflict) {
            Some(reasons) => Ok(Transacted::Conflict(reasons)),
            None => Err(AwsError::new(name, error)),
        },
    }
}

/// The reasons of a transaction that met another write; `None` for any other error.
fn conflict(error: &TransactWriteItemsError) -> Option<Vec<CancellationReason>> {
    let reasons = match error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => cancelled.cancellation_reasons(),
        TransactWriteItemsError::TransactionInProgressException(_) => return Some(Vec::new()),
        _ => return None,
    };
    let met =
        |reason: &CancellationReason| matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"));
    reasons.iter().any(met).then(|| reasons.to_vec())
}

/// At most `limit` items of a shard that were due before `before`, longest overdue first. `name` names the call, a query of
/// the table's index `by_due`.
pub(crate) async fn due(
    client: &Client,
    name: &str,
    table: &str,
    shard: u8,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<Item>, AwsError> {
    let request = client
        .query()
        .table_name(table)
        .index_name("by_due")
        .key_condition_expression("due_shard = :shard AND due_at < :before")
        .expression_attribute_values(":shard", text(shard))
        .expression_attribute_values(":before", number(before.as_millis()))
        .limit(i32::try_from(limit).unwrap_or(i32::MAX));
    Ok(call(name, request.send()).await?.items.unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_sdk_dynamodb::types::error::{
        ResourceNotFoundException, TransactionCanceledException, TransactionInProgressException,
    };

    use super::*;

    fn item(rev: u64, writer: &str) -> Item {
        Item::from([("id".into(), text("x")), ("rev".into(), number(rev)), (WRITER.into(), text(writer))])
    }

    fn reason(code: &str, item: Option<Item>) -> CancellationReason {
        CancellationReason::builder().code(code).set_item(item).build()
    }

    #[test]
    fn a_condition_that_fails_on_the_write_itself_is_a_success_and_on_any_other_a_conflict() {
        let own = Replacement::new(item(2, "me"), "id", Some(1)).mark();
        assert_eq!(own.against(Some(item(2, "me"))), Written::Stored);
        for other in [item(1, "me"), item(3, "me"), item(2, "other")] {
            assert_eq!(own.against(Some(other.clone())), Written::Conflict(Some(other)));
        }
        for none in [None, Some(Item::new())] {
            assert_eq!(own.against(none), Written::Conflict(None));
        }
    }

    #[test]
    fn an_item_that_names_no_writer_is_never_taken_for_ones_own() {
        let unsigned = || Item::from([("id".into(), text("x")), ("version".into(), number(2))]);
        let own = Replacement::new(unsigned(), "id", Some(1)).numbered_by("version").mark();
        assert_eq!(own.against(Some(unsigned())), Written::Conflict(Some(unsigned())));
    }

    #[test]
    fn an_item_may_name_its_revision_and_its_writer_as_it_likes() {
        let short = |rev: u64, writer: &str| Item::from([("r".into(), number(rev)), ("w".into(), text(writer))]);
        let own = Replacement::new(short(2, "me"), "id", Some(1)).numbered_by("r").written_by("w").mark();
        assert_eq!(own.against(Some(short(2, "me"))), Written::Stored);
        for other in [short(3, "me"), short(2, "other")] {
            assert_eq!(own.against(Some(other.clone())), Written::Conflict(Some(other)));
        }
    }

    #[test]
    fn a_first_write_meets_any_item_and_a_later_one_any_other_revision() {
        for (seen, condition, attribute) in [
            (None, "attribute_not_exists(#of)", "id"),
            (Some(0), "#of = :seen", "rev"),
            (Some(7), "#of = :seen", "rev"),
        ] {
            let write = Replacement::new(item(next_rev(seen), "me"), "id", seen).in_transaction("table").unwrap();
            let put = write.put().unwrap();
            assert_eq!(put.condition_expression(), Some(condition));
            assert_eq!(put.expression_attribute_names().unwrap()["#of"], attribute);
            let values = put.expression_attribute_values().map(|values| values[":seen"].clone());
            assert_eq!(values, seen.map(number));
        }
    }

    #[test]
    fn a_transaction_is_told_by_the_reason_of_its_first_write() {
        let own = Replacement::new(item(2, "me"), "id", Some(1)).mark();
        let met = || reason("ConditionalCheckFailed", Some(item(2, "me")));
        assert_eq!(own.among(vec![met(), reason("None", None)]), Some(Written::Stored));
        assert_eq!(own.among(vec![reason("None", None), met()]), None, "the other's condition");
        assert_eq!(own.among(vec![reason("TransactionConflict", None), reason("None", None)]), None);
        assert_eq!(own.among(Vec::new()), None, "an earlier try is in progress");
    }

    #[test]
    fn another_write_and_an_earlier_try_are_conflicts_and_all_else_is_an_error() {
        let cancelled = |codes: &[&str]| {
            let reasons = codes.iter().map(|code| reason(code, None)).collect();
            let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
            TransactWriteItemsError::TransactionCanceledException(cancelled)
        };
        for codes in [["None", "ConditionalCheckFailed"], ["TransactionConflict", "None"]] {
            assert_eq!(conflict(&cancelled(&codes)).unwrap().len(), 2, "{codes:?}");
        }
        let in_progress = TransactionInProgressException::builder().build();
        let in_progress = TransactWriteItemsError::TransactionInProgressException(in_progress);
        assert_eq!(conflict(&in_progress), Some(Vec::new()));
        let missing = ResourceNotFoundException::builder().build();
        for other in [
            cancelled(&["None", "ThrottlingError"]),
            cancelled(&[]),
            TransactWriteItemsError::ResourceNotFoundException(missing),
        ] {
            assert_eq!(conflict(&other), None, "{other:?}");
        }
    }
}
