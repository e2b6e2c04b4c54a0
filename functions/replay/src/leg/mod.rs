//! The leg runner: one leg of a job, from wherever a run before it stopped.
//!
//! The order is what makes a leg safe to kill anywhere: the page is stored, then each delivery is changed, then the
//! messages are sent, then the job moves on, then the next leg's message is sent. A run that finds the page stored takes
//! it; deliveries changed by the run before count as queued and their messages are sent again. Each write of the job
//! replaces the revision that was seen: a run that loses takes the job as it stands and decides anew.
//!
//! What kinds of jobs differ in is in two places: [`kind::next_page`] here, and
//! [`Job::plan`](pombo_domain::job::Job::plan) for one delivery.

mod auto_pause;
mod circuit;
mod drain;
mod held;
mod kind;
pub(crate) mod matching;
mod page;
mod probe;
mod rows;

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::job::{Ask, Job, JobKey, JobKind, JobStatus, LegVerdict, RowResult};
use thiserror::Error;

use self::page::Page;
pub(crate) use self::rows::{Known, OpenCircuits, Records};
use crate::send::{SendError, leg_message, send_next};
use crate::settings::App;

/// How often a leg decides anew because another run was faster.
const MOST_CONFLICTS: usize = 10;

/// A leg that could not be brought to its end. Its message comes again, and it goes on from the stored page.
#[derive(Debug, Error)]
pub(crate) enum LegError {
    /// A table could not be read or written.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Messages could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Other runs of the leg were faster, again and again.
    #[error("the job changed {MOST_CONFLICTS} times in a row")]
    Contended,
    /// The invocation ends.
    #[error("the invocation's time is over")]
    OutOfTime,
}

/// What a leg came to.
#[derive(Debug)]
pub(crate) struct Leg {
    /// The job as it stands; none when it has expired.
    pub(crate) job: Option<Job>,
    /// What became of each delivery of the page.
    pub(crate) rows: Vec<(DeliveryKey, RowResult)>,
    /// What follows.
    pub(crate) end: LegEnd,
}

/// What follows a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LegEnd {
    /// The next leg is queued, to run after a pause.
    Next(u32, Duration),
    /// The leg was passed before; the one that is next is queued once more.
    Passed(u32),
    /// Another message sees to the next leg.
    Spare,
    /// The job has ended.
    Ended(JobStatus),
    /// The job has expired.
    Gone,
}

/// Runs a leg of a stored job.
pub(crate) async fn run_stored(app: &App, key: &JobKey, ask: Ask<'_>, writer: &str) -> Result<Leg, LegError> {
    match app.jobs.get(key).await? {
        Some(job) => run(app, job, ask, Known::default(), writer).await,
        None => Ok(Leg { job: None, rows: Vec::new(), end: LegEnd::Gone }),
    }
}

/// Runs a leg of a job that was just read or written. What is `known` is not read again; a stale record costs a write
/// that fails.
pub(crate) async fn run(
    app: &App,
    mut job: Job,
    ask: Ask<'_>,
    mut known: Known,
    writer: &str,
) -> Result<Leg, LegError> {
    let began = clock::now();
    let mut rows = Vec::new();
    // Whether the page that is stored is this run's own. A run works its own page, whatever asked for the run.
    let mut is_own_page = false;
    for _ in 0..MOST_CONFLICTS {
        if !is_own_page && let Some(end) = instead(app, &job, ask).await? {
            return Ok(Leg { job: Some(job), rows: Vec::new(), end });
        }
        let mut pause = Duration::ZERO;
        let mut page_only = false;
        let changed = if let Some(page) = &job.page {
            rows = work(app, &job, page, std::mem::take(&mut known), writer).await?;
            pause = job.page_takes();
            let done = job.page_done(rows.iter().map(|(_, result)| *result), pause, clock::now());
            done.brought_by(ask.message, !pause.is_zero())
        } else {
            let (kind, page) = kind::next_page(app, &job, began, writer).await?;
            let moved = Job { kind, ..job.clone() };
            match page {
                Page::Rows { rows, known: read, spacing } => {
                    known = read;
                    page_only = true;
                    moved.with_page(rows, spacing, clock::now())
                }
                Page::Nothing { look_again_in } => {
                    pause = look_again_in;
                    moved.leg_done([], pause, clock::now()).brought_by(ask.message, false)
                }
                Page::End => moved.ended(JobStatus::Done, clock::now()),
                Page::Stop(reason) => moved.stopped(reason, clock::now()),
            }
        };
        match app.jobs.put(Some(job.rev), changed, writer).await? {
            PutJob::Stored(stored) if page_only => (job, is_own_page) = (*stored, true),
            PutJob::Stored(stored) => return finish(app, *stored, rows, pause).await,
            PutJob::Conflict(Some(stored)) => (job, is_own_page) = (*stored, false),
            PutJob::Conflict(None) => return Ok(Leg { job: None, rows, end: LegEnd::Gone }),
        }
    }
    Err(LegError::Contended)
}

/// Does the work that takes the place of a leg; `None` when the leg is to run.
async fn instead(app: &App, job: &Job, ask: Ask<'_>) -> Result<Option<LegEnd>, LegError> {
    Ok(match job.verdict(ask) {
        LegVerdict::Run => None,
        LegVerdict::Passed { next } => {
            // Not before its time: messages that come twice must not make a job quicker.
            let pause = job.pause_left(clock::now());
            app.jobs_queue.send(leg_message(job.key().to_string(), next, pause)).await?;
            Some(LegEnd::Passed(next))
        }
        LegVerdict::Spare => Some(LegEnd::Spare),
        LegVerdict::Ended => Some(LegEnd::Ended(job.status)),
    })
}

/// Changes the deliveries of a page and sends their messages.
async fn work(
    app: &App,
    job: &Job,
    page: &[pombo_domain::job::Row],
    known: Known,
    writer: &str,
) -> Result<Vec<(DeliveryKey, RowResult)>, LegError> {
    let mut changed = rows::change(app, job, page, known, writer).await?;
    send_next(&app.protocol, &changed.to_send, clock::now()).await?;
    // An operator's replay of one delivery, which found the circuit open.
    if matches!(job.kind, JobKind::Replay)
        && job.counts.matched == 0
        && let [(_, result @ RowResult::Held)] = &mut changed.results[..]
        && let [record] = &changed.to_send[..]
        && probe::at_once(app, record, writer).await?
    {
        *result = RowResult::Probe;
    }
    Ok(changed.results)
}

/// The job has moved on: queues what comes next.
async fn finish(app: &App, job: Job, rows: Vec<(DeliveryKey, RowResult)>, pause: Duration) -> Result<Leg, LegError> {
    let end = if job.status == JobStatus::Running {
        app.jobs_queue.send(leg_message(job.key().to_string(), job.leg, pause)).await?;
        LegEnd::Next(job.leg, pause)
    } else {
        LegEnd::Ended(job.status)
    };
    Ok(Leg { job: Some(job), rows, end })
}
