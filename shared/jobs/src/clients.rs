//! What a leg works with.

use std::time::Duration;

use aws_config::SdkConfig;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::HealthTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::Queue;
use pombo_aws::settings::{self, BadSetting};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::HealthRules;

/// The tables and queues that a leg reads and writes, and the settings that it goes by.
#[derive(Debug)]
pub struct Clients {
    /// What came in.
    pub events: EventsTable,
    /// The receivers.
    pub endpoints: EndpointsTable,
    /// Their health.
    pub health: HealthTable,
    /// The deliveries' records, queue and one-shots.
    pub protocol: Protocol,
    /// The jobs.
    pub jobs: JobsTable,
    /// The Jobs queue.
    pub jobs_queue: Queue,
    /// When a circuit is probed, and an endpoint paused.
    pub rules: HealthRules,
    /// How long after a drain began something may still be put on hold by a process that saw the door closed.
    pub settle: Duration,
    /// How long first attempts may go without a claim.
    pub window: FirstAttemptWindow,
}

impl Clients {
    /// From a function's environment.
    pub fn from_environment(config: &SdkConfig) -> Result<Self, BadSetting> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let sqs = aws_sdk_sqs::Client::new(config);
        Ok(Self {
            events: EventsTable::new(dynamodb.clone(), settings::text("EVENTS_TABLE")?),
            endpoints: EndpointsTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            health: HealthTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            protocol: Protocol::from_environment(config)?,
            jobs: JobsTable::new(dynamodb, settings::text("JOBS_TABLE")?),
            jobs_queue: Queue::new(sqs, settings::text("JOBS_QUEUE_URL")?),
            rules: settings::health_rules()?,
            settle: settings::seconds("SETTLE_SECONDS")?,
            window: settings::first_attempt_window()?,
        })
    }
}
