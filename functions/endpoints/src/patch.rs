//! `PATCH /v1/endpoints/{id}`: changes the fields that are given, and no others.
//!
//! A patch that changes nothing leaves the version as it is.

use pombo_domain::endpoint::Endpoint;
use pombo_requests::{Patch, set_by};
use pombo_web::{Caller, Problem, Request, Response};

use crate::App;
use crate::address::{self, SystemResolver};
use crate::change::{Wanted, change, find};
use crate::settings::random;
use crate::view::EndpointView;

/// Changes an endpoint. A new URL is judged as that of a new endpoint is.
pub async fn patch(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let patch = Patch::read(request, caller, &app.rules)?;
    if let Some(url) = &patch.url {
        // First the endpoint: nobody learns what a name resolves to here without one.
        find(app, caller, id).await?;
        address::not_here(url, request)?;
        address::check(url, &app.rules, caller, set_by(caller), &SystemResolver).await?;
    }
    let key = random()?;
    let patched = |endpoint: &Endpoint, now| {
        patch.check_for(endpoint)?;
        let patched = patch.apply(endpoint, key, now);
        Ok(if patched == *endpoint { Wanted::Nothing } else { Wanted::Change(Box::new(patched)) })
    };
    let done = change(app, caller, id, patched).await?;
    Ok(Response::json(200, &EndpointView::new(&done.endpoint, &done.health)))
}
