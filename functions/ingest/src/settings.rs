//! What ingest reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock::Clock;
use pombo_aws::event_limit::EventLimits;
use pombo_aws::events::EventsTable;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::{self, BadSetting};
use pombo_domain::api_key::Scope;
use pombo_domain::event_limit::EventLimit;
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_web::Authenticator;

use crate::limit::Limiter;

/// Everything that a request needs.
#[derive(Debug)]
pub struct App {
    /// Tells who calls.
    pub authenticator: Authenticator,
    /// How many events a caller may post.
    pub limiter: Limiter,
    /// Who gets what.
    pub routing: RoutingTable,
    /// What came in.
    pub events: EventsTable,
    /// The Deliveries queue.
    pub queue: Queue,
    /// How long first attempts may go without a claim.
    pub window: FirstAttemptWindow,
    /// How long an event is kept.
    pub retention: Duration,
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, BadSetting> {
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let buckets = EventLimits::new(dynamodb.clone(), settings::text("EVENTS_TABLE")?);
        let limit = EventLimit::new(settings::value("KEY_EVENTS_PER_SECOND")?, settings::value("KEY_EVENTS_BURST")?);
        Ok(Self {
            authenticator: Authenticator::new(ApiKeysTable::new(dynamodb.clone(), settings::text("API_KEYS_TABLE")?))
                .of_url(settings::value("INGEST_AUTH")?, Scope::Ingest),
            limiter: Limiter::new(limit, buckets, Clock::system()),
            routing: RoutingTable::new(dynamodb.clone(), settings::text("ROUTING_TABLE")?),
            events: EventsTable::new(dynamodb, settings::text("EVENTS_TABLE")?),
            queue: Queue::new(sqs, settings::text("DELIVERIES_QUEUE_URL")?),
            window: settings::first_attempt_window()?,
            retention: settings::days("RETENTION_DAYS")?,
        })
    }
}
