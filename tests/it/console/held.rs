//! A held delivery says what holds it, since when, and when that is looked at again.

use std::time::Duration;

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, scenario};
use serde_json::{Value, json};

use crate::console::axe::assert_accessible;
use crate::console::browser::Browser;
use crate::console::operator::Operator;

async fn failing_hook() -> Hook {
    let options = json!({"name": "Registrar", "retry_policy": {"delays_seconds": [600]}});
    Hook::new(Stack::calm().await, options, |_| Answer::status(500)).await
}

async fn signed_in(browser: &Browser, key: &str) -> Operator {
    let operator = Operator::at(browser, &format!("{}/", Stack::calm().await.local.urls.replay)).await;
    operator.sign_in(key).await;
    operator
}

/// A delivery as the API shows it, held by this.
async fn held_by(hook: &Hook, cause: &str, probe: Value) -> Value {
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let path = format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap());
    let (_, mut held) = hook.stack.local.replay().get(&path).await.unwrap();
    held["status"] = "held".into();
    held["next_attempt_at"] = Value::Null;
    held["held"] = json!({"cause": cause, "next_probe_at": probe});
    let open = json!({"state": "open", "since": "2026-01-31T09:30:00.050Z", "next_probe_at": probe});
    held["endpoint"]["circuit"] = if cause == "circuit" { open } else { json!({"state": "closed", "since": null}) };
    held
}

#[scenario(chromium)]
async fn what_an_open_circuit_holds_shows_the_next_probe_and_can_be_tried_now() {
    let browser = Browser::start().await;
    let hook = failing_hook().await;
    let probe = pombo_aws::clock::now().plus(Duration::from_secs(100));
    let held = held_by(&hook, "circuit", json!(probe)).await;
    let operator = signed_in(&browser, &hook.stack.local.keys.ops).await;
    let id = held["id"].as_str().unwrap();
    operator.stub(&format!("/v1/deliveries/{id}"), 200, &held.to_string()).await;
    operator.go(&format!("/deliveries/{id}")).await;
    operator.sees("Held: the endpoint’s circuit is open since").await;
    operator.sees("31 Jan 2026").await;
    operator.sees("Next probe in 1 min").await;
    operator.sees("Answered 500 Internal Server Error").await;
    assert_accessible(&operator, "held by a circuit").await;
    operator.picture("held-circuit").await;

    let list = json!({"deliveries": [held], "cursor": null}).to_string();
    operator.stub("/v1/deliveries", 200, &list).await;
    operator.go(&format!("/deliveries?tenant={}", hook.tenant)).await;
    operator.sees("circuit open, probe in 1 min").await;

    // What becomes of a replay is said as it is: one alone is the probe, others wait for it.
    for (counts, result, said) in [
        (json!({"queued": 1, "skipped": {}}), "probe", "Sent now, to probe the open circuit."),
        (
            json!({"queued": 0, "held": 1, "skipped": {}}),
            "held",
            "1 delivery held, since the circuit is open: next probe in 1 min",
        ),
        (json!({"queued": 1, "skipped": {}}), "queued", "1 delivery queued."),
    ] {
        let told =
            json!({"id": id, "result": result, "held": if result == "held" { &held["held"] } else { &Value::Null }});
        let answer = json!({"counts": counts, "deliveries": [told]}).to_string();
        operator.go("/keys").await;
        operator.stub("/v1/replays", 202, &answer).await;
        operator.go(&format!("/deliveries/{id}")).await;
        operator.click("button", "Try now").await;
        operator.sees(said).await;
    }
    operator.assert_calm();
}

#[scenario(chromium)]
async fn what_is_about_to_be_released_says_so() {
    let browser = Browser::start().await;
    let hook = failing_hook().await;
    let held = held_by(&hook, "releasing", Value::Null).await;
    let id = held["id"].as_str().unwrap();
    let operator = signed_in(&browser, &hook.stack.local.keys.ops).await;
    operator.stub(&format!("/v1/deliveries/{id}"), 200, &held.to_string()).await;
    operator.go(&format!("/deliveries/{id}")).await;
    operator.sees("Held, and about to be released.").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn what_a_pause_holds_names_the_pause() {
    let browser = Browser::start().await;
    let hook = failing_hook().await;
    let held = held_by(&hook, "paused", Value::Null).await;
    let id = held["id"].as_str().unwrap();
    hook.change("pause").await;
    let (_, endpoint) = hook.stack.local.endpoints().get(&format!("/v1/endpoints/{}", hook.endpoint)).await.unwrap();
    let mut held = held.clone();
    held["endpoint"]["status"] = "paused".into();
    held["endpoint"]["since"] = endpoint["pause"]["at"].clone();
    for (key, said) in
        [(&hook.stack.local.keys.ops, "which takes the scope endpoints"), (&hook.stack.local.keys.admin, "is resumed.")]
    {
        let operator = signed_in(&browser, key).await;
        operator.stub(&format!("/v1/deliveries/{id}"), 200, &held.to_string()).await;
        operator.go(&format!("/deliveries/{id}")).await;
        operator.sees("Held: its endpoint is paused since").await;
        operator.sees(said).await;
        assert_eq!(operator.tab.eval("document.body.innerText.includes('Try now')").await, false);
        operator.assert_calm();
    }
}
