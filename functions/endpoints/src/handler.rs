//! One invocation: a request to the Function URL, or a direct one, which IAM alone guards.

use std::time::Instant;

use lambda_runtime::{Diagnostic, LambdaEvent};
use pombo_web::{Payload, Problem, Request, Response, Source};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{App, admin_key, router};

/// Answers one invocation. A payload that may have come over the URL needs an API key, and never fails the invocation.
pub async fn handle(app: &App, event: LambdaEvent<Payload<Box<RawValue>>>) -> Result<Value, Diagnostic> {
    match event.payload.source() {
        Source::Url(request) => Ok(answer(app, request).await.into()),
        Source::Direct(payload) => admin_key::create(app, payload).await,
    }
}

async fn answer(app: &App, request: Result<Box<Request>, Problem>) -> Response {
    let started = Instant::now();
    let request = match request {
        Ok(request) => request,
        Err(problem) => {
            tracing::info!(status = problem.status, "A request that cannot be read was refused.");
            return problem.into();
        }
    };
    let mut key = None;
    let response = router::route(app, &request, &mut key).await.unwrap_or_else(Response::from);
    let (method, path, status) = (request.method.as_str(), request.logged_path(), response.status);
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(method, path, status, key, duration_ms, "{method} {path} answered {status}.");
    response
}
