//! Data, answers and names are seen as they were written: no byte of them is lost, moved or hidden.

use std::time::{Duration, Instant};

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// Reads and writes of a JSON library change each of these lines.
const TRICKY: &str = r#"{
  "10": 1.0,
  "2": 1e400,
  "twice": 1,
  "twice": 123456789012345678901234567890,
  "escaped\u00e9\/": "caf\u00e9 é \ud800 \"\\",
  "empty": [
    [],
    {},
    ""
  ],
  "minus": -0.0
}"#;

/// What a reader could not see, or what would change the order in which the rest is seen.
const HIDDEN: &str = "a\u{202e}live\u{2066}b\u{200b}c\u{7f}d\u{feff}e\u{e0041}f";
const SEEN: &str = r"a\u202elive\u2066b\u200bc\u007fd\ufeffe\u{e0041}f";

/// The text of what is shown of a JSON document.
const SHOWN: &str = "document.querySelector('.json')?.innerText";

/// Hidden characters that have become part of the page: in its texts, its title, or what is read aloud.
const LEFT: &str = r"(() => {
  const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u, found = [document.title];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, (node) =>
    (node.parentElement.closest('script') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT));
  while (texts.nextNode()) found.push(texts.currentNode.data.replace(/[\n\t]/g, ''));
  for (const one of document.querySelectorAll('[title], [aria-label]')) found.push(one.title, one.ariaLabel ?? '');
  return found.filter((text) => hidden.test(text));
})()";

/// Posts an event whose data is this text; gives its id.
async fn post_text(stack: &Stack, tenant: &str, data: &str) -> String {
    let body = format!(r#"{{"type": "student.created", "tenant": "{tenant}", "data": {data}}}"#);
    let request = reqwest::Client::new().post(format!("{}/v1/events", stack.local.urls.ingest));
    let request = request.bearer_auth(&stack.local.keys.ingest).header("content-type", "application/json").body(body);
    let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn signed_in(browser: &Browser, stack: &Stack) -> Operator {
    let operator = Operator::at(browser, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.ops).await;
    operator
}

#[scenario(chromium)]
async fn data_is_shown_token_by_token_as_the_app_wrote_it() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(204)).await;
    // As an app writes it, on one line.
    let event = post_text(stack, &hook.tenant, &TRICKY.replace("\n", "").replace("  ", "")).await;
    // Its data cannot be read as JSON by the library that tests use, so it is looked for in a list, which holds no data.
    let delivery = eventually("succeeded", SOON, || async {
        let (_, page) =
            stack.local.replay().get(&format!("/v1/deliveries?endpoint_id={}", hook.endpoint)).await.unwrap();
        let newest = &page["deliveries"][0];
        (newest["status"] == "succeeded").then(|| newest["id"].as_str().unwrap().to_owned())
    })
    .await;
    let operator = signed_in(&browser, stack).await;
    for path in [format!("/events/{}/{event}", hook.tenant), format!("/deliveries/{delivery}")] {
        operator.go(&path).await;
        operator.until(SHOWN).await;
        assert_eq!(operator.tab.eval(SHOWN).await, TRICKY, "{path}");
    }
    // What is copied is what was sent.
    let copied = "new Promise((done) => { navigator.clipboard.writeText = async (text) => done(text); \
                  finders.thing('button', 'Copy').click(); })";
    assert_eq!(operator.tab.eval(copied).await, TRICKY.replace("\n", "").replace("  ", ""));
    operator.assert_calm();
}

/// The answer of `GET /v1/events/e` with this data.
fn answer_with(data: &str) -> String {
    format!(
        r#"{{"id":"e","tenant":"t","type":"a.b","accepted_at":"2026-01-31T09:30:00.050Z","data":{data},"deliveries":[]}}"#
    )
}

