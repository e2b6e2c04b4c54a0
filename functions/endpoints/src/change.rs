//! The one way in which an endpoint changes: read, decide, write on condition, and start over when another was faster.
//!
//! The endpoints of a tenant share a routing record, so changes of different endpoints meet there too. A write that lost
//! changes nothing; what it wants is decided anew on what the winner left.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_aws::clock;
use pombo_aws::endpoints::{Change, Changed};
use pombo_aws::queue::Outgoing;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::health::Health;
use pombo_domain::ids::{EndpointId, base32};
use pombo_domain::job::{Job, JobKey, JobKind, Selection};
use pombo_domain::message::JobMessage;
use pombo_domain::operational::Happening;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem};

use crate::settings::random;
use crate::{App, limits};

/// For how long a change is begun anew. The last try may take three AWS calls more, within the function's 30 seconds.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// What a call makes of an endpoint. The version and the time of the change are not its concern.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// It is as it should be.
    Nothing,
    /// It shall be like this.
    Change(Box<Endpoint>),
    /// It shall be like this, and its held deliveries shall move.
    ChangeAndDrain(Box<Endpoint>),
    /// The same, and what it missed since this time shall be sent to it.
    ChangeAndCatchUp(Box<Endpoint>, Timestamp),
}

/// What came of a call.
#[derive(Debug, Clone)]
pub struct Done {
    /// The endpoint as it is then.
    pub endpoint: Endpoint,
    /// The endpoint's health.
    pub health: Health,
    /// The replay of what it missed, if one was begun.
    pub replay: Option<JobKey>,
    /// When it was paused, if the call resumed it.
    pub resumed_from: Option<Timestamp>,
}

/// The endpoint, if there is one that the caller may see. A deleted one is as none.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let not_found = || caller.not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| not_found())?;
    let endpoint = app.endpoints.get(&id).await?.filter(|endpoint| is_visible(endpoint, caller));
    endpoint.ok_or_else(not_found)
}

/// The same endpoint with its health.
pub async fn find_with_health(app: &App, caller: &Caller, id: &str) -> Result<(Endpoint, Health), Problem> {
    let not_found = || Problem::not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| not_found())?;
    let known = app.endpoints.get_with_health(&id).await?;
    known.filter(|(endpoint, _)| is_visible(endpoint, caller)).ok_or_else(not_found)
}

/// Whether there is such an endpoint, as far as the caller is concerned.
pub fn is_visible(endpoint: &Endpoint, caller: &Caller) -> bool {
    endpoint.status != EndpointStatus::Deleted && caller.sees(&endpoint.tenant)
}

/// Changes an endpoint to what `decide` makes of it; gives it as it is then, and what was begun with it.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    decide: impl Fn(&Endpoint, Timestamp) -> Result<Wanted, Problem>,
) -> Result<Done, Problem> {
    let mut repeats = Repeats::of("endpoints");
    loop {
        let now = clock::now();
        let (current, health) = find_with_health(app, caller, id).await?;
        let (wanted, drains, missed_since) = match decide(&current, now)? {
            Wanted::Nothing => return Ok(Done { endpoint: current, health, replay: None, resumed_from: None }),
            Wanted::Change(wanted) => (wanted, false, None),
            Wanted::ChangeAndDrain(wanted) => (wanted, true, None),
            Wanted::ChangeAndCatchUp(wanted, since) => (wanted, true, Some(since)),
        };
        let next = Endpoint { version: current.version + 1, updated_at: now, ..*wanted };
        let routing = app.routing.get(&next.tenant).await?;
        let counted = limits::moved(app, &current, &next, &routing, now).await?;
        let routing = routed(&routing, &next)?;
        let drain = drains.then(|| JobKind::Drain { endpoint_id: next.id.clone() });
        let missed = missed_since.map(|since| Selection::missed(next.id.clone(), since, now));
        let kinds = drain.into_iter().chain(missed.map(JobKind::ReplayMatching));
        let jobs = kinds.map(|kind| job(app, &next, kind, now)).collect::<Result<Vec<_>, _>>()?;
        let news = News::of(app, &next, &Happening::between(&current, &next), now).await?;
        let mut also = [news.write(app)?, counted].concat();
        let forgiven = forgiven(&current, &next, &health, now);
        if let Some(forgiven) = &forgiven {
            also.push(app.endpoints.health_in_transaction(&next.id, &health, forgiven)?);
        }
        let change = Change { endpoint: &next, seen: Some(current.version), routing: &routing, jobs: &jobs, also };
        if store(app, &change).await? == Changed::Stored {
            for job in &jobs {
                start(app, job, &next).await;
            }
            news.announce(app).await;
            let replay = jobs.iter().find(|job| matches!(job.kind, JobKind::ReplayMatching(_))).map(Job::key);
            let resumed_from = is_resumed(&current, &next).then(|| current.paused_at());
            return Ok(Done { endpoint: next, health: forgiven.unwrap_or(health), replay, resumed_from });
        }
        repeats.wait().await?;
    }
}

/// Whether a change resumes the endpoint.
fn is_resumed(current: &Endpoint, next: &Endpoint) -> bool {
    (current.status, next.status) == (EndpointStatus::Paused, EndpointStatus::Active)
}

