//! What events that succeed at once write to the logs: nothing.

use std::time::Duration;

use futures::StreamExt;
use local::Answer;
use pombo_tests::{Hook, SOON, Stack, Template, eventually, scenario};
use serde_json::{Value, json};

const EVENTS: usize = 1000;

/// The functions that an event goes through.
const FUNCTIONS: [&str; 2] = ["Ingest", "Dispatch"];

/// Number of bytes that each of these functions has written to its log.
async fn bytes(stack: &Stack) -> [usize; 2] {
    let [ingest, dispatch] = FUNCTIONS.map(|function| stack.lines_of(function));
    let (ingest, dispatch) = futures::join!(ingest, dispatch);
    [ingest, dispatch].map(|lines| lines.iter().map(|line| line.len() + 1).sum())
}

/// The only line of a function.
async fn only_line(stack: &Stack, function: &str) -> Option<Value> {
    let lines = stack.lines_of(function).await;
    assert!(lines.len() <= 1, "{lines:#?}");
    Some(serde_json::from_str(lines.first()?).unwrap())
}

#[scenario(multi_thread, slow)]
async fn a_thousand_events_that_succeed_at_once_write_no_byte_to_the_logs_at_the_default_level() {
    let template = Template::with(&[]).await;
    let default = template.json["Parameters"]["LogLevel"]["Default"].as_str().unwrap().to_owned();
    let stack = Stack::own("silent", &[("LogLevel", &default)]).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let posts = futures::stream::iter(0..EVENTS).map(|number| {
        let event = json!({"type": "student.created", "tenant": hook.tenant, "id": format!("n{number}"), "data": {"n": number}});
        async move { stack.post(&event).await }
    });
    let answers: Vec<_> = posts.buffer_unordered(24).collect().await;
    assert!(answers.iter().all(|answer| answer["deliveries"] == 1));
    hook.receiver.wait_for(EVENTS, Duration::from_secs(300)).await.unwrap();
    eventually("all outcomes", SOON, || async {
        let succeeded = stack.proxy.calls(|call| call.attribute("status") == "succeeded").len();
        (succeeded >= EVENTS).then_some(())
    })
    .await;
    assert_eq!(hook.receiver.count(), EVENTS, "each at its first attempt");
    assert_eq!(bytes(stack).await, [0, 0], "{FUNCTIONS:?}");

    // The logs are looked at in the right place: what does not succeed is there.
    let failing = Hook::new(stack, json!({}), |_| Answer::status(500)).await;
    let failed = failing.post().await;
    let (status, _) = stack.local.ingest().post("/v1/events", &json!({"type": 7})).await.unwrap();
    assert_eq!(status, 400);
    let refused = eventually("the refused request", SOON, || only_line(stack, "Ingest")).await;
    assert_eq!((&refused["message"], &refused["status"]), (&json!("Request answered."), &json!(400)), "{refused}");
    let attempt = eventually("the failed attempt", SOON, || only_line(stack, "Dispatch")).await;
    assert_eq!((&attempt["message"], &attempt["event"]), (&json!("Attempt made."), &json!(failed)), "{attempt}");
}
