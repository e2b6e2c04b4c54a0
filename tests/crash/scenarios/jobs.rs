//! Replays and drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::health::{Health, HealthRules};
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::signature::Secret;
use pombo_domain::time::Timestamp;
use pombo_tests::{Fault, SOON, eventually, unique};
use serde_json::{Value, json};

use crate::run::{HOURS, LONG, Run};

/// So many deliveries that have failed, to an endpoint that takes everything from now on.
async fn failed(run: &Run<'_>, count: usize) -> (EndpointId, Vec<DeliveryKey>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [1]}})).await;
    run.answers(500, 500);
    run.are_together(count);
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(run.post(&format!("e{number}"), &endpoint).await);
    }
    for key in &keys {
        run.until(key, Status::Failed).await;
    }
    run.answers(200, 200);
    (endpoint, keys)
}

/// Orders a replay as an operator does: when there is no answer, a look at the list tells whether it was taken.
async fn order(run: &Run<'_>, wanted: Value) {
    // Of chosen deliveries the job is whose key orders it.
    let key = json!({"name": "operator", "scopes": ["ops"], "tenant": run.tenant});
    let key = run.endpoints("POST", "/v1/keys", key).await;
    let api = local::Api::new(&run.ground.stack.local.urls.replay, key["key"].as_str().unwrap());
    run.until_it("an order", || async {
        let answered = api.post("/v1/replays", &wanted).await.ok().filter(|(status, _)| *status == 202);
        (answered.is_some() || !run.jobs().await.is_empty()).then_some(())
    })
    .await;
}

/// Each is delivered once more, and the job says so.
async fn assert_replayed(run: &Run<'_>, keys: &[DeliveryKey]) {
    for key in keys {
        let record = run.until(key, Status::Succeeded).await;
        assert_eq!(record.step.round, 1, "{record:?}");
    }
    let jobs = run.until_jobs_end(1).await;
    assert_eq!(jobs.len(), 1);
    assert_counts(&jobs[0], keys.len());
}

fn assert_counts(job: &Job, count: usize) {
    let counts = serde_json::to_value(&job.counts).unwrap();
    assert_eq!(job.status, JobStatus::Done);
    assert_eq!((counts["matched"].as_u64(), counts["queued"].as_u64()), (Some(count as u64), Some(count as u64)));
}

/// Chosen deliveries, which the answer waits for.
pub async fn chosen(run: &Run<'_>) {
    let (_, keys) = failed(run, 3).await;
    order(run, json!({"deliveries": keys, })).await;
    assert_replayed(run, &keys).await;
}

/// The same, and the messages cannot be sent while the caller waits: the queue carries the rest.
pub async fn chosen_unsent(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 2).await;
    refuse_messages(run, &endpoint);
    order(run, json!({"deliveries": keys})).await;
    assert_replayed(run, &keys).await;
}

/// Refuses the next batch of messages to an endpoint, as often as one caller sends it.
fn refuse_messages(run: &Run<'_>, endpoint: &EndpointId) {
    let id = endpoint.to_string();
    run.ground.stack.proxy.spoil_times(3, move |call| {
        let sends = call.operation == "SendMessageBatch" && call.mentions(&id);
        sends.then_some(Fault::Refuse(503, "ServiceUnavailable"))
    });
}

/// A chosen delivery that has no record: its first message is lost. It is in flight, and can be cancelled.
pub async fn chosen_pending(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let lost = lose_first_message(run, &endpoint).await;
    let answer = run.replay("POST", "/v1/replays", json!({"deliveries": [lost]})).await;
    assert_eq!(answer["deliveries"][0]["result"], "in_flight", "{answer}");
    run.replay("GET", &format!("/v1/deliveries/{lost}"), Value::Null).await;
    cancel(run, &lost).await;
}

