//! The Function URL: which call answers which path.

use std::time::Instant;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use pombo_domain::api_key::Scope;
use pombo_web::{Method, Problem, Request, Response};

use crate::invocation::Invocation;
use crate::settings::App;
use crate::{
    cancel_delivery, cancel_replay, create_replay, get_delivery, get_event, get_health, get_replay, list_dead_letters,
    list_deliveries, list_events, list_replays, missed,
};

/// The calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    ListEvents,
    GetEvent(&'a str),
    ListDeliveries,
    GetDelivery(&'a str),
    CancelDelivery(&'a str),
    GetHealth(&'a str),
    ListDeadLetters,
    CreateReplay,
    ListReplays,
    GetReplay(&'a str),
    CancelReplay(&'a str),
}

/// Answers one request and logs it.
pub(crate) async fn answer(app: &App, event: LambdaFunctionUrlRequest, invocation: &Invocation) -> Response {
    let started = Instant::now();
    let request = match Request::from_url(event) {
        Ok(request) => request,
        Err(problem) => return problem.into(),
    };
    let mut caller = String::new();
    let response = match respond(app, &request, invocation, &mut caller).await {
        Ok(response) => response,
        Err(problem) => problem.into(),
    };
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let duration_ms = started.elapsed().as_millis() as u64;
    tracing::info!(method, path, status = response.status, caller, duration_ms, "Request answered.");
    response
}

async fn respond(
    app: &App,
    request: &Request,
    invocation: &Invocation,
    name: &mut String,
) -> Result<Response, Problem> {
    if is_receivers_own(request) {
        return missed::answer(app, request, invocation, name).await;
    }
    if is_console(request) {
        return Ok(app.console.answer());
    }
    let route = route(request)?;
    let caller = app.authenticator.authenticate(request, Scope::Ops).await?;
    name.clone_from(&caller.name);
    match route {
        Route::ListEvents => list_events::answer(app, &caller, request).await,
        Route::GetEvent(id) => get_event::answer(app, &caller, request, id).await,
        Route::ListDeliveries => list_deliveries::answer(app, &caller, request).await,
        Route::GetDelivery(id) => get_delivery::answer(app, &caller, request, id).await,
        Route::CancelDelivery(id) => cancel_delivery::answer(app, &caller, request, id, invocation).await,
        Route::GetHealth(id) => get_health::answer(app, &caller, request, id).await,
        Route::ListDeadLetters => list_dead_letters::answer(app, &caller, request).await,
        Route::CreateReplay => create_replay::answer(app, &caller, request, invocation).await,
        Route::ListReplays => list_replays::answer(app, &caller, request).await,
        Route::GetReplay(id) => get_replay::answer(app, &caller, request, id).await,
        Route::CancelReplay(id) => cancel_replay::answer(app, &caller, request, invocation, id).await,
    }
}

/// The one call below `/v1` that takes no API key: a receiver proves itself.
fn is_receivers_own(request: &Request) -> bool {
    request.method == Method::Post && request.segments() == ["missed"]
}

/// The page asks for a key itself.
fn is_console(request: &Request) -> bool {
    request.method == Method::Get && request.path.is_empty()
}

fn route(request: &Request) -> Result<Route<'_>, Problem> {
    match (request.method, request.segments().as_slice()) {
        (Method::Get, ["events"]) => Ok(Route::ListEvents),
        (Method::Get, ["events", id]) => Ok(Route::GetEvent(id)),
        (Method::Get, ["deliveries"]) => Ok(Route::ListDeliveries),
        (Method::Get, ["deliveries", id]) => Ok(Route::GetDelivery(id)),
        (Method::Post, ["deliveries", id, "cancel"]) => Ok(Route::CancelDelivery(id)),
        (Method::Get, ["health", id]) => Ok(Route::GetHealth(id)),
        (Method::Get, ["dead-letters"]) => Ok(Route::ListDeadLetters),
        (Method::Post, ["replays"]) => Ok(Route::CreateReplay),
        (Method::Get, ["replays"]) => Ok(Route::ListReplays),
        (Method::Get, ["replays", id]) => Ok(Route::GetReplay(id)),
        (Method::Post, ["replays", id, "cancel"]) => Ok(Route::CancelReplay(id)),
        (method, ["deliveries" | "replays" | "health" | "dead-letters" | "missed", ..])
        | (method @ Method::Get, ["events", ..]) => {
            Err(Problem::new(404, format!("{} {} is not served.", method.as_str(), request.path)))
        }
        _ => Err(request.no_route()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
    fn the_page_is_at_the_urls_root_alone() {
        assert!(is_console(&request(Method::Get, "")));
        assert!(!is_console(&request(Method::Post, "")) && !is_console(&request(Method::Get, "/console")));
    }

    #[test]
    fn each_call_has_its_path_and_what_lives_elsewhere_is_named() {
        for (method, path, expected) in [
            (Method::Get, "/v1/events", Ok(Route::ListEvents)),
            (Method::Get, "/v1/events/e", Ok(Route::GetEvent("e"))),
            (Method::Get, "/v1/deliveries", Ok(Route::ListDeliveries)),
            (Method::Get, "/v1/deliveries/d", Ok(Route::GetDelivery("d"))),
            (Method::Post, "/v1/deliveries/d/cancel", Ok(Route::CancelDelivery("d"))),
            (Method::Get, "/v1/health/e", Ok(Route::GetHealth("e"))),
            (Method::Get, "/v1/dead-letters", Ok(Route::ListDeadLetters)),
            (Method::Get, "/v1/missed", Err("GET /v1/missed is not served.")),
            (Method::Get, "/v1/health", Err("GET /v1/health is not served.")),
            (Method::Get, "/v1/deliveries/d/cancel", Err("/v1/deliveries/d/cancel is not served.")),
            (Method::Post, "/v1/replays", Ok(Route::CreateReplay)),
            (Method::Get, "/v1/replays", Ok(Route::ListReplays)),
            (Method::Get, "/v1/replays/r", Ok(Route::GetReplay("r"))),
            (Method::Post, "/v1/replays/r/cancel", Ok(Route::CancelReplay("r"))),
            (Method::Post, "/v1/events", Err("ingest URL")),
            (Method::Get, "/v1/endpoints", Err("endpoints URL")),
            (Method::Post, "/v1/keys", Err("endpoints URL")),
            (Method::Delete, "/v1/deliveries/d", Err("DELETE /v1/deliveries/d is not served")),
            (Method::Get, "/v1/deliveries/d/e", Err("/v1/deliveries/d/e is not served.")),
            (Method::Get, "/deliveries", Err("is not served here")),
        ] {
            let request = request(method, path);
            match (route(&request), expected) {
                (Ok(route), Ok(expected)) => assert_eq!(route, expected),
                (Err(problem), Err(says)) => {
                    assert!(problem.status == 404 && problem.detail.contains(says), "{}", problem.detail);
                }
                (route, expected) => panic!("{path}: {route:?}, expected {expected:?}"),
            }
        }
    }
}
