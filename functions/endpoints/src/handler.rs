//! One invocation: a request to the Function URL, or a direct one, which IAM alone guards.

use std::collections::BTreeMap;
use std::time::Instant;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use lambda_runtime::{Diagnostic, LambdaEvent};
use pombo_web::{Problem, Request, Response};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{App, admin_key, router};

/// Answers one invocation. Whatever has a `requestContext` came over the URL and needs an API key.
pub async fn handle(app: &App, event: LambdaEvent<Box<RawValue>>) -> Result<Value, Diagnostic> {
    let payload = event.payload.get();
    if came_by_url(payload) { Ok(answer(app, payload).await.into()) } else { admin_key::create(app, payload).await }
}

/// Lambda itself writes `requestContext` beside what the caller sent, so its presence cannot be avoided from outside.
fn came_by_url(payload: &str) -> bool {
    let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(payload);
    members.is_ok_and(|members| members.contains_key("requestContext"))
}

async fn answer(app: &App, payload: &str) -> Response {
    let started = Instant::now();
    let request = match read(payload) {
        Ok(request) => request,
        Err(problem) => return problem.into(),
    };
    let mut key = None;
    let response = router::route(app, &request, &mut key).await.unwrap_or_else(Response::from);
    let (method, path, status) = (request.method.as_str(), request.path.as_str(), response.status);
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(method, path, status, key, duration_ms, "{method} {path} answered {status}.");
    response
}

fn read(payload: &str) -> Result<Request, Problem> {
    let event: LambdaFunctionUrlRequest = serde_json::from_str(payload).map_err(|error| {
        tracing::error!(%error, "The event is no request of a Function URL.");
        Problem::new(400, "The event is no request of a Function URL.")
    })?;
    Request::from_url(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_a_request_context_came_by_the_url_whatever_else_it_has() {
        let order = json!({"name": "x"});
        for (payload, by_url) in [
            (json!({"create_admin_key": order}), false),
            (json!({"create_admin_key": order, "requestContext": {"http": {"method": "POST"}}}), true),
            (json!({"create_admin_key": order, "requestContext": {}}), true),
            (json!({"create_admin_key": order, "requestContext": null}), true),
            (json!([]), false),
        ] {
            assert_eq!(came_by_url(&payload.to_string()), by_url, "{payload}");
        }
        for payload in [r#"{"requestContext":{},"requestContext":null}"#, r#"{"request\u0043ontext":{}}"#] {
            assert!(came_by_url(payload), "{payload}");
        }
    }

    #[test]
    fn an_event_that_is_no_request_is_refused() {
        for payload in [json!({"requestContext": 7}), json!({"requestContext": {}, "headers": []})] {
            assert_eq!(read(&payload.to_string()).map_err(|problem| problem.status).err(), Some(400), "{payload}");
        }
    }
}
