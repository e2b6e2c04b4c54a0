//! The record of a delivery: written whole, in the place of the revision that was seen and of no other.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::future::join_all;
use pombo_aws::deliveries::{DeliveriesTable, Put};
use pombo_domain::delivery::{Claim, DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::outcome::{Attempt, Detail, Outcome, RefusedBy, Trigger};
use pombo_domain::retry::{Next, Route};
use pombo_tests::{Backend, Fault, unique};
use serde_json::json;

use super::{FAR, endpoint_id, some_time, tomorrow};

async fn table(on: &Backend) -> DeliveriesTable {
    let name = on.resource("DeliveriesTable");
    DeliveriesTable::new(aws_sdk_dynamodb::Client::new(&on.direct().await), name)
}

async fn spoilt_table(on: &Backend) -> DeliveriesTable {
    let name = on.resource("DeliveriesTable");
    DeliveriesTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), name)
}

/// The record of a delivery that no other test has.
fn record() -> Record {
    let key = DeliveryKey { endpoint_id: endpoint_id(), accepted_at: some_time(), event_id: "evt_1".parse().unwrap() };
    let new = NewDelivery {
        tenant: unique("t").parse().unwrap(),
        event_type: "student.created".parse().unwrap(),
        expires_at: tomorrow(),
    };
    Record::begin(key, new)
}

fn attempts() -> Vec<Attempt> {
    let said = "ünicode \u{ffff} \"quoted\"\n";
    let detail = Detail::new("ünicode \u{ffff} ").quoting(said, 100);
    let outcomes = [
        Outcome::HttpStatus { status_code: 503 },
        Outcome::TimedOut,
        Outcome::Connection { detail: detail.clone() },
        Outcome::Tls { detail: detail.clone() },
        Outcome::Dns { detail: detail.clone() },
        Outcome::Refused { rule: "private-use".to_owned(), by: RefusedBy::Url, detail: detail.clone() },
        Outcome::InvalidResponse { detail: detail.clone() },
        Outcome::Loop,
        Outcome::Expired,
        Outcome::DeadLettered,
        Outcome::Succeeded { status_code: 204 },
    ];
    let attempt = |(number, outcome): (u32, Outcome)| Attempt {
        step: Step { round: 3, attempt: number },
        started_at: some_time(),
        duration_ms: u64::from(number) * 7,
        answer: number.is_multiple_of(2).then(|| said.into()),
        sent_to: None,
        redelivered: number.is_multiple_of(3),
        trigger: [Trigger::First, Trigger::Retry, Trigger::Replay][number as usize % 3],
        outcome,
    };
    (1..).zip(outcomes).map(attempt).collect()
}

/// A record with something in every field.
fn full() -> Record {
    Record {
        status: Status::Retrying,
        step: Step { round: 3, attempt: 10 },
        claim: Some(Claim { holder: "invocation/message".into(), until: FAR }),
        next: Some(Next { at: FAR, route: Route::Scheduler }),
        attempts: attempts(),
        older_attempts: 17,
        job: Some("job".into()),
        unknown: BTreeMap::from([
            ("probe".into(), json!({"of": ["circuit", null, true], "at": 1.5, "empty": {}})),
            ("slot".into(), json!(-7)),
            ("note".into(), json!("")),
        ]),
        ..record()
    }
}

async fn stored(table: &DeliveriesTable, seen: Option<u64>, record: Record, writer: &str) -> Record {
    match table.put(seen, record, writer).await.unwrap() {
        Put::Stored(record) => *record,
        other => panic!("{other:?}"),
    }
}

/// The attributes as they lie in the table.
async fn item(on: &Backend, key: &DeliveryKey) -> HashMap<String, AttributeValue> {
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let get = client.get_item().table_name(on.resource("DeliveriesTable"));
    let get = get
        .key("endpoint_id", AttributeValue::S(key.endpoint_id.to_string()))
        .key("sort_key", AttributeValue::S(key.sort_key()));
    get.send().await.unwrap().item.unwrap()
}

