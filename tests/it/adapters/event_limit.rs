//! The buckets of callers: never more than they hold, whoever reserves.

use futures::future::join_all;
use pombo_aws::event_limit::{EventLimits, Reserved};
use pombo_domain::event_limit::{EventLimit, NoRoom};
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

const NOW: Timestamp = Timestamp::from_seconds(4_102_444_800);
const NOW_MICROS: i64 = NOW.as_millis() * 1000;

async fn process(on: &Backend) -> EventLimits {
    EventLimits::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), on.resource("EventsTable"))
}

fn limit(per_second: u32, burst: u32) -> EventLimit {
    EventLimit::new(per_second, burst).unwrap()
}

fn later(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

async fn blocks_are_taken_from_the_bucket_until_it_is_empty_and_as_it_fills(on: &Backend) {
    let (process, caller, limit) = (process(on).await, unique("k"), limit(10, 20));
    let mut stored = None;
    for (wanted, millis, events, full_at) in [(5, 0, 5, 500), (5, 0, 5, 1000), (15, 0, 10, 2000), (5, 300, 3, 2300)] {
        let reserved = process.reserve(&caller, &limit, stored, (wanted, 1), later(millis)).await.unwrap();
        let full_at = Some(NOW_MICROS + full_at * 1000);
        assert_eq!(reserved, Reserved { events: Ok(events), stored: full_at });
        stored = reserved.stored;
    }
    let writes = on.calls("UpdateItem", &caller).len();
    let reserved = process.reserve(&caller, &limit, stored, (5, 1), later(300)).await.unwrap();
    assert_eq!(reserved.events, Err(NoRoom { until: later(401) }));
    assert_eq!((writes, on.calls("UpdateItem", &caller).len()), (4, 4), "what is known to be full costs no call");
    let reserved = process.reserve(&caller, &limit, stored, (5, 1), later(60_000)).await.unwrap();
    assert_eq!(reserved.events, Ok(5), "after a lull");
}

async fn fifty_at_once_from_five_processes_get_no_more_than_the_burst(on: &Backend) {
    let (caller, limit) = (unique("k"), limit(1, 30));
    let mut processes = Vec::new();
    for _ in 0..5 {
        processes.push(process(on).await);
    }
    let all = (0..50).map(|number| processes[number % 5].reserve(&caller, &limit, None, (4, 1), NOW));
    let reserved = join_all(all).await.into_iter().map(|reserved| reserved.unwrap().events.unwrap_or_default());
    assert_eq!(reserved.sum::<u32>(), 30);
}

async fn a_lost_answer_leaves_events_unused_and_lets_none_in_twice(on: &Backend) {
    let (process, caller, limit) = (process(on).await, unique("k"), limit(10, 20));
    on.spoil(1, "UpdateItem", &caller, Fault::LoseAnswer);
    let reserved = process.reserve(&caller, &limit, None, (5, 1), NOW).await.unwrap();
    assert_eq!(reserved, Reserved { events: Ok(5), stored: Some(NOW_MICROS + 1_000_000) });
}

async fn the_item_is_no_event_and_expires_a_day_after_the_bucket_is_full(on: &Backend) {
    let (process, caller, limit) = (process(on).await, unique("k"), limit(1, 30));
    process.reserve(&caller, &limit, None, (4, 1), NOW).await.unwrap();
    process.reserve(&caller, &limit, Some(NOW_MICROS + 4_000_000), (4, 1), NOW).await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let key = aws_sdk_dynamodb::types::AttributeValue::S(EventLimits::key(&caller));
    let request = client.get_item().table_name(on.resource("EventsTable")).key("event_key", key);
    let item = request.send().await.unwrap().item.unwrap();
    let number = |name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
    assert_eq!((number("full_at"), item.len()), (NOW_MICROS + 8_000_000, 3), "{item:?}");
    assert!((number("expires_at") - NOW.as_seconds() - 86_400 - 8).abs() <= 30, "{item:?}");
}

on_dynamodb! {
    the_item_is_no_event_and_expires_a_day_after_the_bucket_is_full,
    ; roto "gives no item with a condition that fails":
    blocks_are_taken_from_the_bucket_until_it_is_empty_and_as_it_fills,
    fifty_at_once_from_five_processes_get_no_more_than_the_burst,
    a_lost_answer_leaves_events_unused_and_lets_none_in_twice,
}
