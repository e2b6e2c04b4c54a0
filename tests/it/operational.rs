//! Operational events: what changes at an endpoint, and what fails for good, told through the same path as any event.
//!
//! Whoever subscribes is told of everything in the stack, so these tests have stacks of their own, and each looks at the news
//! of its own endpoint only.

mod failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use local::{Answer, Receiver, Signature};
use pombo_tests::{Call, Fault, Hook, SOON, SUBSCRIPTION_KNOWN, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The stack of the tests that kill nothing.
async fn told() -> &'static Stack {
    static TOLD: OnceCell<Stack> = OnceCell::const_new();
    TOLD.get_or_init(|| Stack::start("told", &[])).await
}

/// Subscribes to these types of operational events; every process knows it then. Gives the receiver and the endpoint's id.
async fn subscribe(stack: &Stack, event_types: &[&str]) -> (Receiver, String) {
    let receiver = Receiver::start().unwrap();
    let endpoint = Hook::register(stack, &receiver, "pombo", "/ops", json!({"event_types": event_types})).await;
    tokio::time::sleep(SUBSCRIPTION_KNOWN).await;
    (receiver, endpoint)
}

/// The bodies that came about an endpoint; each must have been signed.
fn news(receiver: &Receiver, endpoint: &str) -> Vec<Value> {
    let bodies = receiver.received().into_iter().map(|received| {
        assert_eq!(received.signature, Signature::Verified, "{received:?}");
        serde_json::from_slice::<Value>(&received.body).unwrap()
    });
    bodies.filter(|body| body["data"]["endpoint_id"] == endpoint).collect()
}

/// Waits for so much news of an endpoint; gives it by the endpoint's version, since it comes in no order.
async fn wait_for(receiver: &Receiver, endpoint: &str, count: usize) -> Vec<Value> {
    let mut bodies = eventually("the news", SOON, || async {
        let bodies = news(receiver, endpoint);
        (bodies.len() >= count).then_some(bodies)
    })
    .await;
    bodies.sort_by_key(|body| body["data"]["version"].as_u64());
    bodies
}

/// Sweeps until there is an answer.
async fn sweep_until<T>(stack: &Stack, what: &str, at_most: Duration, ask: impl Fn() -> Option<T>) -> T {
    eventually(what, at_most, || async {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        ask()
    })
    .await
}

fn types(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["type"].as_str().unwrap()).collect()
}

/// An endpoint that fails, and gives up after one second.
async fn failing(stack: &'static Stack) -> Hook {
    let options = json!({"name": "Registrar", "retry_policy": {"delays_seconds": [1]}});
    Hook::new(stack, options, |_| Answer::status(500).with_body("no")).await
}

#[scenario]
async fn every_change_of_an_endpoint_is_told_once_and_signed() {
    let stack = told().await;
    let (receiver, _) = subscribe(stack, &["pombo.endpoint.*"]).await;
    let hook = Hook::new(stack, json!({"name": "Registrar"}), |_| Answer::status(200)).await;
    let api = stack.local.endpoints();
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let patch = json!({"timeout_seconds": 2, "headers": {"x-api-key": "k3y"}, "name": "Registrar"});
    assert_eq!(api.patch(&path, &patch).await.unwrap().0, 200);
    assert_eq!(api.post(&format!("{path}/rotate-secret"), &json!({})).await.unwrap().0, 200);
    for change in ["pause", "pause", "resume", "delete"] {
        hook.change(change).await;
    }
    let bodies = wait_for(&receiver, &hook.endpoint, 6).await;
    let expected = ["created", "updated", "secret_rotated", "paused", "resumed", "deleted"];
    assert_eq!(types(&bodies), expected.map(|name| format!("pombo.endpoint.{name}")));
    for (body, version) in bodies.iter().zip(1..) {
        let about = json!({
            "endpoint_id": hook.endpoint, "tenant": hook.tenant, "name": "Registrar", "version": version,
        });
        for (name, value) in about.as_object().unwrap() {
            assert_eq!(body["data"][name], *value, "{body}");
        }
        for secret in ["127.0.0.1", "k3y", "whsec_"] {
            assert!(!body.to_string().contains(secret), "{body}");
        }
    }
    assert_eq!(bodies[1]["data"]["fields"], json!(["headers", "timeout_seconds"]));
    assert_eq!(bodies[3]["data"]["reason"], "requested");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(news(&receiver, &hook.endpoint).len(), 6, "a pause that changes nothing is no news");
}

