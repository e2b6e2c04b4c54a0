//! The sweep: finds what is stuck and puts it back on its way.
//!
//! A recurring schedule sends it. Its five parts are independent: one that fails is logged and left to the next sweep,
//! and none keeps another from running. Every change is conditional on what was read, so two sweeps at one time do no
//! harm. When there is nothing to do, a sweep costs three queries a shard and two looks at empty queues.

mod dead_deliveries;
mod dead_jobs;
mod overdue;
mod remedy;
mod stalled;
mod unqueued;

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures::{FutureExt as _, join};
use pombo_aws::metrics::Metric;
use pombo_jobs::Invocation;

use crate::settings::App;

/// How long a dead letter is hidden from other readers while a sweep looks at it. What it leaves is back for the next.
const HIDDEN_SECONDS: u32 = 60;
/// How often a sweep asks a dead-letter queue for ten more: so many letters at most, and the rest is the next sweep's.
const MOST_RECEIVES: usize = 50;

/// Sweeps once, and logs and counts what was found.
pub(crate) async fn sweep(app: &App, invocation: &Invocation, writer: &str) {
    let started = Instant::now();
    let (overdue, dead, dead_jobs, stalled, unqueued) = join!(
        part("overdue deliveries", invocation, overdue::queue_again(app, writer)),
        part("dead letters of deliveries", invocation, dead_deliveries::take(app, writer)),
        part("dead letters of jobs", invocation, dead_jobs::take(app)),
        part("stalled jobs", invocation, stalled::queue_again(app, writer)),
        part("unqueued events", invocation, unqueued::publish_overdue(app)),
    );
    let whole = overdue.is_some() && dead.is_some() && dead_jobs.is_some() && stalled.is_some() && unqueued.is_some();
    let (overdue, dead) = (overdue.unwrap_or_default(), dead.unwrap_or_default());
    let (dead_jobs, stalled) = (dead_jobs.unwrap_or_default(), stalled.unwrap_or_default());
    let unqueued = unqueued.unwrap_or_default();
    tracing::info!(
        overdue_queued = overdue.queued,
        overdue_left = overdue.left,
        overdue_skipped = overdue.skipped,
        queue_too_long = overdue.queue_too_long,
        dead_recorded = dead.recorded,
        dead_failed = dead.failed,
        dead_ensured = dead.ensured,
        dead_discarded = dead.discarded,
        dead_left = dead.left,
        dead_unreadable = dead.unreadable,
        jobs_dead_deleted = dead_jobs.deleted,
        jobs_dead_unreadable = dead_jobs.unreadable,
        jobs_stalled = stalled.queued,
        jobs_left = stalled.left,
        events_published = unqueued.published,
        events_left = unqueued.left,
        whole,
        duration_ms = started.elapsed().as_millis() as u64,
        "Sweep ended."
    );
    app.clients.protocol.metrics.count_all(&[
        (Metric::SweepsCompleted, usize::from(whole)),
        (Metric::OverdueDeliveries, overdue.queued + overdue.left),
        (Metric::StalledJobs, stalled.queued + stalled.left),
        (Metric::UnqueuedEvents, unqueued.published + unqueued.left),
        (Metric::DeadLettersTaken, dead.taken() + dead_jobs.deleted),
    ]);
}

/// Runs one part within the invocation's time.
async fn part<T, E: Display>(
    name: &str,
    invocation: &Invocation,
    work: impl Future<Output = Result<T, E>>,
) -> Option<T> {
    // What the parts share are clients.
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(invocation.until_answer(), work).await {
        Ok(Ok(Ok(found))) => Some(found),
        Ok(Ok(Err(error))) => {
            tracing::error!(part = name, %error, "The sweep's part {name:?} failed; the next sweep goes on.");
            None
        }
        Ok(Err(_)) => {
            tracing::error!(part = name, "The sweep's part {name:?} panicked; the next sweep goes on.");
            None
        }
        Err(_) => {
            tracing::error!(part = name, "The sweep's part {name:?} ran out of time; the next sweep goes on.");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use lambda_runtime::Context;
    use pombo_aws::clock;

    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_fails_or_hangs_keeps_none_from_its_end() {
        let mut context = Context::default();
        context.deadline = clock::now().plus(Duration::from_secs(1)).as_millis().unsigned_abs();
        let invocation = Invocation::new(&context);
        let found = join!(
            part("panics", &invocation, async {
                if invocation.writer().is_empty() { panic!("poison") } else { Ok::<_, String>(1) }
            }),
            part("fails", &invocation, async { Err::<u8, _>("failed") }),
            part("hangs", &invocation, pending::<Result<u8, String>>()),
            part("ends", &invocation, async { Ok::<_, String>(7) }),
        );
        assert_eq!(found, (None, None, None, Some(7)));
    }
}
