//! The slots of endpoints with a rate limit: an item of its own beside the endpoint, which holds the next free one.
//!
//! A slot is reserved by one conditional write, for which nothing is read first. Where the line is long the write adds an
//! interval to whatever stands there, so that those who come at the same time do not get into each other's way; only the
//! first one after a lull sets the time anew, and meets a condition when it was not the first. Which of the two it is,
//! this process guesses from what it saw last, and learns from a condition that failed. A write whose answer was lost is
//! repeated by the SDK: that leaves one slot unused, and never one used twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure};
use pombo_domain::ids::EndpointId;
use pombo_domain::rate_limit::{RateLimit, Reserve, Slot, Slots, reserve};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;
use crate::item::{BadAttribute, Item, Reader, number, text};

/// A guess is wrong once in the common case. More than a few in a row is a fault.
const MOST_TRIES: usize = 10;

/// The most endpoints whose last slot is remembered; beyond that all are forgotten, which costs a wrong guess each.
const MOST_REMEMBERED: usize = 5000;

/// The item is kept for so many seconds after the last slot that was known when it was written: longer than any process
/// takes to write it again, while there is a line.
const KEPT_SECONDS: i64 = 30 * 86_400;

/// The slots of endpoints, in the table of endpoints.
#[derive(Debug, Clone)]
pub struct RateLimits {
    client: Client,
    table: String,
    seen: Arc<Mutex<HashMap<EndpointId, Slots>>>,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The slot is the caller's, and no one else's.
    Slot(Slot),
    /// The endpoint has a newer limit than the one given: read the endpoint again.
    Outdated,
}

impl RateLimits {
    /// In the table of this name.
    #[must_use]
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table, seen: Arc::default() }
    }

    /// The key of an endpoint's slots.
    #[must_use]
    pub fn key(id: &EndpointId) -> String {
        format!("{id}#rate")
    }

    /// Reserves the next slot under `limit`, now or later. `before` is the slot that the message has missed.
    pub async fn reserve(
        &self,
        id: &EndpointId,
        limit: &RateLimit,
        before: Option<&Slot>,
        now: Timestamp,
    ) -> Result<Reserved, AwsError> {
        const CALL: &str = "dynamodb:UpdateItem Endpoints";
        let mut seen = self.lock().get(id).copied();
        for _ in 0..MOST_TRIES {
            let written = match reserve(seen, limit, now) {
                // What this process saw is what stood there: it cannot become older again.
                Reserve::Outdated { .. } => return Ok(Reserved::Outdated),
                Reserve::First(slots) => self.start(CALL, id, slots, now).await?,
                Reserve::Behind(slots) => self.join(CALL, id, limit, slots, now).await?,
            };
            match written {
                Written::Stored(slots) => {
                    self.remember(id, slots);
                    return Ok(Reserved::Slot(Slot::reserved(slots.next_micros, limit, before)));
                }
                Written::Conflict(standing) => {
                    if let Some(slots) = standing {
                        self.remember(id, slots);
                    }
                    seen = standing;
                }
            }
        }
        Err(AwsError::contention(CALL, "the next slot"))
    }

    /// Takes the present moment, if nobody has it and there is no line under this limit.
    async fn start(&self, call: &str, id: &EndpointId, slots: Slots, now: Timestamp) -> Result<Written, AwsError> {
        let request = self
            .update(id, slots)
            .update_expression("SET next_slot = :next, limit_since = :since, expires_at = :expires")
            .condition_expression(
                "attribute_not_exists(next_slot) OR limit_since < :since OR (limit_since = :since AND next_slot < :now)",
            )
            .expression_attribute_values(":next", number(slots.next_micros))
            .expression_attribute_values(":now", number(now.as_millis() * 1000));
        written(call, effect(call, request.send()).await)
    }

    /// Takes the end of the line, wherever that is by now.
    async fn join(
        &self,
        call: &str,
        id: &EndpointId,
        limit: &RateLimit,
        slots: Slots,
        now: Timestamp,
    ) -> Result<Written, AwsError> {
        let request = self
            .update(id, slots)
            .update_expression("SET next_slot = next_slot + :interval, expires_at = :expires")
            .condition_expression("limit_since = :since AND next_slot >= :now")
            .expression_attribute_values(":interval", number(limit.per_second.interval_micros()))
            .expression_attribute_values(":now", number(now.as_millis() * 1000));
        written(call, effect(call, request.send()).await)
    }

    fn update(
        &self,
        id: &EndpointId,
        slots: Slots,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let expires_at = slots.next_micros / 1_000_000 + KEPT_SECONDS;
        self.client
            .update_item()
            .table_name(&self.table)
            .key("endpoint_id", text(Self::key(id)))
            .expression_attribute_values(":since", number(slots.since))
            .expression_attribute_values(":expires", number(expires_at))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }

    fn remember(&self, id: &EndpointId, slots: Slots) {
        let mut seen = self.lock();
        if seen.len() >= MOST_REMEMBERED {
            seen.clear();
        }
        seen.insert(id.clone(), slots);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Slots>> {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of one write, with what stands there then.
enum Written {
    Stored(Slots),
    Conflict(Option<Slots>),
}

fn written(
    call: &str,
    answer: Result<
        aws_sdk_dynamodb::operation::update_item::UpdateItemOutput,
        aws_sdk_dynamodb::error::SdkError<UpdateItemError>,
    >,
) -> Result<Written, AwsError> {
    let unreadable = |error: BadAttribute| AwsError::unreadable(call, error);
    match answer {
        Ok(stored) => from_item(stored.attributes.unwrap_or_default()).map(Written::Stored).map_err(unreadable),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                failed.item.clone().map(from_item).transpose().map(Written::Conflict).map_err(unreadable)
            }
            _ => Err(AwsError::new(call, error)),
        },
    }
}

fn from_item(item: Item) -> Result<Slots, BadAttribute> {
    let mut item = Reader(item);
    Ok(Slots { since: item.take("limit_since")?, next_micros: item.take("next_slot")? })
}
