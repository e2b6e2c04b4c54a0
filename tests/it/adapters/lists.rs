//! The lists of deliveries: sparse indexes that follow the status, and pages that neither skip nor repeat.

use std::collections::HashMap;

use pombo_aws::deliveries::{DeliveriesTable, List, Put, Window};
use pombo_domain::delivery::{DeliveryKey, Listing, NewDelivery, Record, SHARDS, Status};
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, unique};

use super::{FAR, endpoint_id, some_time, tomorrow};

const LISTING: [&str; 6] = ["endpoint_status", "tenant_status", "stack_status", "list_key", "due_shard", "due_at"];

async fn table(on: &Backend) -> DeliveriesTable {
    let name = on.resource("DeliveriesTable");
    DeliveriesTable::new(aws_sdk_dynamodb::Client::new(&on.direct().await), name)
}

const fn at(time: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(time.as_millis() + millis)
}

/// Everything from a time on, newest first.
const fn from(since: Timestamp, until: Timestamp) -> Window {
    Window { since: Some(since), until: Some(until), after: None, limit: 1000, oldest_first: false }
}

fn record(endpoint_id: &EndpointId, tenant: &TenantId, accepted_at: Timestamp, event: &str) -> Record {
    let key = DeliveryKey { endpoint_id: endpoint_id.clone(), accepted_at, event_id: event.parse().unwrap() };
    let event_type = "student.created".parse().unwrap();
    let new = NewDelivery { tenant: tenant.clone(), event_type, expires_at: tomorrow() };
    Record { next: Some(Next { at: FAR, route: Route::Queue }), ..Record::begin(key, new) }
}

async fn put(table: &DeliveriesTable, seen: Option<u64>, record: Record) -> Record {
    match table.put(seen, record, "me").await.unwrap() {
        Put::Stored(record) => *record,
        other => panic!("{other:?}"),
    }
}

/// The lists that would hold a record in this status.
fn lists_of(record: &Record, status: Status) -> [List; 3] {
    let shard = record.key.shard();
    [
        List::ByEndpoint(Listing::endpoint_partition(&record.key.endpoint_id, status)),
        List::ByTenant(Listing::tenant_partition(&record.tenant, status, shard)),
        List::ByStack(Listing::stack_partition(status, shard)),
    ]
}

/// The names of the attributes that put the record into indexes.
async fn listing_attributes(on: &Backend, key: &DeliveryKey) -> Vec<&'static str> {
    use aws_sdk_dynamodb::types::AttributeValue::S;
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let get = client.get_item().table_name(on.resource("DeliveriesTable"));
    let get = get.key("endpoint_id", S(key.endpoint_id.to_string())).key("sort_key", S(key.sort_key()));
    let item = get.send().await.unwrap().item.unwrap();
    LISTING.into_iter().filter(|name| item.contains_key(*name)).collect()
}

async fn a_record_is_on_the_lists_of_its_status_and_on_no_others(on: &Backend) {
    let table = table(on).await;
    let time = some_time();
    let mut record = record(&endpoint_id(), &unique("t").parse().unwrap(), time, "evt_1");
    let mut seen = None;
    let path = [
        Status::Pending,
        Status::Retrying,
        Status::Held,
        Status::Retrying,
        Status::Failed,
        Status::Cancelled,
        Status::Succeeded,
        Status::Retrying,
        Status::Pending,
    ];
    for status in path {
        record = put(&table, seen, Record { status, ..record }).await;
        seen = Some(record.rev);
        for other in Status::LISTED {
            for list in lists_of(&record, other) {
                let found = table.list(&list, &from(time, at(time, 1))).await.unwrap();
                let expected = if other == status { vec![record.key.clone()] } else { vec![] };
                assert_eq!(found, expected, "{list:?} while {status:?}");
            }
        }
        let due = table.due(record.key.shard(), at(FAR, 1), 1000).await.unwrap();
        assert_eq!(due.contains(&record.key), status == Status::Retrying, "{status:?}");
        let attributes = match status {
            Status::Pending | Status::Succeeded => 0,
            Status::Retrying => 6,
            _ => 4,
        };
        assert_eq!(listing_attributes(on, &record.key).await, LISTING[..attributes], "{status:?}");
        assert_eq!(table.get(&record.key).await.unwrap(), Some(record.clone()), "the places are no part of the record");
        let all = List::OfEndpoint(record.key.endpoint_id.clone());
        assert_eq!(table.list(&all, &from(time, at(time, 1))).await.unwrap(), [record.key.clone()], "{status:?}");
    }
}