#[scenario(chromium)]
async fn deep_and_large_data_is_folded_and_shown_at_once() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = signed_in(&browser, stack).await;
    let deep = format!("{}1{}", r#"{"a":["#.repeat(2500), "]}".repeat(2500));
    let wide = format!("[{}0]", r#"{"n":1.10,"text":"x"},"#.repeat(150_000));
    let long = format!(r#"["{}"]"#, r"\u00e9".repeat(500_000));
    let bare = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, data) in [("deep", &deep), ("wide", &wide), ("long", &long), ("bare", &bare)] {
        operator.go("/keys").await;
        operator.stub("/v1/events/e", 200, &answer_with(data)).await;
        let started = Instant::now();
        operator.go("/events/t/e").await;
        operator.until(SHOWN).await;
        assert!(started.elapsed() < Duration::from_secs(6), "{name} took {:?}", started.elapsed());
        let elements = operator.tab.eval("document.querySelectorAll('.json *').length").await;
        assert!(elements.as_u64().unwrap() < 4000, "{name} has {elements} elements");
        let before = operator.tab.eval("document.querySelector('.json').textContent.length").await;
        operator.tab.eval("document.querySelector('.json button.fold').click()").await;
        operator.until(&format!("document.querySelector('.json').textContent.length > {before}")).await;
    }
    operator.assert_calm();
}

#[scenario(chromium)]
async fn all_of_a_folded_document_is_there_when_it_is_unfolded() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = signed_in(&browser, stack).await;
    let rows: Vec<_> =
        (0..250).map(|n| format!(r#"{{"n":{n},"deep":{}{n}{}}}"#, "[".repeat(30), "]".repeat(30))).collect();
    let data = format!("[{},\"{}\"]", rows.join(","), "𝒳".repeat(3000));
    operator.stub("/v1/events/e", 200, &answer_with(&data)).await;
    operator.go("/events/t/e").await;
    operator.until(SHOWN).await;
    let unfold = "(async () => { for (let fold, i = 0; (fold = document.querySelector('.json button.fold')) && i < 2000; i += 1) \
                  { fold.click(); await null; } for (const level of document.querySelectorAll('.level')) level.remove(); \
                  return document.querySelector('.json').textContent.replace(/ /g, ''); })()";
    assert_eq!(operator.tab.eval(unfold).await, data);
    operator.assert_calm();
}

#[scenario(chromium)]
async fn hidden_characters_are_seen_as_escapes_wherever_a_text_is_shown() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let options = json!({"name": "Registrar", "retry_policy": {"delays_seconds": [1]}});
    let answer = format!("first line\r\n\tsecond {HIDDEN}\u{1b}[31m");
    let hook = Hook::new(stack, options, move |_| Answer::status(500).with_body(answer.as_str())).await;
    let event = post_text(stack, &hook.tenant, &json!({ HIDDEN: HIDDEN }).to_string()).await;
    let delivery = hook.until_status(&event, "failed", SOON).await["id"].as_str().unwrap().to_owned();
    let operator = signed_in(&browser, stack).await;

    // A name and a URL as they could be stored: the API's own rules are not what protects the reader.
    let (_, mut endpoint) = stack.local.endpoints().get(&format!("/v1/endpoints/{}", hook.endpoint)).await.unwrap();
    endpoint["name"] = HIDDEN.into();
    endpoint["url"] = format!("https://receiver.example/{HIDDEN}").into();
    operator.stub(&format!("/v1/endpoints/{}", hook.endpoint), 200, &endpoint.to_string()).await;
    operator.stub("/v1/endpoints", 200, &json!({"endpoints": [endpoint], "cursor": null}).to_string()).await;
    let tenant = &hook.tenant;
    for path in [
        format!("/?tenant={tenant}"),
        format!("/deliveries?tenant={tenant}"),
        format!("/deliveries/{delivery}"),
        format!("/events/{tenant}/{event}"),
        format!("/endpoints?tenant={tenant}"),
        format!("/endpoints/{}", hook.endpoint),
    ] {
        operator.go(&path).await;
        operator.sees(SEEN).await;
        assert_eq!(operator.tab.eval(LEFT).await, json!([]), "{path}");
    }
    operator.go(&format!("/deliveries/{delivery}")).await;
    operator.sees(&format!("first line\n\tsecond {SEEN}\\u001b[31m")).await;
    // An escape is told from a text that merely looks like one.
    let escapes = "[...document.querySelectorAll('.json .esc')].map((one) => one.innerText).join('')";
    assert_eq!(operator.tab.eval(escapes).await, r"\u202e\u2066\u200b\u007f\ufeff\u{e0041}".repeat(2));
    operator.assert_calm();
}

#[scenario(chromium)]
async fn what_is_written_from_right_to_left_moves_nothing_around_it() {
    let browser = Browser::start().await;
    let stack = Stack::calm().await;
    let operator = signed_in(&browser, stack).await;
    operator.stub("/v1/events/e", 200, &answer_with(r#"{"שם":"ערך","מספר":[1,2]}"#)).await;
    operator.go("/events/t/e").await;
    operator.until(SHOWN).await;
    let lefts = "[...document.querySelectorAll('.json .line')].slice(1, 4).map((line) => \
                 [...line.querySelectorAll('bdi')].map((token) => Math.round(token.getBoundingClientRect().left)))";
    let lefts = operator.tab.eval(lefts).await;
    assert!(lefts[0][0].as_f64().unwrap() < lefts[0][1].as_f64().unwrap(), "the key first, then its value: {lefts}");

    // Beside other words in a line, too: here in what is said of a view that could not be read.
    let problem = json!({"detail": "אבג: 12 (דהו) end", "status": 400}).to_string();
    operator.stub("/v1/events/e", 400, &problem).await;
    operator.go("/keys").await;
    operator.go("/events/t/e").await;
    operator.sees("Could not read this").await;
    let order = "[...document.querySelectorAll('#view bdi')].map((one) => one.innerText)";
    assert_eq!(operator.tab.eval(order).await, json!(["אבג: 12 (דהו) end"]), "one text of its own, isolated");
    let problem = json!({"detail": "Field אבג: 12 (דהו) end", "status": 400}).to_string();
    operator.stub("/v1/events/e", 400, &problem).await;
    operator.go("/keys").await;
    operator.go("/events/t/e").await;
    operator.sees("Field").await;
    assert_eq!(operator.tab.eval(order).await, json!(["אבג", "דהו"]));
}
