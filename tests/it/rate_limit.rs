//! An endpoint's rate limit: kept over any minute, whoever sends, and paid for by nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_aws::protocol::outgoing;
use pombo_aws::queue::{LARGEST_BATCH, Queue};
use pombo_domain::body::PackedBody;
use pombo_domain::delivery::{DeliveryKey, NewDelivery};
use pombo_domain::hops::Hops;
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);

/// The reservations of an endpoint's slots.
fn reservations(hook: &Hook) -> Vec<Arc<Call>> {
    hook.stack.proxy.calls(|call| call.operation == "UpdateItem" && call.mentions(&hook.endpoint))
}

/// When requests came, since the first of them.
fn arrivals(hook: &Hook) -> Vec<Duration> {
    let received = hook.receiver.received();
    received.iter().map(|request| request.at.duration_since(received[0].at).unwrap()).collect()
}

/// How many invocations were at the endpoint's deliveries at the same time, by the claims that they made in turn.
fn dispatchers_at_once(hook: &Hook) -> usize {
    let claims = hook.stack.proxy.calls(|call| call.mentions(&hook.endpoint) && call.claims());
    let holder = |call: &Call| call.record().and_then(|record| record.claim).unwrap().holder;
    let invocations: Vec<_> = claims.iter().map(|call| holder(call).split_once('/').unwrap().0.to_owned()).collect();
    let at_work = |now: usize| {
        let before: BTreeSet<_> = invocations[..now].iter().collect();
        before.intersection(&invocations[now..].iter().collect()).count()
    };
    (0..invocations.len()).map(at_work).max().unwrap_or_default()
}

/// Queues the first messages of so many deliveries in no time, as ingest would if it were fast.
async fn flood(hook: &Hook, count: usize) {
    let client = aws_sdk_sqs::Client::new(&hook.stack.local.sdk_config().await);
    let queue = Queue::new(client, hook.stack.resource("DeliveriesQueue").to_owned());
    let message = |number: usize| {
        let (endpoint_id, event_id) = (hook.endpoint.parse().unwrap(), format!("n{number}").parse().unwrap());
        let key = DeliveryKey { endpoint_id, accepted_at: clock::now(), event_id };
        let expires_at = clock::now().as_seconds() + 86_400;
        let (tenant, event_type) = (hook.tenant.parse().unwrap(), "student.created".parse().unwrap());
        let new = NewDelivery { tenant, event_type, expires_at };
        let body = Some(PackedBody::pack(br#"{"type":"student.created","data":{"n":1}}"#));
        outgoing(&DeliveryMessage::first(key, EventPart { new, endpoint_version: Some(1), body, hops: Hops::NONE }), 0)
    };
    let messages: Vec<_> = (0..count).map(message).collect();
    for batch in messages.chunks(LARGEST_BATCH) {
        assert_eq!(queue.send_batch(batch).await.unwrap(), []);
    }
}

async fn patch(hook: &Hook, fields: serde_json::Value) {
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let (status, answer) = hook.stack.local.endpoints().patch(&path, &fields).await.unwrap();
    assert_eq!(status, 200, "{answer}");
}

#[scenario(drill)]
async fn over_any_minute_of_overload_an_endpoint_gets_its_rate_within_five_per_cent() {
    const EVENTS: usize = 900;
    let stack = Stack::own("limited", &[]).await;
    // Slow enough that several dispatchers are at it at any time.
    let answer = |_: &local::Received| Answer::status(200).after(Duration::from_secs(1));
    let hook = Hook::new(stack, json!({"rate_limit": 10}), answer).await;
    flood(&hook, EVENTS).await;
    // Five dispatchers at a time, which is all that the emulator has, need some seconds to see each message once. Until then
    // those whose turn has come wait behind the others, and the limit is not what holds them up.
    eventually("a slot for each", SOON, || async { (reservations(&hook).len() >= EVENTS).then_some(()) }).await;
    let before = arrivals(&hook).len();
    hook.receiver.wait_for(EVENTS, Duration::from_secs(120)).await.unwrap();

    let arrivals = arrivals(&hook);
    let in_a_minute =
        |start: Duration| arrivals.iter().filter(|arrival| (start..start + MINUTE).contains(*arrival)).count();
    let starts = |from: usize| arrivals[from..].iter().filter(|start| **start + MINUTE <= arrivals[EVENTS - 1]);
    let counts: Vec<_> = starts(before).map(|start| in_a_minute(*start)).collect();
    println!(
        "requests in a minute: {:?} to {:?} in {} windows, and never more than {:?}; {} reservations for {EVENTS} events by \
        up to {} dispatchers at once; {before} came in the first {:?}, all in {:?}",
        counts.iter().min(),
        counts.iter().max(),
        counts.len(),
        starts(0).map(|start| in_a_minute(*start)).max(),
        reservations(&hook).len(),
        dispatchers_at_once(&hook),
        arrivals[before],
        arrivals[EVENTS - 1],
    );
    assert!(counts.len() > 50, "the overload lasted too short a time to tell");
    assert!(counts.iter().all(|count| (570..=630).contains(count)), "{counts:?}");
    assert!(starts(0).all(|start| in_a_minute(*start) <= 630), "a burst at the beginning");
    let ids: BTreeSet<_> = hook.receiver.received().iter().map(|request| request.event_id().to_owned()).collect();
    assert_eq!((ids.len(), hook.receiver.count()), (EVENTS, EVENTS), "each once");
    assert!(dispatchers_at_once(&hook) >= 2, "{}", dispatchers_at_once(&hook));
    // One each, but for wrong guesses, and for those that a busy machine has late.
    assert!(reservations(&hook).len() < 3 * EVENTS / 2, "{}", reservations(&hook).len());
}

#[scenario]
async fn retries_take_slots_as_first_attempts_do() {
    let options = json!({"rate_limit": 1, "retry_policy": {"delays_seconds": [1]}});
    let hook =
        Hook::new(Stack::calm().await, options, |received| Answer::status(if received.times == 1 { 500 } else { 200 }))
            .await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(hook.post().await);
    }
    for event in &events {
        hook.until_status(event, "succeeded", SOON).await;
    }
    let arrivals = arrivals(&hook);
    assert_eq!((arrivals.len(), reservations(&hook).len() >= 6), (6, true));
    // A slot may be met up to two seconds late; six of them take five seconds all the same.
    assert!(arrivals[5] >= Duration::from_secs(3), "{arrivals:?}");
    assert!(!arrivals.windows(3).any(|three| three[2] - three[0] < Duration::from_millis(500)), "{arrivals:?}");
}

#[scenario]
async fn an_endpoint_without_a_limit_reserves_nothing() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    for _ in 0..3 {
        let event = hook.post().await;
        hook.until_status(&event, "succeeded", SOON).await;
    }
    assert_eq!((hook.receiver.count(), reservations(&hook).len()), (3, 0));
    patch(&hook, json!({"rate_limit": 50})).await;
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((hook.receiver.count(), reservations(&hook).len()), (4, 1), "an event after the change keeps to it");
}

