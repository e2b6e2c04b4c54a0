//! Messages that could not be processed.

use std::future::Future;
use std::time::Duration;

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

async fn sweep(stack: &Stack) {
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
}

/// Sweeps until there is an answer. Whoever else looks at the letters of a shared stack hides them from a sweep for a minute.
async fn sweep_until<T, F>(stack: &Stack, what: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually(what, SOON, || async {
        sweep(stack).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask().await
    })
    .await
}

/// Sweeps until the delivery of an event has this status; gives it.
async fn sweep_until_status(hook: &Hook, event: &str, status: &str) -> Value {
    sweep_until(hook.stack, status, || async {
        Some(hook.delivery(event).await).filter(|delivery| delivery["status"] == status)
    })
    .await
}

#[scenario]
async fn a_message_that_cannot_be_read_goes_to_the_dead_letters_at_once_and_stays() {
    // On a stack of its own: the letters of other tests come and go.
    let stack = Stack::own("unreadable", &[]).await;
    stack.send("DeliveriesQueue", "{\"v\":1,\"what\":\"is this?\"}").await;
    eventually("the dead letter", SOON, || async {
        (stack.queue_length("DeliveriesDeadLetterQueue").await == 1).then_some(())
    })
    .await;
    sweep(stack).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(stack.queue_length("DeliveriesDeadLetterQueue").await, 1);
}

#[scenario]
async fn a_dead_delivery_becomes_failed_and_can_be_replayed() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [600]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let id = delivery["id"].as_str().unwrap();
    let letter = json!({"v": 1, "delivery": id, "round": 0, "attempt": 2}).to_string();
    hook.stack.send("DeliveriesDeadLetterQueue", &letter).await;
    let dead = sweep_until_status(&hook, &event, "failed").await;
    assert_eq!(dead["attempts"][1]["outcome"], json!({"kind": "dead_lettered"}), "{dead}");
    hook.replay(&[id]).await;
    hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 2);
}

#[scenario]
async fn a_dead_first_message_becomes_a_delivery_that_is_seen() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let key = format!("{}/2026-01-31T09:30:00.050Z#dead", hook.endpoint);
    let id = pombo_domain::cursor::seal(&key);
    let event = json!({"tenant": hook.tenant, "type": "a", "expires_at": 4_000_000_000u64});
    let letter = json!({"v": 1, "delivery": id, "round": 0, "attempt": 1, "event": event}).to_string();
    hook.stack.send("DeliveriesDeadLetterQueue", &letter).await;
    let delivery = sweep_until(hook.stack, "the delivery", || async {
        let (status, delivery) = hook.stack.local.replay().get(&format!("/v1/deliveries/{id}")).await.unwrap();
        (status == 200).then_some(delivery)
    })
    .await;
    assert_eq!((&delivery["status"], &delivery["tenant"]), (&json!("failed"), &json!(hook.tenant)));
}

#[scenario]
async fn a_dead_outcome_is_applied() {
    let hook =
        Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [600]}}), |_| Answer::status(500))
            .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let id = delivery["id"].as_str().unwrap();
    let attempt = json!({
        "round": 0, "attempt": 2, "started_at": "2026-01-31T09:30:00.050Z", "duration_ms": 7,
        "outcome": {"kind": "succeeded", "status_code": 200}, "trigger": "retry",
    });
    let record = json!({"holder": "a/b", "attempt": attempt, "decision": {"then": "succeeded"}});
    let letter = json!({"v": 1, "delivery": id, "round": 0, "attempt": 2, "record": record}).to_string();
    hook.stack.send("DeliveriesDeadLetterQueue", &letter).await;
    let delivery = sweep_until_status(&hook, &event, "succeeded").await;
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn a_dead_message_of_a_settled_delivery_is_deleted() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    let letter = json!({"v": 1, "delivery": delivery["id"], "round": 0, "attempt": 1}).to_string();
    hook.stack.send("DeliveriesDeadLetterQueue", &letter).await;
    sweep(hook.stack).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(hook.delivery(&event).await, delivery);
    assert_eq!(hook.receiver.count(), 1);
}
