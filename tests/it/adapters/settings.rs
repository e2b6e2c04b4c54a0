//! The time limits of an AWS call, and what its failure says.

use std::time::{Duration, Instant};

use pombo_aws::events::EventsTable;
use pombo_aws::queue::{Outgoing, Queue};
use pombo_aws::settings::CALL_TIMEOUT;
use pombo_aws::{clock, settings};
use pombo_domain::ids::TenantId;
use pombo_tests::{Backend, Fault, scenario, unique};

use super::{queue, scheduler};

const HANGS: Fault = Fault::Delay(Duration::from_secs(10));

async fn events(on: &Backend) -> EventsTable {
    EventsTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), on.resource("EventsTable"))
}

#[scenario]
async fn a_call_that_hangs_ends_within_its_time() {
    let on = Backend::ministack().await;
    let (events, tenant) = (events(on).await, unique("t").parse::<TenantId>().unwrap());
    on.spoil(10, "GetItem", tenant.as_str(), HANGS);
    let begun = Instant::now();
    let error = events.get(&tenant, &"e".parse().unwrap(), clock::now()).await.unwrap_err();
    let took = begun.elapsed();
    assert!(CALL_TIMEOUT == Duration::from_secs(5) && took < CALL_TIMEOUT + Duration::from_millis(500), "{took:?}");
    assert!(took > Duration::from_secs(4), "it was tried more than once: {took:?}");
    assert_eq!(error.code(), None, "{error}");
}

#[scenario]
async fn a_call_of_any_service_that_hangs_ends_within_its_time() {
    let on = Backend::ministack().await;
    let ((name, queue), scheduler) = (queue::spoilt_queue(on).await, scheduler::scheduler(on).await);
    let schedule = unique("hangs");
    on.spoil(10, "SendMessage", &name, HANGS);
    on.spoil(10, "CreateSchedule", &schedule, HANGS);
    let at = clock::now().plus(Duration::from_secs(3600));
    let begun = Instant::now();
    let message = Outgoing { body: "x".into(), group: None, delay_seconds: 0 };
    let (sent, made) = tokio::join!(queue.send(message), scheduler.create(&schedule, at, "{}"));
    let took = begun.elapsed();
    assert_eq!((sent.unwrap_err().code(), made.unwrap_err().code()), (None, None));
    assert!(took < CALL_TIMEOUT + Duration::from_secs(1), "{took:?}");
}

#[scenario]
async fn a_try_that_hangs_is_given_up_early_enough_for_another() {
    let on = Backend::ministack().await;
    let (events, tenant) = (events(on).await, unique("t").parse::<TenantId>().unwrap());
    on.spoil(1, "GetItem", tenant.as_str(), HANGS);
    let begun = Instant::now();
    assert_eq!(events.get(&tenant, &"e".parse().unwrap(), clock::now()).await.unwrap(), None);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < CALL_TIMEOUT, "{took:?}");
}

#[scenario]
async fn the_functions_configuration_has_these_limits() {
    let config = settings::aws().await;
    let limits = config.timeout_config().unwrap();
    assert_eq!(limits.operation_attempt_timeout(), Some(Duration::from_secs(2)));
    assert_eq!(limits.operation_timeout(), Some(CALL_TIMEOUT));
}

#[scenario]
async fn a_service_that_cannot_be_reached_is_an_error_without_a_code() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config =
        Backend::ministack().await.direct().await.into_builder().endpoint_url(format!("http://{free}")).build();
    let queue = Queue::new(aws_sdk_sqs::Client::new(&config), format!("http://{free}/queue"));
    let error = queue.length().await.unwrap_err();
    assert_eq!(error.code(), None);
    assert!(error.to_string().starts_with("sqs:GetQueueAttributes: "), "{error}");
}
