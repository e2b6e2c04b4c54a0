//! The Events table: what came in, immutable.
//!
//! An event of Pombo's own is stored before its deliveries are queued, and marked until they are; the mark is a place in the
//! sparse index `by_due`. One that counts what happens in a minute is open while it may be replaced by a higher count, and
//! closed, thus immutable, before it is queued.

mod by_time;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use pombo_domain::body::{Encoding, PackedBody};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;

pub use self::by_time::{EventHead, EventPosition, EventRow, EventWindow};
use crate::effect::{call, effect};
use crate::error::AwsError;
use crate::item::{Item, Reader, bytes, number, text};
use crate::versioned::{self, Replacement, stored_rev};
use crate::writer::writer as stored_writer;

/// Closing an event, and taking its mark off.
const UPDATE: &str = "dynamodb:UpdateItem Events";

/// The table of events.
#[derive(Debug, Clone)]
pub struct EventsTable {
    client: Client,
    table: String,
}

/// What became of a new event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutEvent {
    /// It is stored.
    Stored,
    /// There is one under its id, which has not expired.
    Exists(Box<Existing>),
    /// It does not fit an item.
    TooLarge,
}

/// An event that was stored by an earlier request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// The event.
    pub event: Event,
    /// The endpoints whose messages SQS had refused when that request ended. Nothing was sent to these endpoints.
    pub refused: FanOut,
}

/// A stored event, and what is left to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The event.
    pub event: Event,
    /// Whether its deliveries are still to be queued.
    pub unqueued: bool,
    /// While it is open: its count.
    pub open: Option<u64>,
}

impl EventsTable {
    /// Of this name.
    #[must_use]
    pub const fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Stores an event unless its tenant has one of the same id. An expired one that still lies there counts as none.
    ///
    /// `writer` is unique to the caller's request: the SDK repeats a call whose answer was lost, and meets its own event.
    pub async fn put_new(&self, event: &Event, writer: &str, now: Timestamp) -> Result<PutEvent, AwsError> {
        const CALL: &str = "dynamodb:PutItem Events";
        let request = self
            .put(to_item(event, writer))
            .condition_expression("attribute_not_exists(event_key) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match effect(CALL, request.send()).await {
            Ok(_) => return Ok(PutEvent::Stored),
            Err(error) => error,
        };
        match existing(&error) {
            Some(item) if item.get("w") == Some(&stored_writer(writer)) => Ok(PutEvent::Stored),
            Some(item) => to_existing(&event.tenant, item)
                .map(|existing| PutEvent::Exists(Box::new(existing)))
                .map_err(|error| AwsError::unreadable(CALL, error)),
            None if is_too_large(&error) => Ok(PutEvent::TooLarge),
            None => Err(AwsError::new(CALL, error)),
        }
    }

    /// Adds the endpoints whose messages SQS refused to an event that `writer` stored. Does nothing if another event has
    /// taken its place. The whole event is written again, so that the only right that a caller needs is the right to put
    /// events.
    pub async fn put_refused(&self, event: &Event, writer: &str, refused: &FanOut) -> Result<(), AwsError> {
        const CALL: &str = "dynamodb:PutItem Events";
        let mut item = to_item(event, writer);
        item.insert("refused".into(), bytes(refused.pack()));
        let request = self
            .put(item)
            .condition_expression("w = :writer")
            .expression_attribute_values(":writer", stored_writer(writer));
        match effect(CALL, request.send()).await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(AwsError::new(CALL, error)),
            },
        }
    }

    fn put(&self, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.table).set_item(Some(item))
    }

    /// An event, unless it has expired.
    pub async fn get(&self, tenant: &TenantId, id: &EventId, now: Timestamp) -> Result<Option<Event>, AwsError> {
        Ok(self.marked(tenant, id, now).await?.map(|marked| marked.event))
    }

    /// An event, unless it has expired, and what is left to be done for it.
    pub async fn marked(&self, tenant: &TenantId, id: &EventId, now: Timestamp) -> Result<Option<Marked>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Events";
        let key = text(Event::key(tenant, id));
        let request = self.client.get_item().table_name(&self.table).key("event_key", key).consistent_read(true);
        let Some(item) = call(CALL, request.send()).await?.item else { return Ok(None) };
        let marked = to_marked(tenant, item).map_err(|error| AwsError::unreadable(CALL, error))?;
        Ok(Some(marked).filter(|marked| marked.event.expires_at > now.as_seconds()))
    }

    /// What stores a new event, in a transaction, to be queued after it. The sweep does so from `due`.
    pub fn unqueued(&self, event: &Event, due: Timestamp) -> Result<TransactWriteItem, AwsError> {
        self.put_marked(to_marked_item(event, due), None)
    }

    /// What stores an open event of this count, in a transaction, in the place of the one whose count is lower by one, or
    /// as the first.
    pub fn open(&self, event: &Event, due: Timestamp, count: u64) -> Result<TransactWriteItem, AwsError> {
        let mut item = to_marked_item(event, due);
        item.insert("open_count".into(), number(count));
        self.put_marked(item, stored_rev(count.saturating_sub(1)))
    }

    fn put_marked(&self, item: Item, seen: Option<u64>) -> Result<TransactWriteItem, AwsError> {
        Replacement::new(item, "event_key", seen).numbered_by("open_count").in_transaction(&self.table)
    }

    /// Closes an open event at this count: from now on it is as it is. False when the count is another by now, or the
    /// event closed.
    pub async fn close(&self, event: &Event, count: u64) -> Result<bool, AwsError> {
        let request = self
            .update(event)
            .update_expression("REMOVE open_count")
            .condition_expression("open_count = :count")
            .expression_attribute_values(":count", number(count));
        on_condition(effect(UPDATE, request.send()).await)
    }

    /// Takes the mark off an event whose deliveries are queued. Does nothing for one that has none any more.
    pub async fn queued(&self, event: &Event) -> Result<(), AwsError> {
        // Without the condition, an event that has expired meanwhile would come back as an item of its key alone.
        let request = self
            .update(event)
            .update_expression("REMOVE due_shard, due_at")
            .condition_expression("attribute_exists(due_shard)");
        on_condition(effect(UPDATE, request.send()).await).map(|_| ())
    }

    fn update(&self, event: &Event) -> UpdateItemFluentBuilder {
        let key = text(Event::key(&event.tenant, &event.id));
        self.client.update_item().table_name(&self.table).key("event_key", key)
    }

    /// At most `limit` events of a shard that should have been queued before `before`, longest overdue first.
    pub async fn due(&self, shard: u8, before: Timestamp, limit: usize) -> Result<Vec<(TenantId, EventId)>, AwsError> {
        const CALL: &str = "dynamodb:Query Events/by_due";
        let items = versioned::due(&self.client, CALL, &self.table, shard, before, limit).await?;
        let key = |item| {
            let key: String = Reader(item).take("event_key")?;
            Ok::<_, Box<dyn std::error::Error>>(Event::parse_key(&key)?)
        };
        let keys: Result<_, _> = items.into_iter().map(key).collect();
        keys.map_err(|error| AwsError::unreadable(CALL, error))
    }
}

