//! Endpoints in trouble: their circuit, what is held behind it, the probes, and the pause at the end of patience.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use futures::StreamExt;
use local::Answer;
use pombo_domain::health::{Health, HealthRules};
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

use crate::rows;

const PROBES: Duration = Duration::from_secs(2);

/// A stack whose circuits open after 3 failures over 4 seconds.
async fn stack(name: &str) -> &'static Stack {
    let quick = [("CircuitFailures", "3"), ("CircuitSeconds", "4"), ("ProbeSeconds", "2"), ("SettleSeconds", "4")];
    Stack::own(name, &quick).await
}

/// An endpoint that answers with the status that is set.
pub async fn switched(stack: &'static Stack, options: Value) -> (Hook, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(500));
    let answers = Arc::clone(&status);
    let hook = Hook::new(stack, options, move |_| Answer::status(answers.load(Ordering::SeqCst))).await;
    (hook, status)
}

fn is_opening(endpoint: &str) -> impl Fn(&Call) -> bool + Send + Sync + use<> {
    let key = format!("{endpoint}#health");
    move |call| call.operation == "TransactWriteItems" && call.mentions(&key) && call.mentions("drain")
}

/// Whether the call closes the endpoint's circuit.
pub fn is_closing(endpoint: &str) -> impl Fn(&Call) -> bool + Send + Sync + use<> {
    let key = format!("{endpoint}#health");
    move |call| call.attribute("endpoint_id") == key && call.body["Item"]["closed_at"].is_object()
}

/// Posts events until the circuit is open; gives how many.
pub async fn break_it(hook: &Hook) -> usize {
    let opening = is_opening(&hook.endpoint);
    for posted in 1..60 {
        hook.post().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !hook.stack.proxy.calls(|call| opening(call)).is_empty() {
            return posted;
        }
    }
    panic!("the circuit stays closed");
}

pub async fn endpoint(hook: &Hook) -> Value {
    hook.stack.local.endpoints().get(&format!("/v1/endpoints/{}", hook.endpoint)).await.unwrap().1
}

