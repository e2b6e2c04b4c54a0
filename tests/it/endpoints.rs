//! Endpoints: registered, read, changed, their secrets rotated.

use local::{Answer, Api, Receiver, Signature};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};

#[scenario]
async fn an_endpoint_is_shown_without_its_secrets() {
    let stack = Stack::calm().await;
    let api = stack.local.endpoints();
    let wanted = json!({
        "tenant": unique("t"), "url": "http://127.0.0.1:9/hook", "event_types": ["a.*"], "name": "Registrar",
        "headers": {"X-API-Key": "the-receivers-own"}, "retry_policy": {"delays_seconds": [1.5, 60.5]}, "timeout_seconds": 2,
        "rate_limit": 0.5,
    });
    let (status, created) = api.post("/v1/endpoints", &wanted).await.unwrap();
    assert_eq!(status, 201, "{created}");
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_"));
    let id = created["id"].as_str().unwrap();
    let (status, shown) = api.get(&format!("/v1/endpoints/{id}")).await.unwrap();
    assert_eq!(status, 200);
    for field in ["tenant", "url", "event_types", "name", "retry_policy", "timeout_seconds", "rate_limit"] {
        assert_eq!(shown[field], wanted[field], "{field}");
    }
    assert_eq!((&shown["status"], &shown["headers"]), (&json!("active"), &json!({"x-api-key": "********"})));
    let tenant = wanted["tenant"].as_str().unwrap();
    let (_, list) = api.get(&format!("/v1/endpoints?tenant={tenant}")).await.unwrap();
    for text in [shown.to_string(), list.to_string()] {
        assert!(!text.contains(secret) && !text.contains("the-receivers-own"), "{text}");
    }
    let (status, secrets) = api.get(&format!("/v1/endpoints/{id}/secret")).await.unwrap();
    assert_eq!((status, &secrets["secrets"][0]["secret"]), (200, &json!(secret)));
}

#[scenario]
async fn a_change_takes_effect_with_the_next_event() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"event_types": ["old"]}), |_| Answer::status(200)).await;
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let event = |event_type: &str| json!({"type": event_type, "tenant": hook.tenant, "data": {}});
    stack.post(&event("old")).await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    let change = json!({"event_types": ["new"], "url": hook.receiver.url("/moved"), "headers": {"x-new": "1"}});
    let (status, changed) = stack.local.endpoints().patch(&path, &change).await.unwrap();
    assert_eq!((status, &changed["event_types"], &changed["version"]), (200, &json!(["new"]), &json!(2)), "{changed}");
    let nobodys = stack.post(&event("old")).await;
    assert_eq!(nobodys["deliveries"], 0);
    assert!(nobodys["hint"].as_str().unwrap().contains("subscribes to old"), "{nobodys}");
    stack.post(&event("new")).await;
    let received = hook.receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!((received[1].path.as_str(), received[1].header("x-new")), ("/moved", "1"));
}

#[scenario]
async fn during_a_rotation_both_secrets_verify() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let path = format!("/v1/endpoints/{}/rotate-secret", hook.endpoint);
    let imported = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (status, rotated) = stack.local.endpoints().post(&path, &json!({"secret": imported})).await.unwrap();
    assert_eq!((status, &rotated["secret"]), (200, &json!(imported)), "{rotated}");
    // The version rose with the rotation, so the next message brings the new secret to every process.
    hook.post().await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    hook.receiver.expect_secret("/hook", imported);
    hook.post().await;
    let received = hook.receiver.wait_for(2, SOON).await.unwrap();
    assert_eq!([&received[0].signature, &received[1].signature], [&Signature::Verified; 2]);
    assert_eq!(received[1].header("webhook-signature").split(' ').count(), 2);

    let (_, rotated) = stack.local.endpoints().post(&path, &json!({"grace_hours": 0})).await.unwrap();
    hook.receiver.expect_secret("/hook", rotated["secret"].as_str().unwrap());
    hook.post().await;
    let received = hook.receiver.wait_for(3, SOON).await.unwrap();
    assert_eq!(received[2].signature, Signature::Verified);
    assert_eq!(received[2].header("webhook-signature").split(' ').count(), 1, "no grace");
}

