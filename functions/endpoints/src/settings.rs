//! What endpoints reads from its environment, and the clients it keeps.

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::operations::Operations;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::{self, BadSetting};
use pombo_aws::test_limit::TestLimits;
use pombo_domain::api_key::Scope;
use pombo_domain::limits::EndpointLimits;
use pombo_requests::Rules;
use pombo_web::{Authenticator, Problem};

/// Everything that a request needs.
#[derive(Debug)]
pub struct App {
    /// Tells who calls. Each call reads its key: all of them change something, or show what few may see.
    pub authenticator: Authenticator,
    /// The endpoints.
    pub endpoints: EndpointsTable,
    /// How often endpoints were tested lately.
    pub tests: TestLimits,
    /// Who gets what, for ingest.
    pub routing: RoutingTable,
    /// The API keys.
    pub keys: ApiKeysTable,
    /// The jobs, for the drain that a change begins.
    pub jobs: JobsTable,
    /// The Jobs queue.
    pub jobs_queue: Queue,
    /// The events of tests.
    pub events: EventsTable,
    /// The Deliveries queue, for the same.
    pub deliveries_queue: Queue,
    /// What tells of changes.
    pub operations: Operations,
    /// What an endpoint may be.
    pub rules: Rules,
    /// Limits on a tenant's endpoints.
    pub limits: EndpointLimits,
    /// Whether a direct invocation makes admin keys.
    pub makes_admin_keys: bool,
}

impl App {
    /// From the environment.
    pub async fn from_environment() -> Result<Self, BadSetting> {
        let config = settings::aws().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let sqs = aws_sdk_sqs::Client::new(&config);
        let keys = ApiKeysTable::new(dynamodb.clone(), settings::text("API_KEYS_TABLE")?);
        Ok(Self {
            authenticator: Authenticator::new(keys.clone())
                .without_memory()
                .of_url(settings::value("ENDPOINTS_AUTH")?, Scope::Admin),
            endpoints: EndpointsTable::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            tests: TestLimits::new(dynamodb.clone(), settings::text("ENDPOINTS_TABLE")?),
            routing: RoutingTable::new(dynamodb.clone(), settings::text("ROUTING_TABLE")?),
            keys,
            jobs: JobsTable::new(dynamodb.clone(), settings::text("JOBS_TABLE")?),
            jobs_queue: Queue::new(sqs.clone(), settings::text("JOBS_QUEUE_URL")?),
            events: EventsTable::new(dynamodb, settings::text("EVENTS_TABLE")?),
            deliveries_queue: Queue::new(sqs, settings::text("DELIVERIES_QUEUE_URL")?),
            // Whoever subscribes and then changes something is told of it.
            operations: Operations::from_environment(&config)?.without_memory(),
            rules: Rules {
                addresses: settings::addresses()?,
                retention: settings::days("RETENTION_DAYS")?,
                longest_timeout: settings::value("MAX_ENDPOINT_TIMEOUT_SECONDS")?,
                keys_per_tenant: settings::value("MAX_KEYS_PER_TENANT")?,
            },
            limits: EndpointLimits {
                per_tenant: settings::value("MAX_ENDPOINTS_PER_TENANT")?,
                per_host: settings::value("MAX_ENDPOINTS_PER_HOST")?,
                registered_per_day: settings::value("MAX_ENDPOINTS_REGISTERED_PER_DAY")?,
            },
            makes_admin_keys: settings::value("CREATE_ADMIN_KEY")?,
        })
    }
}

/// Random bytes for an id or a secret. Without them the request is refused: nothing weaker takes their place.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    clock::random().map_err(|error| {
        tracing::error!(%error, "There are no random bytes.");
        Problem::unavailable("There were no random bytes for a new id or secret. Repeat the request.")
    })
}
