//! Events in, and their deliveries.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_scheduler::types::{FlexibleTimeWindow, FlexibleTimeWindowMode};
use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Status};
use pombo_domain::message::QueuedOutcome;
use pombo_domain::rate_limit::RateLimit;
use pombo_domain::retry::Decision;
use pombo_tests::Fault;
use serde_json::{Value, json};

use crate::run::{LONG, Run};

const RETRIES: Duration = Duration::from_secs(30);

/// An event goes to its endpoint; posted again, it is a duplicate and nothing is sent.
pub async fn posted(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
    assert_eq!(run.post("e", &endpoint).await, event);
}

/// An event goes to three endpoints; their messages are one batch, and a process that dies takes the three along.
pub async fn fanned_out(run: &Run<'_>) {
    run.are_together(3);
    let mut endpoints = Vec::new();
    for path in ["/a", "/b", "/c"] {
        endpoints.push(run.endpoint(path, json!({})).await);
    }
    for endpoint in &endpoints {
        let event = run.post("e", endpoint).await;
        run.until(&event, Status::Succeeded).await;
    }
}

/// A first attempt fails, and the queue brings the second.
pub async fn retried_by_the_queue(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [1, 1]}})).await;
    run.answers(500, 200);
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
}

/// A first attempt fails, and Scheduler brings the second, a minute early: it waits for the rest in the queue.
pub async fn retried_by_scheduler(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let event = run.post_to_retry("e", &endpoint).await;
    fire(run).await;
    run.until(&event, Status::Succeeded).await;
}

/// Lets the schedules of the stack fire now.
async fn fire(run: &Run<'_>) {
    let group = run.ground.stack.resource("ScheduleGroup");
    let scheduler = &run.ground.scheduler;
    let name = run
        .until_it("a schedule", || async {
            let list = scheduler.list_schedules().group_name(group).send().await.unwrap();
            list.schedules.into_iter().find_map(|schedule| schedule.name)
        })
        .await;
    let schedule = scheduler.get_schedule().group_name(group).name(&name).send().await.unwrap();
    let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().unwrap();
    let request = scheduler.update_schedule().group_name(group).name(&name).flexible_time_window(window);
    let request = request.set_target(schedule.target).set_action_after_completion(schedule.action_after_completion);
    request.schedule_expression("at(2026-01-01T00:00:00)").send().await.unwrap();
}

/// Every attempt fails: the delivery is there to be seen.
pub async fn given_up(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [1]}})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    assert_eq!(run.until(&event, Status::Failed).await.attempts.len(), 2);
}

/// The endpoint is paused when a retry comes, and resumed.
pub async fn held(run: &Run<'_>) {
    let (event, path) = stopped_by(run, "POST", "/pause").await;
    run.until(&event, Status::Held).await;
    run.endpoints("POST", &format!("{path}/resume"), json!({})).await;
    run.until(&event, Status::Succeeded).await;
    run.until_jobs_end(1).await;
}

/// The endpoint is deleted when a retry comes.
pub async fn cancelled(run: &Run<'_>) {
    let (event, _) = stopped_by(run, "DELETE", "").await;
    run.until(&event, Status::Cancelled).await;
    run.until_jobs_end(1).await;
}

/// A delivery whose first attempt failed, and a call that keeps the second from being sent.
async fn stopped_by(run: &Run<'_>, method: &str, how: &str) -> (DeliveryKey, String) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [8, 1]}})).await;
    run.answers(500, 200);
    let event = run.post("e", &endpoint).await;
    run.receiver.wait_for(1, RETRIES).await.unwrap();
    let path = format!("/v1/endpoints/{endpoint}");
    let body = if method == "POST" { json!({}) } else { Value::Null };
    run.endpoints(method, &format!("{path}{how}"), body).await;
    (event, path)
}

/// Three events for an endpoint that takes one in three seconds.
pub async fn limited(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"rate_limit": 0.3})).await;
    run.are_together(3);
    let mut events = Vec::new();
    for id in ["a", "b", "c"] {
        events.push(run.post(id, &endpoint).await);
    }
    for event in &events {
        run.until(event, Status::Succeeded).await;
    }
}