/// Every delivery to the endpoint.
async fn deliveries(hook: &Hook) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/deliveries?endpoint_id={}&limit=100{cursor}", hook.endpoint);
        let (status, page) = hook.stack.local.replay().get(&path).await.unwrap();
        assert_eq!(status, 200, "{page}");
        all.extend(page["deliveries"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

async fn until_all(hook: &Hook, status: &str, count: usize, at_most: Duration) -> Vec<Value> {
    eventually(&format!("{count} {status}"), at_most, || async {
        let all = deliveries(hook).await;
        (all.len() == count && all.iter().all(|delivery| delivery["status"] == status)).then_some(all)
    })
    .await
}

/// The acceptance in full: a thousand events wait behind an open circuit.
#[scenario(multi_thread, drill)]
async fn a_thousand_deliveries_wait_without_timers_and_arrive_when_the_endpoint_is_back() {
    const WAITING: usize = 1000;
    const PER_SECOND: usize = 50;
    let stack = stack("outage").await;
    let options = json!({"retry_policy": {"delays_seconds": [1, 1, 1, 1]}, "rate_limit": PER_SECOND});
    let (hook, answer) = switched(stack, options).await;
    let first = break_it(&hook).await;
    let opened = SystemTime::now();

    let api = Arc::new(stack.local.ingest());
    futures::stream::iter(0..WAITING)
        .for_each_concurrent(8, |number| {
            let (api, tenant) = (Arc::clone(&api), hook.tenant.clone());
            async move {
                let event = json!({"type": "a", "tenant": tenant, "id": format!("n{number}"), "data": {"n": number}});
                let (status, answer) = api.post("/v1/events", &event).await.unwrap();
                assert_eq!(status, 202, "{answer}");
            }
        })
        .await;
    let held = until_all(&hook, "held", WAITING + first, 2 * SOON).await;
    assert!(held.iter().all(|delivery| delivery["next_attempt_at"].is_null()), "no timers of their own");
    // Whatever was under way when the circuit opened has long ended. From then on there are probes, and nothing else.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let quiet_since = opened + Duration::from_secs(10);
    let probes = |until| {
        let received = hook.receiver.received();
        received.iter().filter(|received| received.at > quiet_since && received.at < until).count() as u64
    };
    let now = SystemTime::now();
    let most = now.duration_since(quiet_since).unwrap().as_secs() / PROBES.as_secs() + 1;
    assert!((1..=most).contains(&probes(now)), "{} probes, {most} at most", probes(now));

    let repaired = SystemTime::now();
    answer.store(200, Ordering::SeqCst);
    let all = until_all(&hook, "succeeded", WAITING + first, 2 * SOON).await;
    let of_the_waiting = all.iter().filter(|delivery| delivery["event_id"].as_str().unwrap().starts_with('n'));
    for delivery in of_the_waiting {
        assert_eq!((&delivery["round"], &delivery["attempt"]), (&json!(0), &json!(1)), "its attempts were unused");
    }
    let mut came: Vec<_> = hook.receiver.received().into_iter().filter(|received| received.at > repaired).collect();
    came.sort_by_key(|received| received.at);
    // Oldest first: a delivery comes at most so many places from where it stood, by queue delays of whole seconds.
    let accepted: HashMap<_, _> =
        all.iter().map(|delivery| (delivery["event_id"].as_str().unwrap(), &delivery["accepted_at"])).collect();
    let mut order: Vec<_> = came.iter().map(|received| accepted[received.event_id()].as_str().unwrap()).collect();
    order.dedup();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    let place = |time: &str| sorted.partition_point(|other| *other < time);
    let strayed = order.iter().enumerate().map(|(at, time)| at.abs_diff(place(time))).max().unwrap();
    assert!(strayed <= 4 * PER_SECOND, "one strayed {strayed} places");
    // Within its rate, in any ten seconds.
    let most = came.iter().enumerate().map(|(first, received)| {
        let end = received.at + Duration::from_secs(10);
        came[first..].iter().take_while(|other| other.at < end).count()
    });
    let most = most.max().unwrap();
    assert!(most <= PER_SECOND * 12, "{most} requests in ten seconds");
    let times: usize =
        came.iter().filter(|received| received.times > 1 && received.event_id().starts_with('n')).count();
    println!("{} requests in all, {times} of them repeats of a probed delivery", hook.receiver.count());
}

#[scenario]
async fn what_is_held_arrives_though_the_process_that_closed_the_circuit_died_at_once() {
    let stack = stack("closing").await;
    let (hook, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [1, 1, 60]}})).await;
    break_it(&hook).await;
    let events: Vec<_> = futures::future::join_all((0..5).map(|_| hook.post())).await;
    for event in &events {
        hook.until_status(event, "held", SOON).await;
    }
    let closing = is_closing(&hook.endpoint);
    stack.proxy.spoil_times(1, move |call| closing(call).then_some(Fault::KillAfter));
    answer.store(200, Ordering::SeqCst);
    // No new event comes, and those that opened the circuit wait for a minute.
    for event in &events {
        hook.until_status(event, "succeeded", SOON).await;
    }
}

#[scenario(slow)]
async fn what_is_held_arrives_though_the_process_that_opened_the_circuit_died_at_once() {
    let stack = stack("opening").await;
    let (hook, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [1, 1, 1, 1]}})).await;
    let opening = is_opening(&hook.endpoint);
    stack.proxy.spoil_times(1, move |call| opening(call).then_some(Fault::KillAfter));
    break_it(&hook).await;
    let opening = is_opening(&hook.endpoint);
    let event = hook.post().await;
    hook.until_status(&event, "held", SOON).await;
    answer.store(200, Ordering::SeqCst);
    // The drain's first message was never sent. Its job is stalled after five minutes; the test moves the time.
    let calls = stack.proxy.calls(&opening);
    rows::stall_drain(stack, &calls[0]).await;
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    hook.until_status(&event, "succeeded", SOON).await;
}

#[scenario]
async fn a_probe_takes_none_of_a_deliverys_attempts_and_says_what_it_is() {
    let stack = stack("probed").await;
    // Those that open the circuit wait for their retries, so that few are held and take turns.
    let (hook, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [600]}})).await;
    break_it(&hook).await;
    let event = hook.post().await;
    let probed = |delivery: &Value| {
        let attempts = delivery["attempts"].as_array().unwrap();
        attempts.iter().filter(|attempt| attempt["trigger"] == "probe").count() >= 2
    };
    let held = hook.until(&event, "probed twice", SOON, probed).await;
    assert_eq!((&held["status"], &held["attempt"]), (&json!("held"), &json!(0)));
    answer.store(204, Ordering::SeqCst);
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(delivery["attempt"], 1);
}

