//! URLs whose callers sign their requests: `ReplayAuth` and its like are `AWS_IAM`. API keys do not open them then.
//!
//! The emulator refuses a request without a signature, as AWS does. It names no signer to the function, so the requests of
//! signers are given to the functions as Lambda would give them.

use local::Api;
use pombo_tests::{Stack, scenario};
use serde_json::{Value, json};

/// Who signs.
const SIGNER: &str = "arn:aws:sts::000000000000:assumed-role/on-call/ana";

/// Gives a function the request of a signer; gives the answer's status and body.
async fn signed(stack: &Stack, function: &str, (method, path): (&str, &str), body: &Value) -> (u64, Value) {
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "isBase64Encoded": false,
        "requestContext": {"http": {"method": method, "path": path}, "authorizer": {"iam": {"userArn": SIGNER}}},
        "body": if body.is_null() { Value::Null } else { body.to_string().into() },
    });
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let call = client.invoke().function_name(stack.resource(function)).payload(event.to_string().into_bytes().into());
    let answer: Value = serde_json::from_slice(call.send().await.unwrap().payload().unwrap().as_ref()).unwrap();
    let body = answer["body"].as_str().unwrap_or("null");
    let status = answer["statusCode"].as_u64().unwrap_or_else(|| panic!("{method} {path}: {answer}"));
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

#[scenario]
async fn signers_search_and_replay_for_every_tenant_and_keys_open_nothing() {
    let stack = Stack::own("signed", &[("ReplayAuth", "AWS_IAM"), ("IngestAuth", "AWS_IAM")]).await;
    let post = |id: &str| json!({"type": "a", "tenant": "acme", "id": id, "data": {}});
    let posted = signed(stack, "IngestFunction", ("POST", "/v1/events"), &post("e1")).await;
    assert_eq!(posted.0, 202, "{}", posted.1);
    let (status, event) = signed(stack, "ReplayFunction", ("GET", "/v1/events/acme~e1"), &Value::Null).await;
    assert_eq!((status, &event["posted_by"]), (200, &json!("role/on-call")), "{event}");
    let (status, letters) = signed(stack, "ReplayFunction", ("GET", "/v1/dead-letters"), &Value::Null).await;
    assert_eq!(status, 200, "a stack-wide key's call: {letters}");
    let dry = json!({"dry_run": true, "filter": {"tenant": "acme", "since": "2026-01-31T09:30:00Z"}});
    let (status, answer) = signed(stack, "ReplayFunction", ("POST", "/v1/replays"), &dry).await;
    assert_eq!(status, 200, "{answer}");

    for (url, path) in [(&stack.local.urls.replay, "/v1/dead-letters"), (&stack.local.urls.replay, "/")] {
        let (status, answer) = Api::new(url, &stack.local.keys.admin).get(path).await.unwrap();
        assert_eq!(status, 403, "the key opens nothing, and the console is closed: {answer}");
    }
    let (status, answer) = stack.local.ingest().post("/v1/events", &post("e2")).await.unwrap();
    assert_eq!(status, 403, "{answer}");
}

#[scenario]
async fn signers_of_the_endpoints_url_may_do_what_an_admin_key_for_the_stack_may() {
    let stack = Stack::own("signed-endpoints", &[("MaxKeysPerTenant", "3")]).await;
    // Keys for the tests are made over the URL, so it is closed afterwards.
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let name = stack.resource("EndpointsFunction");
    let configured = client.get_function_configuration().function_name(name).send().await.unwrap();
    let mut variables = configured.environment.unwrap().variables.unwrap();
    assert_eq!(variables.insert("ENDPOINTS_AUTH".into(), "AWS_IAM".into()).as_deref(), Some("NONE"));
    let environment = aws_sdk_lambda::types::Environment::builder().set_variables(Some(variables)).build();
    client.update_function_configuration().function_name(name).environment(environment).send().await.unwrap();

    let (status, answer) = stack.local.endpoints().get("/v1/keys").await.unwrap();
    assert_eq!(status, 403, "{answer}");
    assert_eq!(answer["detail"], "Sign the request with AWS Signature Version 4.");
    let wanted = json!({"tenant": "acme", "url": "https://example.com/", "event_types": ["*"]});
    let (status, endpoint) = signed(stack, "EndpointsFunction", ("POST", "/v1/endpoints"), &wanted).await;
    assert_eq!((status, &endpoint["url_set_by"]), (201, &json!("stack")), "{endpoint}");
    let wanted = json!({"name": "portal", "scopes": ["admin"], "tenant": "acme"});
    for _ in 0..3 {
        let (status, key) = signed(stack, "EndpointsFunction", ("POST", "/v1/keys"), &wanted).await;
        assert_eq!((status, &key["made_by"]), (201, &Value::Null), "{key}");
        stack.keep_secret(key["key"].as_str().unwrap());
    }
    let (status, answer) = signed(stack, "EndpointsFunction", ("POST", "/v1/keys"), &wanted).await;
    assert_eq!(status, 409, "the limit on keys holds for signers too: {answer}");
}