/// Seven failed deliveries to one endpoint, all on the same shard, oldest first: one each millisecond, but the third and
/// the fourth in the same.
async fn seven(table: &DeliveriesTable) -> (Timestamp, Vec<Record>) {
    let (endpoint, tenant, time) = (endpoint_id(), unique("t").parse().unwrap(), some_time());
    let mut records = Vec::new();
    for millis in [0, 1, 2, 2, 3, 4, 5] {
        let event = format!("evt_{}", records.len());
        let candidates = (0..).map(|n| record(&endpoint, &tenant, at(time, millis), &format!("{event}_{n}")));
        let record = candidates.into_iter().find(|record| record.key.shard() == 5).unwrap();
        records.push(put(table, None, Record { status: Status::Failed, ..record }).await);
    }
    (time, records)
}

/// Every kind of list, each with all of the records on it.
fn every_list(of: &Record) -> Vec<List> {
    let mut lists = vec![List::OfEndpoint(of.key.endpoint_id.clone())];
    lists.extend(lists_of(of, of.status));
    lists
}

async fn pages_neither_skip_nor_repeat_in_either_direction(on: &Backend) {
    let table = table(on).await;
    let (time, records) = seven(&table).await;
    for list in every_list(&records[0]) {
        for oldest_first in [false, true] {
            let mut expected: Vec<_> = records.iter().map(|record| record.key.clone()).collect();
            if !oldest_first {
                expected.reverse();
            }
            for limit in [1, 2, 3, 7, 100] {
                let mut window = Window { limit, oldest_first, ..from(time, at(time, 6)) };
                let mut walked = Vec::new();
                loop {
                    let page = table.list(&list, &window).await.unwrap();
                    assert!(page.len() <= limit);
                    let Some(last) = page.last() else { break };
                    window.after = Some(last.clone());
                    walked.extend(page);
                    assert!(walked.len() <= expected.len(), "it repeats: {list:?}");
                }
                assert_eq!(walked, expected, "{list:?}, oldest first: {oldest_first}, {limit} at a time");
            }
        }
    }
}

async fn a_page_begins_behind_a_delivery_that_left_the_list(on: &Backend) {
    let table = table(on).await;
    let (time, records) = seven(&table).await;
    let left = records[3].clone();
    let lists = every_list(&left);
    put(&table, Some(left.rev), Record { status: Status::Succeeded, ..left.clone() }).await;
    for list in lists {
        for (oldest_first, expected) in [(true, [4, 5]), (false, [2, 1])] {
            let after = Some(left.key.clone());
            let window = Window { after, limit: 2, oldest_first, ..from(time, at(time, 6)) };
            let page = table.list(&list, &window).await.unwrap();
            let expected = expected.map(|place| records[place].key.clone());
            assert_eq!(page, expected, "{list:?}, oldest first: {oldest_first}");
        }
    }
}

async fn a_page_begins_behind_a_delivery_that_never_was_on_the_list(on: &Backend) {
    let table = table(on).await;
    let (time, records) = seven(&table).await;
    // Of another endpoint, and so of another shard or none: a walk over shards goes on behind one key in all of them.
    let key = &records[0].key;
    let after = DeliveryKey { endpoint_id: endpoint_id(), accepted_at: at(time, 3), event_id: "a".parse().unwrap() };
    let own = DeliveryKey { endpoint_id: key.endpoint_id.clone(), ..after.clone() };
    for list in every_list(&records[0]) {
        let after = if matches!(list, List::OfEndpoint(_) | List::ByEndpoint(_)) { &own } else { &after };
        for (oldest_first, expected) in [(true, [4, 5]), (false, [3, 2])] {
            let window = Window { after: Some(after.clone()), limit: 2, oldest_first, ..from(time, at(time, 6)) };
            let page = table.list(&list, &window).await.unwrap();
            let expected = expected.map(|place| records[place].key.clone());
            assert_eq!(page, expected, "{list:?}, oldest first: {oldest_first}");
        }
    }
}

