//! The one way in which an endpoint changes: read, decide, write on condition, and start over when another was faster.
//!
//! The endpoints of a tenant share a routing record, so changes of different endpoints meet there too. A write that lost
//! changes nothing; what it wants is decided anew on what the winner left.

use std::time::{Duration, Instant};

use pombo_aws::clock;
use pombo_aws::endpoints::{Change, Changed};
use pombo_aws::queue::Outgoing;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::{EndpointId, base32};
use pombo_domain::job::{Job, JobKey, JobKind};
use pombo_domain::message::JobMessage;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem};

use crate::App;
use crate::settings::random;

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
}

/// The endpoint, if there is one that the caller may see. A deleted one is as none.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<Endpoint, Problem> {
    let not_found = || Problem::not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| not_found())?;
    let endpoint = app.endpoints.get(&id).await?.filter(|endpoint| is_visible(endpoint, caller));
    endpoint.ok_or_else(not_found)
}

/// Whether there is such an endpoint, as far as the caller is concerned.
pub fn is_visible(endpoint: &Endpoint, caller: &Caller) -> bool {
    endpoint.status != EndpointStatus::Deleted && caller.sees(&endpoint.tenant)
}

/// Changes an endpoint to what `decide` makes of it, and gives it as it is then.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    decide: impl Fn(&Endpoint, Timestamp) -> Result<Wanted, Problem>,
) -> Result<Endpoint, Problem> {
    let mut repeats = Repeats::new();
    loop {
        let now = clock::now();
        let current = find(app, caller, id).await?;
        let (wanted, drains) = match decide(&current, now)? {
            Wanted::Nothing => return Ok(current),
            Wanted::Change(wanted) => (wanted, false),
            Wanted::ChangeAndDrain(wanted) => (wanted, true),
        };
        let next = Endpoint { version: current.version + 1, updated_at: now, ..*wanted };
        let routing = app.routing.get(&next.tenant).await?;
        let routing = routed(&routing, &next)?;
        let job = if drains { Some(drain(app, &next, now)?) } else { None };
        let change = Change { endpoint: &next, seen: Some(current.version), routing: &routing, job: job.as_ref() };
        if store(app, &change).await? == Changed::Stored {
            if let Some(job) = &job {
                start(app, job, &next).await;
            }
            return Ok(next);
        }
        repeats.wait().await?;
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

fn drain(app: &App, endpoint: &Endpoint, now: Timestamp) -> Result<Job, Problem> {
    let key = JobKey::generate(Some(&endpoint.tenant), now, random()?);
    Ok(Job::new(key, JobKind::Drain { endpoint_id: endpoint.id.clone() }, now, app.rules.retention))
}

/// Queues the first leg of a stored job. The change stands whether or not this works: the sweep finds a stalled job.
async fn start(app: &App, job: &Job, endpoint: &Endpoint) {
    let id = job.key().to_string();
    let body = JobMessage::leg(id.clone(), job.leg).to_json();
    if let Err(error) = app.jobs_queue.send(Outgoing { body, group: None, delay_seconds: 0 }).await {
        tracing::warn!(%error, job = id, endpoint = %endpoint.id, "The drain job was not queued; the sweep will find it.");
    }
}

/// Pauses between tries, ever longer and random, so that those who met once do not meet again.
#[derive(Debug)]
pub struct Repeats {
    begun: Instant,
    pause: Duration,
}

impl Repeats {
    /// Before the first try.
    pub fn new() -> Self {
        Self { begun: Instant::now(), pause: FIRST_PAUSE }
    }

    /// Waits before the next try, or gives up.
    pub async fn wait(&mut self) -> Result<(), Problem> {
        if self.begun.elapsed() > PATIENCE {
            return Err(Problem::unavailable(
                "Too many endpoints of the tenant are being changed at the same time. Repeat the request.",
            ));
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
