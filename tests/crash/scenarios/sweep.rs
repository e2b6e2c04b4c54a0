//! The sweep finds what is stuck.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Status, Step};
use pombo_domain::job::{Job, JobStatus};
use pombo_domain::message::QueuedOutcome;
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::Decision;
use pombo_tests::Fault;
use serde_json::{Value, json};

use super::news::subscribe;
use crate::run::{LONG, Run};

/// Sweeps until there is an answer.
async fn sweep_until<T, F: Future<Output = Option<T>>>(run: &Run<'_>, what: &str, ask: impl Fn() -> F) -> T {
    run.until_it(what, || async {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if run.ground.is_quiet().await {
            run.sweep().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        None
    })
    .await
}

async fn sweep_until_status(run: &Run<'_>, key: &DeliveryKey, status: Status) {
    sweep_until(run, &format!("{status:?}"), || async {
        run.record(key).await.filter(|record| record.status == status)
    })
    .await;
}

/// Loses the next message of each kind about an endpoint.
fn lose(run: &Run<'_>, times: usize, operation: &'static str, about: String) {
    run.ground.stack.proxy.spoil_times(times, move |call| {
        (call.operation == operation && call.mentions(&about)).then_some(Fault::Swallow)
    });
}

/// The message of a retry is lost.
pub async fn overdue(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [1]}})).await;
    lose(run, 1, "SendMessage", endpoint.to_string());
    run.answers(500, 200);
    let event = run.post("e", &endpoint).await;
    sweep_until_status(run, &event, Status::Succeeded).await;
}

/// The schedule of a retry is lost.
pub async fn overdue_by_scheduler(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    lose(run, 1, "CreateSchedule", endpoint.to_string());
    let event = run.post_to_retry("e", &endpoint).await;
    run.until_it("an overdue delivery", || async {
        let record = run.record(&event).await?;
        // The sweep may have come before.
        (record.status == Status::Succeeded || run.make_overdue(record).await).then_some(())
    })
    .await;
    sweep_until_status(run, &event, Status::Succeeded).await;
}

/// Dead letters: an outcome that was not recorded, a delivery whose attempts were not made, one whose step is recorded, and
/// one that has come to its end.
pub async fn dead_letters(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    let mut keys = Vec::new();
    for id in ["outcome", "dead", "known", "done"] {
        keys.push(run.post_to_retry(id, &endpoint).await);
    }
    run.replay("POST", &format!("/v1/deliveries/{}/cancel", keys[3]), Value::Null).await;
    let attempt = Attempt {
        step: Step { round: 0, attempt: 2 },
        started_at: clock::now(),
        duration_ms: 0,
        // No request was made for it.
        outcome: Outcome::Expired,
        answer: None,
        sent_to: None,
        redelivered: false,
        trigger: Trigger::Retry,
    };
    let outcome = QueuedOutcome { holder: "dead".to_owned(), attempt, decision: Decision::Failed };
    let letter = |key: &DeliveryKey, attempt: u32| json!({"v": 1, "delivery": key, "round": 0, "attempt": attempt});
    let mut first = letter(&keys[0], 2);
    first["record"] = serde_json::to_value(outcome).unwrap();
    for letter in [first, letter(&keys[1], 2), letter(&keys[2], 1), letter(&keys[3], 2)] {
        run.send("DeliveriesDeadLetterQueue", letter).await;
    }
    let length = || run.ground.stack.queue_length("DeliveriesDeadLetterQueue");
    sweep_until_status(run, &keys[1], Status::Failed).await;
    run.until_it("no dead letters", || async {
        let empty = length().await == 0;
        if !empty && run.ground.is_quiet().await {
            run.sweep().await;
        }
        empty.then_some(())
    })
    .await;
    run.ground.clear().await;
}

/// Dead letters of the Jobs queue.
pub async fn dead_jobs(run: &Run<'_>) {
    run.send("JobsDeadLetterQueue", json!({"v": 1, "sweep": true})).await;
    let length = || run.ground.stack.queue_length("JobsDeadLetterQueue");
    sweep_until(run, "no dead letters", || async { (length().await == 0).then_some(()) }).await;
}

/// The message of a job's leg is lost.
pub async fn stalled(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let path = format!("/v1/endpoints/{endpoint}");
    run.endpoints("POST", &format!("{path}/pause"), json!({})).await;
    // A job's id is sealed: any leg's message will do, since nothing else is sent on this stack.
    let stack = run.ground.stack.resource("JobsQueue").to_owned();
    lose(run, 1, "SendMessage", stack);
    run.endpoints("POST", &format!("{path}/resume"), json!({})).await;
    let job = run.jobs().await.remove(0);
    if job.status == JobStatus::Running {
        let due = clock::now().minus(Duration::from_secs(60));
        let job = Job { due, ..job };
        let _ = run.ground.jobs.put(Some(job.rev), job, "hours").await.unwrap();
    }
    sweep_until(run, "the job's end", || async {
        run.jobs().await.iter().all(|job| job.status != JobStatus::Running).then_some(())
    })
    .await;
}

/// The message that announces an event of Pombo's own is lost.
pub async fn unqueued(run: &Run<'_>) {
    let news = subscribe(run, json!({"event_types": ["pombo.endpoint.paused"]})).await;
    let endpoint = run.endpoint("/a", json!({})).await;
    lose(run, 1, "SendMessage", run.ground.stack.resource("JobsQueue").to_owned());
    run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/pause"), json!({})).await;
    sweep_until(run, "the news", || async { (run.receiver.count() > 0).then_some(()) }).await;
    run.ground.until_quiet().await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}
