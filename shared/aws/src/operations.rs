//! Operational events: written with the change that they tell of, queued after it.
//!
//! An event is put into the Events table by the same transaction as its change, marked as not queued yet. Then
//! [`Operations::announce`] asks the Jobs queue to publish it. That is a shortcut only: should the process die before it,
//! the sweep finds the mark. What a message to the Jobs queue does with an event may be done any number of times.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event::{Event, FanOut};
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::message::JobMessage;
use pombo_domain::operational::{self, Failures, Happening, Minute};
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;

use crate::clock::{self, Clock, Moment};
use crate::endpoints::EndpointsTable;
use crate::error::AwsError;
use crate::events::EventsTable;
use crate::queue::{Outgoing, Queue};
use crate::routing::RoutingTable;
use crate::settings::{self, BadSetting};

/// For how long it is remembered who subscribes: so late may the first event come after a subscription.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// So long after its time an event that is not queued is the sweep's.
const SWEPT_AFTER: Duration = Duration::from_secs(10);

/// How far ahead of the present minute a failure may be counted. The event of a minute that is published already takes no
/// more; more than a few of them are a fault.
const MOST_MINUTES: usize = 5;

/// What operational events are made of, and go through.
#[derive(Debug)]
pub struct Operations {
    routing: RoutingTable,
    endpoints: EndpointsTable,
    events: EventsTable,
    jobs_queue: Queue,
    retention: Duration,
    remembered_for: Duration,
    clock: Clock,
    subscriptions: Mutex<Option<Subscriptions>>,
}

/// Who subscribes, as this process knows it.
#[derive(Debug, Clone)]
struct Subscriptions {
    routing: Arc<RoutingRecord>,
    /// What was read is at least as new as this moment.
    since: Moment,
}

/// A failed delivery counted in the event of its minute.
#[derive(Debug)]
pub(crate) struct Counted {
    /// The event with the count.
    pub(crate) event: Event,
    /// When it is to be published.
    pub(crate) due: Timestamp,
    /// How many failures it counts, this one among them.
    pub(crate) count: u64,
}

