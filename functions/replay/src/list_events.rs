//! `GET /v1/events`: a tenant's events, newest first.

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::events::{EventPosition, EventRow, EventWindow};
use pombo_domain::event::EVENT_SHARDS;
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_jobs::merge::{Part, merge};
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::list::{EventFilter, EventRequest, Page};
use crate::settings::App;

/// An event without its data.
#[derive(Debug, Serialize)]
struct EventView {
    id: EventId,
    /// How receivers know it.
    webhook_id: WebhookId,
    tenant: TenantId,
    #[serde(rename = "type")]
    event_type: EventType,
    accepted_at: Timestamp,
    deliveries: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Answer {
    /// Whose events these are: of a request that names no tenant, the caller's own, or `default`.
    tenant: TenantId,
    events: Vec<EventView>,
    cursor: Option<String>,
    searched_to: Option<Timestamp>,
}

/// Answers with a page. One that says `searched_to` is short because nothing more was found down to that time, in all that a
/// page may look at: the cursor goes on from there.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let wanted = EventRequest::read(request, caller)?;
    let filter = &wanted.filter;
    let now = clock::now();
    let mut page = Page::new(wanted.after.clone(), wanted.limit, wanted.most());
    while page.is_open() {
        let parts = parts(app, filter, page.position(), wanted.at_once()).await?;
        page.take(merge(parts, wanted.at_once()), |row| {
            let shown = filter.shows(&row, now);
            (row.position.clone(), shown.then(|| EventView::of(row, filter.tenant.clone())))
        });
    }
    let page = page.filled();
    let searched_to = page.next.as_ref().filter(|_| page.cut).map(|position| position.accepted_at);
    let cursor = page.next.map(|position| filter.cursor_behind(position));
    Ok(Response::json(200, &Answer { tenant: wanted.filter.tenant, events: page.shown, cursor, searched_to }))
}

/// Asks each shard for what stands behind a position.
async fn parts(
    app: &App,
    filter: &EventFilter,
    after: Option<&EventPosition>,
    look: usize,
) -> Result<Vec<Part<EventRow>>, AwsError> {
    let limit = EventFilter::rows_to_ask(look);
    let (since, until) = (filter.since, filter.until);
    let window = EventWindow { since, until, after: after.cloned(), limit, oldest_first: false };
    let shards = (0..EVENT_SHARDS).map(|shard| app.clients.events.rows_by_time(&filter.tenant, shard, &window));
    Ok(try_join_all(shards).await?.into_iter().map(|rows| Part::of(rows, limit)).collect())
}

impl EventView {
    fn of(row: EventRow, tenant: TenantId) -> Self {
        let EventPosition { accepted_at, id } = row.position;
        let webhook_id = WebhookId::new(tenant.clone(), id.clone());
        Self { id, webhook_id, tenant, event_type: row.event_type, accepted_at, deliveries: row.deliveries }
    }
}