async fn a_window_has_its_first_millisecond_and_not_its_last(on: &Backend) {
    let table = table(on).await;
    let (time, records) = seven(&table).await;
    for list in every_list(&records[0]) {
        for (since, until, expected) in [
            (Some(2), Some(4), &records[2..5]),
            (Some(1), Some(2), &records[1..2]),
            (Some(5), Some(6), &records[6..]),
            (Some(6), Some(7), &[]),
            (Some(4), None, &records[5..]),
            (None, Some(2), &records[..2]),
        ] {
            let time = |millis: Option<i64>| millis.map(|millis| at(time, millis));
            let window =
                Window { since: time(since), until: time(until), after: None, limit: 1000, oldest_first: true };
            let mut page = table.list(&list, &window).await.unwrap();
            // Without an end, the stack's list holds what other tests wrote.
            page.retain(|key| key.endpoint_id == records[0].key.endpoint_id);
            let expected: Vec<_> = expected.iter().map(|record| record.key.clone()).collect();
            assert_eq!(page, expected, "{list:?} from {since:?} until {until:?}");
        }
    }
}

async fn what_is_due_comes_longest_overdue_first_and_only_before_the_time(on: &Backend) {
    let table = table(on).await;
    let (endpoint, tenant, time) = (endpoint_id(), unique("t").parse().unwrap(), some_time());
    let mut records = Vec::new();
    for millis in [30, 10, 20] {
        let candidates = (0..).map(|n| record(&endpoint, &tenant, time, &format!("evt_{millis}_{n}")));
        let record = candidates.into_iter().find(|record| record.key.shard() == 2).unwrap();
        let next = Some(Next { at: at(FAR, millis), route: Route::Scheduler });
        records.push(put(&table, None, Record { status: Status::Retrying, next, ..record }).await.key);
    }
    for (before, expected) in [(10, vec![]), (11, vec![1]), (30, vec![1, 2]), (31, vec![1, 2, 0])] {
        for shard in 0..SHARDS {
            let mut due = table.due(shard, at(FAR, before), 1000).await.unwrap();
            due.retain(|key| key.endpoint_id == endpoint);
            let expected = if shard == 2 { expected.clone() } else { vec![] };
            let expected: Vec<_> = expected.into_iter().map(|place: usize| records[place].clone()).collect();
            assert_eq!(due, expected, "shard {shard}, before {before}");
        }
    }
    assert_eq!(table.due(2, at(FAR, 31), 1).await.unwrap().len(), 1);
}

async fn when_deliveries_expire_is_read_and_those_that_are_gone_left_out(on: &Backend) {
    let table = table(on).await;
    let (endpoint, tenant, time) = (endpoint_id(), unique("t").parse().unwrap(), some_time());
    let mut expected = HashMap::new();
    for n in 0..3 {
        let record = Record { expires_at: tomorrow() + n, ..record(&endpoint, &tenant, time, &format!("evt_{n}")) };
        let record = put(&table, None, record).await;
        expected.insert(record.key, record.expires_at);
    }
    let gone = record(&endpoint, &tenant, time, "gone").key;
    let keys: Vec<_> = expected.keys().cloned().chain([gone]).collect();
    assert_eq!(table.expiries(&keys).await.unwrap(), expected);
    assert!(table.expiries(&[]).await.unwrap().is_empty());
}

on_dynamodb! {
    when_deliveries_expire_is_read_and_those_that_are_gone_left_out,
    a_record_is_on_the_lists_of_its_status_and_on_no_others,
    pages_neither_skip_nor_repeat_in_either_direction,
    a_page_begins_behind_a_delivery_that_left_the_list,
    a_page_begins_behind_a_delivery_that_never_was_on_the_list,
    a_window_has_its_first_millisecond_and_not_its_last,
    what_is_due_comes_longest_overdue_first_and_only_before_the_time,
}
