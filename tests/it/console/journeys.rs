//! What an operator comes for, from the key to the result.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use local::{Answer, Receiver};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

use crate::console::axe::assert_accessible;
use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// A hook whose receiver fails until it is repaired.
async fn broken_hook() -> (Hook, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [1]}}), move |_| {
        match seen.load(Ordering::SeqCst) {
            true => Answer::status(204),
            false => Answer::status(500).with_body("the registrar's database is away"),
        }
    })
    .await;
    (hook, repaired)
}

#[scenario(chromium)]
async fn a_failed_delivery_is_found_understood_replayed_and_seen_to_succeed() {
    let browser = Browser::start().await;
    let (hook, repaired) = broken_hook().await;
    let event = hook.post().await;
    hook.until_status(&event, "failed", SOON).await;
    let operator = Operator::at(&browser, &format!("{}/", hook.stack.local.urls.replay)).await;
    operator.sign_in(&hook.stack.local.keys.ops).await;

    operator.go(&format!("/?tenant={}", hook.tenant)).await;
    operator.sees("Recent failures").await;
    operator.click("a", "student.created").await;
    operator.sees("Answered 500 Internal Server Error").await;
    operator.sees("the registrar's database is away").await;
    operator.sees("Its own log has the cause").await;
    operator.sees("{\n  \"n\": 1\n}").await;

    repaired.store(true, Ordering::SeqCst);
    operator.click("button", "Replay").await;
    operator.sees("1 delivery queued").await;
    operator.until("document.querySelector('#head .state').innerText === 'succeeded'").await;
    operator.sees("Round 1, a replay").await;
    operator.sees("Answered 204").await;
    assert_eq!(hook.until_status(&event, "succeeded", SOON).await["round"], 1);
    operator.assert_calm();
}

#[scenario(chromium)]
async fn an_endpoint_is_registered_and_tested() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let receiver = Receiver::start().unwrap();
    let operator = Operator::at(&browser, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.admin).await;
    operator.click("nav a", "Endpoints").await;
    operator.settled().await;
    operator.click("a", "Register an endpoint").await;

    operator.fill("URL", "ftp://example.com/").await;
    operator.click("button", "Register").await;
    operator
        .until("document.querySelector('[name=url][aria-invalid=true]')?.closest('.field').innerText.includes('http')")
        .await;

    let (tenant, name) = (unique("t"), unique("Registrar"));
    operator.fill("URL", &receiver.url("/hook")).await;
    operator.fill("Event types", "student.*, course.created").await;
    operator.fill("Name", &name).await;
    operator.fill("Tenant", &tenant).await;
    operator.fill("Headers", "x-api-key: the receiver asks for this").await;
    operator.click("button", "Register").await;
    operator.sees("The endpoint is registered").await;
    let secret = operator.tab.eval("finders.control('Signing secret').value").await;
    let secret = secret.as_str().unwrap();
    assert!(secret.starts_with("whsec_"), "{secret}");
    receiver.expect_secret("/hook", secret);
    operator.press("Escape").await;

    operator.sees(&name).await;
    operator.click("button", "Send a test").await;
    operator.sees("The ping succeeded: Answered 204").await;
    let received = receiver.received();
    assert_eq!((received.len(), received[0].header("x-api-key")), (1, "the receiver asks for this"));
    assert_eq!(received[0].signature, local::Signature::Verified);

    operator.click("button", "Pause").await;
    operator.click("dialog button", "Pause").await;
    operator.until("document.querySelector('#head .state').innerText === 'paused'").await;
    operator.click("button", "Resume").await;
    operator.tick("Leave them out").await;
    operator.click("dialog button", "Resume").await;
    operator.until("document.querySelector('#head .state').innerText === 'active'").await;

    operator.click("button", "Rotate").await;
    operator.click("dialog button", "Rotate").await;
    operator.sees("The new secret").await;
    let rotated = operator.tab.eval("finders.control('Signing secret').value").await;
    assert!(rotated.as_str().unwrap().starts_with("whsec_") && rotated != secret);
    operator.press("Escape").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn fifty_failed_deliveries_are_found_by_a_filter_and_replayed() {
    assert_found_and_replayed(50).await;
}

#[scenario(chromium, drill)]
async fn five_hundred_failed_deliveries_are_found_by_a_filter_and_replayed() {
    assert_found_and_replayed(500).await;
}

