//! Jobs: written in the place of the revision that was seen; on a timer while they run.

use std::time::Duration;

use pombo_aws::clock;
use pombo_aws::jobs::{JobsTable, PutJob};
use pombo_domain::delivery::{DeliveryKey, SHARDS};
use pombo_domain::job::{
    Filter, Include, Job, JobKey, JobKind, JobStatus, LARGEST_PAGE, Look, Row, RowResult, Scope, Selection, StopReason,
};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

use super::{FAR, endpoint_id};

async fn table(on: &Backend) -> JobsTable {
    let name = on.resource("JobsTable");
    JobsTable::new(aws_sdk_dynamodb::Client::new(&on.direct().await), name)
}

/// A job of a tenant of its own, due when no sweep looks.
fn job(kind: JobKind) -> Job {
    let tenant = unique("t").parse().unwrap();
    let key = JobKey::generate(Some(&tenant), clock::now(), clock::random().unwrap());
    Job { due: FAR, ..Job::new(key, kind, clock::now(), Duration::from_secs(86_400)) }
}

/// A job with something in every field, its page as large as a page may be.
fn full() -> Job {
    let mut job = Job { leg: 7, ..job(JobKind::Drain { endpoint_id: endpoint_id() }) };
    for result in [RowResult::Queued, RowResult::InFlight, RowResult::InFlight, RowResult::EndpointDeleted] {
        job.counts.add(result);
    }
    let endpoint_id = endpoint_id();
    let row = |number| Row {
        delivery: DeliveryKey {
            endpoint_id: endpoint_id.clone(),
            accepted_at: FAR,
            event_id: format!("{number:0>64}").parse().unwrap(),
        },
        round: number,
        first: number % 2 == 0,
    };
    (job.stopping, job.stop_reason, job.spacing_us) = (true, Some(StopReason::Requested), 2000);
    job.page = Some((0..).map(row).take(LARGEST_PAGE).collect());
    job
}

/// A selection with something in every field.
fn selection() -> Selection {
    Selection {
        filter: Filter {
            scope: Scope::Endpoint(endpoint_id()),
            event_type: Some("student.*".parse().unwrap()),
            since: clock::now(),
            until: FAR,
        },
        include: [Include::Failed, Include::Missing].into(),
        rate_per_second: Some(PerSecond::new(2.5).unwrap()),
        after: Some(DeliveryKey { endpoint_id: endpoint_id(), accepted_at: FAR, event_id: "e".parse().unwrap() }),
        look: Look::Last,
    }
}

async fn stored(table: &JobsTable, seen: Option<u64>, job: Job, writer: &str) -> Job {
    match table.put(seen, job, writer).await.unwrap() {
        PutJob::Stored(job) => *job,
        other => panic!("{other:?}"),
    }
}

async fn every_field_survives_a_round_trip(on: &Backend) {
    let table = table(on).await;
    for job in [job(JobKind::Replay), job(JobKind::ReplayMatching(selection())), full()] {
        assert_eq!(table.get(&job.key()).await.unwrap(), None);
        let written = stored(&table, None, job.clone(), "me").await;
        assert_eq!(written, Job { rev: 1, writer: "me".into(), ..job });
        assert_eq!(table.get(&written.key()).await.unwrap(), Some(written.clone()));
        let moved = Job { page: None, leg: 8, ..written.clone() };
        let moved = stored(&table, Some(1), moved, "next").await;
        assert_eq!((moved.rev, moved.writer.as_str()), (2, "next"));
        assert_eq!(table.get(&written.key()).await.unwrap(), Some(moved));
    }
}

async fn a_new_job_or_a_stale_revision_meets_the_one_that_stands(on: &Backend) {
    let table = table(on).await;
    let first = stored(&table, None, full(), "me").await;
    let standing = stored(&table, Some(1), Job { leg: 8, ..first.clone() }, "other").await;
    for seen in [None, Some(0), Some(1), Some(3)] {
        let put = table.put(seen, first.clone(), "me").await.unwrap();
        assert_eq!(put, PutJob::Conflict(Some(Box::new(standing.clone()))), "{seen:?}");
    }
    assert_eq!(table.get(&first.key()).await.unwrap(), Some(standing));
    assert_eq!(table.put(Some(4), full(), "me").await.unwrap(), PutJob::Conflict(None));
}

async fn a_write_whose_answer_is_lost_is_a_write(on: &Backend) {
    let name = on.resource("JobsTable");
    let table = JobsTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), name);
    let job = job(JobKind::Replay);
    for (seen, made) in [(None, 2), (Some(1), 4)] {
        on.spoil(1, "PutItem", &job.created_key, Fault::LoseAnswer);
        let written = stored(&table, seen, job.clone(), "me").await;
        assert_eq!(written.rev, seen.map_or(1, |seen| seen + 1));
        assert_eq!(on.calls("PutItem", &job.created_key).len(), made, "the SDK repeated the call");
    }
}

async fn a_running_job_is_found_when_it_is_due_and_an_ended_one_is_not(on: &Backend) {
    let table = table(on).await;
    let after = Timestamp::from_millis(FAR.as_millis() + 1);
    let mut job = stored(&table, None, job(JobKind::Replay), "me").await;
    let found = async |before| {
        let mut shards = Vec::new();
        for shard in 0..SHARDS {
            if table.due(shard, before, 1000).await.unwrap().contains(&job.key()) {
                shards.push(shard);
            }
        }
        shards
    };
    assert_eq!(found(after).await, [job.key().shard()]);
    assert!(found(FAR).await.is_empty(), "not before its time");
    for status in [JobStatus::Done, JobStatus::Running, JobStatus::Cancelled] {
        job = stored(&table, Some(job.rev), Job { status, ..job }, "me").await;
        let due = table.due(job.key().shard(), after, 1000).await.unwrap();
        assert_eq!(due.contains(&job.key()), status == JobStatus::Running, "{status:?}");
        assert_eq!(table.get(&job.key()).await.unwrap(), Some(job.clone()), "the timer is no part of the job");
    }
}

async fn a_list_goes_newest_first_page_by_page_and_gives_each_job_whole(on: &Backend) {
    let table = table(on).await;
    let tenant = unique("t").parse().unwrap();
    let mut made = Vec::new();
    for number in 0..5 {
        let at = clock::now().plus(Duration::from_millis(number));
        let key = JobKey::generate(Some(&tenant), at, clock::random().unwrap());
        made.push(stored(&table, None, Job { owner: key.owner, created_key: key.created_key, ..full() }, "me").await);
    }
    made.reverse();
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = table.list(Some(tenant.as_str()), after.as_ref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        keys.extend(page);
        after = keys.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(keys, made.iter().map(Job::key).collect::<Vec<_>>());
    assert_eq!(table.get_many(&keys).await.unwrap(), made);
    assert_eq!(table.get_many(&[]).await.unwrap(), []);
    // Everybody's, from a job on: others may come between these at any time.
    let (all, _) = table.list(None, Some(&made[0].key()), 100).await.unwrap();
    let ours: Vec<_> = all.iter().filter(|key| key.owner == tenant.as_str()).cloned().collect();
    assert_eq!(ours, made[1..].iter().map(Job::key).collect::<Vec<_>>());
}

on_dynamodb! {
    every_field_survives_a_round_trip,
    a_running_job_is_found_when_it_is_due_and_an_ended_one_is_not,
    a_list_goes_newest_first_page_by_page_and_gives_each_job_whole,
    ; roto "gives no item with a condition that fails":
    a_new_job_or_a_stale_revision_meets_the_one_that_stands,
    a_write_whose_answer_is_lost_is_a_write,
}