impl Operations {
    /// From a function's environment.
    pub fn from_environment(config: &SdkConfig) -> Result<Self, BadSetting> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        Ok(Self::new(
            RoutingTable::new(dynamodb.clone(), settings::text("ROUTING_TABLE")?),
            EndpointsTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            EventsTable::new(dynamodb, settings::text("EVENTS_TABLE")?),
            Queue::new(aws_sdk_sqs::Client::new(config), settings::text("JOBS_QUEUE_URL")?),
            settings::days("RETENTION_DAYS")?,
        ))
    }

    /// Of these tables and the Jobs queue; events are kept for `retention`.
    #[must_use]
    pub fn new(
        routing: RoutingTable,
        endpoints: EndpointsTable,
        events: EventsTable,
        jobs_queue: Queue,
        retention: Duration,
    ) -> Self {
        Self {
            routing,
            endpoints,
            events,
            jobs_queue,
            retention,
            remembered_for: REMEMBERED_FOR,
            clock: Clock::system(),
            subscriptions: Mutex::default(),
        }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same, but who subscribes is read each time: for changes that are rare.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self { remembered_for: Duration::ZERO, ..self }
    }

    /// The event that tells what happened to an endpoint, to be written with it by [`Operations::write`]; none when
    /// nobody subscribes to it or the endpoint is Pombo's own. `endpoint` is as it is after the change.
    pub async fn prepare(
        &self,
        endpoint: &Endpoint,
        what: &Happening,
        now: Timestamp,
    ) -> Result<Option<Event>, AwsError> {
        if endpoint.tenant.is_reserved() {
            return Ok(None);
        }
        let routing = self.subscriptions().await?;
        let random = clock::random()?;
        Ok(operational::event(endpoint, what, &routing, EventId::generate(random), now, self.retention))
    }

    /// What writes the event, marked as not queued, in the transaction of the change.
    pub fn write(&self, event: &Event) -> Result<TransactWriteItem, AwsError> {
        self.events.unqueued(event, event.accepted_at.plus(SWEPT_AFTER))
    }

    /// Asks for the event to be published, once the transaction is through. Should this fail, the sweep does it.
    pub async fn announce(&self, event: &Event) {
        self.announce_after(event, Duration::ZERO).await;
    }

    async fn announce_after(&self, event: &Event, delay: Duration) {
        let body = JobMessage::publish(Event::key(&event.tenant, &event.id)).to_json();
        let delay_seconds = u32::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
        if let Err(error) = self.jobs_queue.send(Outgoing { body, group: None, delay_seconds }).await {
            tracing::warn!(%error, event = %event.id, "An operational event was not announced; the sweep will find it.");
        }
    }

    /// Who gets events of a type about this tenant's things; `None` when nobody does.
    pub(crate) async fn audience(
        &self,
        subject: &TenantId,
        event_type: &EventType,
    ) -> Result<Option<FanOut>, AwsError> {
        if subject.is_reserved() {
            return Ok(None);
        }
        Ok(operational::audience(subject, event_type, &*self.subscriptions().await?))
    }

    /// Counts a delivery that failed for good, in the event of its endpoint and minute as it stands.
    pub(crate) async fn count(&self, record: &Record, fan_out: FanOut) -> Result<Counted, AwsError> {
        let now = clock::now();
        let mut minute = Minute::of(now);
        for _ in 0..MOST_MINUTES {
            let id = minute.event_id(&record.key.endpoint_id);
            let failures = match self.events.marked(&TenantId::pombo(), &id, now).await? {
                None => {
                    let endpoint = self.endpoints.get(&record.key.endpoint_id).await?;
                    let name = endpoint.map(|endpoint| endpoint.name).unwrap_or_default();
                    Some(Failures::first(record, name, now))
                }
                Some(stored) if stored.open.is_some() => {
                    Failures::read(&stored.event).map(|failures| failures.and(record, now))
                }
                Some(_) => None,
            };
            if let Some(failures) = failures {
                let event = failures.event(minute, fan_out, self.retention);
                return Ok(Counted { event, due: minute.ends_at(), count: failures.count });
            }
            minute = minute.next();
        }
        Err(AwsError::contention("dynamodb:GetItem Events", "the events of the next minutes"))
    }

    /// What writes the event of a minute in the place of the one with a count lower by one, or of none.
    pub(crate) fn write_counted(&self, counted: &Counted) -> Result<TransactWriteItem, AwsError> {
        self.events.open(&counted.event, counted.due.plus(SWEPT_AFTER), counted.count)
    }

    /// Asks for the event of a minute to be published when that has ended. The first failure does; those after it find
    /// the request made.
    pub(crate) async fn announce_counted(&self, counted: &Counted) {
        if counted.count == 1 {
            self.announce_after(&counted.event, clock::now().until(counted.due)).await;
        }
    }

    async fn subscriptions(&self) -> Result<Arc<RoutingRecord>, AwsError> {
        if let Some(routing) = self.remembered() {
            return Ok(routing);
        }
        let since = self.clock.moment();
        let routing = Arc::new(self.routing.get(&TenantId::pombo()).await?);
        self.remember(Subscriptions { routing: Arc::clone(&routing), since });
        Ok(routing)
    }

    /// The subscriptions, unless they were read too long ago.
    fn remembered(&self) -> Option<Arc<RoutingRecord>> {
        let remembered = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.as_ref()?;
        (known.since.until(self.clock.moment()) < self.remembered_for).then(|| Arc::clone(&known.routing))
    }

    fn remember(&self, known: Subscriptions) {
        *self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::HandClock;

    /// Operations whose clients are never used, and that remember subscriptions since now.
    fn operations(hands: &HandClock) -> Operations {
        let config = aws_sdk_dynamodb::Config::builder().behavior_version_latest().build();
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config);
        let sqs = aws_sdk_sqs::Client::from_conf(aws_sdk_sqs::Config::builder().behavior_version_latest().build());
        let operations = Operations::new(
            RoutingTable::new(dynamodb.clone(), "routing".into()),
            EndpointsTable::new(dynamodb.clone(), "endpoints".into()),
            EventsTable::new(dynamodb, "events".into()),
            Queue::new(sqs, "jobs".into()),
            Duration::from_secs(86_400),
        )
        .with_clock(hands.clock());
        let routing = Arc::new(RoutingRecord::empty(TenantId::pombo()));
        operations.remember(Subscriptions { routing, since: hands.clock().moment() });
        operations
    }

    #[test]
    fn subscriptions_are_remembered_for_ten_seconds_by_whichever_clock_runs() {
        let (almost, enough) = (Duration::from_millis(9_999), REMEMBERED_FOR);
        for (how, time_passes) in HandClock::WAYS {
            for (time, known) in [(almost, true), (enough, false)] {
                let hands = HandClock::start();
                let operations = operations(&hands);
                time_passes(&hands, time);
                assert_eq!(operations.remembered().is_some(), known, "{how} for {time:?}");
            }
        }
        let hands = HandClock::start();
        assert!(operations(&hands).without_memory().remembered().is_none(), "read each time");
    }
}
