//! Who gets in, what a key does not open, and where the key goes: nowhere.

use pombo_tests::{Stack, scenario};
use serde_json::json;

use crate::console::browser::Browser;
use crate::console::operator::Operator;

#[scenario(chromium)]
async fn a_key_opens_what_its_scopes_say_and_the_page_says_what_it_does_not() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = Operator::at(&browser, &format!("{}/", stack.local.urls.replay)).await;
    for (key, says) in [
        ("", "This key is not valid"),
        ("pk_x", "This key is not valid"),
        (&format!("{}x", &stack.local.keys.ops[..stack.local.keys.ops.len() - 1]), "This key is not valid"),
        (&stack.local.keys.ingest, "lacks the scope ops"),
        (&stack.key(&["endpoints"], None).await, "lacks the scope ops"),
    ] {
        operator.fill("API key", key).await;
        operator.press("Enter").await;
        operator.until(&format!("document.querySelector('[role=alert]').innerText.includes({})", json!(says))).await;
        operator.fill("API key", "").await;
    }

    operator.sign_in(&stack.local.keys.ops).await;
    operator.sees("Signed in, ops").await;
    operator.go("/keys").await;
    operator.sees("This key does not open this").await;
    operator.sees("lacks the scope admin").await;
    operator.sees("sign in with a key that has it").await;
    operator.go("/endpoints/ep_aaaaaaaaaaaaaaaa").await;
    operator.sees("Not found").await;
    operator.go("/endpoints/new").await;
    operator.sees("To register endpoints takes the scope endpoints").await;

    operator.click("button", "Sign out").await;
    operator.sign_in(&stack.key(&["ops", "endpoints"], None).await).await;
    operator.sees("Signed in, ops, endpoints").await;
    operator.go("/endpoints/new").await;
    operator.until("Boolean(finders.control('URL'))").await;

    let bound = stack.key(&["ops"], Some("somebody")).await;
    operator.click("button", "Sign out").await;
    operator.sign_in(&bound).await;
    operator.go("/deliveries?tenant=somebody-else").await;
    operator.sees("This API key is bound to the tenant somebody").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn the_key_stays_in_the_tab_until_its_owner_signs_out() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let url = format!("{}/", stack.local.urls.replay);
    let operator = Operator::at(&browser, &url).await;
    let key = stack.key(&["admin"], None).await;
    operator.sign_in(&key).await;
    for path in ["/deliveries", "/endpoints", "/keys", "/replays/new"] {
        operator.go(path).await;
    }
    let secret = json!(key.rsplit('_').next().unwrap());
    let seen = |what: &str| format!("{what}.includes({secret})");
    for what in
        ["location.href", "JSON.stringify(localStorage)", "document.cookie", "document.documentElement.outerHTML"]
    {
        assert_eq!(operator.tab.eval(&seen(what)).await, false, "{what}");
    }
    let called = "JSON.stringify(performance.getEntriesByType('resource').map((call) => call.name))";
    assert_eq!(operator.tab.eval(&seen(called)).await, false);

    // A reload finds it, a new tab does not; nor does this one, once its owner has signed out.
    operator.tab.call("Page.reload", json!({})).await;
    operator.until("globalThis.finders && document.querySelector('#shell')?.hidden === false").await;
    let other = Operator::at(&browser, &url).await;
    other.sees("API key").await;
    operator.click("button", "Sign out").await;
    operator.sees("API key").await;
    assert_eq!(operator.tab.eval(&seen("JSON.stringify(sessionStorage)")).await, false);
    operator.tab.call("Page.reload", json!({})).await;
    operator.until("globalThis.finders && document.querySelector('#door')?.hidden === false").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn the_page_works_under_the_emulators_other_names_too() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let (origin, id) = stack.local.urls.replay.split_once("/_aws/lambda-url/").unwrap();
    let port = origin.rsplit(':').next().unwrap();
    for url in [stack.local.urls.replay.clone(), format!("http://{id}.lambda-url.us-east-1.localhost:{port}/")] {
        let operator = Operator::at(&browser, &url).await;
        operator.sign_in(&stack.local.keys.admin).await;
        operator.sees("Signed in, admin").await;
        operator.go("/keys").await;
        operator.sees("(yours)").await;
        operator.assert_calm();
    }
}

#[scenario(chromium)]
async fn the_page_says_what_it_may_do_and_is_framed_by_nobody() {
    let stack = Stack::calm().await;
    let answer = reqwest::get(format!("{}/", stack.local.urls.replay)).await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((answer.status().as_u16(), header("content-type")), (200, "text/html; charset=utf-8".to_owned()));
    assert_eq!(
        ["x-content-type-options", "referrer-policy", "x-frame-options", "cache-control"].map(header),
        ["nosniff", "no-referrer", "DENY", "no-cache"]
    );
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "frame-ancestors 'none'",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}