/// Whether an update's condition held.
fn on_condition(answer: Result<UpdateItemOutput, SdkError<UpdateItemError>>) -> Result<bool, AwsError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
            _ => Err(AwsError::new(UPDATE, error)),
        },
    }
}

fn existing(error: &SdkError<PutItemError>) -> Option<Item> {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => failed.item.clone(),
        _ => None,
    }
}

/// DynamoDB refuses an item over 400 KB as a validation error that says so.
fn is_too_large(error: &SdkError<PutItemError>) -> bool {
    use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
    error.code() == Some("ValidationException")
        && error.message().is_some_and(|message| message.to_ascii_lowercase().contains("size"))
}

/// Makes the item of an event. Most attributes have short names, because a write is paid by the KB, names included, and the
/// body needs most of it.
///
/// `ts` and `pos` are the place in the index by time: the tenant's shard and the position in it. `t`: the type. `e`: the
/// encoding of the body. `b`: the body. `to`: the endpoints. `n`: the number of endpoints. `f`: the fingerprint. `w`: the
/// writer. `p`: who posted the event.
fn to_item(event: &Event, writer: &str) -> Item {
    let encoding = match event.body.encoding {
        Encoding::Identity => "0",
        Encoding::Deflate1 => "1",
    };
    let mut item = Item::from([
        ("event_key".into(), text(Event::key(&event.tenant, &event.id))),
        ("ts".into(), text(event.tenant_shard())),
        ("pos".into(), text(event.accepted_key())),
        ("t".into(), text(&event.event_type)),
        ("e".into(), text(encoding)),
        ("b".into(), bytes(event.body.bytes.clone())),
        ("to".into(), bytes(event.fan_out.pack())),
        ("n".into(), number(event.fan_out.endpoints().len())),
        ("f".into(), text(&event.fingerprint)),
        ("w".into(), stored_writer(writer)),
        ("expires_at".into(), number(event.expires_at)),
    ]);
    if !event.hops.is_none() {
        item.insert("hops".into(), number(event.hops));
    }
    if let Some(posted_by) = &event.posted_by {
        item.insert("p".into(), text(posted_by));
    }
    item
}

/// Makes the item of an event that is still to be queued; from `due` on, the sweep queues it.
fn to_marked_item(event: &Event, due: Timestamp) -> Item {
    let mut item = to_item(event, event.id.as_str());
    item.insert("due_shard".into(), text(event.due_shard()));
    item.insert("due_at".into(), number(due.as_millis()));
    item
}

fn to_marked(tenant: &TenantId, item: Item) -> Result<Marked, Box<dyn std::error::Error + Send + Sync>> {
    let mut item = Reader(item);
    let unqueued = item.take_optional::<String>("due_shard")?.is_some();
    let open = item.take_optional("open_count")?;
    Ok(Marked { event: from_item(tenant, item.0)?, unqueued, open })
}

fn to_existing(tenant: &TenantId, mut item: Item) -> Result<Existing, Box<dyn std::error::Error + Send + Sync>> {
    let refused = match item.remove("refused") {
        Some(AttributeValue::B(packed)) => FanOut::unpack(packed.as_ref())?,
        _ => FanOut::default(),
    };
    Ok(Existing { event: from_item(tenant, item)?, refused })
}

fn from_item(tenant: &TenantId, item: Item) -> Result<Event, Box<dyn std::error::Error + Send + Sync>> {
    let mut item = Reader(item);
    let encoding = match item.take::<String>("e")?.as_str() {
        "0" => Encoding::Identity,
        "1" => Encoding::Deflate1,
        other => return Err(format!("unknown encoding {other:?}").into()),
    };
    let accepted_key: String = item.take("pos")?;
    let (accepted_at, id) = accepted_key.split_once('#').ok_or("pos has no #")?;
    Ok(Event {
        tenant: tenant.clone(),
        id: id.parse()?,
        event_type: item.take("t")?,
        accepted_at: accepted_at.parse()?,
        body: PackedBody { encoding, bytes: item.take_bytes("b")? },
        fan_out: FanOut::unpack(&item.take_bytes("to")?)?,
        fingerprint: item.take("f")?,
        expires_at: item.take("expires_at")?,
        hops: item.take_optional("hops")?.unwrap_or_default(),
        posted_by: item.take_optional("p")?,
    })
}