/// Posts an event whose message is said to be queued, and is not, however often the caller repeats the call.
async fn lose_first_message(run: &Run<'_>, endpoint: &EndpointId) -> DeliveryKey {
    let id = endpoint.to_string();
    let loses = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&loses);
    run.ground.stack.proxy.spoil(move |call| {
        let is_first = call.operation == "SendMessageBatch" && call.mentions(&id);
        (is_first && still.load(Ordering::SeqCst)).then_some(Fault::Swallow)
    });
    let lost = run.post("lost", endpoint).await;
    loses.store(false, Ordering::SeqCst);
    lost
}

async fn cancel(run: &Run<'_>, key: &DeliveryKey) {
    let path = format!("/v1/deliveries/{key}/cancel");
    // A delivery without a record counts as being sent while its window is open.
    let window =
        |answer: &Value| answer["detail"].as_str().is_some_and(|detail| detail.contains("counts as being sent until"));
    let (status, answer) = eventually("the window to close", SOON, || async {
        let (status, answer) = run.call(&run.ground.stack.local.replay(), "POST", &path, Value::Null).await;
        (status != 409 || !window(&answer)).then_some((status, answer))
    })
    .await;
    // Whoever repeats a call that went through is told that the delivery has come to its end.
    assert!(status == 200 || (run.death.is_some() && status == 409), "{status} {answer}");
    run.until(key, Status::Cancelled).await;
}

/// All that failed at an endpoint.
pub async fn by_filter(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 3).await;
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    let dry = run.replay("POST", "/v1/replays", json!({"filter": filter, "dry_run": true})).await;
    assert!(dry.is_object(), "{dry}");
    settle().await;
    order(run, json!({"filter": filter})).await;
    assert_replayed(run, &keys).await;
}

/// One replay at a time may run: the second begins when the first has ended.
pub async fn by_filter_in_turn(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 1).await;
    settle().await;
    let wanted = json!({"filter": {"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"}});
    order(run, wanted.clone()).await;
    assert_replayed(run, &keys).await;
    let api = run.ground.stack.local.replay();
    run.until_it("another order", || async {
        let answered = api.post("/v1/replays", &wanted).await.ok().filter(|(status, _)| *status == 202);
        (answered.is_some() || run.jobs().await.len() > 1).then_some(())
    })
    .await;
    assert_eq!(run.until_jobs_end(2).await.len(), 2);
}

/// The same as by filter, and a leg cannot send its page: the next goes on from it.
pub async fn by_filter_unsent(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 2).await;
    settle().await;
    refuse_messages(run, &endpoint);
    order(run, json!({"filter": {"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"}})).await;
    assert_replayed(run, &keys).await;
}

