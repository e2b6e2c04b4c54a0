//! One page of a job: each delivery on it is changed and its message sent, and the job moves on.
//!
//! The order is what makes a leg safe to kill anywhere: the page is stored, then each delivery is changed, then the
//! messages are sent, then the job moves on, then the next leg's message is sent. A run that finds the page stored takes
//! it; deliveries changed by the run before count as queued and their messages are sent again. Each write of the job
//! replaces the revision that was seen: a run that loses takes the job as it stands and decides anew.
//!
//! What is done to one delivery, [`Job::plan`](pombo_domain::job::Job::plan) decides by the kind of the job. Where the pages
//! come from is the business of whoever runs the leg.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::job::{Job, JobKind, JobStatus, Row, RowResult};
use thiserror::Error;

use crate::clients::Clients;
use crate::probe;
use crate::rows::{self, Known};
use crate::send::{SendError, leg_message, send_next};

/// A leg that could not be brought to its end. Its message comes again, and it goes on from the stored page.
#[derive(Debug, Error)]
pub enum LegError {
    /// A table could not be read or written.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Messages could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// Other processes were faster: so many times in a row.
    #[error("another process changed the job, {0} times in a row")]
    Contended(usize),
    /// The invocation ends.
    #[error("the invocation's time is over")]
    OutOfTime,
}

/// What a leg came to.
#[derive(Debug)]
pub struct Leg {
    /// The job as it stands; none when it has expired.
    pub job: Option<Job>,
    /// What became of each delivery of the page.
    pub rows: Vec<(DeliveryKey, RowResult)>,
    /// What follows.
    pub end: LegEnd,
}

/// What follows a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegEnd {
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

/// What a run of a page came to.
#[derive(Debug)]
pub enum PageRun {
    /// The job has moved on.
    Done(Box<Leg>),
    /// The page was worked, but another process has changed the job in the meantime: it stands so.
    Overtaken(Box<Job>),
}

/// Works the page that is stored with a job, which was just read or written, and moves the job on. What is `known` is not
/// read again; a stale record costs a write that fails. `message` is the one that asked for the run, if one did.
pub async fn run_page(
    clients: &Clients,
    job: Job,
    message: &str,
    known: Known,
    writer: &str,
) -> Result<PageRun, LegError> {
    let page = job.page.as_deref().unwrap_or_default();
    let rows = work(clients, &job, page, known, writer).await?;
    let pause = job.page_takes();
    let done = job.page_done(rows.iter().map(|(_, result)| *result), pause, clock::now());
    let done = done.brought_by(message, !pause.is_zero());
    Ok(match clients.jobs.put(Some(job.rev), done, writer).await? {
        PutJob::Stored(job) => PageRun::Done(Box::new(finish(clients, *job, rows, pause).await?)),
        PutJob::Conflict(Some(standing)) => PageRun::Overtaken(standing),
        PutJob::Conflict(None) => PageRun::Done(Box::new(Leg { job: None, rows, end: LegEnd::Gone })),
    })
}

/// Changes the deliveries of a page and sends their messages.
async fn work(
    clients: &Clients,
    job: &Job,
    page: &[Row],
    known: Known,
    writer: &str,
) -> Result<Vec<(DeliveryKey, RowResult)>, LegError> {
    let mut changed = rows::change(clients, job, page, known, writer).await?;
    send_next(&clients.protocol, &changed.to_send, clock::now()).await?;
    // An operator's replay of one delivery, which found the circuit open.
    if matches!(job.kind, JobKind::Replay)
        && job.counts.matched == 0
        && let [(_, result @ RowResult::Held)] = &mut changed.results[..]
        && let [record] = &changed.to_send[..]
        && probe::at_once(clients, record, writer).await?
    {
        *result = RowResult::Probe;
    }
    Ok(changed.results)
}

/// Queues what comes next for a job that has moved on: its next leg, after `pause`, unless it has ended.
pub async fn finish(
    clients: &Clients,
    job: Job,
    rows: Vec<(DeliveryKey, RowResult)>,
    pause: Duration,
) -> Result<Leg, LegError> {
    let end = if job.status == JobStatus::Running {
        clients.jobs_queue.send(leg_message(job.key().to_string(), job.leg, pause)).await?;
        LegEnd::Next(job.leg, pause)
    } else {
        LegEnd::Ended(job.status)
    };
    Ok(Leg { job: Some(job), rows, end })
}
