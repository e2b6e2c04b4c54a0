//! Whole payloads of the functions with a URL: whatever Lambda hands over is answered, and none of it fails an invocation.

use pombo_requests::NewKey;
use pombo_web::{Payload, Problem, Request, Response, Source, UrlEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::requests;

/// Payloads of requests, of direct invocations and of a queue.
pub fn seeds() -> Vec<Vec<u8>> {
    let request = |method: &str, path: &str, headers: Value, body: Value, is_base64_encoded: bool| {
        let context = json!({"accountId": "1", "domainName": "u.lambda-url.x.on.aws", "timeEpoch": 1,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "::1"}});
        json!({"version": "2.0", "rawPath": path, "rawQueryString": "limit=2&status=failed", "cookies": ["a=b"],
            "headers": headers, "requestContext": context, "body": body, "isBase64Encoded": is_base64_encoded})
        .to_string()
    };
    let signed = request("POST", "/v1/events", json!({}), json!("e30="), true)
        .replace(r#""http""#, r#""authorizer":{"iam":{"userArn":"arn:aws:iam::1:role/a"}},"http""#);
    let texts = [
        request(
            "POST",
            "/v1/events",
            json!({"content-type": "application/json"}),
            json!(r#"{"type":"a","data":{}}"#),
            false,
        ),
        request("GET", "/v1/deliveries/", json!({"X-A": "a\tb", "authorization": "Bearer pk_x_y"}), json!(null), false),
        request("POST", "/v1/missed", json!({"x-a": "a\u{7f}b", "x-b": "\u{1}", "a b": "\u{ff}"}), json!("?"), true),
        request("DELETE", "/", json!({"x": "SURROGATE"}), json!(null), false).replace("SURROGATE", r"\ud800"),
        request("GET", "/", json!(null), json!(null), false).replace("null", &"[".repeat(300)),
        signed,
        r#"{"requestContext":{},"requestContext":null,"create_admin_key":{"name":"x"}}"#.to_owned(),
        r#"{"create_admin_key":{"name":"x"},"request\u0043ontext":{}}"#.to_owned(),
        r#"{"create_admin_key":{"name":"x"}}"#.to_owned(),
        r#"{"Records":[{"messageId":"m","body":"{}","eventSource":"aws:sqs"}]}"#.to_owned(),
        "[]".to_owned(),
    ];
    texts.into_iter().map(String::into_bytes).chain([b"{\"rawPath\":\"\xff\"}".to_vec()]).collect()
}

/// Takes the bytes as the payload of each function with a URL, in the way in which Lambda's runtime reads it.
pub fn hold_for(bytes: &[u8]) {
    let alone = read::<UrlEvent>(bytes).into_request();
    answered(&alone);
    match read::<Box<RawValue>>(bytes).source() {
        Source::Url(request) => {
            let request = request.map(|request| *request);
            answered(&request);
            if let Ok(request) = request {
                let alone = alone.expect("a request is one for each function");
                assert_eq!(format!("{request:?}"), format!("{alone:?}"));
            }
        }
        Source::Direct(payload) => {
            assert!(alone.is_err() || !payload.trim_start().starts_with('{'), "a request is no direct invocation");
            direct(payload);
        }
    }
}

/// As the runtime reads it: what stands behind the payload is not looked at.
fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Payload<T> {
    Payload::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).expect("any payload is read")
}

/// There is an answer. A payload that is no request is the caller's mistake, never Pombo's.
fn answered(request: &Result<Request, Problem>) {
    match request {
        Ok(request) => requests::hold_for_request(request),
        Err(refusal) => {
            requests::problem(refusal);
            let answer = Value::from(Response::from(refusal.clone()));
            assert_eq!(answer["statusCode"], 400, "{answer}");
        }
    }
}

/// What makes a key without a key is that order alone, and Lambda has not marked it as sent over the URL.
fn direct(payload: &str) {
    let made = NewKey::from_invocation(payload).is_ok();
    let Ok(Value::Object(members)) = serde_json::from_str(payload) else { return assert!(!made) };
    assert!(!members.contains_key("requestContext"));
    assert!(!made || members.keys().eq(["create_admin_key"]), "{payload}");
}
