//! Items that are replaced as a whole: each write takes the place of the revision that was seen.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{Item, number};

/// The result of a write.
pub(crate) enum Replaced {
    /// The revision is written.
    Stored,
    /// Another write was faster: the item as it is now, if there is one.
    Conflict(Option<Item>),
}

/// Writes `item`, whose partition key is the attribute `key`, in the place of the revision `seen`; 0 is no item. Its
/// attributes `rev` and `writer` tell it from every other write.
pub(crate) async fn replace(
    client: &Client,
    call: &str,
    table: &str,
    key: &str,
    item: Item,
    seen: u64,
) -> Result<Replaced, AwsError> {
    let own = [item.get("rev").cloned(), item.get("writer").cloned()];
    let request = client
        .put_item()
        .table_name(table)
        .set_item(Some(item))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    let request = match seen {
        0 => request.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", key),
        rev => request.condition_expression("rev = :seen").expression_attribute_values(":seen", number(rev)),
    };
    let error = match effect(call, request.send()).await {
        Ok(_) => return Ok(Replaced::Stored),
        Err(error) => error,
    };
    let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
        return Err(AwsError::new(call, error));
    };
    let standing = failed.item.clone();
    // The SDK repeats a call whose answer was lost, and meets its own write.
    let is_ours = standing.as_ref().is_some_and(|item| own == [item.get("rev").cloned(), item.get("writer").cloned()]);
    Ok(if is_ours { Replaced::Stored } else { Replaced::Conflict(standing) })
}
