//! What an attempt says of its endpoint's health, written where it says something new.
//!
//! An attempt to an endpoint that is well costs nothing here. What is written is best effort: an attempt's outcome stands
//! whether or not its endpoint's health could be, and the next attempt says it again. The opening of a circuit stores the
//! drain job that will close it in the same transaction, so nothing is ever held that nobody looks after. Its closing wakes
//! that job, so that what is held moves at once. A process that dies between the two leaves a drain that wakes by itself
//! when it would have sent its next probe.

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
use pombo_domain::job::{Job, JobKey, JobKind};
use pombo_domain::message::{DeliveryMessage, JobMessage};
use pombo_domain::operational::Happening;
use pombo_domain::outcome::Attempt;

use crate::endpoint_cache::Known;
use crate::settings::App;

/// How often a change is decided anew because another process was faster. Then enough others have told the same.
const MOST_CONFLICTS: usize = 5;

/// Notes the attempt that a message asked for in its endpoint's health.
pub async fn note(app: &App, message: &DeliveryMessage, attempt: &Attempt, writer: &str) {
    // Then there is nothing to be said of the endpoint, but that its probe is over.
    if !attempt.outcome.tells_of_endpoint() && message.probe.is_none() {
        return;
    }
    if let Err(error) = try_note(app, message, attempt, writer).await {
        tracing::warn!(%error, "The endpoint's health could not be noted; the next attempt will tell.");
    }
}

async fn try_note(app: &App, message: &DeliveryMessage, attempt: &Attempt, writer: &str) -> Result<(), AwsError> {
    let endpoint_id = &message.delivery.endpoint_id;
    for _ in 0..MOST_CONFLICTS {
        // What is known may have been read before the attempt, but no longer ago than it may be remembered: a success
        // must not overlook a mark that has stood for longer.
        let Some(known) = app.endpoints.known(endpoint_id).await? else { return Ok(()) };
        if known.endpoint.status != EndpointStatus::Active {
            return Ok(());
        }
        let Some(write) = decide(app, &known, message, attempt).await? else { return Ok(()) };
        let Write { health, also, follows } = write;
        match app.health.put(endpoint_id, &known.health, health, writer, also).await? {
            PutHealth::Stored(health) => {
                app.endpoints.learn(endpoint_id, *health);
                app.protocol.metrics.count(Metric::CircuitsOpened, usize::from(follows.drain.is_some()));
                follow(app, &follows).await;
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
    follows: Follows,
}

/// The work that a write of the health begins.
#[derive(Debug, Default)]
struct Follows {
    /// The job that the transaction stores.
    drain: Option<Job>,
    /// The id of the job that waits for the change.
    wakes: Option<String>,
    /// The event that tells of the change.
    event: Option<Event>,
}

impl Write {
    /// A write of the health that begins no other work.
    fn of(health: Health) -> Self {
        Self { health, also: Vec::new(), follows: Follows::default() }
    }
}

async fn decide(
    app: &App,
    known: &Known,
    message: &DeliveryMessage,
    attempt: &Attempt,
) -> Result<Option<Write>, AwsError> {
    let (endpoint, health) = (&known.endpoint, &known.health);
    let at = attempt.ended_at();
    if !attempt.outcome.tells_of_endpoint() {
        return Ok(message.probe.and_then(|ordered_at| health.probe_ended(ordered_at)).map(Write::of));
    }
    if attempt.outcome.is_success() {
        return Ok(match health.succeeded(at) {
            None | Some(Change::Open(_)) => None,
            Some(Change::Mark(next)) => Some(Write::of(next)),
            Some(Change::Close(next)) => {
                let open_since = health.open.as_ref().map_or(at, |open| open.since);
                tracing::info!(%open_since, "The endpoint is back; its circuit closes.");
                let what = Happening::CircuitClosed { open_since, proven: true };
                let mut write = told(app, endpoint, next, None, &what).await?;
                write.follows.wakes = health.open.as_ref().map(|open| open.drain.clone());
                Some(write)
            }
        });
    }
    // Without random bytes there is no id for a job; the next failure tries again.
    let Ok(random) = clock::random() else { return Ok(None) };
    let key = JobKey::generate(Some(&endpoint.tenant), clock::now(), random);
    let event_id = &message.delivery.event_id;
    let gone = attempt.outcome.status_code() == Some(410);
    let failure = Failure { at, event_id, gone, probe: message.probe };
    Ok(match health.failed(failure, &key.to_string(), &app.rules) {
        None | Some(Change::Close(_)) => None,
        Some(Change::Mark(next)) => Some(Write::of(next)),
        Some(Change::Open(next)) => {
            let (failing_since, failures) = (next.failing_since.unwrap_or(at), next.failures);
            tracing::warn!(
                %failing_since,
                failures,
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
    Ok(Write { health, also, follows: Follows { drain, event, wakes: None } })
}

/// Sends on what a change began. The change stands whether or not this works: the sweep finds jobs and events that wait, and
/// a drain that is not woken looks by itself.
async fn follow(app: &App, follows: &Follows) {
    if let Some(job) = &follows.drain {
        let body = JobMessage::leg(job.key().to_string(), job.leg).to_json();
        let letter = Outgoing { body, group: None, delay_seconds: whole_seconds(app.rules.probe_every) };
        if let Err(error) = app.jobs_queue.send(letter).await {
            tracing::warn!(%error, job = %job.key(), "The drain was not queued; the sweep will find it.");
        }
    }
    if let Some(job) = &follows.wakes {
        let letter = Outgoing { body: JobMessage::wake(job.clone()).to_json(), group: None, delay_seconds: 0 };
        if let Err(error) = app.jobs_queue.send(letter).await {
            tracing::warn!(%error, job, "The drain was not woken; it looks by itself when its next probe is due.");
        }
    }
    if let Some(event) = &follows.event {
        app.protocol.operations.announce(event).await;
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
