//! Endpoints that are paused, resumed and deleted while deliveries are on their way.

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::json;

/// A hook with one delivery that has failed once, and is due again when every process has forgotten what it knew of the
/// endpoint.
async fn hook_with_a_retry_ahead() -> (Hook, String) {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [11, 2]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    (hook, event)
}

#[scenario]
async fn what_is_on_its_way_to_a_paused_endpoint_is_held_and_goes_on_when_it_is_resumed() {
    let (hook, event) = hook_with_a_retry_ahead().await;
    hook.change("pause").await;
    let held = hook.until_status(&event, "held", SOON).await;
    assert_eq!((&held["attempt"], &held["next_attempt_at"]), (&json!(1), &json!(null)), "its attempts are left unused");
    assert_eq!(held["held"], json!({"cause": "paused", "next_probe_at": null}), "{held}");
    hook.change("resume").await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((&delivery["round"], &delivery["attempt"]), (&json!(0), &json!(2)));
    assert_eq!(hook.receiver.count(), 2);
}

#[scenario]
async fn a_first_delivery_that_meets_a_pause_is_held() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    // A message of an event that was fanned out before the pause, and that names the endpoint's version of then.
    hook.change("pause").await;
    let accepted = hook.stack.post(&json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}})).await;
    assert_eq!(accepted["deliveries"], 0, "no fan-out to a paused endpoint");
    let key = format!("{}/{}#e", hook.endpoint, accepted["accepted_at"].as_str().unwrap());
    let id = pombo_domain::cursor::seal(&key);
    let event = json!({"tenant": hook.tenant, "type": "a", "expires_at": 4_000_000_000u64, "endpoint_version": 1});
    let message = json!({"v": 1, "delivery": id, "round": 0, "attempt": 1, "event": event});
    stack.send("DeliveriesQueue", &message.to_string()).await;
    let status = || async {
        let (status, delivery) = stack.local.replay().get(&format!("/v1/deliveries/{id}")).await.unwrap();
        (status == 200).then(|| delivery["status"].as_str().unwrap().to_owned())
    };
    pombo_tests::eventually("held", SOON, || async { status().await.filter(|status| status == "held") }).await;
    assert_eq!(hook.receiver.count(), 0);
    hook.change("resume").await;
    pombo_tests::eventually("succeeded", SOON, || async { status().await.filter(|status| status == "succeeded") })
        .await;
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn what_is_on_its_way_to_a_deleted_endpoint_is_cancelled() {
    let (hook, event) = hook_with_a_retry_ahead().await;
    hook.change("delete").await;
    hook.until_status(&event, "cancelled", SOON).await;
    assert_eq!(hook.receiver.count(), 1);
    let accepted = hook.stack.post(&json!({"type": "a", "tenant": hook.tenant, "data": {}})).await;
    assert_eq!(accepted["deliveries"], 0);
}

#[scenario]
async fn what_is_held_is_cancelled_when_its_endpoint_is_deleted() {
    let (hook, event) = hook_with_a_retry_ahead().await;
    hook.change("pause").await;
    hook.until_status(&event, "held", SOON).await;
    hook.change("delete").await;
    hook.until_status(&event, "cancelled", SOON).await;
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn an_event_posted_the_moment_after_a_resume_reaches_the_endpoint() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    for _ in 0..3 {
        hook.change("pause").await;
        hook.change("resume").await;
        let event = hook.post().await;
        hook.until_status(&event, "succeeded", SOON).await;
    }
    assert_eq!(hook.receiver.count(), 3);
}

#[scenario]
async fn a_resume_that_replays_nothing_counts_what_was_missed_and_says_how_to_send_it() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"event_types": ["student.*"]}), |_| Answer::status(200)).await;
    let api = stack.local.endpoints();
    let path = format!("/v1/endpoints/{}/resume", hook.endpoint);
    hook.change("pause").await;
    let mut missed = vec![hook.post().await, hook.post().await];
    stack.post(&json!({"type": "course.started", "tenant": hook.tenant, "data": {}})).await;
    eventually("the list of events", SOON, || async {
        let (_, page) = stack.local.replay().get(&format!("/v1/events?tenant={}", hook.tenant)).await.unwrap();
        (page["events"].as_array().unwrap().len() == 3).then_some(())
    })
    .await;
    let (status, resumed) = api.post(&path, &json!({})).await.unwrap();
    assert_eq!((status, &resumed["missed"]["count"], &resumed["missed"]["more"]), (200, &json!(2), &json!(false)));
    // The hint holds the order to post.
    let hint = resumed["hint"].as_str().unwrap();
    let order = &hint[hint.find('{').unwrap()..hint.find("]}").unwrap() + 2];
    let (status, answer) =
        stack.local.replay().post("/v1/replays", &serde_json::from_str(order).unwrap()).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    for event in &missed {
        until_sent(&hook, event).await;
    }
    let (_, again) = api.post(&path, &json!({})).await.unwrap();
    assert!(again["missed"].is_null() && again["hint"].is_null(), "it is not paused: {again}");
    hook.change("pause").await;
    missed.push(hook.post().await);
    let (_, resumed) = api.post(&path, &json!({"missed": "replay"})).await.unwrap();
    assert!(resumed["replay_id"].is_string() && resumed["missed"].is_null(), "{resumed}");
    until_sent(&hook, &missed[2]).await;
    assert_eq!(hook.receiver.count(), 3);
}

/// Waits until an event that had no delivery at first was sent.
async fn until_sent(hook: &Hook, event: &str) {
    eventually("a delivery that succeeded", SOON, || async {
        let event = hook.stack.event(&hook.tenant, event).await;
        (event["deliveries"][0]["status"] == "succeeded").then_some(())
    })
    .await;
}
