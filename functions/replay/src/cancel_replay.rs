//! `POST /v1/replays/{id}/cancel`: stops a replay.
//!
//! What it has sent stays sent. A page that it is at is worked to its end first, which takes seconds: some of it is changed
//! already, and the counts must say so.

use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::job::{JobKind, JobStatus};
use pombo_jobs::Invocation;
use pombo_requests::nothing;
use pombo_web::{Caller, Problem, Request, Response};

use crate::get_replay::find;
use crate::replay_view::ReplayView;
use crate::settings::App;

/// How often a job is told to stop while its legs are faster.
const MOST_CONFLICTS: usize = 10;

/// Stops the replay and answers with it. One that has ended is left as it is.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    request: &Request,
    invocation: &Invocation,
    id: &str,
) -> Result<Response, Problem> {
    request.only_query(&[])?;
    nothing(request)?;
    let mut job = find(app, caller, id).await?;
    for _ in 0..MOST_CONFLICTS {
        if let JobKind::Drain { endpoint_id } = &job.kind {
            let detail = format!(
                "A drain moves what is held, and ends by itself. It stops when its endpoint {endpoint_id} is paused."
            );
            return Err(Problem::new(409, detail));
        }
        if job.status != JobStatus::Running || job.stopping {
            return Ok(Response::json(200, &ReplayView::of(job)));
        }
        let stopped = job.stop_requested(clock::now());
        match app.clients.jobs.put(Some(job.rev), stopped, invocation.writer()).await? {
            PutJob::Stored(job) => return Ok(Response::json(200, &ReplayView::of(*job))),
            PutJob::Conflict(Some(standing)) => job = *standing,
            PutJob::Conflict(None) => return Err(Problem::not_found("replay")),
        }
    }
    Err(Problem::conflict())
}