#[scenario]
async fn a_delivery_whose_slot_cannot_be_reserved_comes_some_seconds_later() {
    let hook = Hook::new(Stack::calm().await, json!({"rate_limit": 50}), |_| Answer::status(200)).await;
    let endpoint = hook.endpoint.clone();
    // The SDK tries a call three times: the first reservation fails, and the second.
    hook.stack.proxy.spoil_times(6, move |call| {
        let reserves = call.operation == "UpdateItem" && call.mentions(&endpoint);
        reserves.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((delivery["attempts"].as_array().unwrap().len(), hook.receiver.count()), (1, 1), "{delivery}");
    assert_eq!(reservations(&hook).len(), 7);
}

#[scenario]
async fn a_long_wait_is_in_the_record_and_a_changed_limit_ends_it() {
    let hook = Hook::new(Stack::calm().await, json!({"rate_limit": 0.01}), |_| Answer::status(200)).await;
    let first = hook.post().await;
    hook.until_status(&first, "succeeded", SOON).await;
    let second = hook.post().await;
    let waiting = hook.until_status(&second, "retrying", SOON).await;
    assert_eq!((&waiting["attempt"], &waiting["attempts"]), (&json!(0), &json!([])), "no attempt is used");
    let time = |name: &str| waiting[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let waits = time("accepted_at").until(time("next_attempt_at"));
    assert!((80..=100).contains(&waits.as_secs()), "{waits:?}");

    patch(&hook, json!({"rate_limit": 100})).await;
    let third = hook.post().await;
    hook.until_status(&third, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 2, "what is new goes at once");
    // As its waiting message comes back; a process may remember the old limit for ten seconds.
    let slot = json!({"at": waiting["next_attempt_at"], "since": 1});
    let message = json!({"v": 1, "delivery": waiting["id"], "round": 0, "attempt": 1, "hops": 1, "slot": slot});
    for _ in 0..10 {
        hook.stack.send("DeliveriesQueue", &message.to_string()).await;
        if hook.receiver.wait_for(3, Duration::from_secs(3)).await.is_ok() {
            break;
        }
    }
    let delivery = hook.until_status(&second, "succeeded", SOON).await;
    assert_eq!((delivery["attempts"].as_array().unwrap().len(), hook.receiver.count()), (1, 3));
}