/// A leg sends its page and cannot write so. The next finds a delivery that has been tried and waits for its retry.
pub async fn page_sent_twice(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    run.answers(500, 500);
    let key = run.post("e", &endpoint).await;
    run.until(&key, Status::Retrying).await;
    settle().await;
    let (tenant, id) = (run.tenant.clone(), endpoint.to_string());
    let sent = AtomicBool::new(false);
    run.ground.stack.proxy.spoil_times(3, move |call| {
        sent.fetch_or(call.operation == "SendMessageBatch" && call.mentions(&id), Ordering::SeqCst);
        let writes = call.operation == "PutItem" && call.mentions(&tenant) && call.mentions("counts");
        (writes && sent.load(Ordering::SeqCst)).then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    order(run, json!({"filter": filter, "include": ["retrying"]})).await;
    let tried = |record: &Record| record.step.round == 1 && record.status == Status::Retrying && record.claim.is_none();
    run.until_it("the second round", || async { run.record(&key).await.filter(tried) }).await;
    let jobs = run.until_jobs_end(1).await;
    assert_counts(&jobs[0], 1);
    cancel(run, &key).await;
}

/// All that failed at a tenant.
pub async fn by_tenant(run: &Run<'_>) {
    let (_, keys) = failed(run, 2).await;
    settle().await;
    order(run, json!({"filter": {"tenant": run.tenant, "since": "2026-01-01T00:00:00Z"}})).await;
    assert_replayed(run, &keys).await;
}

/// Events accepted a moment ago are left out of a replay.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}

/// Events from before the endpoint existed.
pub async fn missing(run: &Run<'_>) {
    let nobody = "ep_aaaaaaaaaaaaaaaa".parse().unwrap();
    let before = [run.post("a", &nobody).await, run.post("b", &nobody).await];
    run.are_together(before.len());
    let endpoint = run.endpoint("/a", json!({})).await;
    settle().await;
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    order(run, json!({"filter": filter, "include": ["missing"]})).await;
    for key in before {
        run.until(&DeliveryKey { endpoint_id: endpoint.clone(), ..key }, Status::Succeeded).await;
    }
    let jobs = run.until_jobs_end(1).await;
    assert_counts(&jobs[0], 2);
}

/// The same, and a leg cannot write what it found: the next reads the event again.
pub async fn missing_unwritten(run: &Run<'_>) {
    let nobody = "ep_aaaaaaaaaaaaaaaa".parse().unwrap();
    let before = run.post("a", &nobody).await;
    let endpoint = run.endpoint("/a", json!({})).await;
    settle().await;
    let id = endpoint.to_string();
    run.ground.stack.proxy.spoil_times(3, move |call| {
        let writes = call.operation == "PutItem" && call.attribute("endpoint_id") == id;
        writes.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    order(run, json!({"filter": filter, "include": ["missing"]})).await;
    run.until(&DeliveryKey { endpoint_id: endpoint, ..before }, Status::Succeeded).await;
    assert_counts(&run.until_jobs_end(1).await[0], 1);
}

/// A receiver asks for what it missed: to see it, and to have it again.
pub async fn missed_by_receiver(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 1).await;
    let shown = run.endpoints("GET", &format!("/v1/endpoints/{endpoint}/secret"), Value::Null).await;
    let secret: Secret = shown["secrets"][0]["secret"].as_str().unwrap().parse().unwrap();
    settle().await;
    let since = Timestamp::from_seconds(1_767_225_600);
    let body = json!({"type": "pombo.missed.request", "endpoint": endpoint, "since": since});
    let answer = ask(run, &secret, &body).await;
    assert_eq!(answer["failed"].as_array().unwrap().len(), 1, "{answer}");
    let body = json!({"type": "pombo.missed.request", "endpoint": endpoint, "since": since, "replay": true});
    run.until_it("an order", || async {
        ask_once(run, &secret, &body).await;
        (!run.jobs().await.is_empty()).then_some(())
    })
    .await;
    assert_replayed(run, &keys).await;
}

/// Asks, each time under an id of its own, until there is an answer.
async fn ask(run: &Run<'_>, secret: &Secret, body: &Value) -> Value {
    run.until_it("an answer", || async { ask_once(run, secret, body).await }).await
}

async fn ask_once(run: &Run<'_>, secret: &Secret, body: &Value) -> Option<Value> {
    let (id, now, body) = (unique("req"), clock::now().as_seconds(), body.to_string());
    let signature = secret.sign(&id.parse().unwrap(), now, body.as_bytes());
    let request = reqwest::Client::new()
        .post(format!("{}/v1/missed", run.ground.stack.local.urls.replay))
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature)
        .body(body);
    let answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}

/// A slow replay that is told to stop. The message of its second leg is refused at first, so that of the first one comes again.
pub async fn stopped(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 2).await;
    settle().await;
    let tenant = run.tenant.clone();
    run.ground.stack.proxy.spoil_times(1, move |call| {
        let message: Value = serde_json::from_str(call.body["MessageBody"].as_str()?).ok()?;
        let job: JobKey = message["job"].as_str()?.parse().ok()?;
        let asks_for_second = message["leg"] == 2 && job.owner == tenant;
        asks_for_second.then_some(Fault::Refuse(400, "AWS.SimpleQueueService.UnsupportedOperation"))
    });
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    order(run, json!({"filter": filter, "rate_per_second": 0.01})).await;
    let id = run
        .until_it("a second leg", || async { run.jobs().await.into_iter().find(|job| job.leg > 1) })
        .await
        .key()
        .to_string();
    // The message that has brought the job to its leg queues that again.
    run.until_it("the leg", || async { run.ground.has_reached("leg::instead", "queue::send").then_some(()) }).await;
    let listed = run.replay("GET", &format!("/v1/replays?tenant={}", run.tenant), Value::Null).await;
    assert_eq!(listed["replays"].as_array().unwrap().len(), 1, "{listed}");
    run.replay("GET", &format!("/v1/replays/{id}"), Value::Null).await;
    run.replay("POST", &format!("/v1/replays/{id}/cancel"), Value::Null).await;
    assert_eq!(run.until_jobs_end(1).await[0].status, JobStatus::Cancelled);
    run.until(&keys[0], Status::Succeeded).await;
    run.ground.clear().await;
}

/// A slow replay is told to stop while a leg, which has sent its page, is about to write so: it stops all the same. A death
/// may keep whoever tells it for so long that the replay has ended.
pub async fn stopped_at_work(run: &Run<'_>) {
    let (endpoint, keys) = failed(run, 2).await;
    settle().await;
    let (tenant, id) = (run.tenant.clone(), endpoint.to_string());
    let (sent, is_at_work) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let writes_now = Arc::clone(&is_at_work);
    run.ground.stack.proxy.spoil_times(2, move |call| {
        sent.fetch_or(call.operation == "SendMessageBatch" && call.mentions(&id), Ordering::SeqCst);
        let writes = call.operation == "PutItem" && call.mentions(&tenant) && call.mentions("counts");
        let is_held_up = writes && sent.load(Ordering::SeqCst);
        writes_now.fetch_or(is_held_up, Ordering::SeqCst);
        // For longer than a call may take: it is repeated, and the first of them is carried out late.
        is_held_up.then_some(Fault::Delay(Duration::from_secs(3)))
    });
    let filter = json!({"endpoint_id": endpoint, "since": "2026-01-01T00:00:00Z"});
    order(run, json!({"filter": filter, "rate_per_second": 0.01})).await;
    run.until_it("the leg's write", || async { is_at_work.load(Ordering::SeqCst).then_some(()) }).await;
    let job = run.jobs().await.remove(0).key().to_string();
    run.replay("POST", &format!("/v1/replays/{job}/cancel"), Value::Null).await;
    run.until(&keys[0], Status::Succeeded).await;
    let status = run.until_jobs_end(1).await[0].status;
    assert!(status == JobStatus::Cancelled || run.death.is_some() && status == JobStatus::Done, "{status:?}");
    run.ground.clear().await;
}

/// Deliveries are cancelled: one that retries, and one whose first message is lost.
pub async fn delivery_cancelled(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    run.answers(500, 500);
    let retrying = run.post("retrying", &endpoint).await;
    run.until(&retrying, Status::Retrying).await;
    let lost = lose_first_message(run, &endpoint).await;
    for key in [retrying, lost] {
        cancel(run, &key).await;
    }
}

/// Fails until the circuit is open; gives what failed.
async fn broken(run: &Run<'_>) -> (EndpointId, Vec<DeliveryKey>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    run.answers(500, 500);
    let (mut keys, begun) = (Vec::new(), Instant::now());
    loop {
        let key = run.post(&unique("e"), &endpoint).await;
        run.until_it("an attempt", || async { run.record(&key).await.filter(|record| record.claim.is_none()) }).await;
        keys.push(key);
        // What opens it is written after the attempt is recorded.
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let (_, health) = run.ground.endpoints.get_with_health(&endpoint).await.unwrap().unwrap();
            if health.open.is_some() {
                return (endpoint, keys);
            }
            if keys.len() < 8 || begun.elapsed() < Duration::from_secs(3) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Posts until a delivery is held. With nothing held behind it the circuit closes after a moment; the next failure opens it
/// again.
async fn held_behind_circuit(run: &Run<'_>, endpoint: &EndpointId) -> DeliveryKey {
    loop {
        let key = run.post(&unique("e"), endpoint).await;
        let ended = |record: &Record| record.claim.is_none();
        let record = run.until_it("an end", || async { run.record(&key).await.filter(ended) }).await;
        if record.status == Status::Held {
            return key;
        }
    }
}

/// An operator replays one delivery while the circuit is open: it is a probe. Then the endpoint is back.
pub async fn probed_by_operator(run: &Run<'_>) {
    let (endpoint, _) = broken(run).await;
    let held = held_behind_circuit(run, &endpoint).await;
    order(run, json!({"deliveries": [held]})).await;
    run.answers(200, 200);
    run.until(&held, Status::Succeeded).await;
    let jobs = run.until_jobs_end(1).await;
    assert!(jobs.iter().all(|job| job.status == JobStatus::Done), "{jobs:?}");
}

/// An endpoint fails until its circuit opens, a probe finds it back, and what was held is sent.
pub async fn circuit(run: &Run<'_>) {
    circuit_open_for(run, Duration::ZERO).await;
}

/// As [`circuit`]; the endpoint stays away for so long after the first probe.
pub async fn circuit_open_for(run: &Run<'_>, time: Duration) {
    let (endpoint, _) = broken(run).await;
    let held = held_behind_circuit(run, &endpoint).await;
    run.until_it("a failed probe", || async { run.record(&held).await.filter(|record| !record.attempts.is_empty()) })
        .await;
    tokio::time::sleep(time).await;
    run.answers(200, 200);
    run.until(&held, Status::Succeeded).await;
    let jobs = run.until_jobs_end(1).await;
    assert!(jobs.iter().all(|job| job.status == JobStatus::Done), "{jobs:?}");
}

/// An endpoint answers that it is gone, to two events: it is paused. After a resume it gets what was held.
pub async fn gone(run: &Run<'_>) {
    // When a process dies before it notes the second of them, the retries, hours later, tell it again.
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [HOURS]}})).await;
    run.answers(410, 410);
    for id in ["a", "b"] {
        let key = run.post(id, &endpoint).await;
        run.until_it("an attempt", || async { run.record(&key).await.filter(|record| record.claim.is_none()) }).await;
    }
    run.until_it("the pause", || async {
        run.ground.endpoints.get(&endpoint).await.unwrap().and_then(|endpoint| endpoint.pause)
    })
    .await;
    run.assert_whole().await;
    run.answers(200, 200);
    run.are_together(2);
    run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/resume"), json!({})).await;
    run.until_jobs_end(2).await;
    run.assert_whole().await;
}