/// An event that waits for more than a minute: that is in the record. A process may remember no other limit by then.
pub async fn waiting_long(run: &Run<'_>) {
    // A slot each twenty seconds: of five, two at least wait for longer than a minute.
    let endpoint = run.endpoint("/a", json!({"rate_limit": 0.05})).await;
    let first = run.post("first", &endpoint).await;
    run.until(&first, Status::Succeeded).await;
    let mut others = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        others.push(run.post(id, &endpoint).await);
    }
    let waiting = run
        .until_it("a long wait", || async {
            for key in &others {
                let record = run.record(key).await.filter(|record| record.status == Status::Retrying);
                if record.is_some_and(|record| record.attempts.is_empty() && record.next.is_some()) {
                    return Some(key);
                }
            }
            None
        })
        .await;
    run.until_it("every message to wait", || async {
        let mut left = 0;
        for key in &others {
            let has_come = run.record(key).await.is_some_and(|record| record.status == Status::Succeeded);
            left += u64::from(!has_come);
        }
        (run.ground.stack.delayed("DeliveriesQueue").await >= left).then_some(())
    })
    .await;
    run.replay("POST", &format!("/v1/deliveries/{waiting}/cancel"), Value::Null).await;
    run.ground.clear().await;
}

/// The record of an outcome cannot be written, so that the outcome itself is queued.
pub async fn outcome_queued(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let id = endpoint.to_string();
    run.queues_outcome();
    run.ground.stack.proxy.spoil_times(3, move |call| {
        let records = call.attribute("endpoint_id") == id && call.attribute("status") == "succeeded";
        records.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
}

/// A message that cannot be read becomes a dead letter.
pub async fn unreadable(run: &Run<'_>) {
    run.send("DeliveriesQueue", json!({"v": 1, "what": "is this?"})).await;
    let length = || run.ground.stack.queue_length("DeliveriesDeadLetterQueue");
    run.until_it("the dead letter", || async { (length().await > 0).then_some(()) }).await;
    run.ground.until_quiet().await;
    // It is read out of the queue once more when the process dies after it was copied: two letters, and none lost.
    assert!((1..=2).contains(&length().await));
}

/// A message that comes before its time waits for it.
pub async fn came_early(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    let event = run.post_to_retry("e", &endpoint).await;
    run.ground.stack.make_due(&event).await;
    let soon = clock::now().plus(Duration::from_secs(2));
    let message = json!({"v": 1, "delivery": event, "round": 0, "attempt": 2, "not_before": soon});
    run.send("DeliveriesQueue", message).await;
    run.until(&event, Status::Succeeded).await;
    let far = clock::now().plus(Duration::from_secs(3600));
    let message = json!({"v": 1, "delivery": event, "round": 0, "attempt": 2, "not_before": far, "hops": 100});
    run.send("DeliveriesQueue", message).await;
    run.ground.until_quiet().await;
}

/// A message that says no time comes before its record's next attempt is due, and waits.
pub async fn came_before_due(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [10]}})).await;
    let event = run.post_to_retry("e", &endpoint).await;
    // Two messages of the second attempt: the retry's, and this one.
    run.are_together(2);
    run.send("DeliveriesQueue", json!({"v": 1, "delivery": event, "round": 0, "attempt": 2})).await;
    run.until(&event, Status::Succeeded).await;
}

/// A message comes twice at one time: the second waits until the claim of the first has ended.
pub async fn came_twice(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    let event = run.post_to_retry("e", &endpoint).await;
    run.answers_after(Duration::from_millis(800));
    run.are_together(2);
    run.ground.stack.make_due(&event).await;
    run.send_twice("DeliveriesQueue", &json!({"v": 1, "delivery": event, "round": 0, "attempt": 2})).await;
    run.until(&event, Status::Succeeded).await;
}

/// Reading the endpoint takes so long that an attempt does not fit any more: the message goes to the next invocation.
pub async fn too_late_for_an_attempt(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"timeout_seconds": 2})).await;
    let id = endpoint.to_string();
    run.ground.stack.proxy.spoil_times(1, move |call| {
        let reads = call.operation == "BatchGetItem" && call.mentions(&format!("{id}#health"));
        reads.then_some(Fault::Delay(Duration::from_millis(2500)))
    });
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
}

/// A message for a step that is recorded already ensures the next.
pub async fn ensured(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [4]}})).await;
    let event = run.post_to_retry("e", &endpoint).await;
    // Two messages of the second attempt: the retry's, and the one that is made sure of.
    run.are_together(2);
    run.send("DeliveriesQueue", json!({"v": 1, "delivery": event, "round": 0, "attempt": 1})).await;
    run.until(&event, Status::Succeeded).await;
}

/// A connection that has been idle breaks, and the request goes out once more on a new one.
pub async fn broken_idle(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let warm = run.post("warm", &endpoint).await;
    run.until(&warm, Status::Succeeded).await;
    // The receiver takes the request and hangs up, which counts as one that came.
    run.answers(0, 200);
    run.second_tries.store(1, Ordering::SeqCst);
    let event = run.post("e", &endpoint).await;
    run.until_it("its end", || async {
        run.record(&event).await.filter(|record| matches!(record.status, Status::Succeeded | Status::Retrying))
    })
    .await;
}

