//! `GET /v1/deliveries`: deliveries of an endpoint, a tenant or the stack, newest first.

use futures::future::try_join_all;
use pombo_aws::clock;
use pombo_aws::deliveries::Window;
use pombo_domain::ids::EndpointId;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::list::{self, Part, Scope, merge};
use crate::settings::App;
use crate::view::DeliveryView;

#[derive(Debug, Serialize)]
struct Page {
    deliveries: Vec<DeliveryView>,
    cursor: Option<String>,
}

/// Answers with a page. It may hold fewer than `limit` deliveries although there are more: the cursor tells.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let wanted = list::Request::read(request, caller)?;
    if let Scope::Endpoint(endpoint_id) = &wanted.filter.scope {
        check_endpoint(app, caller, endpoint_id).await?;
    }
    let candidates = merge(parts(app, &wanted).await?, wanted.limit);
    let mut records = app.protocol.deliveries.get_many(&candidates.keys).await?;
    let now = clock::now();
    records.retain(|_, record| wanted.filter.shows(record, now) && caller.sees(&record.tenant));
    let deliveries = candidates.keys.iter().filter_map(|key| records.remove(key)).map(DeliveryView::of).collect();
    let last = candidates.keys.last().filter(|_| candidates.more);
    let cursor = last.map(|key| wanted.filter.cursor(key.clone()));
    Ok(Response::json(200, &Page { deliveries, cursor }))
}

/// A misspelled endpoint, or another tenant's, is not one without deliveries.
async fn check_endpoint(app: &App, caller: &Caller, endpoint_id: &EndpointId) -> Result<(), Problem> {
    match app.endpoints.get(endpoint_id).await? {
        Some(endpoint) if caller.sees(&endpoint.tenant) => Ok(()),
        _ => Err(Problem::not_found("endpoint")),
    }
}

/// Asks the partitions of a list, stage by stage.
async fn parts(app: &App, wanted: &list::Request) -> Result<Vec<Part>, Problem> {
    let limit = wanted.filter.keys_to_ask(wanted.limit);
    let window = Window {
        since: wanted.filter.since,
        until: wanted.filter.until,
        after: wanted.after.clone(),
        limit,
        oldest_first: false,
    };
    let mut parts = Vec::new();
    for stage in wanted.filter.stages() {
        let queries = stage.iter().map(|list| app.protocol.deliveries.list(list, &window));
        let answers = try_join_all(queries).await?;
        parts.extend(answers.into_iter().map(|keys| Part { exhausted: keys.len() < limit, keys }));
    }
    Ok(parts)
}
