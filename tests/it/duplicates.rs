//! A repeated event id is safe.

use std::time::Duration;

use futures::future::join_all;
use local::Answer;
use pombo_tests::{Hook, SOON, Stack, scenario};
use serde_json::json;

#[scenario]
async fn the_same_event_again_is_accepted_and_sent_once() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "same", "data": {"n": 1}});
    let first = hook.stack.post(&event).await;
    hook.until_status("same", "succeeded", SOON).await;
    for _ in 0..10 {
        let again = hook.stack.post(&event).await;
        assert_eq!((&again["duplicate"], &again["accepted_at"]), (&json!(true), &first["accepted_at"]));
    }
    // Another event behind the repeats: when it has come, they have been handled.
    let last = hook.post().await;
    hook.until_status(&last, "succeeded", SOON).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let same = hook.receiver.received().iter().filter(|received| received.event_id() == "same").count();
    assert_eq!(same, 1);
}

#[scenario]
async fn another_event_under_the_same_id_is_refused() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let event = |event_type: &str, data| json!({"type": event_type, "tenant": hook.tenant, "id": "same", "data": data});
    hook.stack.post(&event("a", json!(1))).await;
    for other in [event("b", json!(1)), event("a", json!(2))] {
        let (status, problem) = hook.stack.local.ingest().post("/v1/events", &other).await.unwrap();
        assert_eq!(status, 409, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("same"), "{problem}");
    }
    let elsewhere = json!({"type": "b", "tenant": pombo_tests::unique("t"), "id": "same", "data": 2});
    assert_eq!(hook.stack.post(&elsewhere).await["duplicate"], false, "another tenant's ids are its own");
}

#[scenario]
async fn ten_at_once_are_one_event() {
    let hook =
        Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200).after(Duration::from_millis(300))).await;
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "same", "data": {}});
    let answers = join_all((0..10).map(|_| hook.stack.post(&event))).await;
    assert_eq!(answers.iter().filter(|answer| answer["duplicate"] == false).count(), 1);
    hook.until_status("same", "succeeded", SOON).await;
    // A repeat that met the live claim waits for its end, then finds the delivery settled.
    let last = hook.post().await;
    hook.until_status(&last, "succeeded", SOON).await;
    assert_eq!(hook.receiver.received().iter().filter(|received| received.event_id() == "same").count(), 1);
}