async fn assert_found_and_replayed(many: usize) {
    let browser = Browser::start().await;
    let (hook, repaired) = broken_hook().await;
    let posts = (0..many).map(|_| hook.post());
    futures::stream::iter(posts).buffer_unordered(16).collect::<Vec<_>>().await;
    // Each fails twice, and is on the list of failed ones then.
    let path = format!("/v1/health/{}", hook.endpoint);
    eventually("all have failed", Duration::from_secs(240), || async {
        let (_, health) = hook.stack.local.replay().get(&path).await.unwrap();
        (health["failed"]["count"] == many).then_some(())
    })
    .await;
    let received = hook.receiver.count();
    repaired.store(true, Ordering::SeqCst);

    let operator = Operator::at(&browser, &format!("{}/", hook.stack.local.urls.replay)).await;
    operator.sign_in(&hook.stack.local.keys.ops).await;
    operator.go(&format!("/deliveries?endpoint_id={}&status=failed&since=24h", hook.endpoint)).await;
    operator.sees("Answered 500").await;
    operator.click("a", "Replay all that match").await;
    operator.click("button", "Check what matches").await;
    operator.sees(&format!("{many} deliveries match")).await;
    operator.sees("costs less than a cent").await;
    assert_accessible(&operator, "dry run").await;
    operator.picture("replay-checked").await;
    assert_eq!(hook.receiver.count(), received, "a dry run sends nothing");

    operator.click("button", &format!("Replay {many} deliveries")).await;
    operator.until("document.querySelector('[role=progressbar]')").await;
    operator.picture("replay-running").await;
    operator.until("document.querySelector('#head .state').innerText === 'done'").await;
    let counts = "[...document.querySelectorAll('.tile')].map((tile) => tile.innerText.replace(/\\s+/g, ' ')).join()";
    assert_eq!(operator.tab.eval(counts).await, format!("Matched {many},Queued {many},Left alone 0"));
    operator.picture("replay-done").await;
    hook.receiver.wait_for(received + many, Duration::from_secs(120)).await.unwrap();
    operator.go(&format!("/deliveries?endpoint_id={}&status=failed", hook.endpoint)).await;
    operator.sees("Nothing matches").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn a_replay_is_cancelled_half_way() {
    let browser = Browser::start().await;
    let (hook, repaired) = broken_hook().await;
    let events = join_all((0..30).map(|_| hook.post())).await;
    for event in &events {
        hook.until_status(event, "failed", SOON).await;
    }
    repaired.store(true, Ordering::SeqCst);
    let operator = Operator::at(&browser, &format!("{}/", hook.stack.local.urls.replay)).await;
    operator.sign_in(&hook.stack.local.keys.ops).await;
    operator.go(&format!("/replays/new?endpoint_id={}&since=24h", hook.endpoint)).await;
    operator.fill("At most so many a second", "0.1").await;
    operator.click("button", "Check what matches").await;
    operator.click("button", "Replay 30 deliveries").await;
    operator.click("#head button", "Cancel").await;
    operator.click("dialog button", "Cancel the rest").await;
    operator.until("['cancelled', 'done'].includes(document.querySelector('#head .state').innerText)").await;
    operator.go("/replays").await;
    // An endpoint without a name goes by its host.
    let url: reqwest::Url = hook.receiver.url("/").parse().unwrap();
    operator.sees(&format!("Failed to {}:{}", url.host_str().unwrap(), url.port().unwrap())).await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn an_attempt_shows_where_it_went_and_what_the_receiver_said() {
    let browser = Browser::start().await;
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [600, 600]}}), |received| {
        match received.times {
            1 => Answer::status(301).with_header("location", "https://elsewhere.example/\u{202e}new"),
            _ => Answer::status(503).with_header("retry-after", "700").with_body("x".repeat(2000)),
        }
    })
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let (status, changed) = hook.stack.local.endpoints().patch(&path, &json!({"name": "Moved"})).await.unwrap();
    assert_eq!(status, 200, "{changed}");
    let operator = Operator::at(&browser, &format!("{}/", hook.stack.local.urls.replay)).await;
    operator.sign_in(&hook.stack.local.keys.ops).await;
    operator.go(&format!("/deliveries/{delivery}")).await;
    operator.sees("Answered 301 Moved Permanently").await;
    operator.sees(r"https://elsewhere.example/\u202enew").await;
    operator.sees("the endpoint has changed since").await;
    hook.stack.bring_due(&delivery.parse().unwrap(), 0, 2).await;
    operator.sees("Answered 503").await;
    operator.sees("Its start of 2,000 bytes").await;
    // The receiver asks for more than the policy's 600 seconds.
    operator.sees("(Retry-After), so the next attempt waited for that").await;
    hook.stack.bring_due(&delivery.parse().unwrap(), 0, 3).await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    let told: Vec<_> = failed["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["retry_after"]).collect();
    assert_eq!(told, [&json!(null), &json!(700), &json!(null)], "after the last one there is no next attempt");
    operator.assert_calm();
}
