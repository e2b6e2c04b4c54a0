//! First attempts go without a claim, but an event is still sent once, however often its messages are queued.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream;
use local::Answer;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

/// The window of the test stacks.
const WINDOW: Duration = Duration::from_secs(25);

/// How often each event came to each path of the receiver.
fn times(hook: &Hook) -> BTreeMap<(String, String), usize> {
    let mut times = BTreeMap::new();
    for received in hook.receiver.received() {
        *times.entry((received.path.clone(), received.event_id().to_owned())).or_default() += 1;
    }
    times
}

/// Waits until all messages that wait for the end of a window have been handled, for the events that were accepted before.
async fn until_window_has_passed(hook: &Hook) {
    tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
    let last = hook.stack.post(&json!({"type": "a", "tenant": hook.tenant, "data": {}})).await;
    eventually("the last event", SOON, || async {
        let event = hook.stack.event(&hook.tenant, last["id"].as_str().unwrap()).await;
        event["deliveries"].as_array().unwrap().iter().all(|delivery| delivery["status"] == "succeeded").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Whether the call sends a batch whose messages have no mark.
fn is_unmarked(call: &Call) -> bool {
    call.operation == "SendMessageBatch" && !call.mentions(r#"\"first\":true"#)
}

#[scenario(slow)]
async fn an_event_that_is_posted_again_and_again_reaches_each_receiver_once() {
    let hook =
        Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200).after(Duration::from_millis(500))).await;
    Hook::register(hook.stack, &hook.receiver, &hook.tenant, "/other", json!({})).await;
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "same", "data": {"n": 1}});
    let accepted = hook.stack.post(&event).await;
    let again = || join_all((0..10).map(|_| hook.stack.post(&event)));
    let mut answers = again().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    answers.extend(again().await);
    for answer in answers {
        let same = ["id", "accepted_at", "deliveries"].map(|name| answer[name] == accepted[name]);
        assert_eq!((same, &answer["duplicate"]), ([true; 3], &json!(true)), "{answer}");
    }
    until_window_has_passed(&hook).await;
    let times = times(&hook);
    assert_eq!(times.len(), 4, "{times:?}");
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    let of_event = |call: &Call| call.operation == "SendMessageBatch" && call.mentions(&hook.endpoint);
    let delays = hook.stack.proxy.calls(of_event);
    let delays: Vec<_> =
        delays.iter().map(|call| (is_unmarked(call), &call.body["Entries"][0]["DelaySeconds"])).collect();
    // The last call is about the other event.
    assert_eq!((delays.len(), delays[0]), (22, (false, &Value::Null)));
    let waits = |delay: &Value| delay.as_u64().is_some_and(|seconds| (20..=25).contains(&seconds));
    assert!(delays[1..11].iter().all(|(unmarked, delay)| *unmarked && waits(delay)), "{delays:?}");
    assert!(delays[11..21].iter().all(|(unmarked, delay)| *unmarked && delay.is_null()), "{delays:?}");
}

#[scenario(slow)]
async fn events_whose_batches_get_no_answer_reach_each_receiver_once() {
    const EVENTS: usize = 1000;
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    Hook::register(hook.stack, &hook.receiver, &hook.tenant, "/other", json!({})).await;
    let (endpoint, batches) = (hook.endpoint.clone(), AtomicUsize::new(0));
    hook.stack.proxy.spoil(move |call| {
        let is_batch = call.operation == "SendMessageBatch" && call.mentions(&endpoint);
        (is_batch && batches.fetch_add(1, Ordering::SeqCst) % 5 == 4).then_some(Fault::LoseAnswer)
    });
    let post = async |number: usize| {
        let event = json!({"type": "a", "tenant": hook.tenant, "id": format!("e{number}"), "data": {"n": number}});
        // The caller repeats a post that was not accepted.
        eventually("accepted", SOON, || async {
            let (status, answer) = hook.stack.local.ingest().post("/v1/events", &event).await.unwrap();
            assert!(status == 202 || status == 503, "{status} {answer}");
            (status == 202).then_some(())
        })
        .await;
    };
    stream::iter(0..EVENTS).map(post).buffer_unordered(32).for_each(async |()| {}).await;
    until_window_has_passed(&hook).await;
    let times = times(&hook);
    assert_eq!(times.len(), 2 * (EVENTS + 1), "an event did not come");
    assert_eq!(times.iter().filter(|(_, times)| **times != 1).collect::<Vec<_>>(), [], "events came more than once");
    let lost = hook.stack.proxy.calls(|call| call.spoilt && call.mentions(&hook.endpoint)).len();
    assert!(lost >= EVENTS / 5, "{lost}");
}
