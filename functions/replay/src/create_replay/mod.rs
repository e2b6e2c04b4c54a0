//! `POST /v1/replays`: delivers again, each delivery in a new round: chosen ones, or all that match a filter.
//!
//! Chosen deliveries are replayed while the caller waits, and the answer says what became of each. A filter may match a
//! million: the answer names a job, which goes on by itself. With `dry_run` nothing is sent; the answer says what would be.

mod chosen;
mod cost;
mod dry_run;
mod matching;

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::Job;
use pombo_domain::time::Timestamp;
use pombo_jobs::Invocation;
use pombo_jobs::send::leg_message;
use pombo_requests::{MatchingOrder, ReplayOrder};
use pombo_web::{Caller, Problem, Request, Response};

use self::matching::OrderedBy;
use crate::settings::App;

/// Orders a replay, or tells what it would do.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    request: &Request,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    request.only_query(&[])?;
    match ReplayOrder::read(request)? {
        ReplayOrder::Chosen(deliveries) => chosen::answer(app, caller, deliveries, invocation).await,
        ReplayOrder::Matching(order) => matching::answer(app, caller, *order, OrderedBy::Operator, invocation).await,
    }
}

/// Orders a replay of all that failed at an endpoint, of events accepted since a time, for its receiver.
pub(crate) async fn of_failed(
    app: &App,
    caller: &Caller,
    endpoint_id: EndpointId,
    since: Timestamp,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let order = MatchingOrder::of_failed(endpoint_id, since);
    matching::answer(app, caller, order, OrderedBy::Receiver, invocation).await
}

/// Random bytes for a job's id.
fn random() -> Result<[u8; 10], Problem> {
    clock::random().map_err(|error| {
        tracing::error!(%error, "There is no randomness for a job's id.");
        Problem::unavailable("Pombo cannot make an id. Repeat the request.")
    })
}

/// Queues the leg of a stored job. If that fails, the job stands nevertheless: the sweep finds it stalled.
async fn queue_leg(app: &App, job: &Job) {
    let id = job.key().to_string();
    let queued = app.clients.jobs_queue.send(leg_message(id.clone(), job.leg, Duration::ZERO));
    match tokio::time::timeout(Duration::from_secs(1), queued).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(job = id, %error, "Replay {id} waits for the sweep."),
        Err(_) => tracing::warn!(job = id, "Replay {id} waits for the sweep: its message was not sent in time."),
    }
}
