//! The slots of endpoints with a rate limit: each one's own, an interval apart, whoever reserves them.

use std::time::Duration;

use futures::future::join_all;
use pombo_aws::rate_limit::{RateLimits, Reserved};
use pombo_domain::ids::EndpointId;
use pombo_domain::rate_limit::{PerSecond, RateLimit, Slot};
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault};

use super::{endpoint_id, tomorrow};

const NOW: Timestamp = Timestamp::from_seconds(4_102_444_800);

/// A process's own adapter, behind the proxy that counts.
async fn process(on: &Backend) -> RateLimits {
    let name = on.resource("EndpointsTable");
    RateLimits::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), name)
}

fn limit(per_second: f64, since: u64) -> RateLimit {
    RateLimit { per_second: PerSecond::new(per_second).unwrap(), since }
}

/// Milliseconds after `NOW`.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + millis)
}

async fn slot(process: &RateLimits, id: &EndpointId, limit: &RateLimit, now: Timestamp) -> Slot {
    match process.reserve(id, limit, None, now).await.unwrap() {
        Reserved::Slot(slot) => slot,
        Reserved::Outdated => panic!("outdated"),
    }
}

/// The slot in milliseconds after `NOW`.
async fn millis(process: &RateLimits, id: &EndpointId, limit: &RateLimit, now: Timestamp) -> i64 {
    slot(process, id, limit, now).await.at.as_millis() - NOW.as_millis()
}

fn writes(on: &Backend, id: &EndpointId) -> usize {
    on.calls("UpdateItem", id.as_str()).len()
}

async fn slots_are_an_interval_apart_and_each_costs_one_write(on: &Backend) {
    let (process, id, limit) = (process(on).await, endpoint_id(), limit(10.0, 3));
    for expected in [0, 100, 200] {
        assert_eq!(millis(&process, &id, &limit, NOW).await, expected);
    }
    assert_eq!(writes(on, &id), 3);
    assert_eq!(slot(&process, &id, &limit, NOW).await, Slot { at: at(300), since: 3, missed: 0 });
    assert_eq!(millis(&process, &id, &limit, at(7000)).await, 7000, "nothing is saved up");
    assert_eq!(writes(on, &id), 5);
}

async fn fifty_at_once_from_five_processes_get_fifty_slots_exactly_spaced(on: &Backend) {
    let (id, limit) = (endpoint_id(), limit(8.0, 1));
    let mut processes = Vec::new();
    for _ in 0..5 {
        processes.push(process(on).await);
    }
    let all = (0..50).map(|number| slot(&processes[number % 5], &id, &limit, NOW));
    let mut slots: Vec<_> = join_all(all).await.into_iter().map(|slot| slot.at).collect();
    slots.sort();
    let expected: Vec<_> = (0..50).map(|number| at(125 * number)).collect();
    assert_eq!(slots, expected);
    // All guess that they are the first; all but one write once more.
    assert!(writes(on, &id) <= 100, "{}", writes(on, &id));
    let before = writes(on, &id);
    let all = (0..50).map(|number| slot(&processes[number % 5], &id, &limit, NOW));
    let next = join_all(all).await.into_iter().map(|slot| slot.at).min();
    assert_eq!((next, writes(on, &id) - before), (Some(at(6250)), 50), "in a line, one write each");
}

async fn two_processes_that_take_turns_write_twice_at_most(on: &Backend) {
    let (one, other, id, limit) = (process(on).await, process(on).await, endpoint_id(), limit(2.0, 1));
    // Each time the line is short or gone, and each has seen what was before the other's turn.
    let mut expected = 0;
    for turn in 0..10 {
        let now = at(turn * 400);
        expected = if turn == 0 { 0 } else { (expected + 500).max(turn * 400) };
        assert_eq!(millis(if turn % 2 == 0 { &one } else { &other }, &id, &limit, now).await, expected);
    }
    assert!(writes(on, &id) <= 20, "{}", writes(on, &id));
}

