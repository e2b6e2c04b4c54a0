//! Ingest: an app's event comes in over the Function URL, is stored, and its deliveries are queued.
//!
//! `202 Accepted` is the promise: it is given only after the event is stored and every delivery is on the queue. What
//! stops half-way is made whole by the caller's repeat, which is safe: the event is stored once under its id, and a
//! delivery's message that comes twice is dropped by its record.

mod accept;
mod limit;
mod settings;

use std::convert::Infallible;
use std::time::Duration;

use lambda_runtime::{Context, LambdaEvent};
use pombo_aws::settings::CALL_TIMEOUT;
use pombo_domain::api_key::Scope;
use pombo_domain::time::Timestamp;
use pombo_web::route::{self, Access, Route};
use pombo_web::{Method, Payload, Problem, Request, Response, Url, UrlEvent, logged, not_served};
use tracing::Level;

pub use self::settings::App;

/// The calls of the URL that take a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Takes an event in.
    PostEvent,
}

/// The calls of the URL.
pub const ROUTES: [Route<Infallible, Call>; 1] =
    [Route::key(Method::Post, "/v1/events", &[Scope::Ingest], Call::PostEvent)];

/// The answer goes out so long before the invocation is ended: a caller that gets none does not know which id to repeat.
const ANSWER_BEFORE_END: Duration = Duration::from_secs(3);

/// Number of events in a call.
const EVENTS_PER_CALL: u32 = 1;

/// One invocation of the function.
struct Invocation {
    /// Who writes: unique.
    request_id: String,
    /// When a call may begin for the last time, so as to end before the answer.
    last_call_at: Timestamp,
}

impl Invocation {
    /// From what Lambda says of it.
    fn new(context: Context) -> Self {
        let ends_at = Timestamp::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
        Self { request_id: context.request_id, last_call_at: ends_at.minus(ANSWER_BEFORE_END + CALL_TIMEOUT) }
    }
}

/// Answers one request. No payload fails the invocation.
pub async fn handle(app: &App, event: LambdaEvent<Payload<UrlEvent>>) -> Result<serde_json::Value, Infallible> {
    let invocation = Invocation::new(event.context);
    let request = event.payload.into_request().map(Box::new);
    // An event that is accepted is no news: it writes no line at the default level.
    let respond = async |request: &Request| route(app, request, &invocation).await;
    Ok(logged::answer(&ROUTES, request, Level::DEBUG, respond).await.into())
}

async fn route(app: &App, request: &Request, invocation: &Invocation) -> Result<Response, Problem> {
    match route::find(&ROUTES, request) {
        Some((Access::Key(scope, Call::PostEvent), _)) => {
            let caller = app.authenticator.authenticate(request, scope).await?;
            app.limiter.admit(&caller, EVENTS_PER_CALL).await?;
            request.only_query(&[])?;
            accept::accept(app, &caller, request, invocation).await
        }
        Some((Access::Open(never), _)) => match never {},
        None => Err(not_served(Url::Ingest, request)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_those_that_the_other_urls_send_callers_to() {
        let routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(routes, pombo_web::served_by(Url::Ingest).collect::<Vec<_>>());
    }
}
