//! What nobody sends by mistake: cursors that a caller wrote, and headers that no client writes. Each is the caller's mistake,
//! never a failure of Pombo's.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::cursor::seal;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::ids::EndpointId;
use pombo_domain::job::JobKey;
use pombo_domain::signature::Secret;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, Stack, scenario, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn cursor(list: &Value, after: impl serde::Serialize) -> String {
    seal(&json!({"list": list, "after": after}).to_string())
}

/// Places around the bounds of a range, each with whether it lies in it: from the first, before the second.
fn places(since: Timestamp, until: Timestamp) -> Vec<(Timestamp, bool)> {
    let (milli, day) = (Duration::from_millis(1), Duration::from_secs(86_400));
    let inside = [since, since.plus(milli), until.minus(milli)];
    let outside = [since.minus(milli), since.minus(day), until, until.plus(milli), until.plus(day)];
    let ends = [Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX)];
    let outside = outside.into_iter().chain(ends);
    inside.into_iter().map(|at| (at, true)).chain(outside.map(|at| (at, false))).collect()
}

async fn assert_answer(stack: &Stack, path: &str, stands: bool) {
    let (status, answer) = stack.local.replay().get(path).await.unwrap();
    if stands {
        assert_eq!(status, 200, "{path}: {answer}");
    } else {
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("cursor")), "{path}: {answer}");
    }
}

#[scenario]
async fn a_cursor_that_a_caller_wrote_is_answered_400_where_its_list_has_no_such_place() {
    let stack = Stack::calm().await;
    let tenant = unique("t");
    let hook = Hook::new(stack, json!({}), |_| local::Answer::status(200)).await;
    let own: EndpointId = hook.endpoint.parse().unwrap();
    let other = EndpointId::generate([9; 10]);
    let since = Timestamp::from_seconds(clock::now().as_seconds() - 7200);
    let until = since.plus(Duration::from_secs(3600));
    for (at, stands) in places(since, until) {
        for (query, scope, foreign_stands) in [
            (format!("endpoint_id={own}"), json!({"endpoint": own}), false),
            (format!("tenant={tenant}"), json!({"tenant": tenant}), true),
            (String::new(), json!("stack"), true),
        ] {
            for (query, status) in [(query.clone(), Value::Null), (format!("{query}&status=failed"), json!("failed"))] {
                let filter =
                    json!({"scope": scope, "status": status, "event_type": null, "since": since, "until": until});
                for (endpoint_id, stands) in [(&own, stands), (&other, stands && foreign_stands)] {
                    let key = DeliveryKey {
                        endpoint_id: endpoint_id.clone(),
                        accepted_at: at,
                        event_id: "e".parse().unwrap(),
                    };
                    let path =
                        format!("/v1/deliveries?{query}&since={since}&until={until}&cursor={}", cursor(&filter, key));
                    assert_answer(stack, &path, stands).await;
                }
            }
        }
        let filter = json!({"tenant": tenant, "event_type": null, "since": since, "until": until});
        let path =
            format!("/v1/events?tenant={tenant}&since={since}&until={until}&cursor={}", cursor(&filter, (at, "e")));
        assert_answer(stack, &path, stands).await;
        // A list of jobs has no bounds in time, but an owner.
        for (asked, owner, stands) in [
            (Some(&tenant), Some(&tenant), true),
            (Some(&tenant), None, false),
            (None, Some(&tenant), true),
            (None, None, true),
        ] {
            let key = JobKey::generate(owner.map(|owner| owner.parse().unwrap()).as_ref(), at, [1; 10]);
            let query = asked.map(|tenant| format!("tenant={tenant}&")).unwrap_or_default();
            let path = format!("/v1/replays?{query}cursor={}", cursor(&json!({"jobs_of": asked}), key));
            assert_answer(stack, &path, stands).await;
        }
    }
}

#[scenario]
async fn a_receivers_own_cursor_is_answered_400_where_its_list_has_no_such_place() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| local::Answer::status(200)).await;
    let (_, secrets) =
        hook.stack.local.endpoints().get(&format!("/v1/endpoints/{}/secret", hook.endpoint)).await.unwrap();
    let secret: Secret = secrets["secrets"][0]["secret"].as_str().unwrap().parse().unwrap();
    let own: EndpointId = hook.endpoint.parse().unwrap();
    let since = Timestamp::from_seconds(clock::now().as_seconds() - 3600);
    // An endpoint may ask ten times.
    for (endpoint_id, accepted_at, expected) in [
        (own.clone(), since, 200),
        (own.clone(), since.minus(Duration::from_millis(1)), 400),
        (own, Timestamp::from_millis(0), 400),
        (EndpointId::generate([9; 10]), since, 400),
    ] {
        let key = DeliveryKey { endpoint_id, accepted_at, event_id: "e".parse().unwrap() };
        let after = cursor(&json!({"endpoint": hook.endpoint, "since": since}), key);
        let body = json!({"type": "pombo.missed.request", "endpoint": hook.endpoint, "since": since, "cursor": after});
        let (id, now, body) = (unique("req"), clock::now().as_seconds(), body.to_string());
        let request = reqwest::Client::new()
            .post(format!("{}/v1/missed", hook.stack.local.urls.replay))
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", secret.sign(&id.parse().unwrap(), now, body.as_bytes()))
            .body(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!((status, text.contains(r#""field":"cursor""#)), (expected, expected == 400), "{text}");
    }
}

/// Posts to a path of a URL with a header that no client sends; gives the head of the answer, in lower case, and its body.
async fn post_raw(url: &str, path: &str, header: &[u8]) -> (String, String) {
    let url = reqwest::Url::parse(&format!("{}{path}", url.trim_end_matches('/'))).unwrap();
    let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let start = format!("POST {} HTTP/1.1\r\nhost: {host}:{port}\r\n", url.path());
    let end = b"\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    connection.write_all(&[start.as_bytes(), header, end].concat()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_ascii_lowercase(), body.to_owned())
}

#[scenario]
async fn a_control_character_in_a_header_is_answered_by_each_function_and_fails_none() {
    let urls = &Stack::calm().await.local.urls;
    for (url, path) in [(&urls.ingest, "/v1/events"), (&urls.replay, "/v1/replays"), (&urls.endpoints, "/v1/endpoints")]
    {
        for byte in [0x01, 0x07, 0x08, 0x1b, 0x1f, 0x7f] {
            let (head, body) = post_raw(url, path, &[b'x', b'-', b'a', b':', b' ', b'a', byte, b'b']).await;
            assert!(head.starts_with("http/1.1 400"), "{path} {byte:#x}: {head}\n{body}");
            assert!(head.contains("content-type: application/problem+json"), "{path} {byte:#x}: {head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{path} {byte:#x}: {head}");
            assert!(body.contains(r#""field":"x-a""#), "{path} {byte:#x}: {body}");
        }
        let (head, _) = post_raw(url, path, b"x-a: a\tb").await;
        assert!(head.starts_with("http/1.1 401"), "{path}: {head}");
    }
}
