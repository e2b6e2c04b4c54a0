//! `GET /v1/deliveries`: deliveries of an endpoint, a tenant or the stack, newest first.

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Window;
use pombo_domain::cursor::Paged as _;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_jobs::merge::{Part, merge};
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::held;
use crate::list::{self, Filter, Page, Scope};
use crate::settings::App;
use crate::view::DeliveryView;

#[derive(Debug, Serialize)]
struct Answer {
    deliveries: Vec<DeliveryView>,
    cursor: Option<String>,
    searched_to: Option<Timestamp>,
}

/// Answers with a page. One that says `searched_to` is short because nothing more was found down to that time, in all that a
/// page may look at: the cursor goes on from there.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let wanted = list::Request::read(request, caller)?;
    let filter = &wanted.filter;
    if let Scope::Endpoint(endpoint_id) = &filter.scope {
        check_endpoint(app, caller, endpoint_id).await?;
    }
    let mut page = Page::new(wanted.after.clone(), wanted.limit, wanted.most());
    while page.is_open() {
        let candidates = merge(parts(app, filter, page.position(), wanted.at_once()).await?, wanted.at_once());
        let mut records = app.clients.protocol.deliveries.get_readable(&candidates.rows).await?;
        let now = clock::now();
        page.take(candidates, |key| {
            let record = records.remove(&key);
            let record = record.filter(|record| filter.shows(record, now) && caller.sees(&record.tenant));
            (key, record.map(|record| DeliveryView::of(record, caller)))
        });
    }
    let mut page = page.filled();
    held::name_causes(app, &mut page.shown).await;
    let searched_to = page.next.as_ref().filter(|_| page.cut).map(|key| key.accepted_at);
    let cursor = page.next.map(|key| filter.cursor(key));
    Ok(Response::json(200, &Answer { deliveries: page.shown, cursor, searched_to }))
}

/// A misspelled endpoint, or another tenant's, is not one without deliveries.
async fn check_endpoint(app: &App, caller: &Caller, endpoint_id: &EndpointId) -> Result<(), Problem> {
    match app.clients.endpoints.get(endpoint_id).await? {
        Some(endpoint) if caller.sees(&endpoint.tenant) => Ok(()),
        _ => Err(caller.not_found("endpoint")),
    }
}

/// Asks the partitions of a list for what stands behind a delivery, stage by stage.
async fn parts(
    app: &App,
    filter: &Filter,
    after: Option<&DeliveryKey>,
    look: usize,
) -> Result<Vec<Part<DeliveryKey>>, AwsError> {
    let limit = filter.keys_to_ask(look);
    let (since, until) = (filter.since, filter.until);
    let window = Window { since, until, after: after.cloned(), limit, oldest_first: false };
    let mut parts = Vec::new();
    for stage in filter.stages() {
        let queries = stage.iter().map(|list| app.clients.protocol.deliveries.list(list, &window));
        let answers = try_join_all(queries).await?;
        parts.extend(answers.into_iter().map(|keys| Part::of(keys, limit)));
    }
    Ok(parts)
}