/// An endpoint fails that has had failures on each of the days before, and a success meanwhile: it is not paused.
pub async fn refuted(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [HOURS]}})).await;
    let event = run.post("before", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
    // A success clears the mark, after it is recorded.
    run.ground.until_quiet().await;
    let now = clock::now();
    let marked = Health {
        failing_since: Some(now.minus(Duration::from_secs(4 * 86_400))),
        failures: 1,
        last_day: now.as_seconds() / 86_400 - 1,
        days: HealthRules::DEFAULT.pauses_after_days - 1,
        expires_at: 4_000_000_000,
        ..Health::good()
    };
    let written = run.ground.health.put(&endpoint, &Health::good(), marked, "days", Vec::new()).await.unwrap();
    assert!(matches!(written, PutHealth::Stored(_)));
    run.answers(500, 500);
    run.post("after", &endpoint).await;
    run.until_it("a refutation", || async {
        let (_, health) = run.ground.endpoints.get_with_health(&endpoint).await.unwrap().unwrap();
        // Closed unproven, it would keep its days. The retry, hours later, may have set a mark again, which is one day's.
        health.closed_at.filter(|_| health.open.is_none() && health.days <= 1)
    })
    .await;
    run.until_jobs_end(1).await;
    assert_eq!(run.ground.endpoints.get(&endpoint).await.unwrap().unwrap().pause, None);
    run.endpoints("DELETE", &format!("/v1/endpoints/{endpoint}"), Value::Null).await;
}

/// Nothing is held behind an open circuit: it closes.
pub async fn still_alive(run: &Run<'_>) {
    let (endpoint, _) = broken(run).await;
    run.until_it("a closed circuit", || async {
        let (_, health) = run.ground.endpoints.get_with_health(&endpoint).await.unwrap().unwrap();
        health.open.is_none().then_some(())
    })
    .await;
    run.until_jobs_end(1).await;
}
