//! Each adapter against the wire protocol of every implementation at hand, with the tables that the template makes.
//!
//! MiniStack and DynamoDB Local are part of every run. LocalStack and roto are drills: `POMBO_DRILLS=1` runs the tests on them.
//!
//! A test takes the implementation, [`Backend`], and is listed at the foot of its file: the name of each run says where it
//! ran, such as `deliveries::dynamodb_local::every_field_survives_a_round_trip`.
//!
//! The tables are shared with every other test, so that each test writes under ids of its own; what a function would act
//! upon (a retry that is due, a running job) is due in a far future, where no sweep looks.

/// A test of each function, on each implementation of DynamoDB. Where one differs from AWS its tests are ignored, and say why.
macro_rules! on_dynamodb {
    ($($test:ident,)+ $(; roto $reason:literal: $($without:ident,)+)?) => {
        on!(ministack: $($test,)+ $($($without,)+)?);
        on!(dynamodb_local: $($test,)+ $($($without,)+)?);
        on!(roto: $($test,)+ $(; $reason: $($without,)+)?);
    };
}

/// The same, on each implementation of SQS.
macro_rules! on_sqs {
    ($($test:ident,)+ $(; localstack and roto $reason:literal: $($without:ident,)+)?) => {
        on!(ministack: $($test,)+ $($($without,)+)?);
        on!(localstack: $($test,)+ $(; $reason: $($without,)+)?);
        on!(roto: $($test,)+ $(; $reason: $($without,)+)?);
    };
}

/// The same, on each implementation of Scheduler.
macro_rules! on_scheduler {
    ($($test:ident,)+ $(; localstack $reason:literal: $($without:ident,)+)?) => {
        on!(ministack: $($test,)+ $($($without,)+)?);
        on!(localstack: $($test,)+ $(; $reason: $($without,)+)?);
        on!(roto: $($test,)+ $($($without,)+)?);
    };
}

macro_rules! on {
    (localstack: $($tests:tt)+) => { on_backend!((drill) localstack: $($tests)+); };
    (roto: $($tests:tt)+) => { on_backend!((drill) roto: $($tests)+); };
    ($backend:ident: $($tests:tt)+) => { on_backend!(() $backend: $($tests)+); };
}

/// The tests on one implementation. `$options` are those of each scenario, in parentheses.
macro_rules! on_backend {
    ($options:tt $backend:ident: $($test:ident,)+ $(; $reason:literal: $($without:ident,)+)?) => {
        mod $backend {
            use pombo_tests::scenario;

            $(#[scenario $options]
            async fn $test() {
                super::$test(pombo_tests::Backend::$backend().await).await;
            })+
            $($(#[scenario $options]
            #[ignore = $reason]
            async fn $without() {
                super::$without(pombo_tests::Backend::$backend().await).await;
            })+)?
        }
    };
}

mod api_keys;
mod deliveries;
mod endpoints;
mod event_limit;
mod events;
mod faults;
mod health;
mod jobs;
mod limits;
mod lists;
mod queue;
mod rate_limit;
mod scheduler;
mod settings;
mod unqueued;

use std::time::Duration;

use aws_config::SdkConfig;
use pombo_aws::clock;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::operations::Operations;
use pombo_aws::queue::Queue;
use pombo_aws::routing::RoutingTable;
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_tests::Backend;

/// In the year 2100: no sweep looks there.
const FAR: Timestamp = Timestamp::from_seconds(4_102_444_800);

/// What operational events go through.
fn operations(on: &Backend, config: &SdkConfig) -> Operations {
    let dynamodb = aws_sdk_dynamodb::Client::new(config);
    Operations::new(
        RoutingTable::new(dynamodb.clone(), on.resource("RoutingTable")),
        EndpointsTable::new(dynamodb.clone(), on.resource("EndpointsTable")),
        EventsTable::new(dynamodb, on.resource("EventsTable")),
        Queue::new(aws_sdk_sqs::Client::new(config), on.resource("JobsQueue")),
        Duration::from_secs(86_400),
    )
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
