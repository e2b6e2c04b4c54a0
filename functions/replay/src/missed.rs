//! `POST /v1/missed`: a receiver asks for what it missed, without an operator.
//!
//! It proves itself as Pombo proves itself to it: by a Standard Webhooks signature under its own signing secret, over a body
//! that names the endpoint. That opens this call and nothing else, for this endpoint and no other. What an unknown endpoint
//! is told is what a wrong signature is told. A signature holds for five minutes, and its id is taken once; an endpoint may
//! make ten requests in ten minutes.
//!
//! It lists the endpoint's failed deliveries, oldest first, or with `"replay": true` orders them all again, by a job like
//! that of `POST /v1/replays`.

use pombo_aws::admission::Admitted;
use pombo_aws::clock;
use pombo_aws::deliveries::{List, Window};
use pombo_domain::api_key::Scope;
use pombo_domain::cursor::Paged;
use pombo_domain::delivery::{DeliveryKey, Listing, Record, Status};
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::invalid::InvalidField;
use pombo_domain::missed::NotAdmitted;
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_jobs::Invocation;
use pombo_jobs::merge::Candidates;
use pombo_requests::{MissedRequest, proved, signed};
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};
use tracing::Span;

use crate::create_replay;
use crate::list::Page;
use crate::settings::App;

/// The most deliveries of a page.
const PAGE: usize = 100;
/// The most deliveries that a page looks at.
const MOST_LOOKED_AT: usize = 400;

/// The failed deliveries of an endpoint, since a time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Missed {
    endpoint: EndpointId,
    since: Timestamp,
}

impl Paged for Missed {
    type Place = DeliveryKey;

    fn may_hold(&self, place: &DeliveryKey) -> bool {
        place.endpoint_id == self.endpoint && place.accepted_at.is_within(Some(self.since), None)
    }
}

#[derive(Debug, Serialize)]
struct Answer {
    failed: Vec<Failed>,
    cursor: Option<String>,
}

/// A failed delivery, by what the receiver knows of it.
#[derive(Debug, Serialize)]
struct Failed {
    event_id: EventId,
    webhook_id: WebhookId,
    #[serde(rename = "type")]
    event_type: EventType,
    accepted_at: Timestamp,
    failed_at: Option<Timestamp>,
}

/// Answers a receiver.
pub(crate) async fn answer(app: &App, request: &Request, invocation: &Invocation) -> Result<Response, Problem> {
    request.only_query(&[])?;
    let now = clock::now();
    let signed = signed(request, now)?;
    let body = MissedRequest::read(request)?;
    let endpoint = app.clients.endpoints.get(&body.endpoint).await?;
    let endpoint = proved(endpoint, &signed, &request.body, now)?;
    Span::current().record("endpoint", endpoint.id.as_str());
    if let Admitted::No(refusal) = app.missed.admit(&endpoint.id, &signed.id, invocation.writer(), now).await? {
        return Err(not_admitted(refusal, now));
    }
    if body.replay {
        let caller = Caller::without_key(endpoint.id.to_string(), Some(endpoint.tenant), Scope::Ops);
        let ordered = create_replay::of_failed(app, &caller, endpoint.id, body.since, invocation).await;
        return ordered.map_err(in_own_fields);
    }
    list(app, Missed { endpoint: endpoint.id, since: body.since }, body.cursor.as_deref()).await
}

fn not_admitted(refusal: NotAdmitted, now: Timestamp) -> Problem {
    match refusal {
        NotAdmitted::Repeated => {
            Problem::new(409, "A request with this webhook-id was made already. Sign another, with an id of its own.")
        }
        NotAdmitted::TooMany { until } => {
            let seconds = u32::try_from(now.until(until).as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
            let detail = "The endpoint has made ten requests in the last ten minutes. Make the next one later.";
            Problem { retry_after: Some(seconds), ..Problem::new(429, detail) }
        }
    }
}

/// The fields of an order's filter are fields of the body here.
fn in_own_fields(problem: Problem) -> Problem {
    let own = |field: &str| field.strip_prefix("filter.").unwrap_or(field).to_owned();
    let errors: Vec<_> =
        problem.errors.iter().map(|error| InvalidField { field: own(&error.field), ..error.clone() }).collect();
    let count = errors.len();
    if errors == problem.errors { problem } else { Problem::fields(errors, count) }
}

/// A page of the endpoint's failed deliveries, oldest first.
async fn list(app: &App, missed: Missed, after: Option<&str>) -> Result<Response, Problem> {
    let after = after.map(|cursor| missed.place(cursor)).transpose().map_err(|rule| rule.in_field("cursor"))?;
    let list = List::ByEndpoint(Listing::endpoint_partition(&missed.endpoint, Status::Failed));
    let mut page = Page::new(after, PAGE, MOST_LOOKED_AT);
    while page.is_open() {
        let after = page.position().cloned();
        let window = Window { since: Some(missed.since), until: None, after, limit: PAGE, oldest_first: true };
        let keys = app.clients.protocol.deliveries.list(&list, &window).await?;
        let mut records = app.clients.protocol.deliveries.get_many(&keys).await?;
        let now = clock::now();
        let more = keys.len() == PAGE;
        page.take(Candidates { rows: keys, more }, |key| {
            let record = records.remove(&key);
            let record =
                record.filter(|record| record.status == Status::Failed && record.expires_at > now.as_seconds());
            (key, record.map(Failed::of))
        });
    }
    let page = page.filled();
    let cursor = page.next.map(|key| missed.cursor(key));
    Ok(Response::json(200, &Answer { failed: page.shown, cursor }))
}

impl Failed {
    fn of(record: Record) -> Self {
        Self {
            failed_at: record.attempts.last().map(pombo_domain::outcome::Attempt::ended_at),
            webhook_id: WebhookId::new(record.tenant, record.key.event_id.clone()),
            event_id: record.key.event_id,
            event_type: record.event_type,
            accepted_at: record.key.accepted_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn a_copy_is_refused_for_good_and_one_too_many_for_a_while() {
        assert_eq!(not_admitted(NotAdmitted::Repeated, NOW).status, 409);
        let until = Timestamp::from_millis(NOW.as_millis() + 90_001);
        let later = not_admitted(NotAdmitted::TooMany { until }, NOW);
        assert_eq!((later.status, later.retry_after), (429, Some(91)));
    }

    #[test]
    fn a_receivers_cursor_stands_behind_its_own_endpoint_and_time() {
        let id = |byte| EndpointId::generate([byte; 10]);
        let missed = Missed { endpoint: id(1), since: NOW };
        let place = |endpoint_id, accepted_at| DeliveryKey { endpoint_id, accepted_at, event_id: "e".parse().unwrap() };
        let later = NOW.plus(std::time::Duration::from_secs(1));
        let earlier = NOW.minus(std::time::Duration::from_millis(1));
        for (place, stands) in [
            (place(id(1), NOW), true),
            (place(id(1), later), true),
            (place(id(1), earlier), false),
            (place(id(2), later), false),
        ] {
            assert_eq!(missed.place(&missed.cursor(place.clone())).is_ok(), stands, "{place:?}");
        }
    }
}
