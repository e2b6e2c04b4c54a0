//! Machines whose clocks disagree, and times that have passed.
//!
//! A claim ends when its invocation must, by the clock of the machine that Lambda put it on. To a machine whose clock is
//! ahead of that one it ends too soon: should a second message of the delivery come in that while, and the attempt still
//! be under way, it is sent twice, and says so. To one whose clock is behind it ends too late: the delivery waits for as
//! long. Neither loses anything.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, Stack, eventually, scenario};
use serde_json::json;

use super::{SOON, ago, begin, bring, record, requests_for, settle, store};
use crate::rows;

const ANOTHER: &str = "another/message";

/// A delivery that another machine has claimed until this time.
async fn claimed(hook: &Hook, event: &str, until: Timestamp) -> DeliveryKey {
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let accepted_at = ago(20);
    store(
        hook.stack,
        &rows::event(&hook.tenant, event, "student.created", accepted_at, std::slice::from_ref(&endpoint)),
    )
    .await;
    let record = rows::delivery(&hook.tenant, &endpoint, event, accepted_at, Status::Pending);
    begin(hook.stack, record.claimed(ANOTHER, until)).await
}

async fn until_succeeded(stack: &Stack, key: &DeliveryKey) -> Record {
    eventually("a success", SOON, || async {
        Some(record(stack, key).await).filter(|record| record.status == Status::Succeeded)
    })
    .await
}

#[scenario]
async fn the_claim_of_a_machine_whose_clock_is_behind_is_taken_over_and_its_outcome_changes_nothing() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let key = claimed(&hook, "behind", ago(300)).await;
    bring(stack, &key, 0, 1).await;
    let delivered = until_succeeded(stack, &key).await;
    assert!(delivered.attempts[0].redelivered, "the other may have sent it: {delivered:?}");
    // The other was alive all the while, and now has its outcome.
    for (outcome, then) in [
        (json!({"kind": "http_status", "status_code": 500}), json!({"then": "failed"})),
        (json!({"kind": "succeeded", "status_code": 200}), json!({"then": "succeeded"})),
    ] {
        let attempt = json!({"round": 0, "attempt": 1, "started_at": ago(5), "duration_ms": 7, "outcome": outcome});
        let late = json!({"holder": ANOTHER, "attempt": attempt, "decision": then});
        let message = json!({"v": 1, "delivery": key, "round": 0, "attempt": 1, "record": late});
        stack.send("DeliveriesQueue", &message.to_string()).await;
    }
    settle(&hook).await;
    assert_eq!(record(stack, &key).await, delivered);
    assert_eq!(requests_for(&hook, "behind").len(), 1);
}

#[scenario]
async fn the_claim_of_a_machine_whose_clock_is_ahead_is_waited_for_and_then_taken_over() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    // By five minutes: a message that comes in five minutes.
    let far = clock::now().plus(Duration::from_secs(300));
    let key = claimed(&hook, "far-ahead", far).await;
    bring(stack, &key, 0, 1).await;
    let id = key.to_string();
    let waiting = eventually("the wait", SOON, || async {
        let sent = stack.proxy.calls(|call| call.operation == "SendMessage" && call.mentions(&id));
        sent.into_iter().next()
    })
    .await;
    let delay = waiting.body["DelaySeconds"].as_u64().unwrap();
    assert!((240..=301).contains(&delay), "{waiting:?}");
    assert!(waiting.mentions(&far.plus(Duration::from_secs(1)).to_string()), "{waiting:?}");
    // By some seconds: until its end.
    let key = claimed(&hook, "ahead", clock::now().plus(Duration::from_secs(6))).await;
    bring(stack, &key, 0, 1).await;
    let delivered = until_succeeded(stack, &key).await;
    assert!(delivered.attempts[0].redelivered, "{delivered:?}");
    let came = requests_for(&hook, "ahead");
    assert_eq!((came.len(), requests_for(&hook, "far-ahead").len()), (1, 0));
}

#[scenario]
async fn what_was_due_long_ago_is_sent_at_once() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let key = claimed(&hook, "late", ago(3600)).await;
    let message = json!({"v": 1, "delivery": key, "round": 0, "attempt": 1, "not_before": "1999-01-01T00:00:00Z"});
    stack.send("DeliveriesQueue", &message.to_string()).await;
    until_succeeded(stack, &key).await;
    let schedules = stack.proxy.calls(|call| call.operation == "CreateSchedule" && call.mentions(&key.to_string()));
    assert!(schedules.is_empty(), "{schedules:?}");
}

#[scenario]
async fn a_receiver_that_asks_for_a_time_that_has_passed_gets_its_retry_when_it_is_due() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [2]}}), |received| {
        let answer = Answer::status(if received.times == 1 { 503 } else { 200 });
        answer.with_header("retry-after", "Fri, 31 Jan 2020 09:30:00 GMT")
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    let received = hook.receiver.received();
    let waited = received[1].at.duration_since(received[0].at).unwrap();
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
}

#[scenario]
async fn an_event_may_have_happened_at_any_time_by_a_clock_that_is_minutes_ahead() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let ahead = clock::now().plus(Duration::from_secs(4 * 60)).to_string();
    for (id, time) in [("first", "1970-01-01T00:00:00.000Z"), ("ahead", ahead.as_str())] {
        let event = json!({"type": "a", "tenant": hook.tenant, "id": id, "timestamp": time, "data": {}});
        hook.stack.post(&event).await;
        hook.until_status(id, "succeeded", SOON).await;
        let body = requests_for(&hook, id)[0].body.clone();
        assert!(String::from_utf8_lossy(&body).contains(time), "{body:?}");
    }
    for time in ["9999-12-30T21:59:59.999Z", &clock::now().plus(Duration::from_secs(10 * 60)).to_string()] {
        let event = json!({"type": "a", "tenant": hook.tenant, "timestamp": time, "data": {}});
        let (status, answer) = hook.stack.local.ingest().post("/v1/events", &event).await.unwrap();
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("timestamp")), "{time}: {answer}");
    }
}
