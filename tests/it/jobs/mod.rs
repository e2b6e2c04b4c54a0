//! Replays by filter: what they find, send and count, and what an endpoint gets that it missed.

mod matching;
mod missed;

use std::collections::BTreeMap;
use std::time::Duration;

use local::Received;
use pombo_tests::{SOON, Stack, eventually};
use serde_json::{Value, json};

/// The answer to an order, with its status.
async fn answer(stack: &Stack, order: Value) -> (u16, Value) {
    stack.local.replay().post("/v1/replays", &order).await.unwrap()
}

/// Orders a replay; gives its id.
async fn order(stack: &Stack, wanted: Value) -> String {
    let (status, replay) = answer(stack, wanted).await;
    assert_eq!((status, &replay["status"]), (202, &json!("running")), "{replay}");
    replay["id"].as_str().unwrap().to_owned()
}

async fn replay(stack: &Stack, id: &str) -> Value {
    let (status, replay) = stack.local.replay().get(&format!("/v1/replays/{id}")).await.unwrap();
    assert_eq!(status, 200, "{replay}");
    replay
}

/// Waits until a replay has ended, and its counts add up; gives it.
async fn until_ended(stack: &Stack, id: &str) -> Value {
    let replay = eventually("the replay's end", SOON, || async {
        let replay = replay(stack, id).await;
        (replay["status"] != "running").then_some(replay)
    })
    .await;
    let counts = &replay["counts"];
    let skipped: u64 = counts["skipped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let held = counts["held"].as_u64().unwrap_or_default();
    assert_eq!(counts["matched"].as_u64().unwrap(), counts["queued"].as_u64().unwrap() + held + skipped, "{replay}");
    replay
}

/// How often each event came.
fn times(received: &[Received]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for received in received {
        *times.entry(received.event_id().to_owned()).or_default() += 1;
    }
    times
}

/// Events accepted a moment ago are left out of a replay: the tests wait for that moment.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1200)).await;
}
