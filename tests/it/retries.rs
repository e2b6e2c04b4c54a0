//! Retries come by themselves, when they are due.

use std::sync::Arc;
use std::time::Duration;

use local::Answer;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

/// From the end of the newest attempt to the time that the record says, in milliseconds.
fn delay_of(delivery: &Value) -> i64 {
    let attempt = delivery["attempts"].as_array().unwrap().last().unwrap();
    let started: Timestamp = attempt["started_at"].as_str().unwrap().parse().unwrap();
    let due: Timestamp = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
    due.as_millis() - started.as_millis() - attempt["duration_ms"].as_i64().unwrap()
}

/// The plain message for an attempt, as a schedule or a delay would bring it.
fn message(delivery: &Value, round: u32, attempt: u32) -> String {
    json!({"v": 1, "delivery": delivery["id"], "round": round, "attempt": attempt}).to_string()
}

fn key_of(delivery: &Value) -> DeliveryKey {
    delivery["id"].as_str().unwrap().parse().unwrap()
}

fn schedules_of(stack: &Stack, delivery: &Value) -> Vec<Arc<Call>> {
    let id = delivery["id"].as_str().unwrap().to_owned();
    stack.proxy.calls(|call| call.operation == "CreateSchedule" && call.mentions(&id))
}

#[scenario(slow)]
async fn the_first_retry_of_the_default_policy_comes_with_no_one_watching() {
    let hook = Hook::new(Stack::calm().await, json!({}), |received| match received.times {
        1 => Answer::status(503),
        _ => Answer::status(200),
    })
    .await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "retrying", SOON).await;
    assert!((60_000..=66_000).contains(&delay_of(&failed)), "{failed}");
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 2);
    let received = hook.receiver.received();
    let waited = received[1].at.duration_since(received[0].at).unwrap();
    assert!((60..80).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(received[0].webhook_id(), received[1].webhook_id());
    assert_ne!(received[0].header("webhook-timestamp"), received[1].header("webhook-timestamp"), "signed anew");
    hook.assert_signed();
}

#[scenario]
async fn the_default_policys_due_times_are_one_five_and_thirty_minutes_in_the_record_and_in_at() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(500)).await;
    let event = hook.post().await;
    for (number, minutes) in [(1, 1), (2, 5), (3, 30)] {
        let tried = |delivery: &Value| {
            delivery["attempts"].as_array().unwrap().len() == number && delivery["status"] == "retrying"
        };
        let delivery = hook.until(&event, "the attempt's failure", SOON, tried).await;
        let delay = delay_of(&delivery);
        assert!((minutes * 60_000..=minutes * 66_000).contains(&delay), "+{minutes} min: {delay} ms");
        let due: Timestamp = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
        let schedule = eventually("the schedule", SOON, || async {
            schedules_of(hook.stack, &delivery).into_iter().nth(number - 1)
        })
        .await;
        assert_eq!(schedule.body["ScheduleExpression"], due.to_at_expression(), "{schedule:?}");
        assert_eq!(schedule.body["ActionAfterCompletion"], "DELETE");
        assert_eq!(schedule.body["FlexibleTimeWindow"]["Mode"], "OFF");
        let name = schedule.body["Name"].as_str().unwrap();
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
        // It is due: the schedule's own input is put on the queue.
        let input = schedule.body["Target"]["Input"].as_str().unwrap();
        let ids: Value = serde_json::from_str(input).unwrap();
        assert_eq!(ids.to_string(), message(&delivery, 0, number as u32 + 1), "ids only");
        hook.stack.make_due(&key_of(&delivery)).await;
        hook.stack.send("DeliveriesQueue", input).await;
    }
    let delivery = hook.until_status(&event, "failed", SOON).await;
    assert_eq!((delivery["attempts"].as_array().unwrap().len(), &delivery["next_attempt_at"]), (4, &Value::Null));
    assert_eq!(schedules_of(hook.stack, &delivery).len(), 3);
}

#[scenario]
async fn the_fast_policys_delays_are_powers_of_two_and_a_half_by_the_queue() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": "fast"}), |_| Answer::status(500)).await;
    let event = hook.post().await;
    for (number, seconds) in [(1, 3), (2, 7), (3, 16), (4, 40), (5, 98)] {
        let tried = |delivery: &Value| {
            delivery["attempts"].as_array().unwrap().len() == number && delivery["status"] == "retrying"
        };
        let delivery = hook.until(&event, "the attempt's failure", SOON, tried).await;
        assert_eq!(delay_of(&delivery), seconds * 1000, "2.5^{number}, rounded up");
        if number == 1 {
            continue; // The first is waited for.
        }
        hook.stack.bring_due(&key_of(&delivery), 0, number as u32 + 1).await;
    }
    let delivery = hook.until_status(&event, "failed", SOON).await;
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 6);
    let received = hook.receiver.received();
    let waited = received[1].at.duration_since(received[0].at).unwrap();
    assert!((3.0..6.0).contains(&waited.as_secs_f64()), "{waited:?}");
    assert!(schedules_of(hook.stack, &delivery).is_empty());
}

#[scenario]
async fn a_receiver_that_asks_for_time_gets_it() {
    let hook =
        Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [1, 1]}}), |received| match received
            .times
        {
            1 => Answer::status(429).with_header("retry-after", "4"),
            _ => Answer::status(200),
        })
        .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    let received = hook.receiver.received();
    let waited = received[1].at.duration_since(received[0].at).unwrap();
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    let asked: Vec<_> = (0..2).map(|attempt| delivery["attempts"][attempt]["retry_after"].as_u64()).collect();
    assert_eq!(asked, [Some(4), None], "the attempt tells that the receiver set the time: {delivery}");
}
