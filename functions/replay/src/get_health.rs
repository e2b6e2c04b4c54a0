//! `GET /v1/health/{endpoint_id}`: how an endpoint is doing, from what is there anyway.
//!
//! Nothing is written for it. The rates and times are those of the endpoint's newest deliveries, the circuit is in its
//! health, and what waits or failed is counted in the lists of what did not succeed: up to a bound, and by indexes that are
//! late by moments. Expired deliveries are not counted, even before DynamoDB deletes them.

mod count;
mod newest;

use futures::try_join;
use pombo_aws::clock;
use pombo_aws::deliveries::List;
use pombo_domain::delivery::{Listing, Status};
use pombo_domain::endpoint::{EndpointStatus, Pause};
use pombo_domain::health::Circuit;
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use self::count::{Count, count};
use self::newest::Newest;
use crate::settings::App;

/// Of so many deliveries the rates and times are.
const MOST_NEWEST: usize = 200;

#[derive(Debug, Serialize)]
struct Answer {
    endpoint_id: EndpointId,
    status: EndpointStatus,
    pause: Option<Pause>,
    circuit: Circuit,
    failing_since: Option<Timestamp>,
    newest: Newest,
    waiting: Count,
    failed: Count,
}

/// Answers with the endpoint's health.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&[])?;
    let unknown = || caller.not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| unknown())?;
    let known = app.clients.endpoints.get_with_health(&id).await?.filter(|(endpoint, _)| caller.sees(&endpoint.tenant));
    let (endpoint, health) = known.ok_or_else(unknown)?;
    let deliveries = &app.clients.protocol.deliveries;
    let list = |status| List::ByEndpoint(Listing::endpoint_partition(&id, status));
    let (retrying, held, failed) = (list(Status::Retrying), list(Status::Held), list(Status::Failed));
    let now = clock::now();
    let (newest, retrying, held, failed) = try_join!(
        deliveries.newest(&id, MOST_NEWEST),
        count(deliveries, &retrying, app.retention, now),
        count(deliveries, &held, app.retention, now),
        count(deliveries, &failed, app.retention, now),
    )?;
    let answer = Answer {
        status: endpoint.status,
        pause: endpoint.pause,
        circuit: Circuit::of(&health),
        failing_since: health.failing_since,
        newest: Newest::of(&newest, now),
        waiting: Count::of(&[retrying, held]),
        failed: Count::of(&[failed]),
        endpoint_id: id,
    };
    Ok(Response::json(200, &answer))
}
