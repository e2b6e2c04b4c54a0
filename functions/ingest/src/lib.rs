//! Ingest: an app's event comes in over the Function URL, is stored, and its deliveries are queued.
//!
//! `202 Accepted` is the promise: it is given only after the event is stored and every delivery is on the queue. What
//! stops half-way is made whole by the caller's repeat, which is safe: the event is stored once under its id, and a
//! delivery's message that comes twice is dropped by its record.

mod accept;
mod new_event;
mod settings;

use std::time::Instant;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use lambda_runtime::{Error, LambdaEvent};
use pombo_domain::api_key::Scope;
use pombo_web::{Caller, Method, Problem, Request, Response};

pub use self::settings::{App, IngestAuth};

/// Answers one request.
pub async fn handle(app: &App, event: LambdaEvent<LambdaFunctionUrlRequest>) -> Result<serde_json::Value, Error> {
    let started = Instant::now();
    let request_id = event.context.request_id;
    let response = match Request::from_url(event.payload) {
        Ok(request) => route(app, &request, &request_id).await.unwrap_or_else(Response::from),
        Err(problem) => problem.into(),
    };
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(status = response.status, duration_ms, "Request answered.");
    Ok(response.into())
}

async fn route(app: &App, request: &Request, request_id: &str) -> Result<Response, Problem> {
    match (request.method, request.segments().as_slice()) {
        (Method::Post, ["events"]) => {
            let caller = caller(app, request).await?;
            accept::accept(app, &caller, request, request_id).await
        }
        _ => Err(request.no_route()),
    }
}

/// Who posts: the holder of an API key, or whoever Lambda says has signed the request.
async fn caller(app: &App, request: &Request) -> Result<Caller, Problem> {
    match (app.auth, &request.identity) {
        (IngestAuth::ApiKey, _) => app.authenticator.authenticate(request, Scope::Ingest).await,
        (IngestAuth::Iam, Some(identity)) => {
            Ok(Caller { name: identity.arn.clone(), tenant: None, scope: Scope::Ingest })
        }
        (IngestAuth::Iam, None) => Err(Problem::new(403, "Sign the request with AWS Signature Version 4.")),
    }
}
