//! The events of a tenant in the order in which they were accepted.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::KeysAndAttributes;
use pombo_domain::delivery::NewDelivery;
use pombo_domain::event::{Event, FanOut};
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;

use super::EventsTable;
use crate::batch;
use crate::effect::call;
use crate::error::AwsError;
use crate::item::{Item, Reader, text};

/// The part of a tenant's events that a page takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventWindow {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Behind this event, in the direction of the list.
    pub after: Option<EventPosition>,
    /// At most so many.
    pub limit: usize,
    /// Oldest first, instead of newest first.
    pub oldest_first: bool,
}

/// Where an event stands among its tenant's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPosition {
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its id.
    pub id: EventId,
}

/// What the index tells of an event. An event does not change, so there is nothing to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Where it stands.
    pub position: EventPosition,
    /// Its type.
    pub event_type: EventType,
    /// To how many endpoints it was fanned out; unknown of one that an older version stored.
    pub deliveries: Option<u64>,
    /// When it expires, in Unix seconds.
    pub expires_at: i64,
}

/// An event without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventHead {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub event_type: EventType,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The endpoints that it was fanned out to.
    pub fan_out: FanOut,
    /// When it expires, in Unix seconds.
    pub expires_at: i64,
}

impl EventHead {
    /// What each of its deliveries' records needs.
    #[must_use]
    pub fn new_delivery(&self, tenant: &TenantId) -> NewDelivery {
        NewDelivery { tenant: tenant.clone(), event_type: self.event_type.clone(), expires_at: self.expires_at }
    }
}

impl EventsTable {
    /// The events of one of a tenant's [`EVENT_SHARDS`](pombo_domain::event::EVENT_SHARDS), with what the index tells of
    /// each: a few hundred bytes, however large its body. The index is late by moments.
    pub async fn rows_by_time(
        &self,
        tenant: &TenantId,
        shard: u8,
        window: &EventWindow,
    ) -> Result<Vec<EventRow>, AwsError> {
        const CALL: &str = "dynamodb:Query Events/by_time";
        let partition = Event::time_partition(tenant, shard);
        // A key begins with its time, so a time alone sorts before every key of its millisecond.
        let since = window.since.map_or_else(|| "0".to_owned(), |time| time.to_string());
        let until = window.until.map_or_else(|| "9999-12-31".to_owned(), |time| time.to_string());
        let start = window.after.as_ref().map(|after| {
            Item::from([
                ("event_key".into(), text(Event::key(tenant, &after.id))),
                ("ts".into(), text(&partition)),
                ("pos".into(), text(format!("{}#{}", after.accepted_at, after.id))),
            ])
        });
        let request = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_time")
            .key_condition_expression("ts = :partition AND pos BETWEEN :since AND :until")
            .expression_attribute_values(":partition", text(&partition))
            .expression_attribute_values(":since", text(since))
            .expression_attribute_values(":until", text(until))
            .scan_index_forward(window.oldest_first)
            .set_exclusive_start_key(start)
            .limit(i32::try_from(window.limit).unwrap_or(i32::MAX));
        let answer = call(CALL, request.send()).await?;
        let read = |item| row(Reader(item)).map_err(|error| AwsError::unreadable(CALL, error));
        answer.items.unwrap_or_default().into_iter().map(read).collect()
    }

    /// These events as they are now, without their bodies, in no order; those that are not there, or have expired, are left
    /// out.
    pub async fn heads(
        &self,
        tenant: &TenantId,
        ids: &[EventId],
        now: Timestamp,
    ) -> Result<HashMap<EventId, EventHead>, AwsError> {
        const CALL: &str = "dynamodb:BatchGetItem Events";
        let keys: Vec<_> =
            ids.iter().map(|id| Item::from([("event_key".into(), text(Event::key(tenant, id)))])).collect();
        let part = KeysAndAttributes::builder()
            .projection_expression("pos, t, #to, expires_at")
            .expression_attribute_names("#to", "to");
        let mut heads = HashMap::with_capacity(ids.len());
        for item in batch::get(&self.client, CALL, &self.table, &keys, part).await? {
            let head = head(item).map_err(|error| AwsError::unreadable(CALL, error))?;
            if head.expires_at > now.as_seconds() {
                heads.insert(head.id.clone(), head);
            }
        }
        Ok(heads)
    }
}

type BadItem = Box<dyn std::error::Error + Send + Sync>;

fn position(item: &mut Reader) -> Result<EventPosition, BadItem> {
    let accepted_key: String = item.take("pos")?;
    let (accepted_at, id) = accepted_key.split_once('#').ok_or("pos has no #")?;
    Ok(EventPosition { accepted_at: accepted_at.parse()?, id: id.parse()? })
}

fn row(mut item: Reader) -> Result<EventRow, BadItem> {
    Ok(EventRow {
        position: position(&mut item)?,
        event_type: item.take("t")?,
        deliveries: item.take_optional("n")?,
        expires_at: item.take("expires_at")?,
    })
}

fn head(item: Item) -> Result<EventHead, BadItem> {
    let mut item = Reader(item);
    let EventPosition { accepted_at, id } = position(&mut item)?;
    Ok(EventHead {
        id,
        accepted_at,
        event_type: item.take("t")?,
        fan_out: FanOut::unpack(&item.take_bytes("to")?)?,
        expires_at: item.take("expires_at")?,
    })
}
