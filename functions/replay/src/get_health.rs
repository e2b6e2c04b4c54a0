//! `GET /v1/health/{endpoint_id}`: how an endpoint is doing, from what is there anyway.
//!
//! Nothing is written for it. The rates and times are those of the endpoint's newest deliveries, the circuit is in its
//! health, and what waits or failed is counted in the lists of what did not succeed: up to a bound, and by indexes that are
//! late by moments.

mod newest;

use futures::try_join;
use pombo_aws::deliveries::{Counted, List};
use pombo_domain::delivery::{Listing, Status};
use pombo_domain::endpoint::{EndpointStatus, Pause};
use pombo_domain::health::Circuit;
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use self::newest::Newest;
use crate::settings::App;

/// Of so many deliveries the rates and times are.
const MOST_NEWEST: usize = 200;
/// So far what waits, and what failed, is counted.
const MOST_COUNTED: usize = 1000;

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

/// A count with a bound: with `more`, there are more than `count`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Count {
    count: usize,
    more: bool,
}

/// Answers with the endpoint's health.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&[])?;
    let unknown = || Problem::not_found("endpoint");
    let id: EndpointId = id.parse().map_err(|_| unknown())?;
    let known = app.endpoints.get_with_health(&id).await?.filter(|(endpoint, _)| caller.sees(&endpoint.tenant));
    let (endpoint, health) = known.ok_or_else(unknown)?;
    let deliveries = &app.protocol.deliveries;
    let list = |status| List::ByEndpoint(Listing::endpoint_partition(&id, status));
    let (retrying, held, failed) = (list(Status::Retrying), list(Status::Held), list(Status::Failed));
    let (newest, retrying, held, failed) = try_join!(
        deliveries.newest(&id, MOST_NEWEST),
        deliveries.count(&retrying, MOST_COUNTED),
        deliveries.count(&held, MOST_COUNTED),
        deliveries.count(&failed, MOST_COUNTED),
    )?;
    let answer = Answer {
        status: endpoint.status,
        pause: endpoint.pause,
        circuit: Circuit::of(&health),
        failing_since: health.failing_since,
        newest: Newest::of(&newest),
        waiting: Count::of(&[retrying, held]),
        failed: Count::of(&[failed]),
        endpoint_id: id,
    };
    Ok(Response::json(200, &answer))
}

impl Count {
    fn of(counted: &[Counted]) -> Self {
        let sum: usize = counted.iter().map(|counted| counted.count).sum();
        let more = sum > MOST_COUNTED || counted.iter().any(|counted| counted.more);
        Self { count: sum.min(MOST_COUNTED), more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_ends_at_a_thousand_and_says_so() {
        let counted = |count, more| Counted { count, more };
        for (parts, count, more) in [
            (vec![counted(0, false)], 0, false),
            (vec![counted(1000, false)], 1000, false),
            (vec![counted(1000, true)], 1000, true),
            (vec![counted(600, false), counted(400, false)], 1000, false),
            (vec![counted(600, false), counted(401, false)], 1000, true),
            (vec![counted(3, false), counted(1000, true)], 1000, true),
        ] {
            assert_eq!(Count::of(&parts), Count { count, more }, "{parts:?}");
        }
    }
}
