//! The time limits of an AWS call, and what its failure says.

use std::time::{Duration, Instant};

use pombo_aws::events::EventsTable;
use pombo_aws::queue::Queue;
use pombo_aws::settings::CALL_TIMEOUT;
use pombo_aws::{clock, settings};
use pombo_domain::ids::TenantId;
use pombo_tests::{Fault, Stack, unique};

use super::{behind_proxy, direct, spoil};

const HANGS: Fault = Fault::Delay(Duration::from_secs(10));

async fn events() -> EventsTable {
    let name = Stack::calm().await.resource("EventsTable").to_owned();
    EventsTable::new(aws_sdk_dynamodb::Client::new(&behind_proxy().await), name)
}

#[tokio::test]
async fn a_call_that_hangs_ends_within_its_time() {
    let (events, tenant) = (events().await, unique("t").parse::<TenantId>().unwrap());
    spoil(10, "GetItem", tenant.as_str(), HANGS).await;
    let begun = Instant::now();
    let error = events.get(&tenant, &"e".parse().unwrap(), clock::now()).await.unwrap_err();
    let took = begun.elapsed();
    assert!(CALL_TIMEOUT == Duration::from_secs(5) && took < CALL_TIMEOUT + Duration::from_millis(500), "{took:?}");
    assert!(took > Duration::from_secs(4), "it was tried more than once: {took:?}");
    assert_eq!(error.code(), None, "{error}");
}

#[tokio::test]
async fn a_try_that_hangs_is_given_up_early_enough_for_another() {
    let (events, tenant) = (events().await, unique("t").parse::<TenantId>().unwrap());
    spoil(1, "GetItem", tenant.as_str(), HANGS).await;
    let begun = Instant::now();
    assert_eq!(events.get(&tenant, &"e".parse().unwrap(), clock::now()).await.unwrap(), None);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < CALL_TIMEOUT, "{took:?}");
}

#[tokio::test]
async fn the_functions_configuration_has_these_limits() {
    let config = settings::aws().await;
    let limits = config.timeout_config().unwrap();
    assert_eq!(limits.operation_attempt_timeout(), Some(Duration::from_secs(2)));
    assert_eq!(limits.operation_timeout(), Some(CALL_TIMEOUT));
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_an_error_without_a_code() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = direct().await.into_builder().endpoint_url(format!("http://{free}")).build();
    let queue = Queue::new(aws_sdk_sqs::Client::new(&config), format!("http://{free}/queue"));
    let error = queue.length().await.unwrap_err();
    assert_eq!(error.code(), None);
    assert!(error.to_string().starts_with("sqs:GetQueueAttributes: "), "{error}");
}
