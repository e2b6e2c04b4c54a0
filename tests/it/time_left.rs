//! An invocation that has too little time left for an attempt does not begin it.

use std::time::Duration;

use local::Answer;
use pombo_tests::{Fault, Hook, Stack, scenario};
use serde_json::json;

const SOON: Duration = Duration::from_secs(12);

/// Of 12 seconds, 3 are kept for the answer and 5 for the record, so 4 are left for an attempt of up to 3: until the first
/// look at the endpoint takes 2 of them.
#[scenario]
async fn an_attempt_for_which_time_is_short_is_sent_on_as_a_new_message() {
    let stack = Stack::own("time", &[("DispatchTimeoutSeconds", "12")]).await;
    let hook = Hook::new(stack, json!({"timeout_seconds": 3}), |_| Answer::status(200)).await;
    let (table, endpoint) = (stack.resource("EndpointsTable").to_owned(), hook.endpoint.clone());
    stack.proxy.spoil_times(1, move |call| {
        let is_look = call.table() == table && call.operation.contains("GetItem") && call.mentions(&endpoint);
        is_look.then_some(Fault::Delay(Duration::from_secs(4)))
    });
    let event = hook.post().await;
    // Sooner than the first message would come again by itself.
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.received().len(), 1);
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "{delivery}");
    assert_eq!(delivery["attempts"][0]["redelivered"], json!(false), "{delivery}");
    let sent = stack.proxy.calls(|call| call.operation.starts_with("SendMessage") && call.mentions(&hook.endpoint));
    assert_eq!(sent.len(), 2, "the first, and the one in its place: {sent:?}");
}
