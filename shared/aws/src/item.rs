//! Reading and writing DynamoDB attributes.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::error::AwsError;
use crate::writer::writer_of;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// An attribute that is not there, or not what it should be.
#[derive(Debug, Error)]
#[error("attribute {name} {problem}")]
pub(crate) struct BadAttribute {
    name: String,
    problem: String,
}

impl BadAttribute {
    pub(crate) fn new(name: &str, problem: impl ToString) -> Self {
        Self { name: name.to_owned(), problem: problem.to_string() }
    }
}

pub(crate) fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn bytes(value: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// A time, in Unix milliseconds.
pub(crate) fn time(time: Timestamp) -> AttributeValue {
    number(time.as_millis())
}

/// Any value of the domain as a map, a list or a scalar.
pub(crate) fn nested<T: Serialize>(name: &str, value: T) -> Result<AttributeValue, BadAttribute> {
    serde_dynamo::to_attribute_value(value).map_err(|error: serde_dynamo::Error| BadAttribute::new(name, error))
}

/// What a newer version stored, as an item to write the others into.
pub(crate) fn unknown_to_item(unknown: &Unknown) -> Result<Item, BadAttribute> {
    unknown.iter().map(|(name, value)| Ok((name.clone(), nested(name, value)?))).collect()
}

/// Takes attributes out of an item by name; what is left at the end is unknown to this version.
pub(crate) struct Reader(pub(crate) Item);

impl Reader {
    pub(crate) fn take<T>(&mut self, name: &str) -> Result<T, BadAttribute>
    where
        T: FromStr<Err: ToString>,
    {
        self.take_optional(name)?.ok_or_else(|| BadAttribute::new(name, "is missing"))
    }

    pub(crate) fn take_optional<T>(&mut self, name: &str) -> Result<Option<T>, BadAttribute>
    where
        T: FromStr<Err: ToString>,
    {
        let text = match self.0.remove(name) {
            None => return Ok(None),
            Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
            Some(_) => return Err(BadAttribute::new(name, "is neither text nor number")),
        };
        text.parse().map(Some).map_err(|error: T::Err| BadAttribute::new(name, error.to_string()))
    }

    pub(crate) fn take_time(&mut self, name: &str) -> Result<Timestamp, BadAttribute> {
        self.take(name).map(Timestamp::from_millis)
    }

    /// Whether the attribute is `true`; one that is not there is `false`.
    pub(crate) fn take_flag(&mut self, name: &str) -> Result<bool, BadAttribute> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(AttributeValue::Bool(flag)) => Ok(flag),
            Some(_) => Err(BadAttribute::new(name, "is not a truth value")),
        }
    }

    pub(crate) fn take_map(&mut self, name: &str) -> Result<Option<Self>, BadAttribute> {
        self.0.remove(name).map(|value| Self::of(name, value)).transpose()
    }

    /// The maps of a list; none if it is not there.
    pub(crate) fn take_maps(&mut self, name: &str) -> Result<Vec<Self>, BadAttribute> {
        match self.0.remove(name) {
            None => Ok(Vec::new()),
            Some(AttributeValue::L(list)) => list.into_iter().map(|value| Self::of(name, value)).collect(),
            Some(_) => Err(BadAttribute::new(name, "is not a list")),
        }
    }

    fn of(name: &str, value: AttributeValue) -> Result<Self, BadAttribute> {
        match value {
            AttributeValue::M(map) => Ok(Self(map)),
            _ => Err(BadAttribute::new(name, "is not a map")),
        }
    }

    pub(crate) fn take_writer(&mut self, name: &str) -> Result<Option<String>, BadAttribute> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        writer_of(&value).map(Some).ok_or_else(|| BadAttribute::new(name, "is neither text nor ids"))
    }

    pub(crate) fn take_bytes(&mut self, name: &str) -> Result<Vec<u8>, BadAttribute> {
        match self.0.remove(name) {
            Some(AttributeValue::B(blob)) => Ok(blob.into_inner()),
            _ => Err(BadAttribute::new(name, "is missing or not binary")),
        }
    }

    /// What is left.
    pub(crate) fn unknown(self) -> Result<Unknown, BadAttribute> {
        let read = |(name, value): (String, AttributeValue)| {
            let value = serde_dynamo::from_attribute_value(value);
            let value = value.map_err(|error: serde_dynamo::Error| BadAttribute::new(&name, error))?;
            Ok((name, value))
        };
        self.0.into_iter().map(read).collect()
    }

    pub(crate) fn take_nested<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, BadAttribute> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        serde_dynamo::from_attribute_value(value)
            .map(Some)
            .map_err(|error: serde_dynamo::Error| BadAttribute::new(name, error))
    }
}

/// Writes a value of the domain as an item.
pub(crate) fn encode<T: Serialize>(call: &str, value: &T) -> Result<Item, AwsError> {
    serde_dynamo::to_item(value).map_err(|error: serde_dynamo::Error| AwsError::unreadable(call, error))
}

/// Reads a value of the domain that is an item as a whole.
pub(crate) fn decode<T: DeserializeOwned>(call: &str, item: Item) -> Result<T, AwsError> {
    serde_dynamo::from_item(item).map_err(|error: serde_dynamo::Error| AwsError::unreadable(call, error))
}

/// The bytes of an item: of all names and values; "each List or Map requires 3 bytes of overhead", and one for each element
/// (Developer Guide, "DynamoDB item sizes and formats"). A number takes "1 byte per two significant digits" and one more.
pub(crate) fn size_of(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(map) => 3 + map.len() + size_of(map),
        AttributeValue::L(list) => 3 + list.len() + list.iter().map(size_of_value).sum::<usize>(),
        // Truth values and nulls. No sets are stored.
        _ => 1,
    }
}
