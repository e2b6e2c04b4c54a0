//! What a message may do, row by row of the design's table, against the real function.

use std::time::{Duration, UNIX_EPOCH};

use local::Answer;
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

fn message(delivery: &Value, round: u32, attempt: u32) -> String {
    json!({"v": 1, "delivery": delivery["id"], "round": round, "attempt": attempt}).to_string()
}

/// Waits until dispatch has logged nothing more to do: an event sent behind the others has been delivered.
async fn settle(hook: &Hook) {
    let last = hook.post().await;
    hook.until(&last, "an attempt", SOON, |delivery| !delivery["attempts"].as_array().unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

fn requests_for(hook: &Hook, event: &str) -> usize {
    hook.receiver.received().iter().filter(|received| received.event_id() == event).count()
}

#[scenario]
async fn every_message_for_a_settled_delivery_is_dropped() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    for (round, attempt) in [(0, 1), (0, 2), (1, 1), (7, 3)] {
        hook.stack.send("DeliveriesQueue", &message(&delivery, round, attempt)).await;
    }
    settle(&hook).await;
    assert_eq!(requests_for(&hook, &event), 1);
    assert_eq!(hook.delivery(&event).await, delivery);
}

#[scenario]
async fn a_message_whose_step_is_passed_is_dropped() {
    let hook =
        Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [1, 600]}}), |_| Answer::status(500))
            .await;
    let event = hook.post().await;
    let twice = |delivery: &Value| delivery["attempts"].as_array().unwrap().len() == 2;
    let delivery = hook.until(&event, "two attempts", SOON, twice).await;
    hook.stack.send("DeliveriesQueue", &message(&delivery, 0, 1)).await;
    settle(&hook).await;
    assert_eq!(requests_for(&hook, &event), 2);
}

#[scenario]
async fn a_message_whose_outcome_stands_makes_sure_of_the_next_step() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(500)).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let schedules = || {
        let id = delivery["id"].as_str().unwrap();
        hook.stack.proxy.calls(|call| call.operation == "CreateSchedule" && call.mentions(id))
    };
    eventually("the schedule", SOON, || async { (schedules().len() == 1).then_some(()) }).await;
    hook.stack.send("DeliveriesQueue", &message(&delivery, 0, 1)).await;
    eventually("the schedule again", SOON, || async { (schedules().len() == 2).then_some(()) }).await;
    let names: Vec<_> = schedules().iter().map(|call| call.body["Name"].clone()).collect();
    assert_eq!(names[0], names[1], "the second is the first: there is one schedule");
    assert_eq!(requests_for(&hook, &event), 1);
}

#[scenario]
async fn a_message_that_meets_a_live_claim_waits_and_is_not_sent_twice() {
    let options = json!({"timeout_seconds": 3, "retry_policy": {"delays_seconds": [1]}});
    let hook = Hook::new(Stack::calm().await, options, |received| match received.times {
        1 => Answer::status(500),
        _ => Answer::status(200).after(Duration::from_secs(2)),
    })
    .await;
    // The second attempt is claimed. Another message for this attempt has to come during the two seconds that the receiver
    // takes. On a busy machine the message may come too late and is dropped. Then the test tries another event.
    for id in ["e1", "e2", "e3", "e4", "e5"] {
        let event = json!({"type": "a", "tenant": hook.tenant, "id": id, "data": {}});
        let accepted = hook.stack.post(&event).await;
        let key = format!("{}/{}#{id}", hook.endpoint, accepted["accepted_at"].as_str().unwrap());
        let delivery = pombo_domain::cursor::seal(&key);
        eventually("the claim", SOON, || async {
            let is_claim = |call: &Call| call.claims() && call.attribute("sort_key").contains(id);
            let claims = hook.stack.proxy.calls(|call| is_claim(call) && call.mentions(&hook.endpoint));
            (!claims.is_empty()).then_some(())
        })
        .await;
        hook.stack.send("DeliveriesQueue", &message(&json!({"id": delivery}), 0, 2)).await;
        hook.until_status(id, "succeeded", SOON).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let sent = hook
            .stack
            .proxy
            .calls(|call| call.operation == "SendMessage" && call.mentions(&delivery) && call.mentions("not_before"));
        let Some(waiting) = sent.first() else { continue };
        let delay = waiting.body["DelaySeconds"].as_u64().unwrap();
        assert!((1..=16).contains(&delay), "{waiting:?}");
        tokio::time::sleep(Duration::from_secs(delay + 1)).await;
        assert_eq!(requests_for(&hook, id), 2);
        return;
    }
    panic!("no message met a live claim");
}

#[scenario]
async fn a_message_for_a_delivery_that_is_gone_is_dropped() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let key = format!("{}/2020-01-31T09:30:00.050Z#long-gone", hook.endpoint);
    let delivery = json!({"id": pombo_domain::cursor::seal(&key)});
    hook.stack.send("DeliveriesQueue", &message(&delivery, 0, 2)).await;
    settle(&hook).await;
    assert_eq!(requests_for(&hook, "long-gone"), 0);
}

#[scenario]
async fn a_message_with_a_time_waits_for_it() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [600]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    hook.stack.make_due(&delivery["id"].as_str().unwrap().parse().unwrap()).await;
    let due = pombo_aws::clock::now().plus(Duration::from_secs(4));
    let early = json!({"v": 1, "delivery": delivery["id"], "round": 0, "attempt": 2, "not_before": due});
    hook.stack.send("DeliveriesQueue", &early.to_string()).await;
    hook.until_status(&event, "succeeded", SOON).await;
    let came = hook.receiver.received()[1].at.duration_since(UNIX_EPOCH).unwrap();
    assert!(came.as_millis() as i64 >= due.as_millis());
}

/// Scheduler may fire up to a minute before the time, and a queue may deliver a message twice.
#[scenario]
async fn a_retry_that_comes_early_waits_for_the_rest_and_is_made_once() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [8]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    for _ in 0..2 {
        hook.stack.send("DeliveriesQueue", &message(&delivery, 0, 2)).await;
    }
    let due: Timestamp = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
    let succeeded = hook.until_status(&event, "succeeded", SOON).await;
    let came = hook.receiver.received()[1].at.duration_since(UNIX_EPOCH).unwrap();
    assert!(came.as_millis() as i64 + 1_000 >= due.as_millis(), "{came:?} is before {due}");
    assert_eq!(succeeded["attempts"].as_array().unwrap().len(), 2, "{succeeded}");
    settle(&hook).await;
    assert_eq!(requests_for(&hook, &event), 2);
}

#[scenario]
async fn a_message_far_ahead_of_its_record_is_dropped() {
    let hook =
        Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [600]}}), |_| Answer::status(500))
            .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    for (round, attempt) in [(0, 3), (1, 1), (9, 9)] {
        hook.stack.send("DeliveriesQueue", &message(&delivery, round, attempt)).await;
    }
    settle(&hook).await;
    assert_eq!((requests_for(&hook, &event), hook.delivery(&event).await), (1, delivery));
}
