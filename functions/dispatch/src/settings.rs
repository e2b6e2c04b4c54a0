//! What dispatch reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::Queue;
use pombo_aws::settings;
use pombo_domain::address::AddressPolicy;

use crate::endpoint_cache::EndpointCache;
use crate::http::HttpSender;

/// Everything that a message needs.
#[derive(Debug)]
pub struct App {
    /// The records, the queue and the one-shots.
    pub protocol: Protocol,
    /// Bodies that did not come with their message.
    pub events: EventsTable,
    /// The receivers.
    pub endpoints: EndpointCache,
    /// Messages that cannot be read.
    pub dead_letters: Queue,
    /// What makes the requests.
    pub sender: HttpSender,
    /// The longest deadline of an attempt.
    pub longest_timeout: Duration,
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, lambda_runtime::Error> {
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let policy = match settings::value("ALLOW_LOOPBACK")? {
            true => AddressPolicy::local(),
            false => AddressPolicy::production(),
        };
        Ok(Self {
            protocol: Protocol::from_environment(&config)?,
            events: EventsTable::new(dynamodb.clone(), settings::text("EVENTS_TABLE")?),
            endpoints: EndpointCache::new(EndpointsTable::new(dynamodb, settings::text("ENDPOINTS_TABLE")?)),
            dead_letters: Queue::new(sqs, settings::text("DELIVERIES_DLQ_URL")?),
            sender: HttpSender::new(policy)?,
            longest_timeout: settings::seconds("MAX_ENDPOINT_TIMEOUT_SECONDS")?,
        })
    }
}