async fn every_field_survives_a_round_trip(on: &Backend) {
    let table = table(on).await;
    for record in [record(), full()] {
        let key = record.key.clone();
        assert_eq!(table.get(&key).await.unwrap(), None);
        let written = stored(&table, None, record.clone(), "me").await;
        assert_eq!(written, Record { rev: 1, writer: "me".into(), ..record });
        assert_eq!(table.get(&key).await.unwrap(), Some(written));
    }
}

async fn a_write_replaces_the_revision_that_was_seen(on: &Backend) {
    let table = table(on).await;
    let first = stored(&table, None, full(), "first").await;
    // What is no longer so must not be left lying in the item.
    let bare = Record { key: first.key.clone(), ..record() };
    let second = stored(&table, Some(first.rev), bare.clone(), "second").await;
    assert_eq!(second, Record { rev: 2, writer: "second".into(), ..bare });
    assert_eq!(table.get(&first.key).await.unwrap(), Some(second));
    let names: Vec<_> = item(on, &first.key).await.into_keys().collect();
    assert_eq!(names.len(), 8, "{names:?}");
}

async fn a_new_record_meets_the_one_that_stands(on: &Backend) {
    let table = table(on).await;
    let standing = stored(&table, None, full(), "other").await;
    let new = Record { key: standing.key.clone(), ..record() };
    let put = table.put(None, new, "me").await.unwrap();
    assert_eq!(put, Put::Conflict(Some(Box::new(standing.clone()))));
    assert_eq!(table.get(&standing.key).await.unwrap(), Some(standing));
}

async fn a_stale_revision_meets_the_one_that_stands(on: &Backend) {
    let table = table(on).await;
    let seen = stored(&table, None, record(), "me").await;
    let standing = stored(&table, Some(1), seen.held("me"), "other").await;
    let put = table.put(Some(1), seen.cancelled(), "me").await.unwrap();
    assert_eq!(put, Put::Conflict(Some(Box::new(standing.clone()))));
    assert_eq!(table.get(&seen.key).await.unwrap(), Some(standing));
}

async fn an_earlier_or_later_write_of_ones_own_is_not_taken_for_this_one(on: &Backend) {
    let table = table(on).await;
    let first = stored(&table, None, record(), "me").await;
    let second = stored(&table, Some(1), first.clone(), "me").await;
    for seen in [None, Some(2), Some(7)].into_iter().filter(|seen| *seen != Some(second.rev)) {
        let put = table.put(seen, first.clone(), "me").await.unwrap();
        assert_eq!(put, Put::Conflict(Some(Box::new(second.clone()))), "{seen:?}");
    }
}

async fn a_record_that_is_gone_is_not_written_anew(on: &Backend) {
    let table = table(on).await;
    let record = record();
    let put = table.put(Some(1), record.clone(), "me").await.unwrap();
    assert_eq!(put, Put::Conflict(None));
    assert_eq!(table.get(&record.key).await.unwrap(), None);
}

async fn a_write_whose_answer_is_lost_is_a_write(on: &Backend) {
    let table = spoilt_table(on).await;
    let record = full();
    let endpoint = record.key.endpoint_id.to_string();
    for (seen, made) in [(None, 2), (Some(1), 4)] {
        on.spoil(1, "PutItem", &endpoint, Fault::LoseAnswer);
        let written = stored(&table, seen, record.clone(), "me").await;
        assert_eq!(written, Record { rev: seen.unwrap_or(0) + 1, writer: "me".into(), ..record.clone() });
        assert_eq!(on.calls("PutItem", &endpoint).len(), made, "the SDK repeated the call");
    }
}