#[scenario(slow)]
async fn an_endpoint_that_fails_every_other_request_keeps_its_circuit_closed() {
    let stack = stack("flapping").await;
    let fails = AtomicBool::new(false);
    let hook = Hook::new(stack, json!({"retry_policy": {"delays_seconds": vec![1; 15]}}), move |_| {
        Answer::status(if fails.fetch_xor(true, Ordering::SeqCst) { 500 } else { 200 })
    })
    .await;
    // Three times as long as the circuit needs, and ten times as many.
    let end = SystemTime::now() + Duration::from_secs(12);
    let mut events = Vec::new();
    while SystemTime::now() < end || events.len() < 30 {
        events.push(hook.post().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for event in &events {
        hook.until_status(event, "succeeded", SOON).await;
    }
    assert!(hook.receiver.count() - events.len() >= 29, "half of the requests fail");
    assert!(stack.proxy.calls(is_opening(&hook.endpoint)).is_empty());
}

#[scenario]
async fn a_test_passes_an_open_circuit_and_its_success_closes_it() {
    let stack = stack("tested").await;
    let (hook, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [1, 1, 60]}})).await;
    break_it(&hook).await;
    answer.store(200, Ordering::SeqCst);
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    let (status, ping) = stack.local.endpoints().post(&path, &json!({})).await.unwrap();
    assert_eq!(status, 202, "{ping}");
    hook.until_status(ping["event_id"].as_str().unwrap(), "succeeded", SOON).await;
    let closing = is_closing(&hook.endpoint);
    eventually("closed", SOON, || async { (!stack.proxy.calls(&closing).is_empty()).then_some(()) }).await;
}

#[scenario]
async fn gone_twice_pauses_the_endpoint_and_a_resume_sends_what_was_held() {
    let stack = stack("gone").await;
    let (hook, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [3, 60]}})).await;
    answer.store(410, Ordering::SeqCst);
    hook.post().await;
    hook.post().await;
    let paused = eventually("paused", SOON, || async {
        let endpoint = endpoint(&hook).await;
        (endpoint["status"] == "paused").then_some(endpoint)
    })
    .await;
    assert_eq!(paused["pause"]["reason"], "gone", "{paused}");
    let all = until_all(&hook, "held", 2, SOON).await;
    answer.store(200, Ordering::SeqCst);
    hook.change("resume").await;
    assert_eq!(endpoint(&hook).await["pause"], Value::Null);
    for delivery in all {
        hook.until_status(delivery["event_id"].as_str().unwrap(), "succeeded", SOON).await;
    }
}

/// Writes a health record as a process would have left it that saw failures on each of the four days before.
async fn failing_for_four_days(hook: &Hook) {
    let today = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let since = pombo_domain::time::Timestamp::from_seconds(today - 4 * 86_400);
    let health = Health {
        failing_since: Some(since),
        failures: 1,
        last_day: today / 86_400 - 1,
        days: HealthRules::DEFAULT.pauses_after_days - 1,
        rev: 7,
        expires_at: 4_000_000_000,
        ..Health::good()
    };
    let mut item: HashMap<String, AttributeValue> = serde_dynamo::to_item(health).unwrap();
    item.insert("endpoint_id".into(), AttributeValue::S(format!("{}#health", hook.endpoint)));
    let client = aws_sdk_dynamodb::Client::new(&hook.stack.local.sdk_config().await);
    let table = hook.stack.resource("EndpointsTable");
    client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

#[scenario]
async fn failures_on_five_days_running_pause_the_endpoint_unless_a_delivery_refutes_it() {
    let stack = stack("days").await;
    let (failing, _) = switched(stack, json!({"retry_policy": {"delays_seconds": [60]}})).await;
    failing_for_four_days(&failing).await;
    failing.post().await;
    let paused = eventually("paused", SOON, || async {
        let endpoint = endpoint(&failing).await;
        (endpoint["status"] == "paused").then_some(endpoint)
    })
    .await;
    assert_eq!(paused["pause"]["reason"], "failing", "{paused}");

    let (working, answer) = switched(stack, json!({"retry_policy": {"delays_seconds": [60]}})).await;
    answer.store(200, Ordering::SeqCst);
    let event = working.post().await;
    working.until_status(&event, "succeeded", SOON).await;
    failing_for_four_days(&working).await;
    answer.store(500, Ordering::SeqCst);
    working.post().await;
    let closing = is_closing(&working.endpoint);
    eventually("refuted", SOON, || async { (!stack.proxy.calls(&closing).is_empty()).then_some(()) }).await;
    assert_eq!(endpoint(&working).await["status"], "active");
}
