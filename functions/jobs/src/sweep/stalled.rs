//! Jobs whose leg should have ended long ago: its process died, or its message was lost.

use std::time::Duration;

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::delivery::SHARDS;
use pombo_domain::job::{Job, JobKey, JobStatus};
use pombo_domain::time::Timestamp;
use pombo_jobs::send::leg_message;

use crate::settings::App;

/// The most jobs that a sweep queues again from one shard.
const MOST_OF_A_SHARD: usize = 25;

/// What this part of a sweep found.
#[derive(Debug, Default)]
pub(super) struct Stalled {
    /// Jobs whose leg was queued again.
    pub(super) queued: usize,
    /// Jobs that could not be; they stay for the next sweep.
    pub(super) left: usize,
}

/// Queues the legs of stalled jobs again.
pub(super) async fn queue_again(app: &App, writer: &str) -> Result<Stalled, AwsError> {
    let now = clock::now();
    let shards = try_join_all((0..SHARDS).map(|shard| app.clients.jobs.due(shard, now, MOST_OF_A_SHARD))).await?;
    let mut found = Stalled::default();
    for key in shards.concat() {
        match queue_one(app, &key, writer).await {
            Ok(true) => found.queued += 1,
            Ok(false) => {}
            // One that cannot be read, of a newer version perhaps, must not keep the others stalled.
            Err(error) => {
                tracing::error!(job = %key, %error, "Job {key} is stalled and could not be queued again.");
                found.left += 1;
            }
        }
    }
    Ok(found)
}

/// Moves the job's timer on, so that the next sweep does not send the leg once more, then sends it.
async fn queue_one(app: &App, key: &JobKey, writer: &str) -> Result<bool, AwsError> {
    let now = clock::now();
    let Some(job) = app.clients.jobs.get(key).await?.filter(|job| is_stalled(job, now)) else { return Ok(false) };
    match app.clients.jobs.put(Some(job.rev), job.queued_again(now), writer).await? {
        PutJob::Stored(job) => {
            app.clients.jobs_queue.send(leg_message(key.to_string(), job.leg, Duration::ZERO)).await?;
            Ok(true)
        }
        // It has moved: it is stalled no longer.
        PutJob::Conflict(_) => Ok(false),
    }
}

/// The index names candidates; the job itself tells.
fn is_stalled(job: &Job, now: Timestamp) -> bool {
    job.status == JobStatus::Running && job.due < now
}

#[cfg(test)]
mod tests {
    use pombo_domain::job::{JobKind, STALLED_AFTER};

    use super::*;

    #[test]
    fn a_running_job_is_stalled_when_its_time_has_passed_and_not_after_it_was_queued_again() {
        let made = Timestamp::from_seconds(1000);
        let job = Job::new(JobKey::generate(None, made, [1; 10]), JobKind::Replay, made, Duration::from_secs(9));
        let due = made.plus(STALLED_AFTER);
        let later = due.plus(Duration::from_millis(1));
        assert!(!is_stalled(&job, due) && is_stalled(&job, later));
        assert!(!is_stalled(&job.ended(JobStatus::Done, made), later));
        assert!(!is_stalled(&job.queued_again(later), later));
    }
}
