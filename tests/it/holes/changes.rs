//! Secrets that are rotated and endpoints that are deleted while a delivery is on its way.
//!
//! An attempt is signed when it begins, with what the endpoint has then; a process may remember an endpoint for ten seconds,
//! so the retries here come after eleven.

use std::time::Duration;

use local::{Answer, Signature};
use pombo_tests::{Hook, Stack, scenario};
use serde_json::{Value, json};

use super::{SOON, requests_for};

/// A hook whose receiver takes two seconds for an answer, of which the first is `first`.
async fn slow_hook(first: u16) -> Hook {
    Hook::new(
        Stack::calm().await,
        json!({"timeout_seconds": 3, "retry_policy": {"delays_seconds": [11]}}),
        move |received| Answer::status(if received.times == 1 { first } else { 200 }).after(Duration::from_secs(2)),
    )
    .await
}

/// Replaces the endpoint's secret, with no grace for the old one.
async fn rotate(hook: &Hook) {
    let path = format!("/v1/endpoints/{}/rotate-secret", hook.endpoint);
    let (status, rotated) = hook.stack.local.endpoints().post(&path, &json!({"grace_hours": 0})).await.unwrap();
    assert_eq!(status, 200, "{rotated}");
    hook.receiver.expect_secret("/hook", rotated["secret"].as_str().unwrap());
}

fn statuses(delivery: &Value) -> Vec<u64> {
    let attempts = delivery["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["outcome"]["status_code"].as_u64().unwrap()).collect()
}

#[scenario]
async fn a_secret_that_is_rotated_during_an_attempt_signs_the_next_one() {
    let hook = slow_hook(500).await;
    let event = hook.post().await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    rotate(&hook).await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(statuses(&delivery), [500, 200]);
    hook.assert_signed();
    let signatures: Vec<_> =
        requests_for(&hook, &event).iter().map(|one| one.header("webhook-signature").to_owned()).collect();
    assert!(signatures.iter().all(|signature| !signature.contains(' ')), "{signatures:?}");
}

#[scenario]
async fn a_secret_that_is_rotated_while_a_delivery_is_held_signs_it_when_it_is_released() {
    let hook = slow_hook(500).await;
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    hook.change("pause").await;
    hook.until_status(&event, "held", SOON).await;
    rotate(&hook).await;
    hook.change("resume").await;
    hook.until_status(&event, "succeeded", SOON).await;
    let came = requests_for(&hook, &event);
    assert_eq!((came.len(), &came[1].signature), (2, &Signature::Verified));
}

#[scenario]
async fn an_endpoint_that_is_deleted_during_an_attempt_keeps_its_success() {
    let hook = slow_hook(200).await;
    let event = hook.post().await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    hook.change("delete").await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(statuses(&delivery), [200]);
}

#[scenario]
async fn an_endpoint_that_is_deleted_during_an_attempt_that_fails_gets_no_other() {
    let hook = slow_hook(500).await;
    let event = hook.post().await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    hook.change("delete").await;
    let delivery = hook.until_status(&event, "cancelled", SOON).await;
    assert_eq!((statuses(&delivery), &delivery["next_attempt_at"]), (vec![500], &Value::Null));
    assert_eq!(hook.receiver.count(), 1);
}
