//! What dispatch reads from its environment, and the clients it keeps.

use std::time::Duration;

use pombo_aws::clock::Clock;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::HealthTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::Queue;
use pombo_aws::rate_limit::RateLimits;
use pombo_aws::settings::{self, BadSetting};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::HealthRules;

use crate::endpoint_cache::EndpointCache;
use crate::http::HttpSender;
use crate::invocation::AFTER_ATTEMPT;

/// Everything that a message needs.
#[derive(Debug)]
pub struct App {
    /// The records, the queue and the one-shots.
    pub protocol: Protocol,
    /// Bodies that did not come with their message.
    pub events: EventsTable,
    /// The receivers.
    pub endpoints: EndpointCache,
    /// The receivers' health.
    pub health: HealthTable,
    /// When a circuit opens.
    pub rules: HealthRules,
    /// The jobs, for the drain of a circuit that opens.
    pub jobs: JobsTable,
    /// The Jobs queue.
    pub jobs_queue: Queue,
    /// How long a job is kept.
    pub retention: Duration,
    /// The slots of receivers with a rate limit.
    pub rate_limits: RateLimits,
    /// Messages that cannot be read.
    pub dead_letters: Queue,
    /// What makes the requests.
    pub sender: HttpSender,
    /// The longest deadline of an attempt.
    pub longest_timeout: Duration,
    /// How long first attempts may go without a claim; `None` if every attempt is to be claimed.
    pub without_claim: Option<FirstAttemptWindow>,
}

/// How long first attempts may go without a claim; `None` if `CLAIM_FIRST_ATTEMPTS` is `true`.
///
/// A window that is shorter than an invocation is not an error. Such a window covers no attempt, so each attempt is claimed.
fn without_claim() -> Result<Option<FirstAttemptWindow>, BadSetting> {
    let window = settings::first_attempt_window()?;
    let claims_all: bool = settings::value("CLAIM_FIRST_ATTEMPTS")?;
    Ok((!claims_all).then_some(window))
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, lambda_runtime::Error> {
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let (rules, clock) = (settings::health_rules()?, Clock::system());
        let endpoints_table = settings::text("ENDPOINTS_TABLE")?;
        let endpoints = EndpointsTable::new(dynamodb.clone(), endpoints_table.clone());
        Ok(Self {
            protocol: Protocol::from_environment(&config)?,
            events: EventsTable::new(dynamodb.clone(), settings::text("EVENTS_TABLE")?),
            endpoints: EndpointCache::new(endpoints, rules, clock.clone()),
            health: HealthTable::new(dynamodb.clone(), endpoints_table.clone()),
            rate_limits: RateLimits::new(dynamodb.clone(), endpoints_table),
            rules,
            jobs: JobsTable::new(dynamodb, settings::text("JOBS_TABLE")?),
            jobs_queue: Queue::new(sqs.clone(), settings::text("JOBS_QUEUE_URL")?),
            retention: settings::days("RETENTION_DAYS")?,
            dead_letters: Queue::new(sqs, settings::text("DELIVERIES_DLQ_URL")?),
            sender: HttpSender::new(settings::addresses()?, clock)?,
            longest_timeout: settings::longest_deadline(AFTER_ATTEMPT)?,
            without_claim: without_claim()?,
        })
    }
}
