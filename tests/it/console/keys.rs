//! API keys in the console: made with several scopes, and revoked with what they made.

use pombo_tests::{Stack, scenario, unique};
use serde_json::json;

use crate::console::browser::Browser;
use crate::console::operator::Operator;

#[scenario(chromium)]
async fn a_key_is_made_for_who_operates_and_manages_endpoints() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let (tenant, name) = (unique("t"), unique("portal"));
    let operator = Operator::at(&browser, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.admin).await;
    operator.go("/keys").await;
    operator.click("button", "Make a key").await;
    operator.fill("Name", &name).await;
    operator.tick("ops and endpoints").await;
    operator.tab.eval(&format!("document.querySelector('dialog [name=tenant]').value = {}", json!(tenant))).await;
    operator.click("button", "Make the key").await;
    operator.sees("Copy the key now").await;
    operator.click("button", "Close").await;
    operator.go(&format!("/keys?tenant={tenant}")).await;
    operator.sees("ops, endpoints").await;
    operator.sees("made by").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn a_leaked_key_is_revoked_with_the_keys_that_it_made() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let leaked = stack.key(&["admin"], Some(&tenant)).await;
    let api = Stack::api(&stack.local.urls.endpoints, &leaked);
    let (status, made) = api.post("/v1/keys", &json!({"name": "left behind", "scopes": ["admin"]})).await.unwrap();
    assert_eq!(status, 201, "{made}");
    let made = Stack::api(&stack.local.urls.endpoints, made["key"].as_str().unwrap());

    let operator = Operator::at(&browser, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.admin).await;
    operator.go(&format!("/keys?tenant={tenant}")).await;
    operator.click("button", "Revoke test").await;
    operator.tick("Also revoke the keys that it made").await;
    operator.click("dialog button", "Revoke").await;
    operator.until("[...document.querySelectorAll('tbody tr')].filter((row) => row.innerText.includes('revoked')).length === 2").await;
    assert_eq!(api.get("/v1/keys").await.unwrap().0, 401);
    assert_eq!(made.get("/v1/keys").await.unwrap().0, 401);
    operator.assert_calm();
}
