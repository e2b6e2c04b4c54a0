//! The mark of an event that is stored and not queued yet, and the count of one that is open.

use pombo_aws::clock;
use pombo_aws::deliveries::{DeliveriesTable, Put};
use pombo_aws::events::EventsTable;
use pombo_domain::body::PackedBody;
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::hops::Hops;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

use super::{FAR, endpoint_id, tomorrow};

struct Tables {
    client: aws_sdk_dynamodb::Client,
    events: EventsTable,
    deliveries: DeliveriesTable,
}

impl Tables {
    fn new(on: &Backend, config: &aws_config::SdkConfig) -> Self {
        let client = aws_sdk_dynamodb::Client::new(config);
        let name = |table: &str| on.resource(table);
        Self {
            events: EventsTable::new(client.clone(), name("EventsTable")),
            deliveries: DeliveriesTable::new(client.clone(), name("DeliveriesTable")),
            client,
        }
    }

    /// Writes an item alone, as a transaction of one.
    async fn write(&self, item: aws_sdk_dynamodb::types::TransactWriteItem) -> bool {
        self.client.transact_write_items().transact_items(item).send().await.is_ok()
    }

    /// Whether the event is marked, and its count while it is open.
    async fn mark(&self, event: &Event) -> (bool, Option<u64>) {
        let marked = self.events.marked(&event.tenant, &event.id, clock::now()).await.unwrap().unwrap();
        assert_eq!(marked.event, *event);
        (marked.unqueued, marked.open)
    }

    /// Whether the sweep of that time would find the event.
    async fn is_due(&self, event: &Event, at: Timestamp) -> bool {
        let due = self.events.due(event.due_shard(), at, 1000).await.unwrap();
        due.contains(&(event.tenant.clone(), event.id.clone()))
    }
}

fn event() -> Event {
    Event {
        tenant: unique("t").parse().unwrap(),
        id: "evt_1".parse().unwrap(),
        event_type: "pombo.endpoint.paused".parse().unwrap(),
        accepted_at: clock::now(),
        body: PackedBody::pack(b"{}"),
        fan_out: FanOut::new(vec![endpoint_id()]),
        fingerprint: "print".into(),
        expires_at: tomorrow(),
        hops: Hops::NONE,
        posted_by: None,
    }
}

/// The same event with another body.
fn counted(event: &Event, count: u64) -> Event {
    Event { body: PackedBody::pack(count.to_string().as_bytes()), ..event.clone() }
}

fn record() -> Record {
    let key = DeliveryKey { endpoint_id: endpoint_id(), accepted_at: clock::now(), event_id: "e".parse().unwrap() };
    let new = NewDelivery { tenant: "acme".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: tomorrow() };
    Record::begin(key, new)
}

async fn an_event_is_due_until_it_is_queued(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let event = event();
    assert!(tables.write(tables.events.unqueued(&event, FAR).unwrap()).await);
    assert_eq!(tables.mark(&event).await, (true, None));
    let later = Timestamp::from_millis(FAR.as_millis() + 1);
    assert!(!tables.is_due(&event, FAR).await && tables.is_due(&event, later).await);
    assert!(!tables.write(tables.events.unqueued(&event, FAR).unwrap()).await, "an id is used once");
    for _ in 0..2 {
        tables.events.queued(&event).await.unwrap();
        assert_eq!(tables.mark(&event).await, (false, None));
        assert!(!tables.is_due(&event, later).await);
    }
    assert_eq!(tables.events.get(&event.tenant, &event.id, clock::now()).await.unwrap(), Some(event));
}

async fn an_event_that_is_gone_does_not_come_back_as_a_key_alone(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let event = event();
    tables.events.queued(&event).await.unwrap();
    assert_eq!(tables.events.marked(&event.tenant, &event.id, clock::now()).await.unwrap(), None);
}

