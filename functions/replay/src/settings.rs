//! What replay reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::missed::MissedRequests;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::{self, BadSetting};
use pombo_domain::api_key::Scope;
use pombo_jobs::Clients;
use pombo_web::Authenticator;

use crate::console::Console;

/// Everything that a request needs.
#[derive(Debug)]
pub struct App {
    /// Tells who calls.
    pub authenticator: Authenticator,
    /// The operators' page.
    pub console: Console,
    /// What is looked through, and what a replay's leg works with.
    pub clients: Clients,
    /// Who subscribes to what, for the endpoints that an event was not sent to.
    pub routing: RoutingTable,
    /// What receivers asked for lately.
    pub missed: MissedRequests,
    /// Messages of the Deliveries queue that could not be processed.
    pub dead_deliveries: Queue,
    /// Messages of the Jobs queue that could not be processed.
    pub dead_jobs: Queue,
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
            authenticator: Authenticator::new(ApiKeysTable::new(dynamodb.clone(), settings::text("API_KEYS_TABLE")?))
                .of_url(settings::value("REPLAY_AUTH")?, Scope::Ops),
            console: Console::new(&settings::value("ENDPOINTS_URL")?, settings::value("ALLOW_LOOPBACK")?),
            clients: Clients::from_environment(&config)?,
            routing: RoutingTable::new(dynamodb.clone(), settings::text("ROUTING_TABLE")?),
            missed: MissedRequests::new(dynamodb, settings::text("ENDPOINTS_TABLE")?),
            dead_deliveries: Queue::new(sqs.clone(), settings::text("DELIVERIES_DLQ_URL")?),
            dead_jobs: Queue::new(sqs, settings::text("JOBS_DLQ_URL")?),
            retention: settings::days("RETENTION_DAYS")?,
            max_running_replays: settings::value("MAX_RUNNING_REPLAYS")?,
        })
    }
}
