//! The records of deliveries in what functions write, and in tables: without the names that only the adapter knows.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_aws::deliveries::{item_of, record_of};
use pombo_domain::delivery::Record;
use serde_json::{Map, Value, json};

/// The record of an item in DynamoDB's JSON; `None` for any other item.
#[must_use]
pub fn record_in(item: &Value) -> Option<Record> {
    // Said first, because every rule of a test asks of every call.
    item["sort_key"].is_object().then(|| record_of(from_map(item.as_object()?)?).ok())?
}

/// The item of a record, in DynamoDB's JSON.
#[must_use]
pub fn item_in_json(record: &Record) -> Value {
    to_map(&item_of(record).unwrap())
}

fn from_map(map: &Map<String, Value>) -> Option<HashMap<String, AttributeValue>> {
    map.iter().map(|(name, value)| Some((name.clone(), from_json(value)?))).collect()
}

fn from_json(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "S" => AttributeValue::S(value.as_str()?.to_owned()),
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "B" => AttributeValue::B(Blob::new(STANDARD.decode(value.as_str()?).ok()?)),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array()?.iter().map(from_json).collect::<Option<_>>()?),
        "M" => AttributeValue::M(from_map(value.as_object()?)?),
        _ => return None,
    })
}

fn to_map(item: &HashMap<String, AttributeValue>) -> Value {
    item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<Map<_, _>>().into()
}

fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::B(bytes) => json!({"B": STANDARD.encode(bytes.as_ref())}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::L(list) => json!({"L": list.iter().map(to_json).collect::<Vec<_>>()}),
        AttributeValue::M(map) => json!({"M": to_map(map)}),
        _ => json!({"NULL": true}),
    }
}
