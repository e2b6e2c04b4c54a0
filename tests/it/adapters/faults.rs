//! What no implementation does by itself, and AWS does: it throttles, leaves a part of a batch undone, cancels a transaction
//! because of another, and keeps a schedule for a while after it fired.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pombo_aws::deliveries::{DeliveriesTable, List, Put, Window};
use pombo_aws::endpoints::{Change, Changed, EndpointsTable};
use pombo_aws::events::{EventsTable, PutEvent};
use pombo_aws::health::{HealthTable, PutHealth};
use pombo_aws::jobs::JobsTable;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::{Incoming, Outgoing, Queue, Refused};
use pombo_aws::rate_limit::RateLimits;
use pombo_aws::routing::RoutingTable;
use pombo_aws::settings::CALL_TIMEOUT;
use pombo_aws::{AwsError, clock};
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::event::Event;
use pombo_domain::health::Health;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::JobKey;
use pombo_domain::message::DeliveryMessage;
use pombo_domain::rate_limit::{PerSecond, RateLimit};
use pombo_domain::retry::{Next, Route};
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Call, Fault, scenario, unique};

use super::{endpoint_id, endpoints, events, queue, scheduler, some_time, tomorrow};

const THROTTLED: &str = "ThrottlingException";

/// Every adapter behind the proxy, and an endpoint that no other test has.
struct Adapters {
    on: &'static Backend,
    id: EndpointId,
    deliveries: DeliveriesTable,
    endpoints: EndpointsTable,
    events: EventsTable,
    health: HealthTable,
    jobs: JobsTable,
    rate_limits: RateLimits,
    routing: RoutingTable,
}

impl Adapters {
    async fn new() -> Self {
        let on = Backend::ministack().await;
        let client = aws_sdk_dynamodb::Client::new(&on.behind_proxy().await);
        Self {
            on,
            id: endpoint_id(),
            deliveries: DeliveriesTable::new(client.clone(), on.resource("DeliveriesTable")),
            endpoints: EndpointsTable::new(client.clone(), on.resource("EndpointsTable")),
            events: EventsTable::new(client.clone(), on.resource("EventsTable")),
            health: HealthTable::new(client.clone(), on.resource("EndpointsTable")),
            jobs: JobsTable::new(client.clone(), on.resource("JobsTable")),
            rate_limits: RateLimits::new(client.clone(), on.resource("EndpointsTable")),
            routing: RoutingTable::new(client, on.resource("RoutingTable")),
        }
    }

    fn keys(&self, count: usize) -> Vec<DeliveryKey> {
        let key = |number| DeliveryKey {
            endpoint_id: self.id.clone(),
            accepted_at: some_time(),
            event_id: format!("e{number}").parse().unwrap(),
        };
        (0..count).map(key).collect()
    }

    fn record(&self) -> Record {
        Record::begin(self.keys(1).remove(0), new_delivery())
    }

    /// The calls about the endpoint that were made.
    fn made(&self, operation: &str) -> Vec<Arc<Call>> {
        self.on.calls(operation, self.id.as_str())
    }
}

fn new_delivery() -> NewDelivery {
    NewDelivery { tenant: "acme".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: tomorrow() }
}

fn message(body: &str) -> Outgoing {
    Outgoing { body: body.to_owned(), group: None, delay_seconds: 0 }
}

type Calling<'a> = Pin<Box<dyn Future<Output = Result<(), AwsError>> + 'a>>;

/// A call without what it gives.
fn calling<'a, T>(call: impl Future<Output = Result<T, AwsError>> + 'a) -> Calling<'a> {
    Box::pin(async move { call.await.map(|_| ()) })
}

