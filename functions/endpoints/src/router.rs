//! Which call a request is.

use pombo_domain::api_key::Scope::{Admin, Ops};
use pombo_web::Method::{Delete, Get, Patch, Post};
use pombo_web::route::{self, Access, Route};
use pombo_web::{Method, Problem, Request, Response};

use crate::{App, create, keys, lifecycle, list, patch, public_keys, secrets, test_endpoint};

/// The calls that take no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Shows an endpoint's public keys: receivers verify with them.
    PublicKeys,
}

/// The calls that take a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Registers an endpoint.
    CreateEndpoint,
    /// Lists endpoints.
    ListEndpoints,
    /// Shows an endpoint.
    GetEndpoint,
    /// Changes an endpoint.
    PatchEndpoint,
    /// Deletes an endpoint.
    DeleteEndpoint,
    /// Pauses an endpoint.
    Pause,
    /// Resumes an endpoint.
    Resume,
    /// Shows an endpoint's signing secrets.
    ShowSecret,
    /// Gives an endpoint a new signing secret.
    RotateSecret,
    /// Sends an endpoint a ping.
    Test,
    /// Makes an API key.
    CreateKey,
    /// Lists API keys.
    ListKeys,
    /// Revokes an API key.
    RevokeKey,
}

/// The calls of the URL.
pub const ROUTES: [Route<Open, Call>; 14] = [
    Route::key(Get, "/v1/endpoints", Ops, Call::ListEndpoints),
    Route::key(Post, "/v1/endpoints", Admin, Call::CreateEndpoint),
    Route::key(Delete, "/v1/endpoints/{id}", Admin, Call::DeleteEndpoint),
    Route::key(Get, "/v1/endpoints/{id}", Ops, Call::GetEndpoint),
    Route::key(Patch, "/v1/endpoints/{id}", Admin, Call::PatchEndpoint),
    Route::key(Post, "/v1/endpoints/{id}/pause", Admin, Call::Pause),
    Route::key(Post, "/v1/endpoints/{id}/resume", Admin, Call::Resume),
    Route::key(Post, "/v1/endpoints/{id}/rotate-secret", Admin, Call::RotateSecret),
    Route::key(Post, "/v1/endpoints/{id}/test", Admin, Call::Test),
    Route::open(Get, "/v1/endpoints/{id}/keys.json", Open::PublicKeys),
    Route::key(Get, "/v1/endpoints/{id}/secret", Admin, Call::ShowSecret),
    Route::key(Get, "/v1/keys", Admin, Call::ListKeys),
    Route::key(Post, "/v1/keys", Admin, Call::CreateKey),
    Route::key(Delete, "/v1/keys/{id}", Admin, Call::RevokeKey),
];

/// Authenticates and serves a request, or serves what is for anybody; `key` tells the log who called.
pub async fn route(app: &App, request: &Request, key: &mut Option<String>) -> Result<Response, Problem> {
    let (scope, call, id) = match route::find(&ROUTES, request) {
        Some((Access::Open(Open::PublicKeys), id)) => return public_keys::show(app, id, request).await,
        Some((Access::Key(scope, call), id)) => (scope, call, id),
        None => return not_served(request),
    };
    let caller = &app.authenticator.authenticate(request, scope).await?;
    *key = Some(caller.name.clone());
    if !matches!(call, Call::ListEndpoints | Call::ListKeys) {
        request.only_query(&[])?;
    }
    match call {
        Call::CreateEndpoint => create::create(app, caller, request).await,
        Call::ListEndpoints => list::list(app, caller, request).await,
        Call::GetEndpoint => list::get(app, caller, id).await,
        Call::PatchEndpoint => patch::patch(app, caller, id, request).await,
        Call::DeleteEndpoint => lifecycle::delete(app, caller, id).await,
        Call::Pause => lifecycle::pause(app, caller, id, request).await,
        Call::Resume => lifecycle::resume(app, caller, id, request).await,
        Call::ShowSecret => secrets::show(app, caller, id).await,
        Call::RotateSecret => secrets::rotate(app, caller, id, request).await,
        Call::Test => test_endpoint::send(app, caller, id, request).await,
        Call::CreateKey => keys::create(app, caller, request).await,
        Call::ListKeys => keys::list(app, caller, request).await,
        Call::RevokeKey => keys::revoke(app, caller, id).await,
    }
}

/// What is said to a request that is no call: 405 where the path has other methods.
fn not_served(request: &Request) -> Result<Response, Problem> {
    let methods = methods(&request.path);
    if methods.is_empty() { Err(unknown(request)) } else { Ok(method_not_allowed(&methods)) }
}

/// The methods that a path has; none for a path that is not served here.
fn methods(path: &str) -> Vec<Method> {
    ROUTES.iter().filter(|route| route.id(path).is_some()).map(|route| route.method).collect()
}

fn method_not_allowed(methods: &[Method]) -> Response {
    let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
    let problem = Problem::new(405, format!("This path has the methods {allow}."));
    Response::from(problem).with_header("allow", allow)
}

/// 404 that names the URL of the stack where such a path is served, unless that is this one.
fn unknown(request: &Request) -> Problem {
    match request.segments().as_slice() {
        ["endpoints" | "keys", ..] => {
            Problem::new(404, format!("{} {} is not served.", request.method.as_str(), request.path))
        }
        _ => request.no_route(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn every_path_has_its_methods() {
        for (path, expected) in [
            ("/v1/endpoints", "GET, POST"),
            ("/v1/endpoints/ep_x", "DELETE, GET, PATCH"),
            ("/v1/endpoints/ep_x/pause", "POST"),
            ("/v1/endpoints/ep_x/resume", "POST"),
            ("/v1/endpoints/ep_x/rotate-secret", "POST"),
            ("/v1/endpoints/ep_x/keys.json", "GET"),
            ("/v1/endpoints/ep_x/secret", "GET"),
            ("/v1/endpoints/ep_x/test", "POST"),
            ("/v1/keys", "GET, POST"),
            ("/v1/keys/x", "DELETE"),
        ] {
            let response = method_not_allowed(&methods(path));
            assert_eq!((response.status, response.header("allow")), (405, Some(expected)), "{path}");
        }
        for path in ["/v1/endpoints/ep_x/other", "/v1/endpoints/ep_x/pause/x", "/v1/keys/x/y", "/v1/events", "/v1/"] {
            assert_eq!(methods(path), [], "{path}");
        }
    }

    #[test]
    fn a_path_of_another_url_is_named_and_one_of_this_url_is_not() {
        let detail = |path: &str| {
            let request = Request { path: path.into(), ..samples::request("") };
            unknown(&request).detail
        };
        assert!(detail("/v1/events").contains("ingest URL"));
        assert!(detail("/v1/deliveries").contains("replay URL"));
        assert!(!detail("/v1/endpoints/ep_x/other").contains("URL"));
    }
}