#[scenario]
async fn ten_registered_at_once_are_all_in_the_list_and_get_events() {
    let stack = Stack::calm().await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    let paths: Vec<String> = (0..10).map(|number| format!("/{number}")).collect();
    let registered = paths.iter().map(|path| Hook::register(stack, &receiver, &tenant, path, json!({})));
    let mut ids = futures::future::join_all(registered).await;
    let api = stack.local.endpoints();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = api.get(&format!("/v1/endpoints?tenant={tenant}&limit=3{cursor}")).await.unwrap();
        listed.extend(page["endpoints"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match &page["cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => break,
        }
    }
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    assert_eq!(stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await["deliveries"], 10);
    receiver.wait_for(10, SOON).await.unwrap();
}

#[scenario]
async fn a_deleted_endpoint_is_gone_and_another_tenants_is_not_there() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let key = stack.key(&["admin"], Some(&unique("other"))).await;
    let other = Stack::api(&stack.local.urls.endpoints, &key);
    for status in [
        other.get(&path).await.unwrap().0,
        other.delete(&path).await.unwrap().0,
        other.post(&format!("{path}/pause"), &json!({})).await.unwrap().0,
        other.get(&format!("{path}/secret")).await.unwrap().0,
    ] {
        assert_eq!(status, 404);
    }
    hook.change("delete").await;
    let api = stack.local.endpoints();
    assert_eq!(api.get(&path).await.unwrap().0, 404);
    assert_eq!(api.patch(&path, &json!({"name": "x"})).await.unwrap().0, 404);
    let (_, list) = api.get(&format!("/v1/endpoints?tenant={}", hook.tenant)).await.unwrap();
    assert_eq!(list["endpoints"], json!([]));
}

/// All rows of a list, over pages of so many.
async fn listed(api: &Api, path: &str, rows: &str, limit: usize) -> Vec<Value> {
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = api.get(&format!("{path}?limit={limit}{cursor}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        let found = page[rows].as_array().unwrap();
        assert!(found.len() <= limit, "{page}");
        listed.extend(found.iter().cloned());
        match &page["cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return listed,
        }
    }
}

#[scenario]
async fn a_key_for_the_stack_lists_the_endpoints_of_all_tenants_and_the_tenants() {
    let stack = Stack::calm().await;
    let (receiver, api) = (Receiver::start().unwrap(), stack.local.endpoints());
    let tenants = [unique("a"), unique("a"), unique("a")];
    let mut ids = Vec::new();
    for tenant in [&tenants[0], &tenants[1], &tenants[0], &tenants[0]] {
        ids.push(json!(Hook::register(stack, &receiver, tenant, "/hook", json!({})).await));
    }
    let paused = format!("/v1/endpoints/{}/pause", ids[1].as_str().unwrap());
    assert_eq!(
        api.post(&paused, &json!({})).await.unwrap().0,
        200,
        "a tenant whose one endpoint is paused is one, too"
    );
    let mine = |row: &&Value| tenants.iter().any(|tenant| row["tenant"] == **tenant);
    eventually("the tenants", SOON, || async {
        let all = listed(&api, "/v1/tenants", "tenants", 100).await;
        (all.iter().filter(mine).count() == 2).then_some(())
    })
    .await;
    for limit in [1, 2, 100] {
        let all = listed(&api, "/v1/tenants", "tenants", limit).await;
        let names: Vec<_> = all.iter().map(|row| row["tenant"].as_str().unwrap()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "each once, in order: {names:?}");
        assert_eq!(all.iter().filter(mine).count(), 2, "the third has no endpoint");
    }
    for limit in [2, 100] {
        let all = listed(&api, "/v1/endpoints", "endpoints", limit).await;
        let of =
            |tenant: &str| all.iter().filter(|row| row["tenant"] == tenant).map(|row| &row["id"]).collect::<Vec<_>>();
        assert_eq!(of(&tenants[0]), [&ids[0], &ids[2], &ids[3]], "in the order in which they were registered");
        assert_eq!(of(&tenants[1]), [&ids[1]]);
    }
    let bound = Stack::api(&stack.local.urls.endpoints, &stack.key(&["admin"], Some(&tenants[1])).await);
    assert_eq!(listed(&bound, "/v1/tenants", "tenants", 10).await, [json!({"tenant": tenants[1]})]);
    let own: Vec<_> =
        listed(&bound, "/v1/endpoints", "endpoints", 10).await.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(own, [ids[1].clone()]);
    for id in &ids {
        assert_eq!(api.delete(&format!("/v1/endpoints/{}", id.as_str().unwrap())).await.unwrap().0, 204);
    }
    eventually("the tenants without endpoints to be gone", SOON, || async {
        let all = listed(&api, "/v1/tenants", "tenants", 100).await;
        (!all.iter().any(|row| mine(&row))).then_some(())
    })
    .await;
}
