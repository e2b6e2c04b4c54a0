//! Rows written straight into the tables, many at a time: what would take the functions minutes, and at times of the test's
//! choosing.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue::{B, N, S};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures::StreamExt as _;
use pombo_aws::clock;
use pombo_aws::deliveries::item_of;
use pombo_domain::body::{Encoding, PackedBody, wire_body};
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::hops::Hops;
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Stack};

/// In the year 2100: no sweep looks there.
const FAR: Timestamp = Timestamp::from_seconds(4_102_444_800);

type Item = HashMap<String, AttributeValue>;

/// An event to these endpoints.
pub fn event(tenant: &str, id: &str, event_type: &str, accepted_at: Timestamp, endpoints: &[EndpointId]) -> Event {
    let event_type = event_type.parse().unwrap();
    let data = serde_json::value::to_raw_value(&serde_json::json!({"id": id})).unwrap();
    Event {
        tenant: tenant.parse().unwrap(),
        id: id.parse().unwrap(),
        body: PackedBody::pack(&wire_body(&event_type, accepted_at, &data)),
        event_type,
        accepted_at,
        fan_out: FanOut::new(endpoints.to_vec()),
        fingerprint: "print".into(),
        expires_at: clock::now().as_seconds() + 86_400,
        hops: Hops::NONE,
        posted_by: None,
    }
}

/// A delivery in this status, tried once unless it is pending.
pub fn delivery(tenant: &str, endpoint: &EndpointId, id: &str, accepted_at: Timestamp, status: Status) -> Record {
    let key = DeliveryKey { endpoint_id: endpoint.clone(), accepted_at, event_id: id.parse().unwrap() };
    let new = NewDelivery {
        tenant: tenant.parse().unwrap(),
        event_type: "student.created".parse().unwrap(),
        expires_at: clock::now().as_seconds() + 86_400,
    };
    let record = Record { rev: 1, writer: "test".into(), ..Record::begin(key, new) };
    if status == Status::Pending {
        return record;
    }
    let outcome = match status {
        Status::Succeeded => Outcome::Succeeded { status_code: 200 },
        _ => Outcome::HttpStatus { status_code: 500 },
    };
    let attempt = Attempt {
        step: Step::FIRST,
        started_at: accepted_at,
        duration_ms: 20,
        outcome,
        answer: None,
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    in_status(Record { step: Step::FIRST, attempts: vec![attempt], ..record }, status)
}

/// The delivery in another status.
pub fn in_status(record: Record, status: Status) -> Record {
    let next = (status == Status::Retrying).then_some(Next { at: FAR, route: Route::Scheduler });
    Record { status, next, ..record }
}

/// Writes deliveries, in the place of those that are there.
pub async fn put_deliveries(stack: &Stack, records: &[Record]) {
    put(stack, "DeliveriesTable", records.iter().map(|record| item_of(record).unwrap()).collect()).await;
}

/// Writes events.
pub async fn put_events(stack: &Stack, events: &[Event]) {
    put(stack, "EventsTable", events.iter().map(event_item).collect()).await;
}

/// Makes the drain that this transaction begins one that should have gone on long ago. Nobody else may be at it. Does
/// nothing if another transaction was faster, and this one began none.
pub async fn stall_drain(stack: &Stack, opening: &Call) {
    let items = opening.body["TransactItems"].as_array().unwrap();
    let job = items.iter().map(|item| &item["Put"]["Item"]).find(|item| item["kind"]["S"] == "drain").unwrap();
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let updated = client
        .update_item()
        .table_name(stack.resource("JobsTable"))
        .key("owner", S(job["owner"]["S"].as_str().unwrap().into()))
        .key("created_key", S(job["created_key"]["S"].as_str().unwrap().into()))
        .update_expression("SET due_at = :past, #due = :due")
        .expression_attribute_names("#due", "due")
        .expression_attribute_values(":past", N("1".into()))
        .expression_attribute_values(":due", S("2020-01-01T00:00:00.000Z".into()))
        .condition_expression("attribute_exists(due_at)")
        .send()
        .await;
    assert!(
        updated.is_ok()
            || updated.is_err_and(|error| error.into_service_error().is_conditional_check_failed_exception())
    );
}

async fn put(stack: &Stack, table: &str, items: Vec<Item>) {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let table = stack.resource(table);
    let request = |item: &Item| {
        let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let writes = items.chunks(25).map(|chunk| {
        let writes = chunk.iter().map(request).collect();
        client.batch_write_item().request_items(table, writes).send()
    });
    futures::stream::iter(writes)
        .buffer_unordered(4)
        .for_each(|answer| async move { assert!(answer.unwrap().unprocessed_items.unwrap_or_default().is_empty()) })
        .await;
}

fn event_item(event: &Event) -> Item {
    let encoding = match event.body.encoding {
        Encoding::Identity => "0",
        Encoding::Deflate1 => "1",
    };
    Item::from([
        ("event_key".into(), S(Event::key(&event.tenant, &event.id))),
        ("ts".into(), S(event.tenant_shard())),
        ("pos".into(), S(event.accepted_key())),
        ("t".into(), S(event.event_type.to_string())),
        ("e".into(), S(encoding.into())),
        ("b".into(), B(Blob::new(event.body.bytes.clone()))),
        ("to".into(), B(Blob::new(event.fan_out.pack()))),
        ("n".into(), N(event.fan_out.endpoints().len().to_string())),
        ("f".into(), S(event.fingerprint.clone())),
        ("w".into(), S("test".into())),
        ("expires_at".into(), N(event.expires_at.to_string())),
    ])
}
