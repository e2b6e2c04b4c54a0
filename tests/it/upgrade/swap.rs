//! The functions are replaced while everything is in flight.
//!
//! The emulator kills what runs when a function is replaced; Lambda lets it end. So this is more than a deploy is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_lambda::types::Environment;
use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

const FUNCTIONS: [&str; 5] =
    ["DispatchFunction", "JobsFunction", "ReplayFunction", "IngestFunction", "EndpointsFunction"];
const EVENTS: usize = 12;

/// Puts a new version in a function's place: it differs in a variable that nobody reads.
async fn replace(stack: &Stack, function: &str, version: usize) {
    let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
    let name = stack.resource(function);
    let known = client.get_function_configuration().function_name(name).send().await.unwrap();
    let mut variables = known.environment.unwrap().variables.unwrap();
    variables.insert("UPGRADED_TO".into(), version.to_string());
    let environment = Environment::builder().set_variables(Some(variables)).build();
    client.update_function_configuration().function_name(name).environment(environment).send().await.unwrap();
}

/// All deliveries of a hook's events.
async fn deliveries(hook: &Hook, events: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for event in events {
        // The function that answers may be the one that is replaced.
        let path = format!("/v1/events/{event}?tenant={}", hook.tenant);
        let (status, event) = hook.stack.local.replay().get(&path).await.unwrap();
        assert!([200, 502, 503].contains(&status), "{status} {event}");
        all.extend(event["deliveries"].as_array().cloned().unwrap_or_default());
    }
    all
}

/// Posts an event until it is accepted, as a client does.
async fn post(hook: &Hook, id: &str) -> String {
    let event = json!({"type": "student.created", "tenant": hook.tenant, "id": id, "data": {"n": 1}});
    eventually("the event to be accepted", SOON, || async {
        let (status, answer) = hook.stack.local.ingest().post("/v1/events", &event).await.unwrap();
        assert!([202, 502, 503].contains(&status), "{status} {answer}");
        (status == 202).then(|| id.to_owned())
    })
    .await
}

#[scenario(multi_thread)]
async fn functions_replaced_in_mid_flight_lose_nothing() {
    let stack = crate::upgrade::stack("swap").await;
    let slow = |status: u16| Answer::status(status).after(Duration::from_millis(300));
    let retried = json!({"retry_policy": {"delays_seconds": [1, 1, 1]}});
    let sent =
        Hook::new(stack, retried.clone(), move |received| slow(if received.times == 1 { 500 } else { 200 })).await;
    let held = Hook::new(stack, retried.clone(), move |_| slow(200)).await;
    let well = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&well);
    let failed = Hook::new(stack, json!({"retry_policy": {"delays_seconds": [1]}}), move |_| {
        slow(if answers.load(Ordering::SeqCst) { 200 } else { 500 })
    })
    .await;
    let mut of_failed = Vec::new();
    for number in 0..2 {
        of_failed.push(post(&failed, &format!("failed-{number}")).await);
    }
    for event in &of_failed {
        failed.until_status(event, "failed", SOON).await;
    }
    let mut of_held = Vec::new();
    // Held: it is paused while they are on their way.
    for number in 0..4 {
        of_held.push(post(&held, &format!("held-{number}")).await);
    }
    held.change("pause").await;
    well.store(true, Ordering::SeqCst);
    let mut of_sent = Vec::new();
    for number in 0..EVENTS {
        of_sent.push(post(&sent, &format!("sent-{number}")).await);
        match number {
            3 => held.change("resume").await,
            5 => replace(stack, "DispatchFunction", 1).await,
            6 => {
                let filter = json!({"endpoint_id": failed.endpoint, "since": "2026-01-01T00:00:00Z"});
                let (status, job) = stack.local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap();
                assert_eq!(status, 202, "{job}");
                replace(stack, "ReplayFunction", 1).await;
                replace(stack, "JobsFunction", 1).await;
            }
            7 => replace(stack, "IngestFunction", 1).await,
            _ => {}
        }
    }
    for function in FUNCTIONS {
        replace(stack, function, 2).await;
    }
    for (hook, events) in [(&sent, &of_sent), (&held, &of_held), (&failed, &of_failed)] {
        eventually("every delivery to succeed", SOON, || async {
            let all = deliveries(hook, events).await;
            (all.len() == events.len() && all.iter().all(|delivery| delivery["status"] == "succeeded")).then_some(())
        })
        .await;
        check_repeats(hook, &deliveries(hook, events).await);
    }
}

/// An attempt came more than once only where it says so: its process was killed between the request and the record.
fn check_repeats(hook: &Hook, deliveries: &[Value]) {
    let mut requests = BTreeMap::<_, usize>::new();
    for received in hook.receiver.received() {
        *requests.entry(received.event_id().to_owned()).or_default() += 1;
    }
    hook.assert_signed();
    for delivery in deliveries {
        let attempts = delivery["attempts"].as_array().unwrap();
        let redelivered = attempts.iter().filter(|attempt| attempt["redelivered"] == true).count();
        let came = requests[delivery["event_id"].as_str().unwrap()];
        // One of them may have died before its request.
        assert!((attempts.len()..=attempts.len() + redelivered).contains(&came), "{came} requests: {delivery}");
    }
}
