//! Retries come by themselves, when they are due.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode};
use local::Answer;
use pombo_aws::clock;
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
        let at = schedule.body["ScheduleExpression"].as_str().unwrap();
        // A minute is the shortest notice that Scheduler gets, and some of the first minute is gone by then.
        let latest = if minutes == 1 { due.plus(Duration::from_secs(10)) } else { due };
        assert!(due.to_at_expression().as_str() <= at && at <= latest.to_at_expression().as_str(), "{schedule:?}");
        assert_eq!(schedule.body["ActionAfterCompletion"], "DELETE");
        assert_eq!(schedule.body["FlexibleTimeWindow"]["Mode"], "OFF");
        let name = schedule.body["Name"].as_str().unwrap();
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{name}");
        let input = schedule.body["Target"]["Input"].as_str().unwrap();
        let ids = json!({"v": 1, "delivery": delivery["id"], "round": 0, "attempt": number + 1, "not_before": due});
        assert_eq!(serde_json::from_str::<Value>(input).unwrap(), ids, "ids and the time");
        // It becomes due: the schedule's own input is put on the queue, with the time that it is now.
        hook.stack.make_due(&key_of(&delivery)).await;
        let input = input.replace(&due.to_string(), &clock::now().to_string());
        hook.stack.send("DeliveriesQueue", &input).await;
    }
    let delivery = hook.until_status(&event, "failed", SOON).await;
    assert_eq!((delivery["attempts"].as_array().unwrap().len(), &delivery["next_attempt_at"]), (4, &Value::Null));
    assert_eq!(schedules_of(hook.stack, &delivery).len(), 3);
}

/// Has Scheduler fire a schedule at its next look, whatever time it was made for.
async fn fire_early(stack: &Stack, name: &str) {
    let (client, group) =
        (aws_sdk_scheduler::Client::new(&stack.local.sdk_config().await), stack.resource("ScheduleGroup"));
    let schedule = client.get_schedule().group_name(group).name(name).send().await.unwrap();
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().unwrap();
    let request = client.update_schedule().group_name(group).name(name).flexible_time_window(window);
    let request = request.set_target(schedule.target).set_action_after_completion(schedule.action_after_completion);
    request.schedule_expression("at(2026-01-01T00:00:00)").send().await.unwrap();
}

/// Scheduler's precision is a minute. What it fires early waits for the rest in the queue, and the name under which it fired
/// is not asked for again: Scheduler may still have it, and would refuse it.
#[scenario(slow)]
async fn a_schedule_that_fires_early_makes_no_attempt_before_the_time_that_the_receiver_asked_for() {
    const ASKED: Duration = Duration::from_secs(70);
    let hook = Hook::new(Stack::calm().await, json!({}), |received| match received.times {
        1 => Answer::status(503).with_header("retry-after", &ASKED.as_secs().to_string()),
        _ => Answer::status(200),
    })
    .await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "retrying", SOON).await;
    let schedule =
        eventually("the schedule", SOON, || async { schedules_of(hook.stack, &failed).into_iter().next() }).await;
    // The record must not hold it back: the message's own time does.
    hook.stack.make_due(&key_of(&failed)).await;
    fire_early(hook.stack, schedule.body["Name"].as_str().unwrap()).await;
    let waiting = eventually("the wait for the rest", SOON, || async {
        let calls = hook.stack.proxy.calls(|call| call.operation == "SendMessage" && call.mentions(&hook.endpoint));
        calls.into_iter().find(|call| call.mentions("not_before"))
    })
    .await;
    let rest = waiting.body["DelaySeconds"].as_u64().unwrap();
    assert!((1..=ASKED.as_secs()).contains(&rest), "{waiting:?}");
    let delivery = hook.until_status(&event, "succeeded", ASKED + SOON).await;
    let received = hook.receiver.received();
    let waited = received[1].at.duration_since(received[0].at).unwrap();
    assert!(waited >= ASKED, "{waited:?}");
    assert_eq!((received.len(), delivery["attempts"].as_array().unwrap().len()), (2, 2));
    assert_eq!(schedules_of(hook.stack, &delivery).len(), 1);
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
