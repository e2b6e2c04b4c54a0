//! Ways in which a delivery could be lost, sent twice or stop the others, each tried.

mod changes;
mod clocks;
mod expiry;
mod hangs;
mod poison;
mod sizes;
mod sweeps;

use std::time::Duration;

use local::Received;
use pombo_aws::clock;
use pombo_aws::deliveries::{DeliveriesTable, Put};
use pombo_aws::events::{EventsTable, PutEvent};
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::event::Event;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack};
use serde_json::json;

/// So long ago.
fn ago(seconds: u64) -> Timestamp {
    clock::now().minus(Duration::from_secs(seconds))
}

async fn deliveries(stack: &Stack) -> DeliveriesTable {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    DeliveriesTable::new(client, stack.resource("DeliveriesTable").to_owned())
}

async fn events(stack: &Stack) -> EventsTable {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    EventsTable::new(client, stack.resource("EventsTable").to_owned())
}

/// Writes an event as ingest would, without a message.
async fn store(stack: &Stack, event: &Event) {
    // At the time of its acceptance, so that one may be written that has expired since.
    let put = events(stack).await.put_new(event, "test", event.accepted_at).await.unwrap();
    assert_eq!(put, PutEvent::Stored);
}

/// Writes a new record; gives its key.
async fn begin(stack: &Stack, record: Record) -> DeliveryKey {
    let key = record.key.clone();
    assert!(matches!(deliveries(stack).await.put(None, record, "test").await.unwrap(), Put::Stored(_)));
    key
}

async fn record(stack: &Stack, key: &DeliveryKey) -> Record {
    deliveries(stack).await.get(key).await.unwrap().expect("a record")
}

/// The plain message for an attempt, as a schedule or a delay would bring it.
async fn bring(stack: &Stack, key: &DeliveryKey, round: u32, attempt: u32) {
    let message = json!({"v": 1, "delivery": key, "round": round, "attempt": attempt});
    stack.send("DeliveriesQueue", &message.to_string()).await;
}

fn requests_for(hook: &Hook, event: &str) -> Vec<Received> {
    hook.receiver.received().into_iter().filter(|received| received.event_id() == event).collect()
}

/// Waits until dispatch has handled what was sent before: an event sent behind it has been delivered.
async fn settle(hook: &Hook) {
    let last = hook.post().await;
    hook.until(&last, "an attempt", SOON, |delivery| !delivery["attempts"].as_array().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}
