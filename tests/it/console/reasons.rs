//! Why an event has no delivery, or not all that it might have: the cause, and what to do about it.

use std::time::Duration;

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, scenario, unique};
use serde_json::{Value, json};

use crate::console::axe::assert_accessible;
use crate::console::browser::Browser;
use crate::console::operator::Operator;

async fn post(stack: &Stack, tenant: &str, kind: &str) -> String {
    let event = json!({"type": kind, "tenant": tenant, "data": {}});
    stack.post(&event).await["id"].as_str().unwrap().to_owned()
}

async fn quiet_hook(options: Value) -> Hook {
    Hook::new(Stack::calm().await, options, |_| Answer::status(204)).await
}

async fn operator(browser: &Browser, key: &str) -> Operator {
    let operator = Operator::at(browser, &format!("{}/", Stack::calm().await.local.urls.replay)).await;
    operator.sign_in(key).await;
    operator
}

#[scenario(chromium)]
async fn an_event_without_deliveries_names_the_cause_and_the_remedy() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = operator(&browser, &stack.local.keys.ops).await;
    let event_page = async |tenant: &str, event: &str| operator.go(&format!("/events/{tenant}/{event}")).await;

    let nobody = unique("nobody");
    let event = post(stack, &nobody, "student.created").await;
    event_page(&nobody, &event).await;
    operator.sees(&format!("the tenant {nobody} has no endpoint")).await;

    let hook = quiet_hook(json!({"name": "Registrar", "event_types": ["course.*"]})).await;
    let event = post(stack, &hook.tenant, "student.created").await;
    event_page(&hook.tenant, &event).await;
    operator.sees(&format!("no endpoint of {} takes student.created", hook.tenant)).await;
    operator.sees("Change the event types").await;

    // Of a pattern, `course.*` takes what is below `course` and not `course` itself.
    hook.change("pause").await;
    let (below, itself) = (post(stack, &hook.tenant, "course.a.b").await, post(stack, &hook.tenant, "course").await);
    event_page(&hook.tenant, &below).await;
    operator.sees("It was paused, and still is, since").await;
    operator.sees("Resume it with “Send them too”").await;
    assert_accessible(&operator, "a paused endpoint's event").await;
    operator.picture("event-of-a-paused-endpoint").await;
    event_page(&hook.tenant, &itself).await;
    operator.sees(&format!("no endpoint of {} takes course", hook.tenant)).await;

    hook.change("resume").await;
    event_page(&hook.tenant, &below).await;
    operator.sees("It was changed later").await;
    operator.click("a", "Send it").await;
    operator.sees("events that the endpoint would get now, and never got").await;
    // What was accepted a moment ago is left out.
    let matches = "document.body.innerText.includes('1 delivery matches')";
    for _ in 0..20 {
        operator.click("button", "Check what matches").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if operator.tab.eval(matches).await == true {
            break;
        }
    }
    operator.sees("1 delivery matches").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn an_event_that_some_got_says_who_did_not_and_why() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let hook = quiet_hook(json!({"name": "First"})).await;
    let paused = Hook::register(stack, &hook.receiver, &hook.tenant, "/paused", json!({"name": "Resting"})).await;
    let pause = format!("/v1/endpoints/{paused}/pause");
    assert_eq!(stack.local.endpoints().post(&pause, &json!({})).await.unwrap().0, 200);
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    Hook::register(stack, &hook.receiver, &hook.tenant, "/late", json!({"name": "Late"})).await;
    Hook::register(stack, &hook.receiver, &hook.tenant, "/no", json!({"name": "Deaf", "event_types": ["x"]})).await;
    let operator = operator(&browser, &stack.local.keys.admin).await;
    operator.go(&format!("/events/{}/{event}", hook.tenant)).await;
    operator.sees("It was not sent to").await;
    for seen in ["Resting", "It was paused, and still is", "Late", "It was registered later"] {
        operator.sees(seen).await;
    }
    assert_eq!(operator.tab.eval("document.body.innerText.includes('Deaf')").await, false);
    operator.assert_calm();
}

#[scenario(chromium)]
async fn a_cause_that_cannot_be_read_is_not_guessed() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = operator(&browser, &stack.local.keys.ops).await;
    let tenant = unique("nobody");
    let event = post(stack, &tenant, "student.created").await;
    operator.stub("/v1/endpoints", 403, r#"{"status": 403, "detail": "The key lacks the scope admin."}"#).await;
    operator.go(&format!("/events/{tenant}/{event}")).await;
    operator.sees("Why cannot be told").await;
    operator.sees("lacks the scope admin").await;
    operator.assert_calm();
}