#[scenario]
async fn nothing_is_told_of_what_tells() {
    let stack = told().await;
    let (receiver, endpoint) = subscribe(stack, &["pombo.*"]).await;
    // One that fails to take the news, and is changed as well.
    let deaf = Receiver::start_with(|_| Answer::status(500)).unwrap();
    let options = json!({"event_types": ["pombo.endpoint.*"], "retry_policy": {"delays_seconds": [1]}});
    let failing = Hook::register(stack, &deaf, "pombo", "/deaf", options).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let (_, page) = eventually("the news that failed", SOON, || async {
        let path = format!("/v1/deliveries?endpoint_id={failing}&status=failed");
        let (status, page) = stack.local.replay().get(&path).await.unwrap();
        page["deliveries"][0].is_object().then_some((status, page))
    })
    .await;
    assert_eq!(page["deliveries"][0]["tenant"], "pombo", "{page}");
    for id in [&endpoint, &failing] {
        let path = format!("/v1/endpoints/{id}");
        let (status, _) = stack.local.endpoints().patch(&path, &json!({"name": unique("n")})).await.unwrap();
        assert_eq!(status, 200);
    }
    hook.change("pause").await;
    assert_eq!(types(&wait_for(&receiver, &hook.endpoint, 2).await)[1], "pombo.endpoint.paused");
    assert_eq!(news(&receiver, &endpoint), Vec::<Value>::new());
    assert_eq!(news(&receiver, &failing), Vec::<Value>::new());
}