#[scenario]
async fn a_throttled_call_is_repeated_then_an_error_that_says_so_and_nothing_is_done() {
    let (all, event) = (Adapters::new().await, events::event());
    let (name, queue) = queue::spoilt_queue(all.on).await;
    let scheduler = scheduler::scheduler(all.on).await;
    let (record, keys, schedule) = (all.record(), all.keys(2), unique("throttled"));
    let job = JobKey { owner: all.id.to_string(), created_key: "0".into() };
    let (list, newest) = (List::OfEndpoint(all.id.clone()), Window::newest(1));
    let limit = RateLimit { per_second: PerSecond::new(1.0).unwrap(), since: 1 };
    let endpoint = endpoints::endpoint();
    let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
    let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
    let received = Incoming { id: String::new(), body: String::new(), receipt: "x".into(), sent_at: None, received: 1 };
    let (id, tenant, now) = (all.id.as_str(), event.tenant.as_str(), clock::now());
    let one = [message("x")];
    let calls: Vec<(&'static str, &str, Calling<'_>)> = vec![
        ("PutItem", tenant, calling(all.events.put_new(&event, "me", now))),
        ("GetItem", tenant, calling(all.events.get(&event.tenant, &event.id, now))),
        ("BatchGetItem", tenant, calling(all.events.heads(&event.tenant, std::slice::from_ref(&event.id), now))),
        ("PutItem", id, calling(all.deliveries.put(None, record.clone(), "me"))),
        ("GetItem", id, calling(all.deliveries.get(&record.key))),
        ("BatchGetItem", id, calling(all.deliveries.get_many(&keys))),
        ("Query", id, calling(all.deliveries.list(&list, &newest))),
        ("UpdateItem", id, calling(all.rate_limits.reserve(&all.id, &limit, None, now))),
        ("TransactWriteItems", endpoint.id.as_str(), calling(all.endpoints.change(&all.routing, None, &change, "t"))),
        ("GetItem", endpoint.tenant.as_str(), calling(all.routing.get(&endpoint.tenant))),
        ("BatchGetItem", &job.owner, calling(all.jobs.get_many(std::slice::from_ref(&job)))),
        ("SendMessage", &name, calling(queue.send(message("x")))),
        ("SendMessageBatch", &name, calling(queue.send_batch(&one))),
        ("ReceiveMessage", &name, calling(queue.receive(1))),
        ("DeleteMessage", &name, calling(queue.delete(&received))),
        ("ChangeMessageVisibilityBatch", &name, calling(queue.put_back(std::slice::from_ref(&received)))),
        ("GetQueueAttributes", &name, calling(queue.length())),
        ("CreateSchedule", &schedule, calling(scheduler.create(&schedule, Timestamp::from_seconds(tomorrow()), "{}"))),
    ];
    for (operation, about, _) in &calls {
        all.on.spoil(usize::MAX, operation, about, Fault::Refuse(400, THROTTLED));
    }
    let wanted: Vec<_> = calls.iter().map(|(operation, about, _)| (*operation, (*about).to_owned())).collect();
    let answers = join_all(calls.into_iter().map(|(.., call)| call)).await;
    for ((operation, about), answer) in wanted.iter().zip(answers) {
        assert_eq!(answer.unwrap_err().code(), Some(THROTTLED), "{operation}");
        let tries = all.on.calls(operation, about).len();
        assert!(tries >= 3, "{operation} is tried {tries} times");
    }
    // The faults are for good, so the tables are looked at past the proxy.
    let straight = aws_sdk_dynamodb::Client::new(&all.on.direct().await);
    let deliveries = DeliveriesTable::new(straight.clone(), all.on.resource("DeliveriesTable"));
    let events = EventsTable::new(straight.clone(), all.on.resource("EventsTable"));
    let routes = RoutingTable::new(straight, all.on.resource("RoutingTable"));
    assert_eq!(deliveries.get(&record.key).await.unwrap(), None);
    assert_eq!(events.get(&event.tenant, &event.id, now).await.unwrap(), None);
    assert_eq!(routes.get(&endpoint.tenant).await.unwrap().version, 0);
}

#[scenario]
async fn keys_that_a_batch_leaves_over_are_asked_for_again() {
    let all = Adapters::new().await;
    let mut written = BTreeSet::new();
    for key in all.keys(120) {
        let put = all.deliveries.put(None, Record::begin(key, new_delivery()), "me").await.unwrap();
        let Put::Stored(record) = put else { panic!("{put:?}") };
        written.insert(record.key);
    }
    let keys: Vec<_> = written.iter().cloned().collect();
    // Of the first hundred: one, then none, then 60, then the rest.
    for kept in [1, 0, 60] {
        all.on.spoil(1, "BatchGetItem", all.id.as_str(), Fault::LeaveKeys(kept));
    }
    let records = all.deliveries.get_many(&keys).await.unwrap();
    assert_eq!(records.into_keys().collect::<BTreeSet<_>>(), written);
    let asked: Vec<_> = all.made("BatchGetItem").iter().map(|call| call.rows).collect();
    assert_eq!(asked, [100, 99, 99, 39, 20]);
}

