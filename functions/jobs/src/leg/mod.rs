//! The leg runner: one leg of a job, from wherever a run before it stopped.
//!
//! A leg makes the next page and stores it, or finds one that is stored, and [works](pombo_jobs::leg) it. Both are in that
//! order, so that a run may die anywhere. A run that loses against another takes the job as it stands and decides anew.
//!
//! What kinds of jobs differ in is in two places: [`next_page`] here, and [`Job::plan`](pombo_domain::job::Job::plan) for
//! one delivery.

mod auto_pause;
mod circuit;
mod drain;
mod held;
mod matching;
mod page;
mod probe;

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::job::{Ask, Job, JobKey, JobKind, JobStatus, LegVerdict};
use pombo_domain::time::Timestamp;
use pombo_jobs::Known;
use pombo_jobs::leg::{Leg, LegEnd, LegError, PageRun, finish, run_page};
use pombo_jobs::send::leg_message;

use self::page::Page;
use crate::settings::App;

/// How often a leg decides anew because another run was faster.
const MOST_CONFLICTS: usize = 10;

/// Runs a leg of a stored job.
pub(crate) async fn run(app: &App, key: &JobKey, ask: Ask<'_>, writer: &str) -> Result<Leg, LegError> {
    let gone = || Leg { job: None, rows: Vec::new(), end: LegEnd::Gone };
    let Some(mut job) = app.clients.jobs.get(key).await? else { return Ok(gone()) };
    let began = clock::now();
    let mut known = Known::default();
    // Whether the page that is stored is this run's own. A run works its own page, whatever asked for the run.
    let mut is_own_page = false;
    for _ in 0..MOST_CONFLICTS {
        if !is_own_page && let Some(end) = instead(app, &job, ask).await? {
            return Ok(Leg { job: Some(job), rows: Vec::new(), end });
        }
        if job.page.is_some() {
            match run_page(&app.clients, job, ask.message, std::mem::take(&mut known), writer).await? {
                PageRun::Done(leg) => return Ok(*leg),
                PageRun::Overtaken(standing) => (job, is_own_page) = (*standing, false),
            }
            continue;
        }
        let (kind, page) = next_page(app, &job, began, writer).await?;
        let moved = Job { kind, ..job.clone() };
        let mut pause = Duration::ZERO;
        let mut page_only = false;
        let changed = match page {
            Page::Rows { rows, known: read, spacing } => {
                known = *read;
                page_only = true;
                moved.with_page(rows, spacing, clock::now())
            }
            Page::Nothing { look_again_in } => {
                pause = look_again_in;
                moved.leg_done([], pause, clock::now()).brought_by(ask.message, false)
            }
            Page::End => moved.ended(JobStatus::Done, clock::now()),
            Page::Stop(reason) => moved.stopped(reason, clock::now()),
        };
        match app.clients.jobs.put(Some(job.rev), changed, writer).await? {
            PutJob::Stored(stored) if page_only => (job, is_own_page) = (*stored, true),
            PutJob::Stored(stored) => return finish(&app.clients, *stored, Vec::new(), pause).await,
            PutJob::Conflict(Some(standing)) => (job, is_own_page) = (*standing, false),
            PutJob::Conflict(None) => return Ok(gone()),
        }
    }
    Err(LegError::Contended(MOST_CONFLICTS))
}

/// The next page of a job, by its kind, and the job's kind as it is stored with it. `began` is when the leg began: before
/// anything that the page is made of was read.
async fn next_page(app: &App, job: &Job, began: Timestamp, writer: &str) -> Result<(JobKind, Page), AwsError> {
    match &job.kind {
        // Its only page was stored with it.
        JobKind::Replay => Ok((JobKind::Replay, Page::End)),
        JobKind::ReplayMatching(selection) => matching::next_page(app, job, selection, began).await,
        JobKind::Drain { endpoint_id } => {
            Ok((job.kind.clone(), drain::next_page(app, job, endpoint_id, began, writer).await?))
        }
    }
}

/// Does the work that takes the place of a leg; `None` when the leg is to run.
async fn instead(app: &App, job: &Job, ask: Ask<'_>) -> Result<Option<LegEnd>, LegError> {
    Ok(match job.verdict(ask) {
        LegVerdict::Run => None,
        LegVerdict::Passed { next } => {
            // Not before its time: messages that come twice must not make a job quicker.
            let pause = job.pause_left(clock::now());
            app.clients.jobs_queue.send(leg_message(job.key().to_string(), next, pause)).await?;
            Some(LegEnd::Passed(next))
        }
        LegVerdict::Spare => Some(LegEnd::Spare),
        LegVerdict::Ended => Some(LegEnd::Ended(job.status)),
    })
}
