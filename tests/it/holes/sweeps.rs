//! The sweep's bounds: harmless, cheap when there is nothing to do, quiet while the queue is long, and stopped by nothing
//! that it finds. On a stack of their own, one after the other: any sweep takes what it finds.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue::{N, S};
use futures::StreamExt as _;
use local::Answer;
use pombo_aws::clock;
use pombo_aws::jobs::{JobsTable, PutJob};
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Job, JobKey, JobKind, JobStatus};
use pombo_domain::retry::{Next, Route};
use pombo_tests::{Call, Fault, Hook, Stack, eventually, scenario, unique};
use serde_json::json;

use super::{SOON, ago, begin, bring, record, requests_for, settle, store};
use crate::rows;

#[scenario(multi_thread)]
async fn sweeps_are_cheap_bounded_harmless_and_stopped_by_nothing() {
    let stack = Stack::own("swept", &[]).await;
    an_idle_sweep_costs_a_few_reads_and_writes_nothing(stack).await;
    what_is_merely_late_is_not_sent_twice(stack).await;
    while_the_queue_is_long_nothing_is_added_to_it(stack).await;
    a_record_that_cannot_be_written_delays_no_other(stack).await;
    a_job_that_cannot_be_read_keeps_no_other_stalled(stack).await;
    a_sweep_takes_at_most_a_thousand_and_leaves_them_alone_for_an_hour(stack).await;
}

async fn sweep(stack: &Stack) {
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
}

/// A delivery with its event whose second attempt should have begun twenty minutes ago.
async fn overdue(hook: &Hook, event: &str) -> DeliveryKey {
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let accepted_at = ago(1500);
    store(
        hook.stack,
        &rows::event(&hook.tenant, event, "student.created", accepted_at, std::slice::from_ref(&endpoint)),
    )
    .await;
    let next = Next { at: ago(1200), route: Route::Scheduler };
    let record = rows::delivery(&hook.tenant, &endpoint, event, accepted_at, Status::Retrying);
    begin(hook.stack, Record { next: Some(next), ..record }).await
}

async fn until_status(stack: &Stack, key: &DeliveryKey, status: Status) -> Record {
    eventually("the status", SOON, || async { Some(record(stack, key).await).filter(|record| record.status == status) })
        .await
}

