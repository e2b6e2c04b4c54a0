//! What replay reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::HealthTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::missed::MissedRequests;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::{self, BadSetting};
use pombo_domain::health::HealthRules;
use pombo_web::Authenticator;

use crate::console::Console;

/// Everything that a request, a leg and a sweep need.
#[derive(Debug)]
pub struct App {
    /// Checks API keys.
    pub authenticator: Authenticator,
    /// The operators' page.
    pub console: Console,
    /// What came in.
    pub events: EventsTable,
    /// Who subscribes to what, for events that are published.
    pub routing: RoutingTable,
    /// The receivers.
    pub endpoints: EndpointsTable,
    /// Their health.
    pub health: HealthTable,
    /// What their receivers asked for lately.
    pub missed: MissedRequests,
    /// When a circuit is probed, and an endpoint paused.
    pub rules: HealthRules,
    /// The deliveries' records, queue and one-shots.
    pub protocol: Protocol,
    /// The jobs.
    pub jobs: JobsTable,
    /// The Jobs queue.
    pub jobs_queue: Queue,
    /// Messages of the Deliveries queue that could not be processed.
    pub dead_deliveries: Queue,
    /// Messages of the Jobs queue that could not be processed.
    pub dead_jobs: Queue,
    /// How long after its time a `retrying` delivery counts as stuck.
    pub overdue: Duration,
    /// How long after a drain began something may still be put on hold by a process that saw the door closed.
    pub settle: Duration,
    /// How long a job is kept.
    pub retention: Duration,
    /// How many replays by filter of one owner may run at a time.
    pub max_running_replays: usize,
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, BadSetting> {
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        Ok(Self {
            authenticator: Authenticator::new(ApiKeysTable::new(dynamodb.clone(), settings::text("API_KEYS_TABLE")?)),
            console: Console::new(&settings::value("ENDPOINTS_URL")?, settings::value("ALLOW_LOOPBACK")?),
            events: EventsTable::new(dynamodb.clone(), settings::text("EVENTS_TABLE")?),
            routing: RoutingTable::new(dynamodb.clone(), settings::text("ROUTING_TABLE")?),
            endpoints: EndpointsTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            health: HealthTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            missed: MissedRequests::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            rules: settings::health_rules()?,
            protocol: Protocol::from_environment(&config)?,
            jobs: JobsTable::new(dynamodb, settings::text("JOBS_TABLE")?),
            jobs_queue: Queue::new(sqs.clone(), settings::text("JOBS_QUEUE_URL")?),
            dead_deliveries: Queue::new(sqs.clone(), settings::text("DELIVERIES_DLQ_URL")?),
            dead_jobs: Queue::new(sqs, settings::text("JOBS_DLQ_URL")?),
            overdue: settings::seconds("OVERDUE_SECONDS")?,
            settle: settings::seconds("SETTLE_SECONDS")?,
            retention: settings::days("RETENTION_DAYS")?,
            max_running_replays: settings::value("MAX_RUNNING_REPLAYS")?,
        })
    }
}
