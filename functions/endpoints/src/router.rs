//! Which call a request is.

use pombo_domain::api_key::Scope::{Admin, Endpoints, Ops};
use pombo_web::Method::{Delete, Get, Patch, Post};
use pombo_web::route::{self, Access, Route};
use pombo_web::{Problem, Request, Response, Url, not_served};

use crate::{App, create, keys, lifecycle, list, patch, public_keys, secrets, tenants, test_endpoint};

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
    /// Lists tenants.
    ListTenants,
}

/// The calls of the URL.
pub const ROUTES: [Route<Open, Call>; 15] = [
    Route::key(Get, "/v1/endpoints", &[Ops, Endpoints], Call::ListEndpoints),
    Route::key(Post, "/v1/endpoints", &[Endpoints], Call::CreateEndpoint),
    Route::key(Delete, "/v1/endpoints/{id}", &[Endpoints], Call::DeleteEndpoint),
    Route::key(Get, "/v1/endpoints/{id}", &[Ops, Endpoints], Call::GetEndpoint),
    Route::key(Patch, "/v1/endpoints/{id}", &[Endpoints], Call::PatchEndpoint),
    Route::key(Post, "/v1/endpoints/{id}/pause", &[Endpoints], Call::Pause),
    Route::key(Post, "/v1/endpoints/{id}/resume", &[Endpoints], Call::Resume),
    Route::key(Post, "/v1/endpoints/{id}/rotate-secret", &[Endpoints], Call::RotateSecret),
    Route::key(Post, "/v1/endpoints/{id}/test", &[Endpoints], Call::Test),
    Route::open(Get, "/v1/endpoints/{id}/keys.json", Open::PublicKeys),
    Route::key(Get, "/v1/endpoints/{id}/secret", &[Endpoints], Call::ShowSecret),
    Route::key(Get, "/v1/keys", &[Admin], Call::ListKeys),
    Route::key(Post, "/v1/keys", &[Admin], Call::CreateKey),
    Route::key(Delete, "/v1/keys/{id}", &[Admin], Call::RevokeKey),
    Route::key(Get, "/v1/tenants", &[Ops], Call::ListTenants),
];

/// Authenticates and serves a request, or serves what is for anybody.
pub async fn route(app: &App, request: &Request) -> Result<Response, Problem> {
    let (scopes, call, id) = match route::find(&ROUTES, request) {
        Some((Access::Open(Open::PublicKeys), id)) => return public_keys::show(app, id, request).await,
        Some((Access::Key(scopes, call), id)) => (scopes, call, id),
        None => return Err(not_served(Url::Endpoints, request)),
    };
    let caller = &app.authenticator.authenticate(request, scopes).await?;
    if !matches!(call, Call::ListEndpoints | Call::ListKeys | Call::RevokeKey | Call::ListTenants) {
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
        Call::RevokeKey => keys::revoke(app, caller, id, request).await,
        Call::ListTenants => tenants::list(app, caller, request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_those_that_the_other_urls_send_callers_to() {
        let routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(routes, pombo_web::served_by(Url::Endpoints).collect::<Vec<_>>());
    }
}