#[scenario]
async fn a_batch_that_leaves_all_over_again_and_again_is_an_error_in_time() {
    let (all, event) = (Adapters::new().await, events::event());
    let job = JobKey { owner: all.id.to_string(), created_key: "0".into() };
    for about in [all.id.as_str(), event.tenant.as_str()] {
        all.on.spoil(usize::MAX, "BatchGetItem", about, Fault::LeaveKeys(0));
    }
    let (keys, begun) = (all.keys(1), Instant::now());
    let answers = join_all([
        calling(all.deliveries.get_many(&keys)),
        calling(all.endpoints.get_with_health(&all.id)),
        calling(all.jobs.get_many(std::slice::from_ref(&job))),
        calling(all.events.heads(&event.tenant, std::slice::from_ref(&event.id), clock::now())),
    ])
    .await;
    let took = begun.elapsed();
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.to_string().contains("the table is overloaded"), "{error}");
    }
    assert!(took > Duration::from_secs(2) && took < CALL_TIMEOUT + Duration::from_secs(2), "{took:?}");
    assert!(all.made("BatchGetItem").len() < 40, "{}", all.made("BatchGetItem").len());
}

#[scenario]
async fn a_batch_may_be_refused_as_a_whole() {
    let on = Backend::ministack().await;
    for senders_fault in [false, true] {
        let (name, queue) = queue::spoilt_queue(on).await;
        on.spoil(1, "SendMessageBatch", &name, Fault::RefuseEntries(vec![0, 1], senders_fault));
        let refused = queue.send_batch(&[message("a"), message("b")]).await.unwrap();
        let places: Vec<_> =
            refused.iter().map(|Refused { index, senders_fault, .. }| (*index, *senders_fault)).collect();
        assert_eq!(places, [(0, senders_fault), (1, senders_fault)]);
        assert_eq!(queue.whole_length().await.unwrap(), 0);
    }
}

#[scenario]
async fn a_message_that_cannot_be_put_back_comes_when_its_time_has_passed() {
    let on = Backend::ministack().await;
    let (name, queue) = queue::spoilt_queue(on).await;
    queue.send_batch(&[message("a"), message("b")]).await.unwrap();
    let received = queue.receive(2).await.unwrap();
    on.spoil(1, "ChangeMessageVisibilityBatch", &name, Fault::RefuseEntries(vec![0, 1], false));
    queue.put_back(&received).await.unwrap();
    assert_eq!(queue.length().await.unwrap(), 0);
    let again = pombo_tests::eventually("both again", pombo_tests::SOON, || async {
        (queue.length().await.unwrap() == 2).then_some(())
    });
    again.await;
}

