//! The Function URL: which call answers which path.

use std::time::Instant;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use pombo_domain::api_key::Scope;
use pombo_web::{Method, Problem, Request, Response};

use crate::invocation::Invocation;
use crate::settings::App;
use crate::{create_replay, get_delivery, get_event, get_replay, list_deliveries};

/// The calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    GetEvent(&'a str),
    ListDeliveries,
    GetDelivery(&'a str),
    CreateReplay,
    GetReplay(&'a str),
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
    let route = route(request)?;
    let caller = app.authenticator.authenticate(request, Scope::Ops).await?;
    name.clone_from(&caller.name);
    match route {
        Route::GetEvent(id) => get_event::answer(app, &caller, request, id).await,
        Route::ListDeliveries => list_deliveries::answer(app, &caller, request).await,
        Route::GetDelivery(id) => get_delivery::answer(app, &caller, request, id).await,
        Route::CreateReplay => create_replay::answer(app, &caller, request, invocation).await,
        Route::GetReplay(id) => get_replay::answer(app, &caller, request, id).await,
    }
}

fn route(request: &Request) -> Result<Route<'_>, Problem> {
    match (request.method, request.segments().as_slice()) {
        (Method::Get, ["events", id]) => Ok(Route::GetEvent(id)),
        (Method::Get, ["deliveries"]) => Ok(Route::ListDeliveries),
        (Method::Get, ["deliveries", id]) => Ok(Route::GetDelivery(id)),
        (Method::Post, ["replays"]) => Ok(Route::CreateReplay),
        (Method::Get, ["replays", id]) => Ok(Route::GetReplay(id)),
        (method, ["deliveries" | "replays", ..]) | (method @ Method::Get, ["events", ..]) => {
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
    fn each_call_has_its_path_and_what_lives_elsewhere_is_named() {
        for (method, path, expected) in [
            (Method::Get, "/v1/events/e", Ok(Route::GetEvent("e"))),
            (Method::Get, "/v1/deliveries", Ok(Route::ListDeliveries)),
            (Method::Get, "/v1/deliveries/d", Ok(Route::GetDelivery("d"))),
            (Method::Post, "/v1/replays", Ok(Route::CreateReplay)),
            (Method::Get, "/v1/replays/r", Ok(Route::GetReplay("r"))),
            (Method::Post, "/v1/events", Err("ingest URL")),
            (Method::Get, "/v1/endpoints", Err("endpoints URL")),
            (Method::Post, "/v1/keys", Err("endpoints URL")),
            (Method::Delete, "/v1/deliveries/d", Err("DELETE /v1/deliveries/d is not served")),
            (Method::Get, "/v1/deliveries/d/e", Err("/v1/deliveries/d/e is not served.")),
            (Method::Get, "/v1/events", Err("GET /v1/events is not served.")),
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
