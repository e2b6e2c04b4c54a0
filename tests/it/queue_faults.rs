//! SQS takes some entries of a batch and refuses others.

use local::{Answer, Receiver};
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

/// Three endpoints of a new tenant.
async fn three(receiver: &Receiver) -> (String, Vec<String>) {
    let (stack, tenant) = (Stack::calm().await, unique("t"));
    let mut endpoints = Vec::new();
    for number in 0..3 {
        endpoints.push(Hook::register(stack, receiver, &tenant, &format!("/{number}"), json!({})).await);
    }
    (tenant, endpoints)
}

fn batch_to(endpoint: &str) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let endpoint = endpoint.to_owned();
    move |call| call.operation == "SendMessageBatch" && call.mentions(&endpoint)
}

#[scenario]
async fn entries_that_are_refused_are_sent_again() {
    let (stack, receiver) = (Stack::calm().await, Receiver::start().unwrap());
    let (tenant, endpoints) = three(&receiver).await;
    let wanted = batch_to(&endpoints[1]);
    stack.proxy.spoil_times(1, move |call| wanted(call).then(|| Fault::RefuseEntries(vec![1], false)));
    stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
    let received = receiver.wait_for(3, SOON).await.unwrap();
    assert_eq!(received.len(), 3);
    let again = stack.proxy.calls(batch_to(&endpoints[1]));
    assert_eq!(again.len(), 2);
    assert_eq!(again[1].body["Entries"].as_array().unwrap().len(), 1, "only the refused one");
}

#[scenario]
async fn an_entry_refused_for_its_content_is_sent_by_reference() {
    let (stack, receiver) = (Stack::calm().await, Receiver::start().unwrap());
    let (tenant, endpoints) = three(&receiver).await;
    let wanted = batch_to(&endpoints[0]);
    stack.proxy.spoil_times(1, move |call| wanted(call).then(|| Fault::RefuseEntries(vec![0], true)));
    let accepted = stack.post(&json!({"type": "a", "tenant": tenant, "data": {"n": 1}})).await;
    let received = receiver.wait_for(3, SOON).await.unwrap();
    let body = |path: &str| received.iter().find(|received| received.path == path).unwrap().body.clone();
    assert_eq!(body("/0"), body("/1"), "the same bytes, read from the event");
    let again = stack.proxy.calls(batch_to(&endpoints[0]));
    let message = again[1].body["Entries"][0]["MessageBody"].as_str().unwrap();
    assert!(!message.contains("\"body\"") && message.contains("\"tenant\""), "{message}");
    assert_eq!(accepted["deliveries"], 3);
}

#[scenario]
async fn what_could_not_be_queued_is_said_and_a_repeat_makes_it_whole() {
    let (stack, receiver) = (Stack::calm().await, Receiver::start().unwrap());
    let (tenant, endpoints) = three(&receiver).await;
    let wanted = batch_to(&endpoints[2]);
    // The first try and its three repeats.
    let last = |call: &Call| vec![call.body["Entries"].as_array().map_or(0, Vec::len) - 1];
    stack.proxy.spoil_times(4, move |call| wanted(call).then(|| Fault::RefuseEntries(last(call), false)));
    let event = json!({"type": "a", "tenant": tenant, "data": {}});
    let (status, problem) = stack.local.ingest().post("/v1/events", &event).await.unwrap();
    assert_eq!(status, 503, "{problem}");
    let id = problem["id"].as_str().expect("the id to repeat with");
    let mut again = event.clone();
    again["id"] = id.into();
    let accepted = stack.post(&again).await;
    assert_eq!((&accepted["duplicate"], &accepted["deliveries"]), (&json!(true), &json!(3)));
    // The refused message is sent at once. The others wait, because their first messages may be under way.
    let repeat = stack.proxy.calls(batch_to(&endpoints[0])).pop().unwrap();
    for (entry, endpoint) in repeat.body["Entries"].as_array().unwrap().iter().zip(&endpoints) {
        let message = entry["MessageBody"].as_str().unwrap();
        assert!(entry["MessageGroupId"] == **endpoint && !message.contains(r#""first""#), "{entry}");
        assert_eq!(entry["DelaySeconds"].is_null(), *endpoint == endpoints[2], "{entry}");
    }
    eventually("all succeeded", SOON, || async {
        let event = stack.event(&tenant, id).await;
        let done = event["deliveries"].as_array().unwrap().iter().all(|delivery| delivery["status"] == "succeeded");
        done.then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 3, "nothing came twice");
}

#[scenario]
async fn a_batch_that_is_refused_as_a_whole_is_sent_again_with_the_mark() {
    let (stack, receiver) = (Stack::calm().await, Receiver::start().unwrap());
    let (tenant, endpoints) = three(&receiver).await;
    let wanted = batch_to(&endpoints[0]);
    stack.proxy.spoil_times(2, move |call| wanted(call).then_some(Fault::Refuse(400, "RequestThrottled")));
    stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
    receiver.wait_for(3, SOON).await.unwrap();
    let sent = stack.proxy.calls(batch_to(&endpoints[0]));
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|call| call.mentions(r#"\"first\":true"#) && !call.mentions("DelaySeconds")), "{sent:?}");
}

#[scenario]
async fn a_batch_whose_answer_is_lost_is_sent_again_without_the_mark_after_the_window() {
    let (stack, receiver) = (Stack::calm().await, Receiver::start().unwrap());
    let (tenant, endpoints) = three(&receiver).await;
    let wanted = batch_to(&endpoints[0]);
    stack.proxy.spoil_times(1, move |call| wanted(call).then_some(Fault::LoseAnswer));
    let accepted = stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
    assert_eq!(accepted["duplicate"], false);
    let sent = stack.proxy.calls(batch_to(&endpoints[0]));
    assert_eq!(sent.len(), 2, "the SDK repeats nothing");
    assert!(sent[0].mentions(r#"\"first\":true"#) && !sent[1].mentions(r#"\"first\""#));
    for entry in sent[1].body["Entries"].as_array().unwrap() {
        assert!((20..=25).contains(&entry["DelaySeconds"].as_u64().unwrap()), "{entry}");
    }
}

#[scenario]
async fn a_receivers_hang_up_is_a_connection_failure() {
    let hook =
        Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [1]}}), |_| Answer::hang_up()).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "failed", SOON).await;
    assert_eq!(delivery["attempts"][0]["outcome"]["kind"], "connection", "{delivery}");
}