/// A change of a new endpoint, alone or with other writes.
async fn change(all: &Adapters, endpoint: &pombo_domain::endpoint::Endpoint) -> Result<Changed, AwsError> {
    let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
    let change = Change { endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
    all.endpoints.change(&all.routing, None, &change, &unique("token")).await
}

#[scenario]
async fn a_transaction_that_meets_another_is_a_conflict_and_a_throttled_one_an_error() {
    for (reason, conflicts) in
        [("TransactionConflict", true), ("ThrottlingError", false), ("ProvisionedThroughputExceeded", false)]
    {
        for reasons in [["None", reason], [reason, "None"]] {
            let (all, endpoint, event) = (Adapters::new().await, endpoints::endpoint(), events::event());
            let spoil = |id: &EndpointId| {
                all.on.spoil(1, "TransactWriteItems", id.as_str(), Fault::Cancel(reasons.to_vec()));
            };
            spoil(&endpoint.id);
            let changed = change(&all, &endpoint).await;
            assert_eq!(changed.as_ref().ok(), conflicts.then_some(&Changed::Conflict), "{reasons:?}: {changed:?}");
            assert_eq!(all.endpoints.get(&endpoint.id).await.unwrap(), None);

            spoil(&all.id);
            let due = Timestamp::from_seconds(tomorrow());
            let other = all.events.unqueued(&event, due).unwrap();
            let record = all.record();
            let put = all.deliveries.put_with(None, record.clone(), "me", other, &unique("token")).await;
            assert_eq!(put.as_ref().ok(), conflicts.then_some(&None), "{reasons:?}: {put:?}");
            assert_eq!(all.deliveries.get(&record.key).await.unwrap(), None);

            spoil(&all.id);
            let also = vec![all.events.unqueued(&event, due).unwrap()];
            let put = all.health.put(&all.id, &Health::good(), Health::good(), "me", also).await;
            assert_eq!(put.as_ref().ok(), conflicts.then_some(&PutHealth::Conflict), "{reasons:?}: {put:?}");
            assert_eq!(all.events.get(&event.tenant, &event.id, clock::now()).await.unwrap(), None);
        }
    }
}

/// An earlier try of the SDK is still in progress. The item is to be read again, as after a conflict with any other
/// transaction.
#[scenario]
async fn a_health_whose_transaction_is_in_progress_is_a_conflict() {
    let (all, event) = (Adapters::new().await, events::event());
    all.on.spoil(9, "TransactWriteItems", all.id.as_str(), Fault::Refuse(400, "TransactionInProgressException"));
    let also = vec![all.events.unqueued(&event, Timestamp::from_seconds(tomorrow())).unwrap()];
    let put = all.health.put(&all.id, &Health::good(), Health::good(), "me", also).await;
    assert_eq!(put.unwrap(), PutHealth::Conflict);
    assert_eq!(all.events.get(&event.tenant, &event.id, clock::now()).await.unwrap(), None);
}

#[scenario]
async fn a_write_that_meets_a_transaction_is_an_error_and_no_conflict_of_its_own() {
    const CODE: &str = "TransactionConflictException";
    let (all, event): (_, Event) = (Adapters::new().await, events::event());
    all.on.spoil(usize::MAX, "PutItem", all.id.as_str(), Fault::Refuse(400, CODE));
    all.on.spoil(usize::MAX, "PutItem", event.tenant.as_str(), Fault::Refuse(400, CODE));
    let record = all.record();
    let put = all.deliveries.put(None, record.clone(), "me").await;
    assert_eq!(put.unwrap_err().code(), Some(CODE));
    let put = all.events.put_new(&event, "me", clock::now()).await;
    assert_eq!(put.as_ref().map(|put| *put == PutEvent::Stored).map_err(AwsError::code), Err(Some(CODE)));
    let put = all.health.put(&all.id, &Health::good(), Health::good(), "me", Vec::new()).await;
    assert_eq!(put.unwrap_err().code(), Some(CODE));
    assert_eq!(all.deliveries.get(&record.key).await.unwrap(), None);
}

/// Scheduler keeps a schedule for a while after it fired, and refuses another of its name: whoever has to deliver later than
/// he thought must not take that for a schedule that is still to fire.
#[scenario]
async fn a_postponed_delivery_has_another_schedule_and_the_same_due_time_the_same_one() {
    let all = Adapters::new().await;
    let config = all.on.behind_proxy().await;
    let protocol = Protocol {
        deliveries: all.deliveries.clone(),
        queue: Queue::new(aws_sdk_sqs::Client::new(&config), all.on.resource("DeliveriesQueue")),
        scheduler: scheduler::scheduler(all.on).await,
        operations: super::operations(all.on, &config),
        metrics: scheduler::metrics(),
    };
    let due = |seconds: i64| Timestamp::from_seconds(tomorrow() + seconds);
    let record = |at| Record {
        status: Status::Retrying,
        step: Step::FIRST,
        next: Some(Next { at, route: Route::Scheduler }),
        ..all.record()
    };
    let first = record(due(0));
    let later = |seconds| Record { next: Some(Next { at: due(seconds), route: Route::Scheduler }), ..first.clone() };
    for record in [first.clone(), first.clone(), later(1), later(1), later(60)] {
        protocol.ensure_next(&record).await.unwrap();
    }
    // A message that has to wait: the same rule.
    let waiting = DeliveryMessage::by_reference(first.key.clone(), Step::FIRST);
    for seconds in [0, 0, 1] {
        protocol.wait(waiting.clone(), due(seconds)).await.unwrap();
    }
    let delivery = first.key.to_string();
    let made = all.on.calls("CreateSchedule", &delivery);
    let names: Vec<_> = made.iter().map(|call| call.body["Name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    assert!(names[0] == names[1] && names[2] == names[3] && names[5] == names[6], "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 5, "{names:?}");
    assert!(all.on.calls("SendMessage", &delivery).is_empty(), "Scheduler has them all");
}
