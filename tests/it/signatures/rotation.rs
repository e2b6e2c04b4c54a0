//! While secrets and keys are replaced, and schemes switched on and off, no receiver that keeps up refuses a request.

use local::Answer;
use pombo_tests::{Hook, Signed, Stack, assert_accepted, scenario, verdicts};
use serde_json::{Value, json};

use super::{SOON, known, refs, schemes, signed};

async fn rotate(hook: &Hook, body: &Value) -> Value {
    let path = format!("/v1/endpoints/{}/rotate-secret", hook.endpoint);
    let (status, rotated) = hook.stack.local.endpoints().post(&path, body).await.unwrap();
    assert_eq!(status, 200, "{rotated}");
    rotated
}

async fn patch(hook: &Hook, signatures: Value) -> Value {
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let change = json!({"signatures": signatures});
    let (status, patched) = hook.stack.local.endpoints().patch(&path, &change).await.unwrap();
    assert_eq!((status, &patched["signatures"]), (200, &signatures), "{patched}");
    patched
}

#[scenario]
async fn during_a_rotation_the_old_and_the_new_accept_first_attempts_retries_and_replays() {
    let options = json!({"signatures": ["v1", "v1a"], "retry_policy": {"delays_seconds": [1]}});
    let hook =
        Hook::new(Stack::calm().await, options, |received| Answer::status(if received.times < 3 { 500 } else { 200 }))
            .await;
    let (old_secrets, old_keys) = known(hook.stack, &hook.endpoint).await;
    let rotated = rotate(&hook, &json!({})).await;
    let (secrets, keys) = known(hook.stack, &hook.endpoint).await;
    assert_eq!((&secrets[1..], &keys[1..]), (&old_secrets[..], &old_keys[..]), "the new ones come first");
    assert_eq!((&rotated["secret"], &rotated["public_key"]), (&json!(secrets[0]), &json!(keys[0])));

    let event = hook.post().await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    hook.replay(&[failed["id"].as_str().unwrap()]).await;
    hook.until_status(&event, "succeeded", SOON).await;
    let received = hook.receiver.received();
    assert_eq!(received.len(), 3);
    for request in &received {
        assert_eq!(schemes(request), ["v1", "v1", "v1a", "v1a"]);
    }
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
}

#[scenario]
async fn without_grace_the_old_are_refused_at_once() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let (old_secrets, old_keys) = known(hook.stack, &hook.endpoint).await;
    rotate(&hook, &json!({"grace_hours": 0})).await;
    hook.post().await;
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
    for verdict in &verdicts(&[Signed::received(&received[0], &refs(&old_secrets), &refs(&old_keys))]).await[0] {
        assert!(verdict.secrets[0].is_some() && verdict.public_keys[0].is_some(), "{verdict:?}");
    }
}

#[scenario]
async fn five_of_each_sign_at_once_and_a_sixth_has_to_wait() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    for _ in 1..5 {
        rotate(&hook, &json!({})).await;
    }
    let path = format!("/v1/endpoints/{}/rotate-secret", hook.endpoint);
    let (status, refused) = hook.stack.local.endpoints().post(&path, &json!({})).await.unwrap();
    assert_eq!((status, &refused["errors"][0]["field"]), (409, &json!("secret")), "{refused}");
    hook.post().await;
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    assert_eq!(schemes(&received[0]), [["v1"; 5], ["v1a"; 5]].concat());
    let requests = signed(hook.stack, &hook.endpoint, &received).await;
    assert_eq!((requests[0].secrets.len(), requests[0].public_keys.len()), (5, 5));
    assert_accepted(&requests).await;
}

#[scenario]
async fn one_scheme_is_rotated_alone_when_it_is_named() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let key = rotate(&hook, &json!({"signatures": ["v1a"]})).await;
    assert!(key["secret"].is_null(), "{key}");
    let (secrets, keys) = known(hook.stack, &hook.endpoint).await;
    assert_eq!((secrets.len(), keys.len()), (1, 2));
    rotate(&hook, &json!({"signatures": ["v1"], "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})).await;
    let (secrets, keys) = known(hook.stack, &hook.endpoint).await;
    assert_eq!((secrets.len(), keys.len()), (2, 2));
    hook.post().await;
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
}

#[scenario]
async fn v1a_is_switched_on_and_v1_off_and_on_with_no_key_lost() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (secrets, keys) = known(hook.stack, &hook.endpoint).await;
    assert_eq!((secrets.len(), keys.len()), (1, 0));
    let mut requests = Vec::new();
    let steps = [json!(["v1"]), json!(["v1", "v1a"]), json!(["v1a"]), json!(["v1", "v1a"])];
    for (number, signatures) in steps.into_iter().enumerate() {
        let patched = patch(&hook, signatures.clone()).await;
        assert!(patched["secret"].is_null(), "{patched}");
        hook.post().await;
        let received = hook.receiver.wait_for(number + 1, SOON).await.unwrap();
        assert_eq!(json!(schemes(&received[number])), signatures);
        requests.extend(signed(hook.stack, &hook.endpoint, &received[number..]).await);
    }
    assert_accepted(&requests).await;
    assert_eq!(requests[1].secrets, secrets, "the secret is still the first one");
    assert_eq!((&requests[3].secrets, &requests[3].public_keys), (&secrets, &requests[1].public_keys));
    assert_eq!([requests[0].public_keys.len(), requests[2].secrets.len()], [0, 0]);
}
