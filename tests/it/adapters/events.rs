//! The event: stored once under its id, and given back whole to whoever comes second.

use pombo_aws::clock;
use pombo_aws::events::{EventPosition, EventRow, EventWindow, EventsTable, Existing, PutEvent};
use pombo_domain::body::{Encoding, MAX_PACKED_BODY, PackedBody};
use pombo_domain::event::{EVENT_SHARDS, Event, FanOut};
use pombo_domain::hops::Hops;
use pombo_domain::ids::TenantId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

use super::{endpoint_id, tomorrow};

async fn table(on: &Backend) -> EventsTable {
    let name = on.resource("EventsTable");
    EventsTable::new(aws_sdk_dynamodb::Client::new(&on.direct().await), name)
}

async fn spoilt_table(on: &Backend) -> EventsTable {
    let name = on.resource("EventsTable");
    EventsTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), name)
}

/// An event of a tenant of its own.
pub(super) fn event() -> Event {
    Event {
        tenant: unique("t").parse().unwrap(),
        id: "evt_1".parse().unwrap(),
        event_type: "student.created".parse().unwrap(),
        accepted_at: clock::now(),
        body: PackedBody { encoding: Encoding::Deflate1, bytes: vec![0, 255, 1, 254] },
        fan_out: FanOut::new(vec![endpoint_id(), endpoint_id()]),
        fingerprint: "print".into(),
        expires_at: tomorrow(),
        hops: Hops::NONE,
        posted_by: None,
    }
}

/// The answer to a second post of an event whose messages were queued or may have been queued.
fn exists(event: Event) -> PutEvent {
    PutEvent::Exists(Box::new(Existing { event, refused: FanOut::default() }))
}

async fn every_field_survives_a_round_trip(on: &Backend) {
    let table = table(on).await;
    let empty = PackedBody { encoding: Encoding::Identity, bytes: Vec::new() };
    let sent_on = "4".parse().unwrap();
    for event in [event(), Event { body: empty, fan_out: FanOut::default(), hops: sent_on, ..event() }] {
        assert_eq!(table.get(&event.tenant, &event.id, clock::now()).await.unwrap(), None);
        assert_eq!(table.put_new(&event, "me", clock::now()).await.unwrap(), PutEvent::Stored);
        assert_eq!(table.get(&event.tenant, &event.id, clock::now()).await.unwrap(), Some(event));
    }
}

async fn the_heads_of_events_are_read_at_once_without_those_that_are_gone(on: &Backend) {
    let table = table(on).await;
    let tenant = unique("t").parse().unwrap();
    let numbered = |number| {
        let id = format!("e{number}").parse().unwrap();
        // One of them has expired.
        let expires_at = if number == 7 { clock::now().as_seconds() - 1 } else { tomorrow() };
        Event { tenant: TenantId::clone(&tenant), id, expires_at, ..event() }
    };
    let events: Vec<_> = (0..120).map(numbered).collect();
    for event in &events {
        assert_eq!(table.put_new(event, "me", clock::now()).await.unwrap(), PutEvent::Stored);
    }
    let mut ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    ids.push("nothing".parse().unwrap());
    let heads = table.heads(&tenant, &ids, clock::now()).await.unwrap();
    assert_eq!(heads.len(), 119);
    for event in events.iter().filter(|event| event.id.as_str() != "e7") {
        let head = &heads[&event.id];
        assert_eq!((&head.event_type, head.accepted_at), (&event.event_type, event.accepted_at));
        assert_eq!((&head.fan_out, head.new_delivery(&tenant)), (&event.fan_out, event.new_delivery()));
    }
}

async fn a_stored_event_is_on_its_tenant_s_list_by_time(on: &Backend) {
    use aws_sdk_dynamodb::types::AttributeValue::S;
    let event = event();
    table(on).await.put_new(&event, "me", clock::now()).await.unwrap();
    let client = aws_sdk_dynamodb::Client::new(&on.direct().await);
    let query = client.query().table_name(on.resource("EventsTable")).index_name("by_time");
    let query = query
        .key_condition_expression("ts = :shard AND pos = :key")
        .expression_attribute_values(":shard", S(event.tenant_shard()))
        .expression_attribute_values(":key", S(event.accepted_key()));
    let found = query.send().await.unwrap().items.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["event_key"], S(Event::key(&event.tenant, &event.id)));
}

async fn the_index_tells_of_an_event_all_that_a_list_shows(on: &Backend) {
    let (table, event) = (table(on).await, event());
    table.put_new(&event, "me", clock::now()).await.unwrap();
    let mut found = Vec::new();
    for shard in 0..EVENT_SHARDS {
        let window = EventWindow { since: None, until: None, after: None, limit: 10, oldest_first: false };
        found.extend(table.rows_by_time(&event.tenant, shard, &window).await.unwrap());
    }
    let expected = EventRow {
        position: EventPosition { accepted_at: event.accepted_at, id: event.id.clone() },
        event_type: event.event_type.clone(),
        deliveries: Some(2),
        expires_at: event.expires_at,
    };
    assert_eq!(found, [expected]);
}

async fn the_second_under_an_id_gets_the_first_whole_and_changes_nothing(on: &Backend) {
    let table = table(on).await;
    let first = event();
    table.put_new(&first, "first", clock::now()).await.unwrap();
    let second = Event { fingerprint: "another".into(), fan_out: FanOut::default(), ..first.clone() };
    let put = table.put_new(&second, "second", clock::now()).await.unwrap();
    assert_eq!(put, exists(first.clone()));
    assert_eq!(table.get(&first.tenant, &first.id, clock::now()).await.unwrap(), Some(first));
}

