//! One invocation: a request to the Function URL, or a direct one, which IAM alone guards.

use lambda_runtime::{Diagnostic, LambdaEvent};
use pombo_web::{Payload, Problem, Request, Response, Source, logged};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::Level;

use crate::{App, ROUTES, admin_key, router};

/// Answers one invocation. A payload that may have come over the URL needs an API key, and never fails the invocation.
pub async fn handle(app: &App, event: LambdaEvent<Payload<Box<RawValue>>>) -> Result<Value, Diagnostic> {
    match event.payload.source() {
        Source::Url(request) => Ok(answer(app, request).await.into()),
        Source::Direct(payload) => admin_key::create(app, payload).await,
    }
}

async fn answer(app: &App, request: Result<Box<Request>, Problem>) -> Response {
    let respond = async |request: &Request| router::route(app, request).await;
    logged::answer(&ROUTES, request, Level::INFO, respond).await
}
