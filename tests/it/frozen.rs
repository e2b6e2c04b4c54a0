//! A dispatch process that is frozen for an hour, with what it remembers.
//!
//! It runs within the test, by clocks of the test's own, so that its monotonic clock can stand still. Everything else is
//! real: the emulator, the endpoint, its changes over the endpoints URL, and the receiver.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use dispatch::{App, EndpointCache, HttpSender};
use lambda_runtime::{Context, LambdaEvent};
use local::{Answer, Received, Signature};
use pombo_aws::clock::{self, HandClock};
use pombo_aws::deliveries::DeliveriesTable;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::HealthTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::metrics::Metrics;
use pombo_aws::operations::Operations;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::{Incoming, Queue};
use pombo_aws::rate_limit::RateLimits;
use pombo_aws::routing::RoutingTable;
use pombo_aws::scheduler::{Scheduler, SchedulerTarget};
use pombo_domain::address::AddressPolicy;
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status};
use pombo_domain::event::Event;
use pombo_domain::health::{Health, HealthRules};
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::rows::{event, put_events};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// A process of dispatch, with a Deliveries queue of its own.
struct Process {
    app: App,
    hands: HandClock,
}

impl Process {
    async fn start(stack: &Stack) -> Self {
        let config = stack.local.sdk_config().await;
        let (dynamodb, sqs) = (aws_sdk_dynamodb::Client::new(&config), aws_sdk_sqs::Client::new(&config));
        let table = |name: &str| stack.resource(name).to_owned();
        let (hands, rules) = (HandClock::start(), HealthRules::DEFAULT);
        let endpoints = EndpointsTable::new(dynamodb.clone(), table("EndpointsTable"));
        let events = EventsTable::new(dynamodb.clone(), table("EventsTable"));
        let routing = RoutingTable::new(dynamodb.clone(), table("RoutingTable"));
        let queue = async || {
            let queue = sqs.create_queue().queue_name(unique("frozen")).send().await.unwrap();
            Queue::new(sqs.clone(), queue.queue_url.unwrap())
        };
        let jobs_queue = queue().await;
        let operations = Operations::new(routing, endpoints.clone(), events.clone(), jobs_queue.clone(), DAY);
        let none = || "none".to_owned();
        let target = SchedulerTarget { group: none(), queue_arn: none(), role_arn: none() };
        let protocol = Protocol {
            deliveries: DeliveriesTable::new(dynamodb.clone(), table("DeliveriesTable")),
            queue: queue().await,
            scheduler: Scheduler::new(aws_sdk_scheduler::Client::new(&config), target),
            operations: operations.with_clock(hands.clock()),
            metrics: Metrics::new("test".into(), "INFO".into()),
        };
        let app = App {
            protocol,
            events,
            endpoints: EndpointCache::new(endpoints, rules, hands.clock()),
            health: HealthTable::new(dynamodb.clone(), table("EndpointsTable")),
            rate_limits: RateLimits::new(dynamodb.clone(), table("EndpointsTable")),
            rules,
            jobs: JobsTable::new(dynamodb, table("JobsTable")),
            jobs_queue,
            retention: DAY,
            dead_letters: queue().await,
            sender: HttpSender::new(AddressPolicy::local(), hands.clock()).unwrap(),
            longest_timeout: Duration::from_secs(3),
        };
        Self { app, hands }
    }

    /// An invocation with one message.
    async fn take(&self, body: String) {
        let mut context = Context::default();
        context.request_id = unique("request");
        context.deadline = clock::now().plus(Duration::from_secs(30)).as_millis().unsigned_abs();
        let mut message = SqsMessage::default();
        (message.message_id, message.body) = (Some(unique("message")), Some(body));
        let mut payload = SqsEvent::default();
        payload.records = vec![message];
        let answer = dispatch::handle(&self.app, LambdaEvent { payload, context }).await.unwrap();
        assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
    }

    /// The next message of the process's queue, once that is due.
    async fn next(&self) -> Incoming {
        eventually("the retry", SOON, || async { self.app.protocol.queue.receive(60).await.unwrap().pop() }).await
    }

    async fn record(&self, delivery: &DeliveryKey) -> Record {
        self.app.protocol.deliveries.get(delivery).await.unwrap().unwrap()
    }
}

/// The first message of an event's delivery to the hook's endpoint.
pub async fn first(hook: &Hook, id: &str) -> DeliveryMessage {
    first_to(hook.stack, &hook.tenant, &hook.endpoint, id).await
}

/// The first message of an event's delivery to an endpoint. It does not say which version of the endpoint there is.
async fn first_to(stack: &Stack, tenant: &str, endpoint: &str, id: &str) -> DeliveryMessage {
    let endpoint = endpoint.parse().unwrap();
    let event = event(tenant, id, "student.created", clock::now(), std::slice::from_ref(&endpoint));
    put_events(stack, std::slice::from_ref(&event)).await;
    let Event { tenant, event_type, expires_at, hops, body, .. } = event.clone();
    let new = NewDelivery { tenant, event_type, expires_at };
    DeliveryMessage::first(
        event.delivery_to(endpoint),
        EventPart { new, endpoint_version: None, body: Some(body), hops },
    )
}

