//! `keys.json`: for everybody, and nothing but the keys.

use local::Answer;
use pombo_tests::{Hook, Stack, scenario};
use serde_json::{Value, json};

use super::known;

/// The answer to a call without an API key.
struct Anonymous {
    status: u16,
    cache_control: String,
    body: Value,
}

async fn get(stack: &Stack, path: &str) -> Anonymous {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/v1/endpoints/{path}", stack.local.urls.endpoints)).send().await.unwrap();
    let cache_control = answer.headers()["cache-control"].to_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    Anonymous { status, cache_control, body: serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap() }
}

#[scenario]
async fn public_keys_are_for_everybody_and_nothing_else_is() {
    let options = json!({"signatures": ["v1", "v1a"], "name": "Registrar", "headers": {"x-api-key": "the receiver's"}});
    let hook = Hook::new(Stack::calm().await, options, |_| Answer::status(200)).await;
    let path = format!("{}/keys.json", hook.endpoint);
    let first = get(hook.stack, &path).await;
    assert_eq!((first.status, first.cache_control.as_str()), (200, "public, max-age=300"));
    let key = first.body["keys"][0].clone();
    assert!(key["public_key"].as_str().unwrap().starts_with("whpk_") && key["created_at"].is_string(), "{key}");
    assert_eq!(
        first.body,
        json!({"keys": [{
            "public_key": key["public_key"], "created_at": key["created_at"], "expires_at": null,
        }]})
    );
    hook.change("pause").await;
    assert_eq!(get(hook.stack, &path).await.body, first.body, "it is the same as long as the key is");

    let rotate = format!("/v1/endpoints/{}/rotate-secret", hook.endpoint);
    hook.stack.local.endpoints().post(&rotate, &json!({"grace_hours": 2})).await.unwrap();
    let second = get(hook.stack, &path).await.body;
    assert_eq!((second["keys"].as_array().unwrap().len(), &second["keys"][0]["expires_at"]), (2, &Value::Null));
    assert_eq!(second["keys"][1]["public_key"], key["public_key"]);
    assert!(second["keys"][1]["expires_at"].is_string(), "{second}");
    for path in ["", "/secret"] {
        assert_eq!(get(hook.stack, &format!("{}{path}", hook.endpoint)).await.status, 401, "{path}");
    }
}

#[scenario]
async fn where_there_are_no_public_keys_the_answer_is_always_the_same() {
    let stack = Stack::calm().await;
    let without = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let deleted = Hook::new(stack, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let path = |endpoint: &str| format!("{endpoint}/keys.json");
    assert_eq!(get(stack, &path(&deleted.endpoint)).await.status, 200);
    deleted.change("delete").await;
    let unknown = get(stack, &path("ep_aaaaaaaaaaaaaaaa")).await;
    assert_eq!((unknown.status, unknown.cache_control.as_str()), (404, "no-store"));
    for id in [without.endpoint.as_str(), &deleted.endpoint, "ep_x", "%20"] {
        let answer = get(stack, &path(id)).await;
        assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{id}");
    }
    assert_eq!(get(stack, &format!("{}?x=1", path(&without.endpoint))).await.status, 400);
    let path = format!("/v1/endpoints/{}/keys.json", without.endpoint);
    assert_eq!(stack.local.endpoints().post(&path, &json!({})).await.unwrap().0, 405);
}

#[scenario]
async fn a_private_key_is_in_no_answer() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let (api, path) = (stack.local.endpoints(), format!("/v1/endpoints/{}", hook.endpoint));
    let answers = [
        api.post(&format!("{path}/rotate-secret"), &json!({})).await.unwrap(),
        api.patch(&path, &json!({"name": "x"})).await.unwrap(),
        api.get(&path).await.unwrap(),
        api.get(&format!("/v1/endpoints?tenant={}", hook.tenant)).await.unwrap(),
        api.get(&format!("{path}/secret")).await.unwrap(),
        api.get(&format!("{path}/keys.json")).await.unwrap(),
        api.post(&format!("{path}/pause"), &json!({})).await.unwrap(),
        api.post(&format!("{path}/resume"), &json!({})).await.unwrap(),
    ];
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let key = aws_sdk_dynamodb::types::AttributeValue::S(hook.endpoint.clone());
    let item = client.get_item().table_name(stack.resource("EndpointsTable")).key("endpoint_id", key).send().await;
    let stored = item.unwrap().item.unwrap()["signing_keys"].as_l().unwrap().clone();
    assert_eq!((stored.len(), known(stack, &hook.endpoint).await.1.len()), (2, 2));
    for key in stored {
        let private = key.as_m().unwrap()["secret"].as_s().unwrap().clone();
        let private = private.strip_prefix("whsk_").unwrap();
        for (status, answer) in &answers {
            assert!(*status == 200 && !answer.to_string().contains(private), "{answer}");
        }
    }
}
