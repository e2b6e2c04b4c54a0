//! A dispatch process that is frozen for an hour, with what it remembers.
//!
//! It runs within the test, by clocks of the test's own, so that its monotonic clock can stand still. Everything else is
//! real: the emulator, the endpoint, its changes over the endpoints URL, and the receiver.

use std::time::Duration;

use local::{Answer, Received, Signature};
use pombo_aws::endpoints::EndpointsTable;
use pombo_domain::delivery::Status;
use pombo_domain::health::Health;
use pombo_tests::{Hook, Stack, scenario, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::process::{Process, first, first_to};

const HOUR: Duration = Duration::from_secs(3600);

/// An attempt fails, the process is frozen for an hour, in which the endpoint changes, and then the retry lands in it.
/// Gives the delivery's status then, and the requests that came.
async fn retried(hook: &Hook, change: impl AsyncFnOnce()) -> (Status, Vec<Received>) {
    let process = Process::start(hook.stack).await;
    let message = first(hook, "e").await;
    process.take(message.to_json()).await;
    assert_eq!(process.record(&message.delivery).await.status, Status::Retrying);
    process.hands.freeze(HOUR);
    change().await;
    process.take(process.next().await.body).await;
    (process.record(&message.delivery).await.status, hook.receiver.received())
}

/// An endpoint whose first request fails.
async fn hook() -> Hook {
    let policy = json!({"retry_policy": {"delays_seconds": [1]}});
    let first_fails = |received: &Received| Answer::status(if received.path == "/hook" { 500 } else { 200 });
    Hook::new(Stack::calm().await, policy, first_fails).await
}

#[scenario]
async fn a_retry_in_a_process_that_was_frozen_sends_nothing_to_an_endpoint_that_was_deleted_or_paused() {
    for (change, expected) in [("delete", Status::Cancelled), ("pause", Status::Held)] {
        let hook = hook().await;
        let (status, received) = retried(&hook, async || hook.change(change).await).await;
        assert_eq!((status, received.len()), (expected, 1), "{change}: {received:?}");
    }
}

#[scenario]
async fn a_retry_in_a_process_that_was_frozen_goes_to_the_new_url_with_the_new_secret_and_header() {
    let hook = hook().await;
    let (status, received) = retried(&hook, async || {
        let (api, path) = (hook.stack.local.endpoints(), format!("/v1/endpoints/{}", hook.endpoint));
        let wanted = json!({"url": hook.receiver.url("/corrected"), "headers": {"x-api-key": "new"}});
        assert_eq!(api.patch(&path, &wanted).await.unwrap().0, 200);
        let (status, rotated): (u16, Value) =
            api.post(&format!("{path}/rotate-secret"), &json!({"grace_hours": 0})).await.unwrap();
        assert_eq!(status, 200, "{rotated}");
        let secret = rotated["secret"].as_str().unwrap();
        hook.stack.keep_secret(secret);
        hook.receiver.expect_secret("/corrected", secret);
    })
    .await;
    assert_eq!(status, Status::Succeeded, "{received:?}");
    let [_, second] = &received[..] else { panic!("{received:?}") };
    assert_eq!((second.path.as_str(), second.header("x-api-key")), ("/corrected", "new"));
    assert_eq!(second.signature, Signature::Verified);
}

#[scenario]
async fn a_success_in_a_process_that_was_frozen_clears_the_mark_that_another_has_set() {
    let policy = json!({"retry_policy": {"delays_seconds": [600]}});
    let bad_fails = |received: &Received| Answer::status(if received.event_id() == "bad" { 500 } else { 200 });
    let hook = Hook::new(Stack::calm().await, policy, bad_fails).await;
    let (frozen, other) = (Process::start(hook.stack).await, Process::start(hook.stack).await);
    let marked = async || {
        let id = hook.endpoint.parse().unwrap();
        let config = hook.stack.local.sdk_config().await;
        let table = hook.stack.resource("EndpointsTable").to_owned();
        let table = EndpointsTable::new(aws_sdk_dynamodb::Client::new(&config), table);
        let (_, health): (_, Health) = table.get_with_health(&id).await.unwrap().unwrap();
        health.is_troubled()
    };
    frozen.take(first(&hook, "good").await.to_json()).await;
    other.take(first(&hook, "bad").await.to_json()).await;
    assert!(marked().await);
    frozen.hands.freeze(HOUR);
    frozen.take(first(&hook, "good-too").await.to_json()).await;
    assert!(!marked().await, "there was a success after the failure");
    assert_eq!(hook.receiver.count(), 3);
}

/// A receiver that answers the first request on each connection and is silent after it, as if a gateway had forgotten the
/// connection; its URL.
async fn forgetful_receiver() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                // The body's last bytes are those of the event's `data` and of the event.
                while !request.ends_with(b"}}") {
                    let count = stream.read(&mut buffer).await.unwrap();
                    request.extend_from_slice(&buffer[..count]);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                while let Ok(1..) = stream.read(&mut buffer).await {}
            });
        }
    });
    url
}

#[scenario]
async fn a_process_that_was_frozen_sends_on_no_connection_from_before() {
    let (stack, tenant) = (Stack::calm().await, unique("t"));
    let wanted = json!({
        "tenant": tenant, "url": forgetful_receiver().await, "event_types": ["*"],
        "retry_policy": {"delays_seconds": [600]},
    });
    let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap();
    assert_eq!(status, 201, "{endpoint}");
    stack.keep_secret(endpoint["secret"].as_str().unwrap());
    let process = Process::start(stack).await;
    for id in ["before", "after"] {
        let message = first_to(stack, &tenant, endpoint["id"].as_str().unwrap(), id).await;
        process.take(message.to_json()).await;
        let record = process.record(&message.delivery).await;
        assert_eq!(record.status, Status::Succeeded, "{id}: {record:?}");
        process.hands.freeze(Duration::from_secs(10));
    }
}