async fn an_idle_sweep_costs_a_few_reads_and_writes_nothing(stack: &Stack) {
    let before = stack.proxy.calls(|_| true).len();
    sweep(stack).await;
    eventually("the sweep", SOON, || async {
        (stack.proxy.calls(|call| call.operation == "ReceiveMessage").len() == 2).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let calls = stack.proxy.calls(|_| true).split_off(before);
    let queries: Vec<_> = calls.iter().filter(|call| call.operation == "Query").collect();
    assert_eq!((queries.len(), calls.len()), (3 * 8, 3 * 8 + 2), "{calls:?}");
    assert!(queries.iter().all(|query| query.body["IndexName"] == "by_due" && query.rows == 0), "{queries:?}");
    assert!(queries.iter().map(|query| query.units).sum::<f64>() <= 12.0, "{queries:?}");
}

async fn what_is_merely_late_is_not_sent_twice(stack: &'static Stack) {
    let options = json!({"retry_policy": {"delays_seconds": [600, 600]}});
    let hook = Hook::new(stack, options, |received| {
        let answer = Answer::status(if received.event_id() == "fails" { 500 } else { 200 });
        answer.after(Duration::from_secs(1))
    })
    .await;
    let late = ["fails", "succeeds", "meets"];
    let mut keys = Vec::new();
    for event in late {
        keys.push(overdue(&hook, event).await);
    }
    // For the third, the late message comes while the attempt is under way.
    sweep(stack).await;
    hook.receiver.wait_for(3, SOON).await.unwrap();
    bring(stack, &keys[2], 0, 2).await;
    for key in &keys {
        eventually("the outcome", SOON, || async {
            let record = record(stack, key).await;
            (record.step.attempt == 2 || record.status == Status::Succeeded).then_some(())
        })
        .await;
    }
    // For the others, after it.
    for key in &keys[..2] {
        bring(stack, key, 0, 2).await;
    }
    sweep(stack).await;
    settle(&hook).await;
    for event in late {
        assert_eq!(requests_for(&hook, event).len(), 1, "{event}");
    }
}

async fn while_the_queue_is_long_nothing_is_added_to_it(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let key = overdue(&hook, "waits").await;
    let asked = |call: &Call| call.operation == "GetQueueAttributes";
    let before = stack.proxy.calls(asked).len();
    let long = json!({"Attributes": {"ApproximateNumberOfMessages": "10001"}});
    stack.proxy.spoil_times(1, move |call| asked(call).then(|| Fault::Answer(long.clone())));
    sweep(stack).await;
    eventually("the question", SOON, || async { (stack.proxy.calls(asked).len() > before).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = record(stack, &key).await;
    assert_eq!((seen.rev, hook.receiver.count()), (1, 0), "neither written nor sent: {seen:?}");
    sweep(stack).await;
    until_status(stack, &key, Status::Succeeded).await;
}

async fn a_record_that_cannot_be_written_delays_no_other(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let mut keys = Vec::new();
    for event in ["stays", "goes", "goes-too"] {
        keys.push(overdue(&hook, event).await);
    }
    let refused = keys[0].sort_key();
    stack.proxy.spoil_times(1, move |call| {
        let is_it = call.operation == "PutItem" && call.attribute("sort_key") == refused;
        is_it.then_some(Fault::Refuse(400, "ValidationException"))
    });
    sweep(stack).await;
    for key in &keys[1..] {
        until_status(stack, key, Status::Succeeded).await;
    }
    assert_eq!(record(stack, &keys[0]).await.rev, 1);
    sweep(stack).await;
    until_status(stack, &keys[0], Status::Succeeded).await;
}

async fn a_job_that_cannot_be_read_keeps_no_other_stalled(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let table = stack.resource("JobsTable");
    // Overdue for longer, so that it is seen first, in every shard.
    for shard in 0..8 {
        let damaged = client.put_item().table_name(table).item("owner", S(hook.tenant.clone()));
        let damaged = damaged.item("created_key", S(unique("damaged"))).item("due_at", N("1".into()));
        damaged.item("due_shard", S(shard.to_string())).send().await.unwrap();
    }
    let jobs = JobsTable::new(client.clone(), table.to_owned());
    let key = JobKey::generate(Some(&hook.tenant.parse().unwrap()), ago(1000), clock::random().unwrap());
    let kind = JobKind::Drain { endpoint_id: hook.endpoint.parse().unwrap() };
    let job = Job::new(key.clone(), kind, ago(1000), Duration::from_secs(86_400));
    assert!(matches!(jobs.put(None, job, "test").await.unwrap(), PutJob::Stored(_)));
    sweep(stack).await;
    eventually("the end of the job", SOON, || async {
        (jobs.get(&key).await.unwrap()?.status == JobStatus::Done).then_some(())
    })
    .await;
}

async fn a_sweep_takes_at_most_a_thousand_and_leaves_them_alone_for_an_hour(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let next = Next { at: ago(1200), route: Route::Scheduler };
    let of_shard = |number: u32| {
        let record = rows::delivery(&hook.tenant, &endpoint, &format!("e{number}"), ago(1500), Status::Retrying);
        (record.key.shard() == 0).then_some(Record { next: Some(next), ..record })
    };
    let records: Vec<_> = (0..).filter_map(of_shard).take(140).collect();
    rows::put_deliveries(stack, &records).await;
    // What is sent is lost: this is about the records.
    let tenant_s = hook.endpoint.clone();
    stack.proxy.spoil(move |call| {
        let is_it = call.operation == "SendMessageBatch" && call.body["Entries"][0]["MessageGroupId"] == tenant_s;
        is_it.then(|| Fault::Answer(json!({"Successful": [], "Failed": []})))
    });
    let moved = async || {
        futures::stream::iter(&records)
            .then(|written| record(stack, &written.key))
            .filter(|record| std::future::ready(record.rev > 1))
            .collect::<Vec<_>>()
            .await
    };
    sweep(stack).await;
    eventually("a sweep of one shard", SOON, || async { (moved().await.len() >= 125).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let first = moved().await;
    assert_eq!(first.len(), 125, "an eighth of a thousand");
    let limits = stack.proxy.calls(|call| {
        call.operation == "Query"
            && call.table() == stack.resource("DeliveriesTable")
            && call.body["IndexName"] == "by_due"
    });
    assert!(limits.iter().all(|query| query.body["Limit"] == 125), "{limits:?}");
    for record in &first {
        let left = clock::now().until(record.look_due().unwrap()).as_secs();
        assert!((3500..=3600).contains(&left) && record.step.attempt == 1, "{record:?}");
    }
    sweep(stack).await;
    eventually("the rest", SOON, || async { (moved().await.len() == 140).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for record in moved().await {
        assert_eq!(record.rev, 2, "moved on once: {record:?}");
    }
}
