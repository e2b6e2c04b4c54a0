//! The places of running replays and the tests of an endpoint: as many as there may be, whoever asks at the same time.

use std::time::Duration;

use futures::future::join_all;
use pombo_aws::admission::Admitted;
use pombo_aws::clock;
use pombo_aws::jobs::{JobsTable, Placed, PutJob};
use pombo_aws::test_limit::TestLimits;
use pombo_domain::job::{Job, JobKey, JobKind, JobStatus};
use pombo_domain::limits::LimitReached;
use pombo_domain::test_limit::TooManyTests;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

use super::{FAR, endpoint_id};

async fn jobs(on: &Backend) -> JobsTable {
    JobsTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), on.resource("JobsTable"))
}

/// A job that no sweep looks for.
fn job(owner: &str) -> Job {
    let key = JobKey::generate(Some(&owner.parse().unwrap()), clock::now(), clock::random().unwrap());
    Job { due: FAR, ..Job::new(key, JobKind::Replay, clock::now(), Duration::from_secs(86_400)) }
}

fn refused(owner: &str, in_use: usize, limit: usize) -> Placed {
    Placed::Refused(LimitReached::Replays { owner: owner.to_owned(), in_use, limit })
}

async fn of_twelve_jobs_at_once_three_are_stored_and_each_place_is_free_when_its_job_has_ended(on: &Backend) {
    let (table, owner) = (jobs(on).await, unique("t"));
    let wanted: Vec<_> = (0..12).map(|_| job(&owner)).collect();
    let placed = join_all(wanted.iter().map(|job| table.put_limited(job, 3, "w"))).await;
    let placed: Vec<_> = placed.into_iter().map(Result::unwrap).collect();
    assert_eq!(placed.iter().filter(|placed| **placed == Placed::Stored).count(), 3, "{placed:?}");
    assert!(placed.iter().all(|placed| *placed == Placed::Stored || *placed == refused(&owner, 3, 3)), "{placed:?}");
    let (keys, _) = table.list(Some(&owner), None, 100).await.unwrap();
    assert_eq!(keys.len(), 3, "what is refused is not stored, and the list of places is no job");
    for (key, status) in keys.iter().zip([JobStatus::Done, JobStatus::Cancelled]) {
        let running = table.get(key).await.unwrap().unwrap();
        let ended = running.ended(status, clock::now());
        assert!(matches!(table.put(Some(running.rev), ended, "e").await.unwrap(), PutJob::Stored(_)));
        let placed = join_all((0..4).map(|_| async { table.put_limited(&job(&owner), 3, "w").await.unwrap() })).await;
        assert_eq!(placed.iter().filter(|placed| **placed == Placed::Stored).count(), 1, "{status:?}: {placed:?}");
    }
    assert_eq!(table.put_limited(&job(&unique("other")), 3, "w").await.unwrap(), Placed::Stored);
    assert_eq!(table.put_limited(&job(&owner), 2, "w").await.unwrap(), refused(&owner, 3, 2));
    assert_eq!(table.put_limited(&job(&owner), 4, "w").await.unwrap(), Placed::Stored, "a limit that was raised");
}

async fn a_job_whose_answer_is_lost_has_one_place(on: &Backend) {
    let (table, owner) = (jobs(on).await, unique("t"));
    on.spoil(1, "TransactWriteItems", &owner, Fault::LoseAnswer);
    let first = job(&owner);
    assert_eq!(table.put_limited(&first, 2, "w").await.unwrap(), Placed::Stored);
    assert_eq!(table.put_limited(&first, 2, "w").await.unwrap(), Placed::Stored, "it is stored already");
    assert_eq!(table.put_limited(&job(&owner), 2, "w").await.unwrap(), Placed::Stored);
    assert_eq!(table.put_limited(&job(&owner), 2, "w").await.unwrap(), refused(&owner, 2, 2));
}

async fn of_fifteen_tests_at_once_six_are_admitted_and_a_lost_answer_counts_once(on: &Backend) {
    let table = TestLimits::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), on.resource("EndpointsTable"));
    let (id, now) = (endpoint_id(), FAR);
    on.spoil(1, "PutItem", id.as_str(), Fault::LoseAnswer);
    assert_eq!(table.admit(&id, "w", now).await.unwrap(), Admitted::Yes);
    let writers: Vec<_> = (0..15).map(|number| format!("w{number}")).collect();
    let admitted = join_all(writers.iter().map(|writer| table.admit(&id, writer, now))).await;
    let admitted = admitted.into_iter().filter(|admitted| *admitted.as_ref().unwrap() == Admitted::Yes);
    assert_eq!(admitted.count(), 5);
    let minute_later: Timestamp = now.plus(Duration::from_secs(60));
    assert_eq!(table.admit(&id, "x", now).await.unwrap(), Admitted::No(TooManyTests { until: minute_later }));
    assert_eq!(table.admit(&id, "x", minute_later).await.unwrap(), Admitted::Yes);
}

on_dynamodb! {
    of_twelve_jobs_at_once_three_are_stored_and_each_place_is_free_when_its_job_has_ended,
    a_job_whose_answer_is_lost_has_one_place,
    ; roto "gives no item with a condition that fails":
    of_fifteen_tests_at_once_six_are_admitted_and_a_lost_answer_counts_once,
}
