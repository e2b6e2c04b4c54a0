//! An operator sends chosen deliveries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario};
use serde_json::json;

use crate::rows;

/// A hook whose receiver is out of order until told otherwise.
async fn broken_hook(delays: serde_json::Value) -> (Hook, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": delays}}), move |_| {
        Answer::status(if seen.load(Ordering::SeqCst) { 200 } else { 500 })
    })
    .await;
    (hook, repaired)
}

#[scenario]
async fn what_exhausted_its_attempts_is_replayed_and_succeeds() {
    let (hook, repaired) = broken_hook(json!([1, 1])).await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    assert_eq!(failed["attempts"].as_array().unwrap().len(), 3);
    let listed = format!("/v1/deliveries?endpoint_id={}&status=failed", hook.endpoint);
    let (_, list) = hook.stack.local.replay().get(&listed).await.unwrap();
    assert_eq!(list["deliveries"][0]["id"], failed["id"], "{list}");

    repaired.store(true, Ordering::SeqCst);
    let id = failed["id"].as_str().unwrap();
    let job = hook.replay(&[id]).await;
    assert_eq!((&job["counts"]["matched"], &job["counts"]["queued"]), (&json!(1), &json!(1)), "{job}");
    assert_eq!(job["deliveries"], json!([{"id": id, "result": "queued"}]));
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((&delivery["round"], &delivery["attempt"]), (&json!(1), &json!(1)));
    let last = delivery["attempts"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["trigger"], &last["round"]), (&json!("replay"), &json!(1)));
    assert_eq!(hook.receiver.count(), 4);
    let ids: std::collections::BTreeSet<_> =
        hook.receiver.received().iter().map(|r| r.webhook_id().to_owned()).collect();
    assert_eq!(ids.len(), 1, "the webhook-id stays the same");
    hook.assert_signed();
    let (_, list) = hook.stack.local.replay().get(&listed).await.unwrap();
    assert_eq!(list["deliveries"], json!([]));
    let job_id = job["id"].as_str().unwrap();
    let (status, job) = hook.stack.local.replay().get(&format!("/v1/replays/{job_id}")).await.unwrap();
    assert_eq!((status, &job["status"], &job["counts"]["queued"]), (200, &json!("done"), &json!(1)), "{job}");
}

#[scenario]
async fn a_replay_begins_the_policy_anew_and_an_older_rounds_retry_is_dropped() {
    let (hook, repaired) = broken_hook(json!([600])).await;
    let event = hook.post().await;
    let waiting = hook.until_status(&event, "retrying", SOON).await;
    let id = waiting["id"].as_str().unwrap();
    repaired.store(true, Ordering::SeqCst);
    hook.replay(&[id]).await;
    hook.until_status(&event, "succeeded", SOON).await;
    // The retry of round 0, as its timer brings it in ten minutes.
    let late = json!({"v": 1, "delivery": id, "round": 0, "attempt": 2}).to_string();
    hook.stack.send("DeliveriesQueue", &late).await;
    let last = hook.post().await;
    hook.until_status(&last, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 3, "two of the first event, one of the last");
}

#[scenario]
async fn one_in_flight_is_skipped_and_says_so() {
    let hook = Hook::new(
        Stack::calm().await,
        json!({"timeout_seconds": 3, "retry_policy": {"delays_seconds": [1]}}),
        |received| match received.times {
            1 => Answer::status(500),
            _ => Answer::status(200).after(Duration::from_millis(2500)),
        },
    )
    .await;
    let event = hook.post().await;
    let id = hook.until_status(&event, "retrying", SOON).await["id"].as_str().unwrap().to_owned();
    hook.receiver.wait_for(1, SOON).await.unwrap();
    // The second attempt has come in when its answer is still 2.5 s away.
    pombo_tests::eventually("the second attempt's claim", SOON, || async {
        let id = id.clone();
        let calls = hook.stack.proxy.calls(|call| {
            call.operation == "PutItem"
                && call.attribute("status") == "retrying"
                && call.claims()
                && call.mentions(&hook.endpoint)
        });
        (!calls.is_empty()).then_some(id)
    })
    .await;
    let job = hook.replay(&[&id]).await;
    assert_eq!(job["deliveries"][0]["result"], "in_flight", "{job}");
    assert_eq!(job["counts"]["skipped"], json!({"in_flight": 1}));
    hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 2);
}

