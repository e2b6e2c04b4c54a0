//! A dispatch process that runs within the test, with a Deliveries queue and clocks of its own.
//!
//! The test sets how often SQS has given out a message, and can stop the process's monotonic clock. Everything else is real:
//! the emulator behind the proxy, the endpoint and the receiver.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use dispatch::{App, EndpointCache, HttpSender};
use lambda_runtime::{Context, LambdaEvent};
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
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record};
use pombo_domain::event::Event;
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::HealthRules;
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_tests::{Hook, SOON, Stack, eventually, unique};

use crate::rows::{event, put_events};

const DAY: Duration = Duration::from_secs(86_400);
/// How long an invocation may run.
pub const RUN: Duration = Duration::from_secs(30);
/// How long first attempts may go without a claim.
pub const WINDOW: Duration = Duration::from_secs(90);

/// A process of dispatch, with a Deliveries queue of its own.
pub struct Process {
    /// The clients and settings of the process.
    pub app: App,
    /// The clocks of the process.
    pub hands: HandClock,
}

impl Process {
    /// Starts the process.
    pub async fn start(stack: &Stack) -> Self {
        let config = local::sdk_config(&stack.proxy.url()).await;
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
            without_claim: Some(FirstAttemptWindow::new(WINDOW)),
        };
        Self { app, hands }
    }

    /// Handles an invocation with one message. SQS does not say how often the message was received.
    pub async fn take(&self, body: String) {
        self.take_received(body, None).await;
    }

    /// Handles an invocation with one message that was received `times` times.
    pub async fn take_received(&self, body: String, times: Option<&str>) {
        self.take_within(body, times, RUN).await;
    }

    /// Handles the message in an invocation that may run for `run`.
    pub async fn take_within(&self, body: String, times: Option<&str>, run: Duration) {
        let mut context = Context::default();
        context.request_id = unique("request");
        context.deadline = clock::now().plus(run).as_millis().unsigned_abs();
        let mut message = SqsMessage::default();
        (message.message_id, message.body) = (Some(unique("message")), Some(body));
        let times = times.map(|times| ("ApproximateReceiveCount".to_owned(), times.to_owned()));
        message.attributes = times.into_iter().collect();
        let mut payload = SqsEvent::default();
        payload.records = vec![message];
        let answer = dispatch::handle(&self.app, LambdaEvent { payload, context }).await.unwrap();
        assert!(answer.batch_item_failures.is_empty(), "{answer:?}");
    }

    /// The next message of the process's queue, as soon as the message is due.
    pub async fn next(&self) -> Incoming {
        eventually("a message", SOON, || async { self.app.protocol.queue.receive(60).await.unwrap().pop() }).await
    }

    /// The record of a delivery.
    pub async fn record(&self, delivery: &DeliveryKey) -> Record {
        self.app.protocol.deliveries.get(delivery).await.unwrap().unwrap()
    }
}

/// The first message of an event's delivery to the hook's endpoint.
pub async fn first(hook: &Hook, id: &str) -> DeliveryMessage {
    first_to(hook.stack, &hook.tenant, &hook.endpoint, id).await
}

/// The first message of an event's delivery to an endpoint. The message does not say which version the endpoint has.
pub async fn first_to(stack: &Stack, tenant: &str, endpoint: &str, id: &str) -> DeliveryMessage {
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
