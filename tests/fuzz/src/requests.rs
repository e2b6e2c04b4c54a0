//! What a Function URL hands over, and the bodies that are read from it.
//!
//! The text is a request as it would go over the wire: a line with method and target, headers, an empty line, the body. One
//! that begins as JSON is Lambda's own payload.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_domain::body::{MAX_BODY, PackedBody, fingerprint, wire_body};
use pombo_domain::delivery::Status;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event_type::Pattern;
use pombo_domain::hops::{HOPS_HEADER, LOOP_DETECTED, MAX_HOPS};
use pombo_domain::job::{Ordered, Selection};
use pombo_domain::nesting::levels;
use pombo_domain::time::Timestamp;
use pombo_requests::{NewEvent, ReplayOrder, proved, signed};
use pombo_web::{Payload, Problem, Request, Response, Url, UrlEvent, not_served};
use serde_json::json;
use serde_json::value::RawValue;
use standardwebhooks::Webhook;

use crate::shape;

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

static ENDPOINT: LazyLock<Endpoint> = LazyLock::new(|| {
    let endpoint = json!({
        "endpoint_id": "ep_aaaaaaaaaaaaaaaa", "tenant": "acme", "url": "https://example.com/", "event_types": ["*"],
        "retry_policy": "standard", "timeout_seconds": 15, "status": "active", "version": 1,
        "secrets": [{"secret": SECRET, "created_at": NOW}], "created_at": NOW, "updated_at": NOW,
    });
    serde_json::from_value(endpoint).expect("an endpoint")
});

/// Requests as callers make them.
pub fn seeds() -> Vec<String> {
    let now = NOW.as_seconds();
    let missed = r#"{"type":"pombo.missed.request","endpoint":"ep_aaaaaaaaaaaaaaaa","since":"2026-01-31T09:30:00Z"}"#;
    let webhook = Webhook::new(SECRET).expect("a secret");
    let item = webhook.sign("msg_1", now, missed.as_bytes()).expect("a signature");
    vec![
        "POST /v1/events\ncontent-type: application/json; charset=utf-8\n\n{\"type\":\"student.created\",\"tenant\":\"acme\",\"id\":\"e-1\",\"timestamp\":\"2026-01-31T09:30:00Z\",\"data\":{ \"n\":1.10, \"é\":\"\\u00e9\" }}".to_owned(),
        "POST /v1/events\n\n{\"type\":\"a\",\"data\":[1, 2]}".to_owned(),
        "POST /v1/events\npombo-hops: 4\n\n{\"type\":\"a\",\"data\":{}}".to_owned(),
        format!("POST /v1/events\ncontent-type: application/x-www-form-urlencoded\n\n{{\"type\":\"a\",\"data\":{}{}}}", "[".repeat(128), "]".repeat(128)),
        "POST /v1/events\nidempotency-key: x\ncontent-encoding: gzip\n\n{\"type\":\"a b\",\"data\":{\"a\":1,\"a\":2},\"id\":1,\"id\":2}".to_owned(),
        "GET /v1/deliveries?status=failed&type=a.*&since=2026-01-31T09%3A30%3A00Z&limit=20\nauthorization: Bearer pk_x_y\n\n".to_owned(),
        "POST /v1/replays/\n\n{\"filter\":{\"endpoint_id\":\"ep_aaaaaaaaaaaaaaaa\",\"since\":\"2026-01-30T09:30:00Z\"},\"include\":[\"failed\",\"held\"],\"rate_per_second\":2.5,\"dry_run\":true}".to_owned(),
        "POST /v1/replays\n\n{\"deliveries\":[\"ZXBfYWFhYWFhYWFhYWFhYWFhYS8yMDI2LTAxLTMxVDA5OjMwOjAwLjA1MFojZXZ0XzE\"]}".to_owned(),
        format!("POST /v1/missed\nwebhook-id: msg_1\nwebhook-timestamp: {now}\nwebhook-signature: {item}\n\n{missed}"),
        format!("POST /v1/missed\nwebhook-id: msg_1\nwebhook-timestamp: {now}\nwebhook-signature: v1,x {item}\n\n{missed}"),
        r#"{"version":"2.0","rawPath":"/v1/events","rawQueryString":"a=b","headers":{"Content-Type":"text/plain"},"requestContext":{"http":{"method":"POST"},"authorizer":{"iam":{"userArn":"arn:x"}}},"body":"e30=","isBase64Encoded":true}"#.to_owned(),
    ]
}

/// Reads a text as a request, and the request as each call does.
pub fn hold_for(text: &str) {
    if let Some(request) = read(text) {
        hold_for_request(&request);
    }
}

/// Reads a request as each call does.
pub fn hold_for_request(request: &Request) {
    assert!(!request.path.ends_with('/') && request.headers.keys().all(|name| *name == name.to_ascii_lowercase()));
    let controls = |value: &String| value.chars().any(|char| char.is_ascii_control() && char != '\t');
    assert!(!request.headers.values().any(controls), "{:?}", request.headers);
    queried(request);
    for url in [Url::Ingest, Url::Replay, Url::Endpoints] {
        problem(&not_served(url, request));
    }
    match NewEvent::read(request, NOW) {
        Ok(event) => posted(request, &event),
        Err(refusal) => problem(&refusal),
    }
    match ReplayOrder::read(request) {
        Ok(ReplayOrder::Chosen(keys)) => {
            plain_json(request);
            assert!((1..=100).contains(&keys.len()));
        }
        Ok(ReplayOrder::Matching(order)) => {
            plain_json(request);
            let ordered = Ordered { at: NOW, settle: Duration::from_secs(120) };
            match Selection::new(order.filter, order.include, order.rate_per_second, ordered) {
                Ok(selection) => assert!(selection.filter.since < selection.filter.until),
                Err(error) => problem(&error.into()),
            }
        }
        Err(refusal) => problem(&refusal),
    }
    proof(request);
}

