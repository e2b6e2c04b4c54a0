//! What an attempt says of its endpoint's health, written where it says something new.
//!
//! An attempt to an endpoint that is well costs nothing here. What is written is best effort: an attempt's outcome stands
//! whether or not its endpoint's health could be, and the next attempt says it again. The opening of a circuit stores the
//! drain job that will close it in the same transaction, so nothing is ever held that nobody looks after.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_aws::metrics::Metric;
use pombo_aws::queue::Outgoing;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::health::{Change, Failure, Health};
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::job::{Job, JobKey, JobKind};
use pombo_domain::message::JobMessage;
use pombo_domain::operational::Happening;
use pombo_domain::outcome::{Attempt, Outcome};

use crate::endpoint_cache::Known;
use crate::settings::App;

/// How often a change is decided anew because another process was faster. Then enough others have told the same.
const MOST_CONFLICTS: usize = 5;

/// Notes an attempt in its endpoint's health.
pub async fn note(app: &App, endpoint_id: &EndpointId, event_id: &EventId, attempt: &Attempt, writer: &str) {
    // Without a request there is nothing to be said of the receiver.
    if matches!(attempt.outcome, Outcome::Expired) {
        return;
    }
    if let Err(error) = try_note(app, endpoint_id, event_id, attempt, writer).await {
        tracing::warn!(endpoint = %endpoint_id, %error, "The endpoint's health could not be noted; the next attempt will tell.");
    }
}

async fn try_note(
    app: &App,
    endpoint_id: &EndpointId,
    event_id: &EventId,
    attempt: &Attempt,
    writer: &str,
) -> Result<(), AwsError> {
    for _ in 0..MOST_CONFLICTS {
        // What is known may have been read before the attempt, but no longer ago than it may be remembered: a success
        // must not overlook a mark that has stood for longer.
        let Some(known) = app.endpoints.known(endpoint_id).await? else { return Ok(()) };
        if known.endpoint.status != EndpointStatus::Active {
            return Ok(());
        }
        let Some(write) = decide(app, &known, event_id, attempt).await? else { return Ok(()) };
        match app.health.put(endpoint_id, &known.health, write.health, writer, write.also).await? {
            PutHealth::Stored(health) => {
                app.endpoints.learn(endpoint_id, health);
                app.protocol.metrics.count(Metric::CircuitsOpened, usize::from(write.drain.is_some()));
                follow(app, write.drain.as_ref(), write.event.as_ref()).await;
                return Ok(());
            }
            PutHealth::Conflict => app.endpoints.forget(endpoint_id),
        }
    }
    Ok(())
}

/// What is to be written.
struct Write {
    health: Health,
    also: Vec<TransactWriteItem>,
    /// The job that the transaction begins.
    drain: Option<Job>,
    /// The event that it tells.
    event: Option<Event>,
}

async fn decide(app: &App, known: &Known, event_id: &EventId, attempt: &Attempt) -> Result<Option<Write>, AwsError> {
    let (endpoint, health) = (&known.endpoint, &known.health);
    let at = attempt.ended_at();
    if attempt.outcome.is_success() {
        return Ok(match health.succeeded(at) {
            None | Some(Change::Open(_)) => None,
            Some(Change::Mark(next)) => Some(Write { health: next, also: Vec::new(), drain: None, event: None }),
            Some(Change::Close(next)) => {
                let open_since = health.open.as_ref().map_or(at, |open| open.since);
                tracing::info!(endpoint = %endpoint.id, %open_since, "The endpoint is back; its circuit closes.");
                let what = Happening::CircuitClosed { open_since, proven: true };
                Some(told(app, endpoint, next, None, &what).await?)
            }
        });
    }
    // Without random bytes there is no id for a job; the next failure tries again.
    let Ok(random) = clock::random() else { return Ok(None) };
    let key = JobKey::generate(Some(&endpoint.tenant), clock::now(), random);
    let failure = Failure { at, event_id, gone: attempt.outcome.status_code() == Some(410) };
    Ok(match health.failed(failure, &key.to_string(), &app.rules) {
        None | Some(Change::Close(_)) => None,
        Some(Change::Mark(next)) => Some(Write { health: next, also: Vec::new(), drain: None, event: None }),
        Some(Change::Open(next)) => {
            let (failing_since, failures) = (next.failing_since.unwrap_or(at), next.failures);
            tracing::warn!(
                endpoint = %endpoint.id, %failing_since, failures,
                "The endpoint keeps failing; its circuit opens, and its deliveries are held."
            );
            let kind = JobKind::Drain { endpoint_id: endpoint.id.clone() };
            let drain = Job::new(key, kind, clock::now(), app.retention);
            let what = Happening::CircuitOpened { failing_since, failures };
            Some(told(app, endpoint, next, Some(drain), &what).await?)
        }
    })
}

/// A change with the job that it begins and the event that tells of it.
async fn told(
    app: &App,
    endpoint: &Endpoint,
    health: Health,
    drain: Option<Job>,
    what: &Happening,
) -> Result<Write, AwsError> {
    let event = app.protocol.operations.prepare(endpoint, what, clock::now()).await?;
    let mut also = Vec::new();
    if let Some(job) = &drain {
        also.push(app.jobs.new_in_transaction(job)?);
    }
    if let Some(event) = &event {
        also.push(app.protocol.operations.write(event)?);
    }
    Ok(Write { health, also, drain, event })
}

/// Sends on what a change began. The change stands whether or not this works: the sweep finds jobs and events that wait.
async fn follow(app: &App, drain: Option<&Job>, event: Option<&Event>) {
    if let Some(job) = drain {
        let body = JobMessage::leg(job.key().to_string(), job.leg).to_json();
        let letter = Outgoing { body, group: None, delay_seconds: whole_seconds(app.rules.probe_every) };
        if let Err(error) = app.jobs_queue.send(letter).await {
            tracing::warn!(%error, job = %job.key(), "The drain was not queued; the sweep will find it.");
        }
    }
    if let Some(event) = event {
        app.protocol.operations.announce(event).await;
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
