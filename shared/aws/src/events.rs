//! The Events table: what came in, immutable.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use pombo_domain::body::{Encoding, PackedBody};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;

use crate::error::AwsError;
use crate::item::{Item, Reader, bytes, number, text};

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
    Exists(Box<Event>),
    /// It does not fit an item.
    TooLarge,
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
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(event, writer)))
            .condition_expression("attribute_not_exists(event_key) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match request.send().await {
            Ok(_) => return Ok(PutEvent::Stored),
            Err(error) => error,
        };
        match existing(&error) {
            Some(item) if item.get("writer") == Some(&text(writer)) => Ok(PutEvent::Stored),
            Some(item) => from_item(&event.tenant, item)
                .map(|event| PutEvent::Exists(Box::new(event)))
                .map_err(|error| AwsError::unreadable(CALL, error)),
            None if is_too_large(&error) => Ok(PutEvent::TooLarge),
            None => Err(AwsError::new(CALL, error)),
        }
    }

    /// An event, unless it has expired.
    pub async fn get(&self, tenant: &TenantId, id: &EventId, now: Timestamp) -> Result<Option<Event>, AwsError> {
        const CALL: &str = "dynamodb:GetItem Events";
        let key = text(Event::key(tenant, id));
        let request = self.client.get_item().table_name(&self.table).key("event_key", key).consistent_read(true);
        let answer = request.send().await.map_err(|error| AwsError::new(CALL, error))?;
        let Some(item) = answer.item else { return Ok(None) };
        let event = from_item(tenant, item).map_err(|error| AwsError::unreadable(CALL, error))?;
        Ok(Some(event).filter(|event| event.expires_at > now.as_seconds()))
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

fn to_item(event: &Event, writer: &str) -> Item {
    let encoding = match event.body.encoding {
        Encoding::Identity => "identity",
        Encoding::Deflate => "deflate",
    };
    Item::from([
        ("event_key".into(), text(Event::key(&event.tenant, &event.id))),
        ("tenant_shard".into(), text(event.tenant_shard())),
        ("accepted_key".into(), text(event.accepted_key())),
        ("type".into(), text(&event.event_type)),
        ("encoding".into(), text(encoding)),
        ("body".into(), bytes(event.body.bytes.clone())),
        ("fan_out".into(), text(event.fan_out.pack())),
        ("fingerprint".into(), text(&event.fingerprint)),
        ("writer".into(), text(writer)),
        ("expires_at".into(), number(event.expires_at)),
    ])
}

fn from_item(tenant: &TenantId, item: Item) -> Result<Event, Box<dyn std::error::Error + Send + Sync>> {
    let mut item = Reader(item);
    let encoding = match item.take::<String>("encoding")?.as_str() {
        "identity" => Encoding::Identity,
        "deflate" => Encoding::Deflate,
        other => return Err(format!("unknown encoding {other}").into()),
    };
    let accepted_key: String = item.take("accepted_key")?;
    let (accepted_at, id) = accepted_key.split_once('#').ok_or("accepted_key has no #")?;
    Ok(Event {
        tenant: tenant.clone(),
        id: id.parse()?,
        event_type: item.take("type")?,
        accepted_at: accepted_at.parse()?,
        body: PackedBody { encoding, bytes: item.take_bytes("body")? },
        fan_out: FanOut::unpack(&item.take::<String>("fan_out")?)?,
        fingerprint: item.take("fingerprint")?,
        expires_at: item.take("expires_at")?,
    })
}
