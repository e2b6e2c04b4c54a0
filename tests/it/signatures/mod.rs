//! Every request that a receiver gets is accepted by the reference libraries of Python and JavaScript, and its `v1a` by
//! implementations that are not ours.

mod public_keys;
mod rotation;
mod traps;

use std::time::{SystemTime, UNIX_EPOCH};

use local::{Answer, Received, Receiver};
use pombo_tests::{Hook, SOON, Signed, Stack, assert_accepted, scenario, unique};
use serde_json::{Value, json};

/// The secrets and public keys that sign for an endpoint now, as its receiver would get them.
async fn known(stack: &Stack, endpoint: &str) -> (Vec<String>, Vec<String>) {
    let list = |answer: &Value, list: &str, text: &str| {
        let items = answer[list].as_array().unwrap().iter();
        items.map(|item| item[text].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let api = stack.local.endpoints();
    let (status, secrets) = api.get(&format!("/v1/endpoints/{endpoint}/secret")).await.unwrap();
    assert_eq!(status, 200, "{secrets}");
    let keys = match api.get(&format!("/v1/endpoints/{endpoint}/keys.json")).await.unwrap() {
        (200, keys) => list(&keys, "keys", "public_key"),
        (status, answer) => {
            assert_eq!(status, 404, "{answer}");
            Vec::new()
        }
    };
    (list(&secrets, "secrets", "secret"), keys)
}

/// The requests with every secret and key that signs for an endpoint now.
async fn signed(stack: &Stack, endpoint: &str, requests: &[Received]) -> Vec<Signed> {
    let (secrets, keys) = known(stack, endpoint).await;
    requests.iter().map(|request| Signed::received(request, &refs(&secrets), &refs(&keys))).collect()
}

fn refs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// The schemes of a request's signatures, in order.
fn schemes(request: &Received) -> Vec<&str> {
    let items = request.header("webhook-signature").split(' ');
    items.map(|item| item.split_once(',').unwrap().0).collect()
}

#[scenario]
async fn the_first_attempt_a_retry_and_a_replay_are_accepted() {
    for signatures in [json!(["v1"]), json!(["v1", "v1a"])] {
        let options = json!({"signatures": signatures, "retry_policy": {"delays_seconds": [1]}});
        let hook = Hook::new(Stack::calm().await, options, |received| {
            Answer::status(if received.times < 3 { 500 } else { 200 })
        })
        .await;
        let data = json!({"name": "Zoë 🐦 \u{2028}\u{ffff}", "text": "Добрый день, 世界 \u{1d11e}"});
        let event = hook.stack.post(&json!({"type": "a.b", "tenant": hook.tenant, "data": data})).await;
        let event = event["id"].as_str().unwrap();
        let failed = hook.until_status(event, "failed", SOON).await;
        hook.replay(&[failed["id"].as_str().unwrap()]).await;
        hook.until_status(event, "succeeded", SOON).await;

        let received = hook.receiver.received();
        assert_eq!(received.len(), 3, "the first attempt, the retry, the replay");
        for request in &received {
            assert_eq!(json!(schemes(request)), signatures);
        }
        assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
        hook.assert_signed();
    }
}

#[scenario]
async fn a_timestamp_is_the_second_of_its_attempt() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [2]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    let received = hook.receiver.received();
    let times: Vec<_> = received
        .iter()
        .map(|request| {
            let text = request.header("webhook-timestamp");
            assert!(text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
            let (sent, came): (u64, _) = (text.parse().unwrap(), seconds(request.at));
            assert!((came.saturating_sub(4)..=came).contains(&sent), "sent {sent}, came {came}");
            sent
        })
        .collect();
    assert!(times[1] >= times[0] + 2, "signed anew: {times:?}");
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[scenario]
async fn receivers_of_either_scheme_or_both_accept_every_body() {
    let (stack, receiver, tenant) = (Stack::calm().await, Receiver::start().unwrap(), unique("t"));
    let mut endpoints = Vec::new();
    for (path, signatures) in [("/v1", json!(["v1"])), ("/both", json!(["v1a", "v1"])), ("/v1a", json!(["v1a"]))] {
        let wanted =
            json!({"tenant": tenant, "url": receiver.url(path), "event_types": ["*"], "signatures": signatures});
        let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap();
        assert_eq!(status, 201, "{endpoint}");
        assert_eq!(endpoint["secret"].is_string(), path != "/v1a", "{endpoint}");
        assert_eq!(endpoint["public_key"].is_string(), path != "/v1", "{endpoint}");
        endpoints.push((path, endpoint["id"].as_str().unwrap().to_owned()));
    }
    let large = json!("ünïcödé ".repeat(20_000)).to_string();
    let bodies = [
        "null",
        "\"\"",
        "{}",
        "{ \"b\" : [ 1 ,2,\t3 ] ,\n\"a\":{ } }",
        r#"{"z":1.0,"m":12345678901234567890123456789,"neg":-0.0,"exp":1E+400}"#,
        r#""\u0000 \uFFFF \ud83d\ude00 \ud800 \/ \u00e9""#,
        "\"\u{feff}\u{fffe} e\u{301} \u{202e}עברית \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\"",
        r#""1700000000.{}.v1,AAAA""#,
        large.as_str(),
    ];
    for (number, data) in bodies.iter().enumerate() {
        let event = format!(r#"{{"type":"a.b","tenant":"{tenant}","id":"e-{number}_","data":{data}}}"#);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}/v1/events", stack.local.urls.ingest));
        let answer = request.bearer_auth(&stack.local.keys.ingest).body(event).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{number}");
    }
    let received = receiver.wait_for(bodies.len() * endpoints.len(), SOON).await.unwrap();
    let mut requests = Vec::new();
    for (path, id) in &endpoints {
        let of_this: Vec<_> = received.iter().filter(|request| request.path == *path).cloned().collect();
        let wanted: &[&str] = match *path {
            "/v1" => &["v1"],
            "/both" => &["v1", "v1a"],
            _ => &["v1a"],
        };
        for request in &of_this {
            assert_eq!(schemes(request), wanted, "{path}");
        }
        requests.extend(signed(stack, id, &of_this).await);
    }
    assert_eq!(requests.len(), bodies.len() * endpoints.len());
    assert_accepted(&requests).await;
}

#[scenario]
async fn a_ping_is_accepted_as_any_event_is() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    let (status, sent) = hook.stack.local.endpoints().post(&path, &json!({})).await.unwrap();
    assert_eq!(status, 202, "{sent}");
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
}