fn read(text: &str) -> Option<Request> {
    if text.starts_with('{') {
        return from_url(text);
    }
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.split('\n');
    let (method, target) = lines.next().unwrap_or_default().split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: BTreeMap<_, _> = lines.filter_map(|line| line.split_once(": ")).collect();
    let payload = |body: &str, is_base64_encoded: bool| {
        json!({
            "rawPath": path, "rawQueryString": query, "headers": headers, "requestContext": {"http": {"method": method}},
            "body": body, "isBase64Encoded": is_base64_encoded,
        })
        .to_string()
    };
    let plain = from_url(&payload(body, false))?;
    assert_eq!(plain.body, body.as_bytes());
    assert_eq!(from_url(&payload(&STANDARD.encode(body), true))?.body, body.as_bytes(), "what came as base64");
    Some(plain)
}

fn from_url(payload: &str) -> Option<Request> {
    let payload: Payload<UrlEvent> = serde_json::from_str(payload).ok()?;
    payload.into_request().map_err(|refusal| problem(&refusal)).ok()
}

fn queried(request: &Request) {
    match request.limit() {
        Ok(limit) => assert!((1..=100).contains(&limit)),
        Err(refusal) => problem(&refusal),
    }
    let known = ["status", "type", "since"];
    match request.only_query(&known) {
        Ok(()) => {
            assert!(request.query.iter().all(|(name, values)| known.contains(&name.as_str()) && values.len() == 1))
        }
        Err(refusal) => problem(&refusal),
    }
    let refusals = [
        request.query::<Status>("status").err(),
        request.query::<Pattern>("type").err(),
        request.query::<Timestamp>("since").err(),
    ];
    refusals.iter().flatten().for_each(problem);
}

/// The answer is short however long the request, and JSON.
pub fn problem(problem: &Problem) {
    let response = Response::from(problem.clone());
    let is_refusal = (400..=503).contains(&response.status) || response.status == LOOP_DETECTED;
    assert!(is_refusal && response.body.len() < 4096, "{}", response.body);
    let document: serde_json::Value = serde_json::from_str(&response.body).expect("a problem document");
    assert_eq!(document["status"], response.status);
}

/// A body that is read is JSON as it is, each name in it is there once, and nothing more was asked for.
fn plain_json(request: &Request) {
    shape::has_each_name_once(std::str::from_utf8(&request.body).expect("JSON is UTF-8"));
    let coding = request.header("content-encoding").unwrap_or_default();
    assert!(coding.split(',').all(|coding| ["", "identity"].contains(&coding.trim().to_ascii_lowercase().as_str())));
    let media_type = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    assert!(
        ["", "application/json", "application/x-www-form-urlencoded"].contains(&media_type)
            || media_type.ends_with("+json")
    );
    for name in ["idempotency-key", "if-match", "if-unmodified-since"] {
        assert_eq!(request.header(name), None);
    }
}

/// Not a byte of `data` is changed on its way to the receiver.
fn posted(request: &Request, event: &NewEvent<'_>) {
    #[derive(serde::Deserialize)]
    struct Received<'a> {
        r#type: String,
        timestamp: Timestamp,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    plain_json(request);
    assert!(!event.event_type.is_reserved() && request.body.len() <= MAX_BODY);
    assert!(event.timestamp.is_none_or(|at| at <= NOW.plus(Duration::from_secs(300))));
    assert!(event.hops < MAX_HOPS && (request.header(HOPS_HEADER).is_some() || event.hops.is_none()));
    assert!(event.id.as_ref().is_none_or(|id| id.as_str().len() <= 64));
    assert!(event.tenant.as_ref().is_none_or(|tenant| !tenant.is_reserved()));
    let data = event.data.get();
    let levels = levels(data);
    assert!(levels <= 128 && shape::levels(data).is_none_or(|counted| counted == levels), "{levels}: {data}");
    assert!(request.body.windows(data.len()).any(|window| window == data.as_bytes()), "{data}");
    let body = wire_body(&event.event_type, event.timestamp.unwrap_or(NOW), event.data);
    let received: Received<'_> = serde_json::from_slice(&body).expect("what a receiver parses");
    assert_eq!(
        (received.r#type.as_str(), received.timestamp),
        (event.event_type.as_str(), event.timestamp.unwrap_or(NOW))
    );
    assert_eq!(received.data.get(), data);
    assert_eq!(fingerprint(&event.event_type, received.data), fingerprint(&event.event_type, event.data));
    assert_eq!(PackedBody::pack(&body).unpack().expect("what was packed"), body);
}

/// A receiver is believed where the specification's own library gives one of the signatures, and nowhere else.
fn proof(request: &Request) {
    let signed = match signed(request, NOW) {
        Ok(signed) => signed,
        Err(refusal) => return problem(&refusal),
    };
    let time = request.header("webhook-timestamp").and_then(|text| text.parse().ok()).expect("a time");
    let webhook = Webhook::new(SECRET).expect("a secret");
    let is_right = webhook.sign(signed.id.as_str(), time, &request.body).is_ok_and(|item| {
        let header = request.header("webhook-signature").unwrap_or_default();
        header.split(' ').take(5).any(|given| given == item)
    });
    assert_eq!(proved(Some(ENDPOINT.clone()), &signed, &request.body, NOW).is_ok(), is_right);
    assert!(proved(None, &signed, &request.body, NOW).is_err());
}