#[scenario]
async fn replays_at_once_send_no_more_than_they_queued() {
    let (hook, repaired) = broken_hook(json!([1])).await;
    let event = hook.post().await;
    let id = hook.until_status(&event, "failed", SOON).await["id"].as_str().unwrap().to_owned();
    repaired.store(true, Ordering::SeqCst);
    let ids = [id.as_str()];
    let jobs = futures::future::join_all((0..5).map(|_| hook.replay(&ids))).await;
    let queued = jobs.iter().filter(|job| job["counts"]["queued"] == 1).count();
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert!(queued >= 1, "{jobs:?}");
    // Each opened a round of its own. One whose round was taken by the next before its attempt began sent nothing.
    assert_eq!(delivery["round"], queued, "{jobs:?}");
    let sent = hook.receiver.count() - 2;
    assert!((1..=queued).contains(&sent), "{sent} requests for {queued} rounds");
}

#[scenario]
async fn chosen_ones_without_a_record_are_sent_once_their_window_has_closed() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let endpoint = [hook.endpoint.parse().unwrap()];
    let event = |id: &str, seconds| {
        let accepted_at = clock::now().minus(Duration::from_secs(seconds));
        rows::event(&hook.tenant, id, "student.created", accepted_at, &endpoint)
    };
    let (closed, open) = (event("closed", 3600), event("open", 5));
    let ids = [&closed, &open].map(|event| event.delivery_to(endpoint[0].clone()).to_string());
    rows::put_events(hook.stack, &[closed, open]).await;
    let job = hook.replay(&ids.each_ref().map(String::as_str)).await;
    let results = job["deliveries"].as_array().unwrap().iter().map(|delivery| &delivery["result"]).collect::<Vec<_>>();
    assert_eq!(results, ["queued", "in_flight"], "{job}");
    let sent = hook.until_status("closed", "succeeded", SOON).await;
    assert_eq!((&sent["round"], &sent["attempts"][0]["redelivered"]), (&json!(0), &json!(true)), "{sent}");
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn what_another_tenants_key_names_is_not_found() {
    let (hook, _) = broken_hook(json!([1])).await;
    let event = hook.post().await;
    let id = hook.until_status(&event, "failed", SOON).await["id"].as_str().unwrap().to_owned();
    let key = hook.stack.key(&["ops"], Some("somebody-else")).await;
    let api = Stack::api(&hook.stack.local.urls.replay, &key);
    let (_, job) = api.post("/v1/replays", &json!({"deliveries": [id]})).await.unwrap();
    assert_eq!(job["deliveries"][0]["result"], "not_found", "{job}");
    assert_eq!(api.get(&format!("/v1/deliveries/{id}")).await.unwrap().0, 404);
    assert_eq!(api.get(&format!("/v1/events/{event}")).await.unwrap().0, 404);
    assert_eq!(api.get(&format!("/v1/events/{event}?tenant={}", hook.tenant)).await.unwrap().0, 403);
}

#[scenario]
async fn a_replay_that_is_cancelled_under_its_leg_is_left_to_the_queue_and_sends_once() {
    let (hook, repaired) = broken_hook(json!([1])).await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    repaired.store(true, Ordering::SeqCst);
    let key = hook.stack.key(&["ops"], Some(&hook.tenant)).await;
    let api = Stack::api(&hook.stack.local.urls.replay, &key);
    // The leg has sent its message, and is about to write so.
    let (jobs, owner) = (hook.stack.resource("JobsTable").to_owned(), hook.tenant.clone());
    let is_done = move |call: &Call| {
        call.table() == jobs && call.attribute("owner") == owner && call.attribute("status") == "done"
    };
    hook.stack.proxy.spoil_times(1, move |call| {
        (call.operation == "PutItem" && is_done(call)).then_some(Fault::Delay(Duration::from_millis(1500)))
    });
    let order = json!({"deliveries": [failed["id"]]});
    let cancelled = async {
        let id = eventually("the job", SOON, || async {
            let (_, list) = api.get("/v1/replays").await.unwrap();
            list["replays"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        let (status, job) = api.post(&format!("/v1/replays/{id}/cancel"), &json!({})).await.unwrap();
        assert_eq!((status, &job["stopping"]), (200, &json!(true)), "{job}");
        id
    };
    let (answer, id) = futures::join!(api.post("/v1/replays", &order), cancelled);
    let (status, answer) = answer.unwrap();
    assert_eq!((status, &answer["deliveries"][0]["result"]), (202, &json!("accepted")), "{answer}");
    let job = eventually("the job's end", SOON, || async {
        let (_, job) = api.get(&format!("/v1/replays/{id}")).await.unwrap();
        (job["status"] != "running").then_some(job)
    })
    .await;
    assert_eq!((&job["status"], &job["counts"]["queued"]), (&json!("done"), &json!(1)), "{job}");
    hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 3, "two failures, and the replay's success once");
}
