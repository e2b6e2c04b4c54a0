//! Each adapter against the emulator's wire protocol, with the tables that the template makes.
//!
//! The tables are shared with every other test, so that each test writes under ids of its own; what a function would act
//! upon (a retry that is due, a running job) is due in a far future, where no sweep looks.

mod api_keys;
mod deliveries;
mod endpoints;
mod events;
mod jobs;
mod lists;
mod queue;
mod rate_limit;
mod scheduler;
mod settings;
mod unqueued;

use std::time::Duration;

use aws_config::SdkConfig;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::operations::Operations;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_aws::{clock, settings as functions};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Fault, Stack};

/// In the year 2100: no sweep looks there.
const FAR: Timestamp = Timestamp::from_seconds(4_102_444_800);

/// Clients straight to the emulator.
async fn direct() -> SdkConfig {
    Stack::calm().await.local.sdk_config().await
}

/// Clients behind the proxy, with the time limits of the functions' own.
async fn behind_proxy() -> SdkConfig {
    let stack = Stack::calm().await;
    let config = stack.local.sdk_config().await.into_builder();
    config.endpoint_url(stack.proxy.url()).timeout_config(functions::timeouts()).build()
}

/// What operational events go through.
async fn operations(config: &SdkConfig) -> Operations {
    let stack = Stack::calm().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(config);
    Operations::new(
        RoutingTable::new(dynamodb.clone(), stack.resource("RoutingTable").to_owned()),
        EndpointsTable::new(dynamodb.clone(), stack.resource("EndpointsTable").to_owned()),
        EventsTable::new(dynamodb, stack.resource("EventsTable").to_owned()),
        Queue::new(aws_sdk_sqs::Client::new(config), stack.resource("JobsQueue").to_owned()),
        Duration::from_secs(86_400),
    )
}

/// Spoils the first `times` calls of this operation that mention `id`.
async fn spoil(times: usize, operation: &'static str, id: &str, fault: Fault) {
    let id = id.to_owned();
    let wanted = move |call: &Call| call.operation == operation && call.mentions(&id);
    Stack::calm().await.proxy.spoil_times(times, move |call| wanted(call).then(|| fault.clone()));
}

/// The calls of this operation that passed the proxy and mention `id`.
async fn calls(operation: &str, id: &str) -> Vec<Call> {
    Stack::calm().await.proxy.calls(|call| call.operation == operation && call.mentions(id))
}

/// An endpoint that no other test has.
fn endpoint_id() -> EndpointId {
    EndpointId::generate(clock::random().unwrap())
}

/// A time, to the second, at which no other test accepts an event: somewhere before the year 2006.
fn some_time() -> Timestamp {
    Timestamp::from_seconds(i64::from(clock::random_bits() >> 2))
}

/// Unix seconds at which nothing expires while a test runs.
fn tomorrow() -> i64 {
    clock::now().as_seconds() + 86_400
}
