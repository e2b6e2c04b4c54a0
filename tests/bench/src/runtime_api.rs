//! Lambda's Runtime API: gives sandboxes their invocations and takes the answers.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::items::KEY;
use crate::serve::{Request, Response, answer};

const NEXT: &str = "/2018-06-01/runtime/invocation/next";

/// The results that a function's sandboxes have reported.
#[derive(Debug, Default)]
pub struct Answers {
    /// Number of events, or messages, that are done.
    pub done: AtomicUsize,
    fault: Mutex<Option<String>>,
}

impl Answers {
    /// The first fault, if there was one.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an answer, which `is_good` judges. An invocation's id ends in the number of its events or messages.
    pub fn take(&self, request: &Request, is_good: impl Fn(&Value) -> bool) -> Response {
        let path = request.uri().path();
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let count = path.strip_suffix("/response").and_then(|path| path.rsplit('-').next()?.parse().ok());
        match count {
            Some(count) if is_good(&body) => _ = self.done.fetch_add(count, Ordering::Relaxed),
            _ => {
                let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
                fault.get_or_insert(format!("{path}: {body}"));
            }
        }
        answer(202, &[], r#"{"status":"OK"}"#)
    }
}

/// Whether a sandbox asks for work.
pub fn asks_for_work(request: &Request) -> bool {
    request.uri().path() == NEXT
}

/// An invocation with `count` events or messages, for a function that may run for `timeout`.
pub fn invocation(number: usize, count: usize, timeout: Duration, payload: &Value) -> Response {
    let deadline = since_epoch() + timeout;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:bench";
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", format!("8476a536-e9f4-11e8-9739-{number:012}-{count}")),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", arn.to_owned()),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
    ];
    answer(200, &headers, payload.to_string())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A post as a Function URL hands it over, with the usual headers.
pub fn post(body: String) -> Value {
    let host = "x2a6yqkzj4hd7fxqvmb3wtrsne0abcde.lambda-url.us-east-1.on.aws";
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/v1/events", "rawQueryString": "",
        "headers": {
            "authorization": format!("Bearer {KEY}"), "content-type": "application/json", "host": host,
            "content-length": body.len().to_string(), "accept": "*/*", "user-agent": "app/1.0",
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256", "x-amzn-tls-version": "TLSv1.3",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700", "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "443", "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "anonymous", "apiId": "x2a6yqkzj4hd7fxqvmb3wtrsne0abcde", "domainName": host,
            "domainPrefix": "x2a6yqkzj4hd7fxqvmb3wtrsne0abcde",
            "http": {
                "method": "POST", "path": "/v1/events", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7",
                "userAgent": "app/1.0"
            },
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599", "routeKey": "$default", "stage": "$default",
            "time": "28/Nov/2026:16:36:50 +0000", "timeEpoch": 1_795_883_810_219_u64
        },
        "body": body, "isBase64Encoded": false
    })
}

/// A batch of messages as Lambda hands it over, each received for the first time.
pub fn batch(number: usize, messages: Vec<String>) -> Value {
    let sent = since_epoch().as_millis().to_string();
    let records = messages.into_iter().enumerate().map(|(place, body)| {
        json!({
            "messageId": format!("059f36b4-87a3-44ab-83d2-{number:08}{place:04}"),
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a".repeat(8),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": sent, "SenderId": "AROAEXAMPLE:bench-ingest",
                "ApproximateFirstReceiveTimestamp": sent, "MessageGroupId": "ep_agrcgbay3gj4heja"
            },
            "messageAttributes": {},
            "md5OfBody": "fafb00f5732ab283681e124bf8747ed1",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:deliveries",
            "awsRegion": "us-east-1"
        })
    });
    json!({"Records": records.collect::<Vec<_>>()})
}