#[scenario(slow)]
async fn a_process_that_dies_after_the_change_loses_nothing() {
    let stack = Stack::own("untold", &[]).await;
    let (receiver, _) = subscribe(stack, &["pombo.endpoint.paused"]).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    // The endpoints function dies before it announces the event, and the jobs function when it has queued the delivery.
    stack.proxy.spoil_times(1, |call| is_announcement(call).then_some(Fault::KillBefore));
    let queues = |call: &Call| call.operation == "SendMessageBatch" && call.mentions("pombo.endpoint.paused");
    stack.proxy.spoil_times(1, move |call| queues(call).then_some(Fault::KillAfter));
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let answer = stack.local.endpoints().post(&format!("{path}/pause"), &json!({})).await;
    assert!(!answer.is_ok_and(|(status, _)| status == 200), "it died");
    let (_, endpoint) = stack.local.endpoints().get(&path).await.unwrap();
    assert_eq!(endpoint["status"], "paused", "but the change stands");
    let queued = || {
        let unmarked = |call: &Call| call.operation == "UpdateItem" && call.mentions("REMOVE due_shard");
        Some(stack.proxy.calls(unmarked)).filter(|calls| !calls.is_empty())
    };
    sweep_until(stack, "queued for good", SOON, queued).await;
    let bodies = wait_for(&receiver, &hook.endpoint, 1).await;
    assert_eq!(types(&bodies), ["pombo.endpoint.paused"]);
    assert_eq!(stack.proxy.calls(queues).len(), 2, "queued again by who came second");
    let sent = stack.proxy.calls(is_announcement);
    assert!(sent.iter().all(|call| call.spoilt), "the sweep alone did it: {sent:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.count(), 1, "a message that comes twice is dropped");
}

/// The message that asks for an event to be published.
fn is_announcement(call: &Call) -> bool {
    call.operation == "SendMessage" && call.mentions("\\\"publish\\\"")
}

#[scenario(slow)]
async fn an_endpoint_that_goes_down_comes_back_and_leaves_is_told_of() {
    let quick = [("CircuitFailures", "2"), ("CircuitSeconds", "2"), ("ProbeSeconds", "2"), ("SettleSeconds", "4")];
    let stack = Stack::own("circuit-told", &quick).await;
    let (receiver, _) = subscribe(stack, &["pombo.circuit.*", "pombo.endpoint.paused"]).await;
    let status = Arc::new(AtomicU16::new(500));
    let answers = Arc::clone(&status);
    let options = json!({"retry_policy": {"delays_seconds": [1, 1, 1, 1, 1]}});
    let hook = Hook::new(stack, options, move |_| Answer::status(answers.load(Ordering::SeqCst))).await;
    let until = async |count| {
        eventually("the news", SOON, || async {
            hook.post().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some(news(&receiver, &hook.endpoint)).filter(|bodies| bodies.len() >= count)
        })
        .await
    };
    let opened = until(1).await;
    assert_eq!(types(&opened), ["pombo.circuit.opened"]);
    assert!(opened[0]["data"]["failures"].as_u64().unwrap() >= 2, "{opened:?}");
    assert!(opened[0]["data"]["failing_since"].as_str() < opened[0]["timestamp"].as_str(), "{opened:?}");
    status.store(200, Ordering::SeqCst);
    let closed = until(2).await;
    assert_eq!(types(&closed)[1], "pombo.circuit.closed");
    assert!(closed[1]["data"]["open_since"].as_str() < closed[1]["timestamp"].as_str(), "{closed:?}");
    assert_eq!(closed[1]["data"]["proven"], true, "{closed:?}");
    status.store(410, Ordering::SeqCst);
    let paused = |body: &&Value| body["type"] == "pombo.endpoint.paused";
    let bodies = eventually("the pause", SOON, || async {
        hook.post().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some(news(&receiver, &hook.endpoint)).filter(|bodies| bodies.iter().any(|body| paused(&body)))
    })
    .await;
    let pause = bodies.iter().find(paused).unwrap();
    assert_eq!(pause["data"]["reason"], "gone", "{pause}");
}

#[scenario]
async fn a_circuit_that_closes_because_nothing_is_held_is_told_of() {
    let quick = [("CircuitFailures", "2"), ("CircuitSeconds", "2"), ("ProbeSeconds", "2"), ("SettleSeconds", "4")];
    let stack = Stack::own("unproven", &quick).await;
    let (receiver, _) = subscribe(stack, &["pombo.circuit.*"]).await;
    let options = json!({"retry_policy": {"delays_seconds": [600]}});
    let hook = Hook::new(stack, options, |_| Answer::status(500)).await;
    for _ in 0..2 {
        let event = hook.post().await;
        hook.until_status(&event, "retrying", SOON).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    let told = wait_for(&receiver, &hook.endpoint, 2).await;
    let mut types = types(&told);
    types.sort_unstable();
    assert_eq!(types, ["pombo.circuit.closed", "pombo.circuit.opened"]);
    let closed = told.iter().find(|body| body["type"] == "pombo.circuit.closed").unwrap();
    assert_eq!(closed["data"]["proven"], false, "{closed}");
}

#[scenario]
async fn without_a_subscription_nothing_more_is_written() {
    let hook = failing(Stack::calm().await).await;
    let event = hook.post().await;
    hook.until_status(&event, "failed", SOON).await;
    hook.change("pause").await;
    let transactions =
        hook.stack.proxy.calls(|call| call.operation == "TransactWriteItems" && call.mentions(&hook.endpoint));
    let sizes: Vec<_> = transactions.iter().map(|call| call.body["TransactItems"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [4, 2], "the endpoint and its route; at its registration also two counts");
    let events = hook.stack.resource("EventsTable");
    assert!(transactions.iter().all(|call| !call.mentions(events)));
}
