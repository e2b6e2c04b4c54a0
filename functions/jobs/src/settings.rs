//! What jobs reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::{self, BadSetting};
use pombo_jobs::Clients;

/// Everything that a leg, a publication and a sweep need.
#[derive(Debug)]
pub struct App {
    /// What a leg works with.
    pub clients: Clients,
    /// Who subscribes to what: for events that are published, and endpoints that are paused.
    pub routing: RoutingTable,
    /// Messages of the Deliveries queue that could not be processed.
    pub dead_deliveries: Queue,
    /// Messages of the Jobs queue that could not be processed.
    pub dead_jobs: Queue,
    /// How long after its time a `retrying` delivery counts as stuck.
    pub overdue: Duration,
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, BadSetting> {
        settings::check_jobs_clock()?;
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        Ok(Self {
            clients: Clients::from_environment(&config)?,
            routing: RoutingTable::new(dynamodb, settings::text("ROUTING_TABLE")?),
            dead_deliveries: Queue::new(sqs.clone(), settings::text("DELIVERIES_DLQ_URL")?),
            dead_jobs: Queue::new(sqs, settings::text("JOBS_DLQ_URL")?),
            overdue: settings::seconds("OVERDUE_SECONDS")?,
        })
    }
}
