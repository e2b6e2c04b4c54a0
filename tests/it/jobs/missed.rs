//! What an endpoint missed: it was paused, or did not exist.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use local::{Answer, Receiver};
use pombo_tests::{Fault, Hook, Stack, scenario, unique};
use serde_json::{Value, json};

use super::{SOON, order, replay, times, until_ended};

/// Posts events by these ids, some at a time; gives them in the order in which they were accepted.
async fn post(stack: &'static Stack, tenant: &str, ids: Vec<String>, pause: Duration) -> Vec<String> {
    let api = Arc::new(stack.local.ingest());
    let mut accepted: Vec<(String, String)> = futures::stream::iter(ids)
        .map(|id| {
            let (api, tenant) = (Arc::clone(&api), tenant.to_owned());
            async move {
                let event_type = if id.ends_with("-x") { "course.started" } else { "student.created" };
                let event = json!({"type": event_type, "tenant": tenant, "id": id, "data": {}});
                let (status, answer) = api.post("/v1/events", &event).await.unwrap();
                assert_eq!(status, 202, "{answer}");
                tokio::time::sleep(pause).await;
                (answer["accepted_at"].as_str().unwrap().to_owned(), id)
            }
        })
        .buffered(8)
        .collect()
        .await;
    accepted.sort();
    accepted.into_iter().map(|(_, id)| id).collect()
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| if number.is_multiple_of(2) { format!("e{number}") } else { format!("e{number}-x") }).collect()
}

/// Resumes the endpoint with what it missed; gives the replay's id.
async fn resume(hook: &Hook) -> Value {
    let path = format!("/v1/endpoints/{}/resume", hook.endpoint);
    let (status, answer) = hook.stack.local.endpoints().post(&path, &json!({"missed": "replay"})).await.unwrap();
    assert_eq!((status, &answer["status"]), (200, &json!("active")), "{answer}");
    answer["replay_id"].clone()
}

#[scenario(multi_thread)]
async fn an_endpoint_created_after_200_events_gets_exactly_the_matching_ones_oldest_first() {
    const PER_SECOND: usize = 20;
    let stack = Stack::calm().await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    let earlier = post(stack, &tenant, ids(0..200), Duration::ZERO).await;
    let wanted: Vec<_> = earlier.iter().filter(|id| !id.ends_with("-x")).cloned().collect();
    let options = json!({"event_types": ["student.*"]});
    let endpoint = Hook::register(stack, &receiver, &tenant, "/hook", options).await;
    post(stack, &tenant, ids(200..206), Duration::ZERO).await;
    receiver.wait_for(3, SOON).await.unwrap();

    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    let missing = json!({"filter": filter, "include": ["missing"], "rate_per_second": PER_SECOND});
    let job = until_ended(stack, &order(stack, missing.clone()).await).await;
    assert_eq!((&job["status"], &job["counts"]["queued"]), (&json!("done"), &json!(100)), "{job}");
    receiver.wait_for(103, SOON).await.unwrap();
    let came: Vec<_> = receiver.received()[3..].iter().map(|received| received.event_id().to_owned()).collect();
    assert_eq!(came.iter().collect::<BTreeSet<_>>(), wanted.iter().collect(), "exactly these");
    assert_eq!(came.len(), 100, "each once");
    // The queue delays by whole seconds; within one, nothing has an order.
    let place = |id: &String| wanted.iter().position(|other| other == id).unwrap();
    let strayed = came.iter().enumerate().map(|(at, id)| at.abs_diff(place(id))).max().unwrap();
    assert!(strayed <= 2 * PER_SECOND, "one strayed {strayed} places");
    let path =
        format!("/v1/deliveries?endpoint_id={endpoint}&limit=1&until={}", job["filter"]["until"].as_str().unwrap());
    let (_, page) = stack.local.replay().get(&path).await.unwrap();
    let delivery = &page["deliveries"][0];
    assert_eq!(
        (&delivery["status"], &delivery["round"], &delivery["attempt"]),
        (&json!("succeeded"), &json!(0), &json!(1))
    );
    assert_eq!(delivery["attempts"][0]["trigger"], "first");

    let again = until_ended(stack, &order(stack, missing).await).await;
    assert_eq!(again["counts"]["matched"], 0, "it has them all: {again}");
    assert_eq!(receiver.count(), 103);
}

#[scenario(multi_thread)]
async fn one_paused_for_a_while_and_resumed_with_what_it_missed_has_every_event_once() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    // Events come all the time, also while the endpoint is being paused and resumed.
    let all = ids(0..160);
    let posting = post(hook.stack, &hook.tenant, all.clone(), Duration::from_millis(150));
    let changing = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        hook.change("pause").await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        resume(&hook).await
    };
    let (_, id) = futures::future::join(posting, changing).await;
    let job = until_ended(hook.stack, id.as_str().unwrap()).await;
    let missed = job["counts"]["queued"].as_u64().unwrap();
    assert!(missed > 0 && missed < 160, "{job}");
    hook.receiver.wait_for(160, SOON).await.unwrap();
    // Whoever would come twice is on its way by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let times = times(&hook.receiver.received());
    assert_eq!(times.keys().collect::<BTreeSet<_>>(), all.iter().collect());
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    hook.assert_signed();
    assert_eq!(resume(&hook).await, Value::Null, "it is active: there is nothing to replay");
}

#[scenario]
async fn what_an_ingest_still_stores_that_knew_the_pause_is_found_by_the_last_look() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    hook.change("pause").await;
    // It has read who subscribes, and its event is stored only after the resume and the first look.
    let tenant = hook.tenant.clone();
    hook.stack.proxy.spoil_times(1, move |call| {
        let stores = call.operation == "PutItem" && call.attribute("event_key").starts_with(&tenant);
        stores.then_some(Fault::Delay(Duration::from_millis(1200)))
    });
    let late = tokio::spawn({
        let (stack, tenant) = (hook.stack, hook.tenant.clone());
        async move { stack.post(&json!({"type": "a", "tenant": tenant, "id": "late", "data": {}})).await }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    let id = resume(&hook).await;
    assert_eq!(late.await.unwrap()["deliveries"], 0);
    let job = until_ended(hook.stack, id.as_str().unwrap()).await;
    assert_eq!(job["counts"], json!({"matched": 1, "queued": 1, "skipped": {}}), "{job}");
    hook.receiver.wait_for(1, SOON).await.unwrap();
}

#[scenario]
async fn a_replay_of_what_was_missed_ends_when_the_endpoint_is_paused_again() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    hook.change("pause").await;
    let id = resume(&hook).await;
    hook.change("pause").await;
    let id = id.as_str().unwrap();
    let job = until_ended(hook.stack, id).await;
    assert_eq!((&job["status"], &job["stop_reason"]), (&json!("cancelled"), &json!("endpoint_paused")), "{job}");
    assert_eq!(replay(hook.stack, id).await, job);
}
