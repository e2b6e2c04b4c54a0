//! Apps, receivers and whoever sends a link may write what they like: it is seen as they wrote it, and nothing of it runs.

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// Whichever way a text might become markup, one of these would show it.
const MARKUP: &str = r#"</script></style></textarea></title><script>globalThis.broken=1;alert(1)</script><img src=x onerror="globalThis.broken=1"><svg onload="globalThis.broken=1"><broken-in>{{7*7}}${7*7}"'`&lt;&#106;"#;

/// Fails if anything of the markup has become part of the page.
async fn assert_unharmed(operator: &Operator, where_: &str) {
    let harm = "[globalThis.broken, ...document.querySelectorAll('broken-in, img, iframe, object, embed, script ~ script, svg[onload], [onerror]')].filter(Boolean).length";
    assert_eq!(operator.tab.eval(harm).await, 0, "{where_}");
    assert_eq!(operator.tab.eval("document.querySelectorAll('script').length").await, 1, "{where_}");
    let schemes = "[...document.querySelectorAll('a[href]')].filter((link) => !['http:', 'https:'].includes(link.protocol)).length";
    assert_eq!(operator.tab.eval(schemes).await, 0, "{where_}");
    operator.assert_calm();
}

#[scenario(chromium)]
async fn markup_from_apps_receivers_and_links_is_shown_as_text() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let short = &MARKUP[..96];
    let options = json!({"name": short, "retry_policy": {"delays_seconds": [1]}, "headers": {"x-key": "<b>k</b>"}});
    let hook = Hook::new(stack, options, |_| Answer::status(500).with_body(MARKUP)).await;
    let data =
        json!({"text": MARKUP, MARKUP: "javascript:globalThis.broken=1", "url": "javascript:globalThis.broken=1"});
    let event = json!({"type": "student.created", "tenant": hook.tenant, "data": data});
    let event = stack.post(&event).await["id"].as_str().unwrap().to_owned();
    let failed = hook.until_status(&event, "failed", SOON).await["id"].as_str().unwrap().to_owned();
    let key = json!({"name": short, "scopes": ["ingest"], "tenant": hook.tenant});
    assert_eq!(stack.local.endpoints().post("/v1/keys", &key).await.unwrap().0, 201);
    let nonsense = unique("nonsense");
    stack.send("DeliveriesQueue", &format!("{nonsense} {MARKUP}")).await;

    let operator = Operator::at(&browser, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.admin).await;
    let (tenant, endpoint) = (&hook.tenant, &hook.endpoint);
    for (path, seen) in [
        (format!("/?tenant={tenant}"), short),
        (format!("/deliveries?tenant={tenant}"), short),
        (format!("/deliveries/{failed}"), MARKUP),
        (format!("/events?tenant={tenant}"), "student.created"),
        (format!("/events/{tenant}/{event}"), "javascript:globalThis.broken=1"),
        (format!("/endpoints?tenant={tenant}"), short),
        (format!("/endpoints/{endpoint}"), short),
        (format!("/replays/new?endpoint_id={endpoint}"), "See first"),
        (format!("/keys?tenant={tenant}"), short),
    ] {
        operator.go(&path).await;
        operator.sees(seen).await;
        assert_unharmed(&operator, &path).await;
    }
    operator.click("button", "Revoke").await;
    operator.sees("refused within a minute").await;
    assert_unharmed(&operator, "the question").await;

    let hostile = "%3Cimg%20src%3Dx%20onerror%3D%22globalThis.broken%3D1%22%3E%3Cbroken-in%3E";
    for path in [
        format!("/deliveries?endpoint_id={hostile}&tenant={hostile}&status={hostile}&since={hostile}&type={hostile}"),
        format!("/deliveries/{hostile}"),
        format!("/events/{hostile}/{hostile}"),
        format!("/endpoints/{hostile}"),
        format!("/endpoints/new?tenant={hostile}"),
        format!("/replays/{hostile}"),
        format!("/replays/new?endpoint_id={hostile}&include={hostile}"),
        format!("/{hostile}"),
        "/deliveries/%".to_owned(),
        "//evil.example/".to_owned(),
        "javascript:globalThis.broken=1".to_owned(),
    ] {
        operator.go(&path).await;
        assert_unharmed(&operator, &path).await;
    }

    // A dead letter is whatever somebody put into a queue. Whoever looks at the list hides it from others for a moment.
    let shown = format!("document.body.textContent.includes({})", json!(nonsense));
    eventually("the dead letter", SOON, || async {
        operator.go("/").await;
        operator.go("/dead-letters").await;
        operator.tab.eval(&shown).await.as_bool().filter(|is_shown| *is_shown)
    })
    .await;
    assert_unharmed(&operator, "dead letters").await;
}