/// Scheduler is down: the queue carries the retry.
pub async fn scheduler_down(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let id = endpoint.to_string();
    run.ground.stack.proxy.spoil(move |call| {
        // The schedule's input names the delivery, which names the endpoint.
        let schedules = call.operation == "CreateSchedule" && of_endpoint(&call.body, &id);
        schedules.then_some(Fault::Refuse(400, "ServiceQuotaExceededException"))
    });
    let event = run.post_to_retry("e", &endpoint).await;
    run.until_it("the message", || async { (!run.ground.is_quiet().await).then_some(()) }).await;
    // It waits in the queue for a minute: now is as good.
    run.ground.stack.bring_due(&event, 0, 2).await;
    run.until(&event, Status::Succeeded).await;
    run.ground.clear().await;
}

fn of_endpoint(body: &Value, id: &str) -> bool {
    let input: Value = serde_json::from_str(body["Target"]["Input"].as_str().unwrap_or_default()).unwrap_or_default();
    let delivery = input["delivery"].as_str().and_then(|delivery| delivery.parse::<DeliveryKey>().ok());
    delivery.is_some_and(|key| key.endpoint_id.as_str() == id)
}

/// No slot can be reserved: the message tries again some seconds later.
pub async fn slot_refused(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"rate_limit": 100})).await;
    let id = format!("{endpoint}#rate");
    run.ground.stack.proxy.spoil_times(3, move |call| {
        let reserves = call.operation == "UpdateItem" && call.mentions(&id);
        reserves.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
}

/// A slot comes soon, and the invocation ends before an attempt after it would. Whether a slot is soon depends on how long the
/// message is on its way: then it is tried with another endpoint.
pub async fn slot_too_late(run: &Run<'_>) {
    for number in 0..5 {
        let options = json!({"rate_limit": 0.25, "timeout_seconds": 2});
        let endpoint = run.endpoint(&format!("/{number}"), options).await;
        let first = run.post(&format!("first-{number}"), &endpoint).await;
        run.until(&first, Status::Succeeded).await;
        let id = endpoint.to_string();
        run.ground.stack.proxy.spoil_times(1, move |call| {
            let reserves = call.operation == "UpdateItem" && call.mentions(&id);
            reserves.then_some(Fault::Delay(Duration::from_millis(2500)))
        });
        let second = run.post(&format!("second-{number}"), &endpoint).await;
        run.until(&second, Status::Succeeded).await;
        if run.ground.has_reached("slot::is_up", "protocol::send") {
            return;
        }
        run.endpoints("DELETE", &format!("/v1/endpoints/{endpoint}"), Value::Null).await;
    }
    panic!("no slot came after an invocation's end");
}

/// A slot was reserved under a newer limit than the one that is known.
pub async fn limit_changed(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"rate_limit": 10})).await;
    let known = run.ground.endpoints.get(&endpoint).await.unwrap().unwrap();
    let newer = RateLimit { since: known.version + 1, ..known.rate_limit.unwrap() };
    run.ground.rate_limits.reserve(&endpoint, &newer, None, clock::now()).await.unwrap();
    let event = run.post("e", &endpoint).await;
    run.until_it("a wait", || async { (run.ground.stack.delayed("DeliveriesQueue").await > 0).then_some(()) }).await;
    run.endpoints("PATCH", &format!("/v1/endpoints/{endpoint}"), json!({"rate_limit": 5})).await;
    run.until(&event, Status::Succeeded).await;
}

/// An outcome comes that has been recorded: what follows it may not have been sent.
pub async fn outcome_again(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    let record = run.until(&event, Status::Retrying).await;
    let (attempt, next) = (record.attempts[0].clone(), record.next.unwrap());
    let outcome = QueuedOutcome { holder: "dead".to_owned(), attempt, decision: Decision::Retry(next) };
    run.send("DeliveriesQueue", json!({"v": 1, "delivery": event, "round": 0, "attempt": 1, "record": outcome})).await;
    run.until_it("the end of the message", || async { run.ground.is_quiet().await.then_some(()) }).await;
    run.replay("POST", &format!("/v1/deliveries/{event}/cancel"), Value::Null).await;
}

/// SQS refuses an event's message as often as ingest sends it; the app posts the event again.
pub async fn refused(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let id = endpoint.to_string();
    run.ground.stack.proxy.spoil_times(4, move |call| {
        let sends = call.operation == "SendMessageBatch" && call.mentions(&id);
        sends.then_some(Fault::RefuseEntries(vec![0], false))
    });
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Succeeded).await;
}
