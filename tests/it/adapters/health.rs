//! Health, and the requests of receivers: written in the place of the revision that was seen.

use aws_sdk_dynamodb::Client;
use pombo_aws::admission::Admitted;
use pombo_aws::clock;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::{HealthTable, PutHealth};
use pombo_aws::missed::MissedRequests;
use pombo_domain::body::PackedBody;
use pombo_domain::event::{Event, FanOut};
use pombo_domain::health::Health;
use pombo_domain::hops::Hops;
use pombo_domain::missed::{MOST_REQUESTS, NotAdmitted};
use pombo_tests::{Backend, Fault, unique};

use super::{FAR, endpoint_id, tomorrow};

async fn table(on: &Backend) -> HealthTable {
    HealthTable::new(Client::new(&on.direct().await), on.resource("EndpointsTable"))
}

fn failing(failures: u32) -> Health {
    Health { failures, expires_at: tomorrow(), ..Health::good() }
}

fn stored(put: PutHealth) -> Health {
    match put {
        PutHealth::Stored(health) => *health,
        PutHealth::Conflict => panic!("another was faster"),
    }
}

async fn of_two_that_saw_the_same_health_one_is_written(on: &Backend) {
    let (table, id) = (table(on).await, endpoint_id());
    let first = stored(table.put(&id, &Health::good(), failing(1), "first", Vec::new()).await.unwrap());
    let late = table.put(&id, &Health::good(), failing(7), "late", Vec::new()).await.unwrap();
    assert_eq!(late, PutHealth::Conflict, "there was none when it looked");
    let second = stored(table.put(&id, &first, failing(2), "second", Vec::new()).await.unwrap());
    assert_eq!((second.rev, second.failures), (2, 2));
    assert_eq!(table.put(&id, &first, failing(7), "late", Vec::new()).await.unwrap(), PutHealth::Conflict);
    assert_eq!(stored(table.put(&id, &second, failing(3), "third", Vec::new()).await.unwrap()).failures, 3);
}

async fn a_write_whose_answer_is_lost_is_a_write(on: &Backend) {
    let name = on.resource("EndpointsTable");
    let (table, id) = (HealthTable::new(Client::new(&on.behind_proxy().await), name), endpoint_id());
    let mut seen = Health::good();
    for failures in [1, 2] {
        on.spoil(1, "PutItem", id.as_str(), Fault::LoseAnswer);
        seen = stored(table.put(&id, &seen, failing(failures), &unique("me"), Vec::new()).await.unwrap());
        assert_eq!((seen.rev, seen.failures), (failures.into(), failures));
        assert_eq!(on.calls("PutItem", id.as_str()).len(), 2 * failures as usize, "the SDK repeated the call");
    }
}

async fn a_health_and_what_goes_with_it_are_written_together_or_not_at_all(on: &Backend) {
    let client = Client::new(&on.direct().await);
    let table = HealthTable::new(client.clone(), on.resource("EndpointsTable"));
    let events = EventsTable::new(client.clone(), on.resource("EventsTable"));
    let endpoints = EndpointsTable::new(client, on.resource("EndpointsTable"));
    let id = endpoint_id();
    let event = || Event {
        tenant: unique("t").parse().unwrap(),
        id: "e".parse().unwrap(),
        event_type: "pombo.circuit.opened".parse().unwrap(),
        accepted_at: clock::now(),
        body: PackedBody::pack(b"{}"),
        fan_out: FanOut::new(vec![id.clone()]),
        fingerprint: "print".into(),
        expires_at: tomorrow(),
        hops: Hops::NONE,
        posted_by: None,
    };
    for (seen, failures, is_written) in [(0, 1, true), (0, 2, false), (1, 3, true), (1, 4, false)] {
        let (seen, event) = (Health { rev: seen, ..Health::good() }, event());
        let also = vec![events.unqueued(&event, FAR).unwrap()];
        let put = table.put(&id, &seen, failing(failures), &unique("w"), also).await.unwrap();
        assert_eq!(put != PutHealth::Conflict, is_written, "{failures}");
        let told = events.get(&event.tenant, &event.id, clock::now()).await.unwrap();
        assert_eq!(told.is_some(), is_written, "{failures}");
    }
    assert_eq!(endpoints.get_with_health(&id).await.unwrap(), None, "health alone is no endpoint");
}

async fn requests_at_one_time_are_all_counted_and_a_copy_is_not_taken(on: &Backend) {
    let config = on.direct().await;
    let processes: Vec<_> =
        (0..MOST_REQUESTS).map(|_| MissedRequests::new(Client::new(&config), on.resource("EndpointsTable"))).collect();
    let (id, now) = (endpoint_id(), clock::now());
    let admit = |process: usize, request: &str| {
        let (table, id, request) = (&processes[process], &id, request.parse().unwrap());
        async move { table.admit(id, &request, &unique("w"), now).await.unwrap() }
    };
    let copies = futures::future::join_all([0, 1].map(|process| admit(process, "first"))).await;
    assert_eq!(copies.iter().filter(|admitted| **admitted == Admitted::Yes).count(), 1, "{copies:?}");
    assert!(copies.contains(&Admitted::No(NotAdmitted::Repeated)), "{copies:?}");
    let others = (1..MOST_REQUESTS).map(|process| {
        let request = format!("e{process}");
        async move { admit(process, &request).await }
    });
    assert!(futures::future::join_all(others).await.iter().all(|admitted| *admitted == Admitted::Yes));
    assert!(matches!(admit(0, "one-too-many").await, Admitted::No(NotAdmitted::TooMany { .. })));
}

on_dynamodb! {
    of_two_that_saw_the_same_health_one_is_written,
    a_health_and_what_goes_with_it_are_written_together_or_not_at_all,
    ; roto "gives no item with a condition that fails":
    a_write_whose_answer_is_lost_is_a_write,
    requests_at_one_time_are_all_counted_and_a_copy_is_not_taken,
}
