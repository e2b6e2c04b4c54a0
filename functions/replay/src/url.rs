//! The Function URL: which call answers which path.

use pombo_domain::api_key::Scope::Ops;
use pombo_jobs::Invocation;
use pombo_web::Method::{Get, Post};
use pombo_web::route::{self, Access, Route};
use pombo_web::{Problem, Request, Response, Url, logged, not_served};
use tracing::Level;

use crate::settings::App;
use crate::{
    cancel_delivery, cancel_replay, create_replay, get_delivery, get_event, get_health, get_replay, list_dead_letters,
    list_deliveries, list_events, list_replays, missed,
};

/// The calls that take no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// The operators' page, which asks for a key itself.
    Console,
    /// A receiver asks for what it missed, and proves itself by a signature.
    Missed,
}

/// The calls that take a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Lists events.
    ListEvents,
    /// Shows an event and its deliveries.
    GetEvent,
    /// Lists deliveries.
    ListDeliveries,
    /// Shows a delivery.
    GetDelivery,
    /// Cancels a delivery.
    CancelDelivery,
    /// Shows how an endpoint does.
    GetHealth,
    /// Lists dead letters.
    ListDeadLetters,
    /// Orders a replay.
    CreateReplay,
    /// Lists jobs.
    ListReplays,
    /// Shows a job.
    GetReplay,
    /// Cancels a job.
    CancelReplay,
}

/// The calls of the URL.
pub const ROUTES: [Route<Open, Call>; 13] = [
    Route::open(Get, "/", Open::Console),
    Route::open(Post, "/v1/missed", Open::Missed),
    Route::key(Get, "/v1/events", &[Ops], Call::ListEvents),
    Route::key(Get, "/v1/events/{id}", &[Ops], Call::GetEvent),
    Route::key(Get, "/v1/deliveries", &[Ops], Call::ListDeliveries),
    Route::key(Get, "/v1/deliveries/{id}", &[Ops], Call::GetDelivery),
    Route::key(Post, "/v1/deliveries/{id}/cancel", &[Ops], Call::CancelDelivery),
    Route::key(Get, "/v1/health/{id}", &[Ops], Call::GetHealth),
    Route::key(Get, "/v1/dead-letters", &[Ops], Call::ListDeadLetters),
    Route::key(Post, "/v1/replays", &[Ops], Call::CreateReplay),
    Route::key(Get, "/v1/replays", &[Ops], Call::ListReplays),
    Route::key(Get, "/v1/replays/{id}", &[Ops], Call::GetReplay),
    Route::key(Post, "/v1/replays/{id}/cancel", &[Ops], Call::CancelReplay),
];

/// Answers one request and logs it.
pub(crate) async fn answer(app: &App, request: Result<Box<Request>, Problem>, invocation: &Invocation) -> Response {
    let respond = async |request: &Request| respond(app, request, invocation).await;
    logged::answer(&ROUTES, request, Level::INFO, respond).await
}

async fn respond(app: &App, request: &Request, invocation: &Invocation) -> Result<Response, Problem> {
    let (scope, call, id) = match route::find(&ROUTES, request) {
        Some((Access::Open(Open::Console), _)) => return Ok(app.console.answer(request)),
        Some((Access::Open(Open::Missed), _)) => return missed::answer(app, request, invocation).await,
        Some((Access::Key(scope, call), id)) => (scope, call, id),
        None => return Err(not_served(Url::Replay, request)),
    };
    let caller = app.authenticator.authenticate(request, scope).await?;
    match call {
        Call::ListEvents => list_events::answer(app, &caller, request).await,
        Call::GetEvent => get_event::answer(app, &caller, request, id).await,
        Call::ListDeliveries => list_deliveries::answer(app, &caller, request).await,
        Call::GetDelivery => get_delivery::answer(app, &caller, request, id).await,
        Call::CancelDelivery => cancel_delivery::answer(app, &caller, request, id, invocation).await,
        Call::GetHealth => get_health::answer(app, &caller, request, id).await,
        Call::ListDeadLetters => list_dead_letters::answer(app, &caller, request).await,
        Call::CreateReplay => create_replay::answer(app, &caller, request, invocation).await,
        Call::ListReplays => list_replays::answer(app, &caller, request).await,
        Call::GetReplay => get_replay::answer(app, &caller, request, id).await,
        Call::CancelReplay => cancel_replay::answer(app, &caller, request, invocation, id).await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pombo_web::Method;

    use super::*;

    fn request(method: Method, path: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            identity: None,
        }
    }

    #[test]
    fn the_calls_are_those_that_the_other_urls_send_callers_to() {
        let routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(routes, pombo_web::served_by(Url::Replay).collect::<Vec<_>>());
    }

    #[test]
    fn each_call_has_its_path_and_others_are_refused() {
        for (method, path, expected) in [
            (Method::Get, "", Ok(("", Access::Open(Open::Console)))),
            (Method::Post, "/v1/missed", Ok(("", Access::Open(Open::Missed)))),
            (Method::Get, "/v1/events", Ok(("", Access::Key(&[Ops], Call::ListEvents)))),
            (Method::Get, "/v1/events/e", Ok(("e", Access::Key(&[Ops], Call::GetEvent)))),
            (Method::Get, "/v1/deliveries", Ok(("", Access::Key(&[Ops], Call::ListDeliveries)))),
            (Method::Get, "/v1/deliveries/d", Ok(("d", Access::Key(&[Ops], Call::GetDelivery)))),
            (Method::Post, "/v1/deliveries/d/cancel", Ok(("d", Access::Key(&[Ops], Call::CancelDelivery)))),
            (Method::Get, "/v1/health/e", Ok(("e", Access::Key(&[Ops], Call::GetHealth)))),
            (Method::Get, "/v1/dead-letters", Ok(("", Access::Key(&[Ops], Call::ListDeadLetters)))),
            (Method::Post, "/v1/replays", Ok(("", Access::Key(&[Ops], Call::CreateReplay)))),
            (Method::Get, "/v1/replays", Ok(("", Access::Key(&[Ops], Call::ListReplays)))),
            (Method::Get, "/v1/replays/r", Ok(("r", Access::Key(&[Ops], Call::GetReplay)))),
            (Method::Post, "/v1/replays/r/cancel", Ok(("r", Access::Key(&[Ops], Call::CancelReplay)))),
            (Method::Get, "/v1/missed", Err(405)),
            (Method::Get, "/v1/deliveries/d/cancel", Err(405)),
            (Method::Delete, "/v1/deliveries/d", Err(405)),
            (Method::Post, "/v1/events", Err(405)),
            (Method::Post, "", Err(405)),
            (Method::Get, "/v1/health", Err(404)),
            (Method::Get, "/v1/endpoints", Err(404)),
            (Method::Post, "/v1/keys", Err(404)),
            (Method::Get, "/v1/deliveries/d/e", Err(404)),
            (Method::Get, "/deliveries", Err(404)),
            (Method::Get, "/console", Err(404)),
        ] {
            let request = request(method, path);
            let found = route::find(&ROUTES, &request).map(|(access, id)| (id, access));
            assert_eq!(found.ok_or_else(|| not_served(Url::Replay, &request).status), expected, "{method:?} {path}");
        }
    }
}
