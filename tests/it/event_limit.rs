//! The limit of events a second for each key: kept as exactly as is said, and no event that was accepted is lost for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use local::{Answer, Api};
use pombo_aws::event_limit::EventLimits;
use pombo_domain::event_limit::BLOCK_LIFETIME;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, scenario};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

const PER_SECOND: usize = 5;
const BURST: usize = 20;

/// A stack with a limit that a test can reach, whose functions have no more rights than their roles.
async fn stack() -> &'static Stack {
    static LIMITED: OnceCell<Stack> = OnceCell::const_new();
    let options = local::LocalOptions { enforce_iam: true, ..local::LocalOptions::default() };
    let (per_second, burst) = (PER_SECOND.to_string(), BURST.to_string());
    let limits = [("KeyEventsPerSecond", per_second.as_str()), ("KeyEventsBurst", burst.as_str())];
    LIMITED.get_or_init(|| Stack::start_with("events", &limits, options)).await
}

/// An ingest key of the hook's tenant, and its id.
async fn key(hook: &Hook) -> (Api, String) {
    let key = hook.stack.key(&["ingest"], Some(&hook.tenant)).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    (Stack::api(&hook.stack.local.urls.ingest, &key), id)
}

fn counts(id: &str) -> impl Fn(&Call) -> bool + Send + Sync + use<> {
    let key = EventLimits::key(id);
    move |call| call.operation == "UpdateItem" && call.body["Key"]["event_key"]["S"] == key
}

async fn post(api: &Api, id: Option<&str>) -> (u16, Value) {
    api.post("/v1/events", &json!({"type": "a", "id": id, "data": {}})).await.unwrap()
}

fn most(seconds: Duration) -> usize {
    BURST + (PER_SECOND as f64 * (seconds + BLOCK_LIFETIME).as_secs_f64()).ceil() as usize
}

#[scenario]
async fn a_key_posts_its_burst_and_its_rate_and_what_was_accepted_arrives() {
    let hook = Hook::new(stack().await, json!({}), |_| Answer::status(200)).await;
    let (api, id) = key(&hook).await;
    let begun = Instant::now();
    let mut accepted = Vec::new();
    let mut refused = 0;
    while refused < 20 || begun.elapsed() < Duration::from_secs(8) {
        for (status, answer) in join_all((0..10).map(|_| post(&api, None))).await {
            match status {
                202 => accepted.push(answer["id"].as_str().unwrap().to_owned()),
                429 => refused += 1,
                _ => panic!("{status} {answer}"),
            }
        }
        let taken = accepted.len();
        assert!(taken <= most(begun.elapsed()), "{taken} in {:?}", begun.elapsed());
    }
    println!("{} of {} in {:?}", accepted.len(), accepted.len() + refused, begun.elapsed());
    assert!(accepted.len() >= BURST, "{}", accepted.len());
    let (status, problem) = loop {
        let (status, answer) = post(&api, None).await;
        if status == 429 {
            break (status, answer);
        }
        accepted.push(answer["id"].as_str().unwrap().to_owned());
    };
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 429 && detail.contains("5 a second, and 20 at once") && detail.contains("KeyEventsPerSecond"));
    // What is refused costs no write for each: a process that was told that there is no room asks again when there may be.
    // Calls one after the other go to one process, or to a second one beside other tests.
    let writes = || hook.stack.proxy.calls(counts(&id)).len();
    let (before, flood) = (writes(), Instant::now());
    for _ in 0..150 {
        if let (202, answer) = post(&api, None).await {
            accepted.push(answer["id"].as_str().unwrap().to_owned());
        }
    }
    let (asked, may_ask) = (writes() - before, 2.0 * PER_SECOND as f64 * flood.elapsed().as_secs_f64());
    println!("{asked} writes for 150 posts in {:?}", flood.elapsed());
    assert!(asked <= may_ask.ceil() as usize + 10, "{asked} in {:?}", flood.elapsed());
    let (other, _) = key(&hook).await;
    assert_eq!(post(&other, None).await.0, 202, "each key has its own");
    hook.receiver.wait_for(accepted.len() + 1, SOON).await.unwrap();
    // The bucket fills again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(post(&api, None).await.0, 202);
}

#[scenario]
async fn repeats_count_and_a_refused_call_says_when_to_come_again() {
    let hook = Hook::new(stack().await, json!({}), |_| Answer::status(200)).await;
    let token = hook.stack.key(&["ingest"], Some(&hook.tenant)).await;
    let url = format!("{}/v1/events", hook.stack.local.urls.ingest);
    let client = reqwest::Client::new();
    let mut refused = None;
    for _ in 0..200 {
        let post = client.post(&url).bearer_auth(&token).body(r#"{"type":"a","id":"same","data":{}}"#);
        let answer = post.send().await.unwrap();
        if answer.status() == 429 {
            refused = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
            break;
        }
        assert_eq!(answer.status(), 202);
    }
    assert_eq!(refused.as_deref(), Some("1"));
    hook.receiver.wait_for(1, SOON).await.unwrap();
}

#[scenario]
async fn events_come_in_while_they_cannot_be_counted() {
    let hook = Hook::new(stack().await, json!({}), |_| Answer::status(200)).await;
    let (api, id) = key(&hook).await;
    let broken = Arc::new(AtomicBool::new(true));
    let (is_broken, is_count) = (Arc::clone(&broken), counts(&id));
    hook.stack.proxy.spoil(move |call| {
        let spoiled = is_broken.load(Ordering::SeqCst) && is_count(call);
        spoiled.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    for _ in 0..6 {
        for (status, answer) in join_all((0..10).map(|_| post(&api, None))).await {
            assert_eq!(status, 202, "{answer}");
        }
    }
    hook.receiver.wait_for(60, SOON).await.unwrap();
    // Once they can be, the limit holds again.
    broken.store(false, Ordering::SeqCst);
    tokio::time::sleep(BLOCK_LIFETIME).await;
    let mut refused = false;
    for _ in 0..10 {
        refused |= join_all((0..10).map(|_| post(&api, None))).await.iter().any(|(status, _)| *status == 429);
    }
    assert!(refused);
}

#[scenario]
async fn without_a_limit_nothing_is_counted() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (api, id) = key(&hook).await;
    for (status, answer) in join_all((0..30).map(|_| post(&api, None))).await {
        assert_eq!(status, 202, "{answer}");
    }
    assert_eq!(hook.stack.proxy.calls(counts(&id)).len(), 0);
}