async fn a_repeat_learns_which_endpoints_were_refused_and_nothing_else_changes(on: &Backend) {
    let table = table(on).await;
    let (event, now) = (event(), clock::now());
    let refused = FanOut::new(event.fan_out.endpoints()[1..].to_vec());
    table.put_refused(&event, "first", &refused).await.unwrap();
    assert_eq!(table.get(&event.tenant, &event.id, now).await.unwrap(), None, "an event is not made by its list");
    table.put_new(&event, "first", now).await.unwrap();
    table.put_refused(&event, "another", &refused).await.unwrap();
    assert_eq!(
        table.put_new(&event, "repeat", now).await.unwrap(),
        exists(event.clone()),
        "the list of another request"
    );
    table.put_refused(&event, "first", &refused).await.unwrap();
    let known = Existing { event: event.clone(), refused };
    assert_eq!(table.put_new(&event, "repeat", now).await.unwrap(), PutEvent::Exists(Box::new(known)));
    assert_eq!(table.put_new(&event, "first", now).await.unwrap(), PutEvent::Stored, "its writer stays");
    assert_eq!(table.get(&event.tenant, &event.id, now).await.unwrap(), Some(event));
}

async fn one_id_is_another_event_for_another_tenant(on: &Backend) {
    let table = table(on).await;
    for event in [event(), event()] {
        assert_eq!(table.put_new(&event, "me", clock::now()).await.unwrap(), PutEvent::Stored);
    }
}

async fn an_expired_event_that_still_lies_there_counts_as_none(on: &Backend) {
    let table = table(on).await;
    let old = event();
    table.put_new(&old, "old", clock::now()).await.unwrap();
    let end = Timestamp::from_seconds(old.expires_at);
    let before = Timestamp::from_millis(end.as_millis() - 1);
    let new = Event { fingerprint: "new".into(), expires_at: old.expires_at + 60, ..old.clone() };
    assert_eq!(table.get(&old.tenant, &old.id, before).await.unwrap(), Some(old.clone()));
    assert_eq!(table.put_new(&new, "new", before).await.unwrap(), exists(old.clone()));
    assert_eq!(table.get(&old.tenant, &old.id, end).await.unwrap(), None);
    assert_eq!(table.put_new(&new, "new", end).await.unwrap(), PutEvent::Stored);
    assert_eq!(table.get(&old.tenant, &old.id, end).await.unwrap(), Some(new));
}

async fn what_does_not_fit_an_item_is_too_large_and_the_largest_body_fits(on: &Backend) {
    let table = table(on).await;
    let of_size = |bytes| PackedBody { encoding: Encoding::Identity, bytes: vec![7; bytes] };
    let large = Event { body: of_size(400 * 1024), ..event() };
    assert_eq!(table.put_new(&large, "me", clock::now()).await.unwrap(), PutEvent::TooLarge);
    assert_eq!(table.get(&large.tenant, &large.id, clock::now()).await.unwrap(), None);
    // Beside as many endpoints as a tenant's routes hold.
    let endpoints = (0..2000).map(|_| endpoint_id()).collect();
    let fits = Event { body: of_size(MAX_PACKED_BODY), fan_out: FanOut::new(endpoints), ..event() };
    assert_eq!(table.put_new(&fits, "me", clock::now()).await.unwrap(), PutEvent::Stored);
    assert_eq!(table.get(&fits.tenant, &fits.id, clock::now()).await.unwrap(), Some(fits));
}

async fn a_store_whose_answer_is_lost_is_no_duplicate(on: &Backend) {
    let table = spoilt_table(on).await;
    let event = event();
    on.spoil(1, "PutItem", event.tenant.as_str(), Fault::LoseAnswer);
    assert_eq!(table.put_new(&event, "me", clock::now()).await.unwrap(), PutEvent::Stored);
    assert_eq!(on.calls("PutItem", event.tenant.as_str()).len(), 2, "the SDK repeated the call");
    let put = table.put_new(&event, "another request", clock::now()).await.unwrap();
    assert_eq!(put, exists(event));
}

async fn a_refusal_for_another_reason_is_an_error(on: &Backend) {
    let table = spoilt_table(on).await;
    for code in ["ValidationException", "AccessDeniedException"] {
        let event = event();
        on.spoil(1, "PutItem", event.tenant.as_str(), Fault::Refuse(400, code));
        let error = table.put_new(&event, "me", clock::now()).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
    }
}

on_dynamodb! {
    every_field_survives_a_round_trip,
    the_heads_of_events_are_read_at_once_without_those_that_are_gone,
    a_stored_event_is_on_its_tenant_s_list_by_time,
    the_index_tells_of_an_event_all_that_a_list_shows,
    one_id_is_another_event_for_another_tenant,
    what_does_not_fit_an_item_is_too_large_and_the_largest_body_fits,
    a_refusal_for_another_reason_is_an_error,
    ; roto "gives no item with a condition that fails":
    a_store_whose_answer_is_lost_is_no_duplicate,
    an_expired_event_that_still_lies_there_counts_as_none,
    the_second_under_an_id_gets_the_first_whole_and_changes_nothing,
    a_repeat_learns_which_endpoints_were_refused_and_nothing_else_changes,
}