async fn a_lost_answer_leaves_one_slot_unused_and_shares_none(on: &Backend) {
    let (process, id, limit) = (process(on).await, endpoint_id(), limit(10.0, 1));
    for (expected, why) in [(100, "the first one's write was lost"), (300, "a later one's")] {
        on.spoil(1, "UpdateItem", id.as_str(), Fault::LoseAnswer);
        assert_eq!(millis(&process, &id, &limit, NOW).await, expected, "{why}");
    }
    assert_eq!(millis(&process, &id, &limit, NOW).await, 400);
}

async fn a_changed_limit_starts_anew_at_once_and_the_old_one_reserves_no_more(on: &Backend) {
    let (one, other, id) = (process(on).await, process(on).await, endpoint_id());
    let (slow, fast) = (limit(0.01, 2), limit(100.0, 5));
    for number in 0..3 {
        assert_eq!(millis(&one, &id, &slow, NOW).await, 100_000 * number);
    }
    assert_eq!(millis(&other, &id, &fast, at(10)).await, 10, "with no regard to the old line");
    for _ in 0..2 {
        assert_eq!(one.reserve(&id, &slow, None, at(20)).await.unwrap(), Reserved::Outdated);
    }
    assert_eq!(millis(&one, &id, &fast, at(20)).await, 20);
    assert_eq!(millis(&one, &id, &fast, at(20)).await, 30);
}

async fn who_has_missed_a_slot_says_so_in_the_next(on: &Backend) {
    let (process, id, limit) = (process(on).await, endpoint_id(), limit(1.0, 1));
    let missed = slot(&process, &id, &limit, NOW).await;
    let next = process.reserve(&id, &limit, Some(&missed), at(3000)).await.unwrap();
    assert_eq!(next, Reserved::Slot(Slot { at: at(3000), since: 1, missed: 1 }));
}

async fn a_write_that_is_throttled_is_an_error_and_reserves_nothing(on: &Backend) {
    let (process, id, limit) = (process(on).await, endpoint_id(), limit(1.0, 1));
    on.spoil(3, "UpdateItem", id.as_str(), Fault::Refuse(400, "ProvisionedThroughputExceededException"));
    let error = process.reserve(&id, &limit, None, NOW).await.unwrap_err();
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"));
    assert_eq!(millis(&process, &id, &limit, NOW).await, 0);
}

async fn the_item_is_small_and_expires_long_after_its_last_slot(on: &Backend) {
    let (process, id, limit) = (process(on).await, endpoint_id(), limit(0.01, 1));
    slot(&process, &id, &limit, NOW).await;
    slot(&process, &id, &limit, NOW).await;
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let key = aws_sdk_dynamodb::types::AttributeValue::S(RateLimits::key(&id));
    let request = client.get_item().table_name(on.resource("EndpointsTable")).key("endpoint_id", key);
    let item = request.send().await.unwrap().item.unwrap();
    let number = |name: &str| item[name].as_n().unwrap().parse::<i64>().unwrap();
    assert_eq!(number("next_slot"), (NOW.as_millis() + 200_000) * 1000);
    assert!(number("expires_at") > tomorrow());
    let month = Duration::from_secs(30 * 86_400);
    assert_eq!(number("expires_at"), NOW.plus(month).as_seconds() + 200);
    assert_eq!(item.len(), 4);
}

on_dynamodb! {
    slots_are_an_interval_apart_and_each_costs_one_write,
    who_has_missed_a_slot_says_so_in_the_next,
    a_write_that_is_throttled_is_an_error_and_reserves_nothing,
    the_item_is_small_and_expires_long_after_its_last_slot,
    ; roto "gives no item with a condition that fails":
    a_changed_limit_starts_anew_at_once_and_the_old_one_reserves_no_more,
    a_lost_answer_leaves_one_slot_unused_and_shares_none,
    fifty_at_once_from_five_processes_get_fifty_slots_exactly_spaced,
    two_processes_that_take_turns_write_twice_at_most,
}