async fn another_s_write_during_the_repeat_is_a_conflict(on: &Backend) {
    let table = spoilt_table(on).await;
    let seen = stored(&table, None, record(), "me").await;
    let standing = stored(&table, Some(1), seen.held("me"), "other").await;
    on.spoil(1, "PutItem", seen.key.endpoint_id.as_str(), Fault::LoseAnswer);
    let put = table.put(Some(1), seen.clone(), "me").await.unwrap();
    assert_eq!(put, Put::Conflict(Some(Box::new(standing))));
}

async fn a_refused_write_is_an_error_and_writes_nothing(on: &Backend) {
    let table = spoilt_table(on).await;
    let record = record();
    let fault = Fault::Refuse(400, "ProvisionedThroughputExceededException");
    on.spoil(3, "PutItem", record.key.endpoint_id.as_str(), fault);
    let error = table.put(None, record.clone(), "me").await.unwrap_err();
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"), "{error}");
    assert!(error.to_string().starts_with("dynamodb:PutItem Deliveries: "), "{error}");
    assert_eq!(table.get(&record.key).await.unwrap(), None);
}

async fn attributes_of_a_newer_version_are_read_and_written_back_as_they_are(on: &Backend) {
    let table = table(on).await;
    let first = stored(&table, None, record(), "old").await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let number = |number: &str| AttributeValue::N(number.to_owned());
    let added = HashMap::from([
        ("slot".to_owned(), number("1769851800050")),
        ("rate".to_owned(), number("2.5")),
        ("flag".to_owned(), AttributeValue::Bool(false)),
        ("nothing".to_owned(), AttributeValue::Null(true)),
        ("note".to_owned(), text("ü\u{ffff}")),
        ("list".to_owned(), AttributeValue::L(vec![text(""), number("-1"), AttributeValue::L(vec![])])),
        ("map".to_owned(), AttributeValue::M(HashMap::from([("in".to_owned(), AttributeValue::M(HashMap::new()))]))),
    ]);
    let mut newer = item(on, &first.key).await;
    newer.extend(added.clone());
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let put = client.put_item().table_name(on.resource("DeliveriesTable"));
    put.set_item(Some(newer)).send().await.unwrap();

    let read = table.get(&first.key).await.unwrap().unwrap();
    assert_eq!(read.unknown.len(), added.len());
    stored(&table, Some(1), read.claimed("me", FAR), "me").await;
    let written = item(on, &first.key).await;
    for (name, value) in added {
        assert_eq!(written.get(&name), Some(&value), "{name}");
    }
    assert_eq!(written["w"], text("me"));
}

async fn many_are_read_at_once_and_those_that_are_not_there_left_out(on: &Backend) {
    let table = table(on).await;
    let records: Vec<_> = (0..120).map(|_| record()).collect();
    let written: HashMap<_, _> =
        join_all(records.into_iter().map(async |record| stored(&table, None, record, "me").await))
            .await
            .into_iter()
            .map(|record| (record.key.clone(), record))
            .collect();
    let mut keys: Vec<_> = written.keys().cloned().collect();
    keys.insert(60, record().key);
    assert_eq!(table.get_many(&keys).await.unwrap(), written);
    assert!(table.get_many(&[]).await.unwrap().is_empty());
}

on_dynamodb! {
    every_field_survives_a_round_trip,
    a_write_replaces_the_revision_that_was_seen,
    a_record_that_is_gone_is_not_written_anew,
    a_refused_write_is_an_error_and_writes_nothing,
    attributes_of_a_newer_version_are_read_and_written_back_as_they_are,
    many_are_read_at_once_and_those_that_are_not_there_left_out,
    ; roto "gives no item with a condition that fails":
    a_new_record_meets_the_one_that_stands,
    a_stale_revision_meets_the_one_that_stands,
    a_write_whose_answer_is_lost_is_a_write,
    an_earlier_or_later_write_of_ones_own_is_not_taken_for_this_one,
    another_s_write_during_the_repeat_is_a_conflict,
}
