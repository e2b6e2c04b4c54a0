//! The buckets of callers whose events are limited: an item each in the table of events, under a key that no event has.
//!
//! Events are reserved by one conditional write, for which nothing is read first. The write adds to the stored value, so that
//! processes that come at the same time do not get into each other's way; only the first after a lull sets the time again.
//! Which of the two it is, the caller guesses from what it saw last, and learns from a condition that failed. A write whose
//! answer was lost is repeated by the SDK: that leaves events unused, and lets none in twice.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use pombo_domain::event_limit::{EventLimit, NoRoom, Reservation};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{BadAttribute, Item, Reader, number, text};

/// A guess is wrong once in the common case. More than a few in a row is a fault.
const MAX_TRIES: usize = 10;

/// How long the item is kept after the bucket is full again, in seconds: a full bucket needs no item.
const KEPT_SECONDS: i64 = 86_400;

/// The buckets, in the table of events.
#[derive(Debug, Clone)]
pub struct EventLimits {
    client: Client,
    table: String,
}

/// The result of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    /// How many events may come in, if there was room for any.
    pub events: Result<u32, NoRoom>,
    /// The value that was stored last, for the next call.
    pub stored: Option<i64>,
}

impl EventLimits {
    /// In the table of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// The key of a caller's bucket. No tenant's name, with which an event's key begins, has such a character.
    #[must_use]
    pub fn key(caller: &str) -> String {
        format!("~rate#{caller}")
    }

    /// Reserves `wanted` events of a caller, or fewer, but at least `needed`. `stored` is what stood there when this process
    /// saw it last.
    pub async fn reserve(
        &self,
        caller: &str,
        limit: &EventLimit,
        mut stored: Option<i64>,
        (wanted, needed): (u32, u32),
        now: Timestamp,
    ) -> Result<Reserved, AwsError> {
        const CALL: &str = "dynamodb:UpdateItem Events";
        for _ in 0..MAX_TRIES {
            let reservation = match limit.reserve(stored, wanted, needed, now) {
                Ok(reservation) => reservation,
                // The time that this process saw never goes back: there is no more room than it leaves.
                Err(no_room) => return Ok(Reserved { events: Err(no_room), stored }),
            };
            let events = Ok(reservation.events());
            match self.write(CALL, caller, reservation, now).await? {
                Written::Stored(stored) => return Ok(Reserved { events, stored: Some(stored) }),
                Written::Conflict(standing) => stored = standing,
            }
        }
        Err(AwsError::contention(CALL, "the caller's bucket"))
    }

    async fn write(
        &self,
        call: &str,
        caller: &str,
        reservation: Reservation,
        now: Timestamp,
    ) -> Result<Written, AwsError> {
        let now_micros = now.as_millis() * 1000;
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("event_key", text(Self::key(caller)))
            .expression_attribute_values(":now", number(now_micros))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let expires_at = |full_micros: i64| number(full_micros / 1_000_000 + KEPT_SECONDS);
        let request = match reservation {
            Reservation::Start { full_micros, .. } => request
                .update_expression("SET full_at = :full, expires_at = :expires")
                .condition_expression("attribute_not_exists(full_at) OR full_at < :now")
                .expression_attribute_values(":full", number(full_micros))
                .expression_attribute_values(":expires", expires_at(full_micros)),
            Reservation::Join { by_micros, latest_micros, .. } => request
                .update_expression("SET full_at = full_at + :by, expires_at = :expires")
                .condition_expression("full_at BETWEEN :now AND :latest")
                .expression_attribute_values(":by", number(by_micros))
                .expression_attribute_values(":latest", number(latest_micros))
                .expression_attribute_values(":expires", expires_at(latest_micros + by_micros)),
        };
        let unreadable = |error: BadAttribute| AwsError::unreadable(call, error);
        match effect(call, request.send()).await {
            Ok(answer) => full_at(answer.attributes.unwrap_or_default()).map(Written::Stored).map_err(unreadable),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    failed.item.clone().map(full_at).transpose().map(Written::Conflict).map_err(unreadable)
                }
                _ => Err(AwsError::new(call, error)),
            },
        }
    }
}

/// The result of one write, with the value that is stored after it.
enum Written {
    Stored(i64),
    Conflict(Option<i64>),
}

fn full_at(item: Item) -> Result<i64, BadAttribute> {
    Reader(item).take("full_at")
}