/// The health of an endpoint that is resumed, if it had any trouble: the health begins again, with a closed circuit.
fn forgiven(current: &Endpoint, next: &Endpoint, health: &Health, now: Timestamp) -> Option<Health> {
    (is_resumed(current, next) && health.is_troubled()).then(|| health.cleared(now))
}

/// The event that tells of a change, if somebody subscribes to such: written with the change, announced after it.
#[derive(Debug)]
pub struct News(Option<Event>);

impl News {
    /// Of what happens to an endpoint, which is as it shall be.
    pub async fn of(app: &App, endpoint: &Endpoint, what: &Happening, now: Timestamp) -> Result<Self, Problem> {
        Ok(Self(app.operations.prepare(endpoint, what, now).await?))
    }

    /// What is written with the change.
    pub fn write(&self, app: &App) -> Result<Vec<TransactWriteItem>, Problem> {
        Ok(self.0.iter().map(|event| app.operations.write(event)).collect::<Result<_, _>>()?)
    }

    /// To be called once the change is written.
    pub async fn announce(&self, app: &App) {
        if let Some(event) = &self.0 {
            app.operations.announce(event).await;
        }
    }
}

/// Writes a change under a token of its own.
pub async fn store(app: &App, change: &Change<'_>) -> Result<Changed, Problem> {
    let token = base32(&random::<16>()?);
    Ok(app.endpoints.change(&app.routing, Some(&app.jobs), change, &token).await?)
}

/// The routing record with the endpoint as it shall be.
pub fn routed(routing: &RoutingRecord, endpoint: &Endpoint) -> Result<RoutingRecord, Problem> {
    if endpoint.status == EndpointStatus::Deleted {
        Ok(routing.without(&endpoint.id))
    } else {
        routing.with(endpoint.route()).map_err(|rule| Problem::field(rule.in_field("event_types")))
    }
}

fn job(app: &App, endpoint: &Endpoint, kind: JobKind, now: Timestamp) -> Result<Job, Problem> {
    let key = JobKey::generate(Some(&endpoint.tenant), now, random()?);
    Ok(Job::new(key, kind, now, app.rules.retention))
}

/// Queues the first leg of a stored job. The change stands whether or not this works: the sweep finds a stalled job.
async fn start(app: &App, job: &Job, endpoint: &Endpoint) {
    let id = job.key().to_string();
    let body = JobMessage::leg(id.clone(), job.leg).to_json();
    if let Err(error) = app.jobs_queue.send(Outgoing { body, group: None, delay_seconds: 0 }).await {
        tracing::warn!(%error, job = id, endpoint = %endpoint.id, "A job was not queued; the sweep will find it.");
    }
}

/// Pauses between tries, ever longer and random, so that those who met once do not meet again.
#[derive(Debug)]
pub struct Repeats {
    /// The name of the things that are changed, in the plural.
    what: &'static str,
    begun: Instant,
    pause: Duration,
}

impl Repeats {
    /// Before the first try to change one of these.
    pub fn of(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Waits before the next try, or gives up.
    pub async fn wait(&mut self) -> Result<(), Problem> {
        if self.begun.elapsed() > PATIENCE {
            return Err(Problem::unavailable(format!(
                "Too many {} of the tenant are being changed at the same time. Repeat the request.",
                self.what
            )));
        }
        let part = f64::from(clock::random_bits()) / f64::from(u32::MAX);
        tokio::time::sleep(self.pause.mul_f64(0.5 + part / 2.0)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_deleted_endpoint_and_one_of_another_tenant_do_not_exist() {
        let endpoint = samples::endpoint();
        let deleted = Endpoint { status: EndpointStatus::Deleted, ..endpoint.clone() };
        for (endpoint, tenant, visible) in [
            (&endpoint, None, true),
            (&endpoint, Some("acme"), true),
            (&endpoint, Some("other"), false),
            (&deleted, None, false),
            (&deleted, Some("acme"), false),
        ] {
            assert_eq!(is_visible(endpoint, &samples::caller(tenant)), visible, "{tenant:?}");
        }
    }

    #[test]
    fn a_route_follows_its_endpoint_and_goes_with_it() {
        let endpoint = samples::endpoint();
        let one = routed(&RoutingRecord::empty(endpoint.tenant.clone()), &endpoint).unwrap();
        assert_eq!((one.version, &one.routes), (1, &vec![endpoint.route()]));
        let paused = Endpoint { status: EndpointStatus::Paused, version: 5, ..endpoint.clone() };
        let two = routed(&one, &paused).unwrap();
        assert_eq!((two.version, two.routes[0].active, two.routes[0].version), (2, false, 5));
        let none = routed(&two, &Endpoint { status: EndpointStatus::Deleted, ..endpoint }).unwrap();
        assert_eq!((none.version, none.routes.len()), (3, 0));
    }

    #[test]
    fn a_full_routing_record_is_refused_as_event_types() {
        let mut record = RoutingRecord::empty("acme".parse().unwrap());
        let patterns: Vec<_> = (0..32).map(|n| format!("{}.{n}", "x".repeat(120)).parse().unwrap()).collect();
        let refused = (0u8..=255).find_map(|byte| {
            let endpoint =
                Endpoint { id: EndpointId::generate([byte; 10]), event_types: patterns.clone(), ..samples::endpoint() };
            routed(&record, &endpoint).map(|next| record = next).err()
        });
        assert_eq!(samples::named(&refused.unwrap()), (400, "event_types"));
    }
}
