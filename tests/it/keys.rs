//! API keys: who may do what.

use local::Api;
use pombo_tests::{Stack, scenario, unique};
use serde_json::json;

fn apis(stack: &Stack, key: &str) -> [(Api, &'static str, &'static str); 3] {
    let urls = &stack.local.urls;
    [
        (Api::new(&urls.ingest, key), "ingest", "/v1/events"),
        (Api::new(&urls.replay, key), "ops", "/v1/deliveries"),
        (Api::new(&urls.endpoints, key), "admin", "/v1/keys"),
    ]
}

/// The status of a harmless call to each URL: 202 or 200 when the key may, 403 when its scope does not.
async fn statuses(stack: &Stack, key: &str) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (place, (api, scope, path)) in apis(stack, key).into_iter().enumerate() {
        let (status, _) = match scope {
            "ingest" => api.post(path, &json!({"type": "a", "data": {}})).await.unwrap(),
            _ => api.get(path).await.unwrap(),
        };
        statuses[place] = status;
    }
    statuses
}

#[scenario]
async fn each_scope_opens_its_urls_and_no_others() {
    let stack = Stack::calm().await;
    for (scopes, expected) in [
        (vec!["ingest"], [202, 403, 403]),
        (vec!["ops"], [202, 200, 403]),
        (vec!["admin"], [202, 200, 200]),
        (vec!["ingest", "ops"], [202, 200, 403]),
    ] {
        let key = stack.key(&scopes, None).await;
        assert_eq!(statuses(stack, &key).await, expected, "{scopes:?}");
    }
    for wrong in ["", "pk_nonsense", &stack.local.keys.admin[..20], &format!("{}x", stack.local.keys.admin)] {
        assert_eq!(statuses(stack, wrong).await, [401; 3], "{wrong:?}");
    }
}

#[scenario]
async fn a_revoked_key_is_refused_within_a_minute() {
    let stack = Stack::calm().await;
    let key = stack.key(&["ingest"], None).await;
    let api = Stack::api(&stack.local.urls.ingest, &key);
    let post = || async { api.post("/v1/events", &json!({"type": "a", "data": {}})).await.unwrap().0 };
    assert_eq!(post().await, 202);
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(stack.local.endpoints().delete(&format!("/v1/keys/{id}")).await.unwrap().0, 204);
    pombo_tests::eventually("the key is refused", std::time::Duration::from_secs(60), || async {
        (post().await == 401).then_some(())
    })
    .await;
}

#[scenario]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let key = stack.key(&["ops", "ingest"], Some(&tenant)).await;
    let (status, list) = stack.local.endpoints().get(&format!("/v1/keys?tenant={tenant}")).await.unwrap();
    assert_eq!((status, list["keys"].as_array().unwrap().len()), (200, 1), "{list}");
    assert_eq!((&list["keys"][0]["scopes"], &list["keys"][0]["tenant"]), (&json!(["ingest", "ops"]), &json!(tenant)));
    let secret = key.rsplit('_').next().unwrap();
    assert!(!list.to_string().contains(secret));
}

#[scenario]
async fn the_first_keys_path_is_closed_to_the_url_and_makes_admin_keys_only() {
    let stack = Stack::calm().await;
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let invoke = |payload: serde_json::Value| {
        let client = client.clone();
        async move {
            let function = stack.resource("EndpointsFunction");
            let payload = payload.to_string().into_bytes();
            let answer = client.invoke().function_name(function).payload(payload.into()).send().await.unwrap();
            let text = String::from_utf8(answer.payload.unwrap().into_inner()).unwrap();
            (answer.function_error.is_some(), serde_json::from_str::<serde_json::Value>(&text).unwrap())
        }
    };
    let (failed, made) = invoke(json!({"create_admin_key": {"name": "x"}})).await;
    assert!(!failed, "{made}");
    assert_eq!(made["scopes"], json!(["admin"]));
    assert_eq!(statuses(stack, made["key"].as_str().unwrap()).await, [202, 200, 200]);
    for wrong in [
        json!({"create_admin_key": {"name": "x"}, "requestContext": {}}),
        json!({"create_admin_key": {"name": "x"}, "requestContext": {"http": {"method": "POST", "path": "/"}}}),
        json!({"create_admin_key": {"name": "x", "scopes": ["ingest"]}}),
        json!({}),
    ] {
        let (failed, answer) = invoke(wrong.clone()).await;
        assert!(failed || answer["statusCode"].as_u64().is_some_and(|status| status >= 400), "{wrong}: {answer}");
        assert!(!answer.to_string().contains("pk_"), "{wrong}: {answer}");
    }
    let (status, _) = stack.local.endpoints().post("/", &json!({"create_admin_key": {"name": "x"}})).await.unwrap();
    assert_eq!(status, 404);
}