async fn an_open_event_is_counted_on_one_by_one_until_it_is_closed(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let first = event();
    let (second, third) = (counted(&first, 2), counted(&first, 3));
    let open = |event: &Event, count| tables.events.open(event, FAR, count).unwrap();
    assert!(!tables.write(open(&second, 2)).await, "there is no first");
    assert!(tables.write(open(&first, 1)).await);
    assert!(!tables.write(open(&first, 1)).await, "there is a first");
    assert!(!tables.write(open(&third, 3)).await, "one was left out");
    assert!(tables.write(open(&second, 2)).await);
    assert!(!tables.write(open(&second, 2)).await, "counted already");
    assert_eq!(tables.mark(&second).await, (true, Some(2)));
    assert!(!tables.events.close(&second, 1).await.unwrap());
    assert!(tables.events.close(&second, 2).await.unwrap());
    assert!(!tables.write(open(&third, 3)).await, "it is closed");
    assert_eq!(tables.mark(&second).await, (true, None));
}

async fn a_record_and_an_event_are_written_together_or_not_at_all(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let (record, event) = (record(), event());
    let put = async |seen, count| {
        let other = tables.events.open(&counted(&event, count), FAR, count).unwrap();
        tables.deliveries.put_with(seen, record.clone(), &unique("me"), other, &unique("token")).await.unwrap()
    };
    assert_eq!(put(None, 2).await, None, "the event's condition fails");
    assert_eq!(tables.deliveries.get(&record.key).await.unwrap(), None);
    let Some(Put::Stored(first)) = put(None, 1).await else { panic!("not stored") };
    assert_eq!(tables.deliveries.get(&record.key).await.unwrap(), Some(*first.clone()));
    let Some(Put::Conflict(Some(standing))) = put(None, 2).await else { panic!("no conflict") };
    assert_eq!(standing, first);
    let Some(Put::Conflict(Some(_))) = put(Some(7), 2).await else { panic!("no conflict") };
    assert_eq!(tables.mark(&counted(&event, 1)).await, (true, Some(1)), "the record's conflict leaves the event alone");
    let Some(Put::Stored(second)) = put(Some(first.rev), 2).await else { panic!("not stored") };
    assert_eq!(second.rev, first.rev + 1);
    assert_eq!(tables.mark(&counted(&event, 2)).await, (true, Some(2)));
}

async fn a_transaction_whose_answer_is_lost_is_made_once(on: &Backend) {
    let tables = Tables::new(on, &on.behind_proxy().await);
    let (record, event) = (record(), event());
    on.spoil(1, "TransactWriteItems", record.key.endpoint_id.as_str(), Fault::LoseAnswer);
    let other = tables.events.open(&event, FAR, 1).unwrap();
    let put = tables.deliveries.put_with(None, record.clone(), "me", other, &unique("token")).await.unwrap();
    assert!(matches!(put, Some(Put::Stored(_))), "{put:?}");
    assert_eq!(on.calls("TransactWriteItems", record.key.endpoint_id.as_str()).len(), 2, "the SDK repeated the call");
    assert_eq!(tables.mark(&event).await, (true, Some(1)));
}

async fn a_meeting_with_another_transaction_is_repeated_and_another_refusal_an_error(on: &Backend) {
    let tables = Tables::new(on, &on.behind_proxy().await);
    for (code, repeats) in [("TransactionInProgressException", true), ("ValidationException", false)] {
        let (record, event) = (record(), event());
        // The SDK repeats the one by itself, a few times.
        on.spoil(9, "TransactWriteItems", record.key.endpoint_id.as_str(), Fault::Refuse(400, code));
        let other = tables.events.open(&event, FAR, 1).unwrap();
        let put = tables.deliveries.put_with(None, record.clone(), "me", other, &unique("token")).await;
        assert_eq!(put.is_ok_and(|put| put.is_none()), repeats, "{code}");
        assert_eq!(tables.deliveries.get(&record.key).await.unwrap(), None);
    }
}

on_dynamodb! {
    an_event_is_due_until_it_is_queued,
    an_event_that_is_gone_does_not_come_back_as_a_key_alone,
    an_open_event_is_counted_on_one_by_one_until_it_is_closed,
    a_record_and_an_event_are_written_together_or_not_at_all,
    a_meeting_with_another_transaction_is_repeated_and_another_refusal_an_error,
    ; roto "does not know a token again":
    a_transaction_whose_answer_is_lost_is_made_once,
}