/// An attempt fails, the process is frozen for an hour, in which the endpoint changes, and then the retry lands in it.
/// Gives the delivery's status then, and the requests that came.
async fn retried(hook: &Hook, change: impl AsyncFnOnce()) -> (Status, Vec<Received>) {
    let process = Process::start(hook.stack).await;
    let message = first(hook, "e").await;
    process.take(message.to_json()).await;
    assert_eq!(process.record(&message.delivery).await.status, Status::Retrying);
    process.hands.freeze(HOUR);
    change().await;
    process.take(process.next().await.body).await;
    (process.record(&message.delivery).await.status, hook.receiver.received())
}

/// An endpoint whose first request fails.
async fn hook() -> Hook {
    let policy = json!({"retry_policy": {"delays_seconds": [1]}});
    let first_fails = |received: &Received| Answer::status(if received.path == "/hook" { 500 } else { 200 });
    Hook::new(Stack::calm().await, policy, first_fails).await
}

#[scenario]
async fn a_retry_in_a_process_that_was_frozen_sends_nothing_to_an_endpoint_that_was_deleted_or_paused() {
    for (change, expected) in [("delete", Status::Cancelled), ("pause", Status::Held)] {
        let hook = hook().await;
        let (status, received) = retried(&hook, async || hook.change(change).await).await;
        assert_eq!((status, received.len()), (expected, 1), "{change}: {received:?}");
    }
}

#[scenario]
async fn a_retry_in_a_process_that_was_frozen_goes_to_the_new_url_with_the_new_secret_and_header() {
    let hook = hook().await;
    let (status, received) = retried(&hook, async || {
        let (api, path) = (hook.stack.local.endpoints(), format!("/v1/endpoints/{}", hook.endpoint));
        let wanted = json!({"url": hook.receiver.url("/corrected"), "headers": {"x-api-key": "new"}});
        assert_eq!(api.patch(&path, &wanted).await.unwrap().0, 200);
        let (status, rotated): (u16, Value) =
            api.post(&format!("{path}/rotate-secret"), &json!({"grace_hours": 0})).await.unwrap();
        assert_eq!(status, 200, "{rotated}");
        let secret = rotated["secret"].as_str().unwrap();
        hook.stack.keep_secret(secret);
        hook.receiver.expect_secret("/corrected", secret);
    })
    .await;
    assert_eq!(status, Status::Succeeded, "{received:?}");
    let [_, second] = &received[..] else { panic!("{received:?}") };
    assert_eq!((second.path.as_str(), second.header("x-api-key")), ("/corrected", "new"));
    assert_eq!(second.signature, Signature::Verified);
}

#[scenario]
async fn a_success_in_a_process_that_was_frozen_clears_the_mark_that_another_has_set() {
    let policy = json!({"retry_policy": {"delays_seconds": [600]}});
    let bad_fails = |received: &Received| Answer::status(if received.event_id() == "bad" { 500 } else { 200 });
    let hook = Hook::new(Stack::calm().await, policy, bad_fails).await;
    let (frozen, other) = (Process::start(hook.stack).await, Process::start(hook.stack).await);
    let marked = async || {
        let id = hook.endpoint.parse().unwrap();
        let config = hook.stack.local.sdk_config().await;
        let table = hook.stack.resource("EndpointsTable").to_owned();
        let table = EndpointsTable::new(aws_sdk_dynamodb::Client::new(&config), table);
        let (_, health): (_, Health) = table.get_with_health(&id).await.unwrap().unwrap();
        health.is_troubled()
    };
    frozen.take(first(&hook, "good").await.to_json()).await;
    other.take(first(&hook, "bad").await.to_json()).await;
    assert!(marked().await);
    frozen.hands.freeze(HOUR);
    frozen.take(first(&hook, "good-too").await.to_json()).await;
    assert!(!marked().await, "there was a success after the failure");
    assert_eq!(hook.receiver.count(), 3);
}

/// A receiver that answers the first request on each connection and is silent after it, as if a gateway had forgotten the
/// connection; its URL.
async fn forgetful_receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                // The body's last bytes are those of the event's `data` and of the event.
                while !request.ends_with(b"}}") {
                    let count = stream.read(&mut buffer).await.unwrap();
                    request.extend_from_slice(&buffer[..count]);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                while let Ok(1..) = stream.read(&mut buffer).await {}
            });
        }
    });
    url
}

#[scenario]
async fn a_process_that_was_frozen_sends_on_no_connection_from_before() {
    let (stack, tenant) = (Stack::calm().await, unique("t"));
    let wanted = json!({
        "tenant": tenant, "url": forgetful_receiver().await, "event_types": ["*"],
        "retry_policy": {"delays_seconds": [600]},
    });
    let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap();
    assert_eq!(status, 201, "{endpoint}");
    stack.keep_secret(endpoint["secret"].as_str().unwrap());
    let process = Process::start(stack).await;
    for id in ["before", "after"] {
        let message = first_to(stack, &tenant, endpoint["id"].as_str().unwrap(), id).await;
        process.take(message.to_json()).await;
        let record = process.record(&message.delivery).await;
        assert_eq!(record.status, Status::Succeeded, "{id}: {record:?}");
        process.hands.freeze(Duration::from_secs(10));
    }
}
