//! Endpoints and tenants by name: whoever looks after deliveries knows where they go, and is offered what the key can do.

use local::{Answer, Receiver};
use pombo_tests::{Hook, SOON, Stack, scenario, unique};
use serde_json::{Value, json};

use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// Answers 404, as a stack does that cannot list tenants.
const NO_TENANTS: &str = r#"{"status": 404, "detail": "GET /v1/tenants is not served."}"#;

async fn signed_in(browser: &Browser, key: &str) -> Operator {
    let operator = Operator::at(browser, &format!("{}/", Stack::calm().await.local.urls.replay)).await;
    operator.sign_in(key).await;
    operator
}

/// The calls that the page has made, without their origin.
async fn calls(operator: &Operator) -> Vec<String> {
    let names = "performance.getEntriesByType('resource').map((call) => call.name.replace(/^.*?(?=[/]v1[/])/, ''))";
    let names = operator.tab.eval(names).await;
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

async fn shows(operator: &Operator, text: &str) -> Value {
    operator.tab.eval(&format!("document.body.innerText.includes({})", json!(text))).await
}

#[scenario(chromium)]
async fn an_operator_sees_names_and_urls_and_no_action_that_the_key_cannot_do() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let receiver = Receiver::start_with(|_| Answer::status(500)).unwrap();
    let tenant = unique("t");
    let options = json!({"name": "Registrar", "headers": {"x-api-key": "k"}, "retry_policy": {"delays_seconds": [1]}});
    let endpoint = Hook::register(stack, &receiver, &tenant, "/hook?token=hidden", options).await;
    let hook = Hook { stack, receiver, tenant, endpoint };
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "failed", SOON).await["id"].as_str().unwrap().to_owned();
    let address = hook.receiver.url("/hook");

    let operator = signed_in(&browser, &stack.local.keys.ops).await;
    let (tenant, endpoint) = (&hook.tenant, &hook.endpoint);
    for path in [
        format!("/?tenant={tenant}"),
        format!("/deliveries?tenant={tenant}"),
        format!("/deliveries/{delivery}"),
        format!("/events/{tenant}/{event}"),
        format!("/endpoints?tenant={tenant}"),
        format!("/endpoints/{endpoint}"),
    ] {
        operator.go(&path).await;
        operator.sees("Registrar").await;
        operator.sees(&address).await;
        assert_eq!(shows(&operator, "hidden").await, false, "{path} shows the query");
    }
    operator.sees("student.created").await;
    operator.sees("Health").await;
    for action in ["Register an endpoint", "Send a test", "Pause", "Change", "Show the secret", "Rotate", "Delete"] {
        let offered = format!("Boolean(finders.thing('button, a', {}))", json!(action));
        assert_eq!(operator.tab.eval(&offered).await, false, "{action}");
    }
    assert_eq!(shows(&operator, "API keys").await, false);
    operator.click("a", "Replay …").await;
    operator.sees("See first, then send").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn no_view_asks_for_an_endpoint_that_it_does_not_know() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(204)).await;
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    let operator = signed_in(&browser, &stack.local.keys.admin).await;
    let tenant = &hook.tenant;
    for path in ["/", "/deliveries", "/events", "/endpoints", "/replays", "/keys", "/dead-letters"] {
        for query in ["", &format!("?tenant={tenant}")] {
            operator.go(&format!("{path}{query}")).await;
        }
    }
    let calls = calls(&operator).await;
    assert!(calls.iter().any(|call| call.starts_with("/v1/events?")), "{calls:?}");
    assert!(calls.iter().any(|call| call.starts_with("/v1/endpoints?")), "{calls:?}");
    let wrong: Vec<_> = calls.iter().filter(|call| ["undefined", "null"].iter().any(|no| call.contains(no))).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    operator.assert_calm();
}

#[scenario(chromium)]
async fn a_tenant_is_picked_from_those_that_there_are_or_named() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"name": "Registrar"}), |_| Answer::status(204)).await;
    let operator = signed_in(&browser, &stack.local.keys.admin).await;
    operator.go("/endpoints").await;
    operator.choose("Tenant", &hook.tenant).await;
    operator.until(&format!("location.hash === '#/endpoints?tenant={}'", hook.tenant)).await;
    operator.sees("Registrar").await;
    let options = "[...finders.control('Tenant').options].map((one) => one.text)";
    let listed = operator.tab.eval(options).await;
    let listed: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let [all, tenants @ .., another] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((*all, *another), ("All", "Another …"));
    assert!(tenants.contains(&&*hook.tenant) && tenants.is_sorted(), "{listed:?}");
    operator.choose("Tenant", "All").await;
    operator.until("location.hash === '#/endpoints'").await;

    // Events are always one tenant's.
    operator.go("/events").await;
    operator.until(&format!("{options}[0] === 'default' && {options}.includes('{}')", hook.tenant)).await;
    operator.choose("Tenant", "Another …").await;
    operator.fill("Tenant", "not-listed").await;
    operator.press("Enter").await;
    operator.until("location.hash === '#/events?tenant=not-listed'").await;
    operator.until(&format!("{options}.includes('not-listed')")).await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn where_tenants_cannot_be_listed_one_is_typed_and_the_page_says_whose_endpoints_it_shows() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"name": "Registrar"}), |_| Answer::status(204)).await;
    let operator = signed_in(&browser, &stack.local.keys.admin).await;
    operator.stub("/v1/tenants", 404, NO_TENANTS).await;
    operator.stub("/v1/endpoints", 200, r#"{"endpoints": [], "cursor": null}"#).await;
    operator.tab.eval("Object.assign(directory, { at: 0, absent: false }); 0").await;
    operator.go("/endpoints").await;
    operator.sees("does not list them: type one").await;
    operator.sees("The tenant “default” has no endpoint").await;
    operator.tab.eval("stubs.delete('/v1/endpoints'); 0").await;
    operator.fill("Tenant", &hook.tenant).await;
    operator.press("Enter").await;
    operator.sees("Registrar").await;
    operator.assert_calm();
}
