//! `POST /v1/endpoints/{id}/test`: a real request down the real path, or a refusal that says why not.

use aws_sdk_dynamodb::types::AttributeValue::S;
use local::Answer;
use pombo_tests::{Fault, Hook, SOON, Stack, scenario};
use serde_json::{Value, json};

async fn test(hook: &Hook, body: &Value) -> (u16, Value) {
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    hook.stack.local.endpoints().post(&path, body).await.unwrap()
}

#[scenario]
async fn a_test_arrives_signed_whatever_the_endpoint_subscribes_to_and_is_followed_as_any_delivery() {
    let options = json!({"event_types": ["student.created"], "name": "Registrar", "headers": {"x-api-key": "k"}});
    let hook = Hook::new(Stack::calm().await, options, |_| Answer::status(204)).await;
    let (status, sent) = test(&hook, &json!({})).await;
    assert_eq!((status, &sent["type"]), (202, &json!("pombo.ping")), "{sent}");
    let event = sent["event_id"].as_str().unwrap();
    let delivery = hook.until_status(event, "succeeded", SOON).await;
    assert_eq!((&delivery["id"], &delivery["event_type"]), (&sent["delivery_id"], &sent["type"]));
    let received = hook.receiver.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].webhook_id(), received[0].header("x-api-key")),
        (&*format!("{}~{event}", hook.tenant), "k")
    );
    assert_eq!(sent["webhook_id"], received[0].webhook_id());
    hook.assert_signed();
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!(body["type"], "pombo.ping");
    let data = &body["data"];
    assert_eq!((&data["endpoint_id"], &data["tenant"]), (&json!(hook.endpoint), &json!(hook.tenant)), "{data}");
    assert_eq!((&data["name"], &data["requested_at"]), (&json!("Registrar"), &body["timestamp"]), "{data}");
}

#[scenario]
async fn a_test_that_fails_has_one_attempt_and_so_has_its_replay() {
    let options = json!({"retry_policy": {"delays_seconds": vec![1; 20]}});
    let hook = Hook::new(Stack::calm().await, options, |received| {
        let answer = Answer::status(if received.times < 3 { 503 } else { 200 });
        answer.with_header("retry-after", "1")
    })
    .await;
    let (_, sent) = test(&hook, &json!({})).await;
    let event = sent["event_id"].as_str().unwrap();
    let failed = hook.until_status(event, "failed", SOON).await;
    assert_eq!((&failed["round"], &failed["attempt"]), (&json!(0), &json!(1)), "{failed}");
    assert_eq!(failed["attempts"][0]["retry_after"], Value::Null, "nothing waits: {failed}");
    hook.replay(&[sent["delivery_id"].as_str().unwrap()]).await;
    let is_over = |delivery: &Value| delivery["round"] == 1 && delivery["status"] == "failed";
    let failed = hook.until(event, "failed again", SOON, is_over).await;
    assert_eq!(failed["attempt"], 1, "{failed}");
    hook.replay(&[sent["delivery_id"].as_str().unwrap()]).await;
    hook.until_status(event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 3);
}

/// The status of a test, and after how many seconds another may be made.
async fn status(hook: &Hook) -> (u16, Option<u32>) {
    let url = format!("{}/v1/endpoints/{}/test", hook.stack.local.urls.endpoints, hook.endpoint);
    let request = reqwest::Client::new().post(url).bearer_auth(&hook.stack.local.keys.admin);
    let answer = request.send().await.unwrap();
    let seconds = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    (answer.status().as_u16(), seconds)
}

#[scenario]
async fn six_tests_a_minute_are_sent_however_many_are_asked_for_at_one_time() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let answers = futures::future::join_all((0..20).map(|_| status(&hook))).await;
    let taken = answers.iter().filter(|(status, _)| *status == 202).count();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 429).collect();
    assert_eq!((taken, refused.len()), (6, 14), "{answers:?}");
    assert!(refused.iter().all(|(_, seconds)| (1..=60).contains(&seconds.unwrap())), "{answers:?}");
    let (status, problem) = test(&hook, &json!({})).await;
    assert!(status == 429 && problem["detail"].as_str().unwrap().contains("tested 6 times"), "{problem}");
    hook.receiver.wait_for(6, SOON).await.unwrap();
    // Another endpoint of the same tenant has six of its own.
    let other = Hook::register(hook.stack, &hook.receiver, &hook.tenant, "/other", json!({})).await;
    let path = format!("/v1/endpoints/{other}/test");
    assert_eq!(hook.stack.local.endpoints().post(&path, &json!({})).await.unwrap().0, 202);
    hook.receiver.wait_for(7, SOON).await.unwrap();
    assert_eq!(hook.receiver.count(), 7);
}

#[scenario]
async fn a_paused_endpoint_is_not_tested() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    hook.change("pause").await;
    let (status, problem) = test(&hook, &json!({})).await;
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("/resume"), "{problem}");
    hook.change("resume").await;
    assert_eq!(test(&hook, &json!({})).await.0, 202);
}

#[scenario]
async fn a_url_that_is_refused_by_now_is_named_with_its_rule() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    // As it was stored under a policy that is no longer the stack's.
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let update = client.update_item().table_name(stack.resource("EndpointsTable"));
    let update = update.key("endpoint_id", S(hook.endpoint.clone())).update_expression("SET #url = :url");
    let update = update.expression_attribute_names("#url", "url");
    update.expression_attribute_values(":url", S("https://10.0.0.1/hook".into())).send().await.unwrap();
    let (status, problem) = test(&hook, &json!({})).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("url")), "{problem}");
    assert!(problem["errors"][0]["rule"].as_str().unwrap().contains("10.0.0.1"), "{problem}");
    assert_eq!(hook.receiver.count(), 0);
}

#[scenario]
async fn what_is_not_queued_is_said_with_its_ids() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let endpoint = hook.endpoint.clone();
    hook.stack.proxy.spoil(move |call| {
        let queues = call.operation == "SendMessageBatch" && call.body["Entries"][0]["MessageGroupId"] == endpoint;
        queues.then_some(Fault::Refuse(400, "AccessDeniedException"))
    });
    let (status, problem) = test(&hook, &json!({})).await;
    assert_eq!(status, 503, "{problem}");
    let delivery = hook.delivery(problem["event_id"].as_str().unwrap()).await;
    assert_eq!((&delivery["id"], &delivery["status"]), (&problem["delivery_id"], &json!("pending")));
}

#[scenario]
async fn only_an_endpoint_that_there_is_can_be_tested_and_with_nothing_to_say() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (status, problem) = test(&hook, &json!({"url": "https://example.com/"})).await;
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("url")), "{problem}");
    hook.change("delete").await;
    assert_eq!(test(&hook, &json!({})).await.0, 404);
    let elsewhere = hook.stack.key(&["admin"], Some("another-tenant")).await;
    let other = Hook::new(hook.stack, json!({}), |_| Answer::status(200)).await;
    let api = Stack::api(&hook.stack.local.urls.endpoints, &elsewhere);
    let (status, _) = api.post(&format!("/v1/endpoints/{}/test", other.endpoint), &json!({})).await.unwrap();
    assert_eq!(status, 404);
    assert_eq!(other.receiver.count(), 0);
}
