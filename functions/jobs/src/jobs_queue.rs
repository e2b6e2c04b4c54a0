//! The Jobs queue: legs of jobs, events to publish, and sweeps.

use std::time::Instant;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use pombo_aws::logs::spans;
use pombo_aws::metrics::Metric;
use pombo_domain::event::Event;
use pombo_domain::job::{Ask, Asked, JobKey};
use pombo_domain::message::{JobMessage, JobWork};
use pombo_jobs::Invocation;
use pombo_jobs::leg::LegError;
use tracing::Instrument as _;

use crate::leg;
use crate::publish;
use crate::settings::App;
use crate::sweep;

/// Takes a batch. What could not be done comes back as the message again, after the visibility timeout.
pub(crate) async fn take(app: &App, event: SqsEvent, invocation: &Invocation) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let id = message.message_id.unwrap_or_default();
        let body = message.body.unwrap_or_default();
        // In a box, or the types of the futures around it would nest deeper than the compiler follows.
        let done = Box::pin(handle(app, &id, &body, invocation)).instrument(spans::message(&id)).await;
        if !done {
            response.add_failure(id);
        }
    }
    app.clients.protocol.metrics.count(Metric::MessagesFailed, response.batch_item_failures.len());
    response
}

/// Does what a message asks for; whether that is done.
async fn handle(app: &App, id: &str, body: &str, invocation: &Invocation) -> bool {
    match JobMessage::parse(body) {
        Ok(JobMessage { work: JobWork::Leg { job, leg, wake }, .. }) => {
            let what = if wake { Asked::Wake } else { Asked::Leg(leg) };
            run_leg(app, &job, Ask { what, message: id }, invocation).await
        }
        Ok(JobMessage { work: JobWork::Publish { publish }, .. }) => publish_one(app, &publish, invocation).await,
        Ok(JobMessage { work: JobWork::Sweep { .. }, .. }) => {
            sweep::sweep(app, invocation, &invocation.writer_for(id)).await;
            // What a sweep leaves is what the next one finds: there is no need to repeat this one.
            true
        }
        Err(error) => {
            tracing::error!(%error, "Message {id} of the Jobs queue cannot be read.");
            false
        }
    }
}

/// Runs a leg and logs its end; whether its message has done its work.
async fn run_leg(app: &App, job: &str, ask: Ask<'_>, invocation: &Invocation) -> bool {
    let leg = match ask.what {
        Asked::Leg(leg) => leg.to_string(),
        Asked::Wake => "that is next".to_owned(),
    };
    let Ok(key) = job.parse::<JobKey>() else {
        tracing::error!(leg, "A message asks for a leg of a job by a text that is no job's id.");
        return false;
    };
    spans::note_leg(job, &leg);
    let started = Instant::now();
    let writer = invocation.writer_for(ask.message);
    let run = tokio::time::timeout(invocation.until_answer(), leg::run(app, &key, ask, &writer)).await;
    let run = run.unwrap_or(Err(LegError::OutOfTime));
    let duration_ms = started.elapsed().as_millis() as u64;
    match &run {
        Ok(ran) => {
            tracing::info!(job, leg, duration_ms, rows = ran.rows.len(), end = ?ran.end, "Leg {leg} of job {job} ended.");
        }
        Err(error) => {
            tracing::error!(job, leg, duration_ms, %error, "Leg {leg} of job {job} failed and will run again.");
        }
    }
    run.is_ok()
}

/// Publishes an event; whether its message has done its work.
async fn publish_one(app: &App, key: &str, invocation: &Invocation) -> bool {
    let Ok((tenant, id)) = Event::parse_key(key) else {
        tracing::error!("A message asks for an event by a text that is no event's key.");
        return false;
    };
    spans::note_event(&tenant, &id);
    match tokio::time::timeout(invocation.until_answer(), publish::publish(app, &tenant, &id)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::error!(event = %id, %tenant, %error, "Event {id} could not be published; its message comes again.");
            false
        }
        Err(_) => {
            tracing::error!(event = %id, %tenant, "Time ran out on event {id}; its message comes again.");
            false
        }
    }
}
