//! `POST /v1/endpoints`.

use pombo_aws::clock;
use pombo_aws::endpoints::{Change, Changed};
use pombo_domain::health::Health;
use pombo_domain::operational::Happening;
use pombo_domain::signature::Secret;
use pombo_requests::NewEndpoint;
use pombo_web::{Caller, Problem, Request, Response};

use crate::address::{self, SystemResolver};
use crate::change::{News, Repeats, routed, store};
use crate::settings::random;
use crate::view::EndpointView;
use crate::{App, limits, new_id};

/// Registers an endpoint. The answer is the only one, beside `GET …/secret`, that shows a secret made here.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let new = NewEndpoint::read(request, caller, &app.rules)?;
    address::not_here(&new.url, request)?;
    address::check(&new.url, &app.rules, caller, new.url_set_by, &SystemResolver).await?;
    let secret = match &new.secret {
        Some(imported) => imported.clone(),
        None => Secret::generate(random()?),
    };
    let now = clock::now();
    let mut routing = app.routing.get(&new.tenant).await?;
    let mut endpoint = new.into_endpoint(new_id::next(&routing, now, random()?), secret, random()?, now);
    let mut tried = Vec::new();
    let mut repeats = Repeats::of("endpoints");
    loop {
        let counted = limits::registered(app, &endpoint, &routing, now).await?;
        let next = routed(&routing, &endpoint)?;
        let news = News::of(app, &endpoint, &Happening::Created, now).await?;
        let also = [news.write(app)?, counted].concat();
        let change = Change { endpoint: &endpoint, seen: None, routing: &next, jobs: &[], also };
        if store(app, &change).await? == Changed::Stored {
            news.announce(app).await;
            break;
        }
        tried.push(endpoint.id.clone());
        repeats.wait().await?;
        routing = app.routing.get(&endpoint.tenant).await?;
        // A try that was still in progress when it was given up may have come through.
        if let Some(id) = tried.iter().find(|id| routing.version_of(id).is_some()) {
            endpoint.id = id.clone();
            break;
        }
        endpoint.id = new_id::next(&routing, now, random()?);
    }
    tracing::info!(endpoint = %endpoint.id, tenant = %endpoint.tenant, "Endpoint {} registered.", endpoint.id);
    let secret = endpoint.secrets.current_secret();
    Ok(Response::json(201, &EndpointView::with_secret(&endpoint, &Health::good(), secret)))
}
