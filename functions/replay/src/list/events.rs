//! Which events a list shows.

use pombo_aws::events::{EventPosition, EventRow};
use pombo_domain::cursor::Paged;
use pombo_domain::event::EVENT_SHARDS;
use pombo_domain::event_type::Pattern;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem};
use serde::{Deserialize, Serialize};

/// How many rows a search by type looks at before it shows what it has. They are small: about 25 to a read unit.
const MOST_SEARCHED: usize = 4000;
/// How many of them in one look.
const SEARCHED_AT_ONCE: usize = 500;

/// What a list of events shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventFilter {
    /// Whose events.
    pub(crate) tenant: TenantId,
    /// Of which types; `None` for all.
    pub(crate) event_type: Option<Pattern>,
    /// Accepted at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// Accepted before this time.
    pub(crate) until: Option<Timestamp>,
}

/// A page that a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRequest {
    /// What the list shows.
    pub(crate) filter: EventFilter,
    /// Behind which event the page begins.
    pub(crate) after: Option<EventPosition>,
    /// The most events on the page.
    pub(crate) limit: usize,
}

impl EventRequest {
    /// Reads the query of `GET /v1/events`.
    pub(crate) fn read(request: &pombo_web::Request, caller: &Caller) -> Result<Self, Problem> {
        request.only_query(&["tenant", "type", "since", "until", "limit", "cursor"])?;
        let (since, until) = super::range(request)?;
        let tenant = caller.tenant_for(request.query("tenant")?)?;
        let filter = EventFilter { tenant, event_type: request.query("type")?, since, until };
        let after = request.page(&filter)?.map(|(accepted_at, id)| EventPosition { accepted_at, id });
        Ok(Self { filter, after, limit: request.limit()? })
    }

    /// How many rows the page looks at before it is cut.
    pub(crate) const fn most(&self) -> usize {
        if self.filter.event_type.is_some() { MOST_SEARCHED } else { 4 * self.limit }
    }

    /// How many rows one look takes.
    pub(crate) const fn at_once(&self) -> usize {
        if self.filter.event_type.is_some() { SEARCHED_AT_ONCE } else { self.limit }
    }
}

impl Paged for EventFilter {
    type Place = (Timestamp, EventId);

    fn may_hold(&self, (accepted_at, _): &Self::Place) -> bool {
        accepted_at.is_within(self.since, self.until)
    }
}

impl EventFilter {
    /// The cursor behind an event.
    pub(crate) fn cursor_behind(&self, event: EventPosition) -> String {
        self.cursor((event.accepted_at, event.id))
    }

    /// How many rows to ask each shard for, in a look at so many.
    pub(crate) fn rows_to_ask(look: usize) -> usize {
        super::of_each(look, EVENT_SHARDS)
    }

    /// Whether an event belongs on the page.
    pub(crate) fn shows(&self, row: &EventRow, now: Timestamp) -> bool {
        self.event_type.as_ref().is_none_or(|pattern| pattern.matches(&row.event_type))
            && row.expires_at > now.as_seconds()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pombo_domain::api_key::Scope;
    use pombo_web::Method;

    use super::*;

    fn read(query: &[(&str, &str)], tenant: Option<&str>) -> Result<EventRequest, Problem> {
        let request = pombo_web::Request {
            method: Method::Get,
            path: "/v1/events".into(),
            query: query.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            identity: None,
        };
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        EventRequest::read(&request, &Caller::without_key("k".into(), tenant, Scope::Ops))
    }

    fn position() -> EventPosition {
        EventPosition { accepted_at: Timestamp::from_seconds(1_700_000_000), id: "e".parse().unwrap() }
    }

    #[test]
    fn a_wrong_query_is_refused_by_field() {
        let other_cursor = read(&[("type", "a.*")], None).unwrap().filter.cursor_behind(position());
        for (query, field) in [
            (vec![("status", "failed")], "status"),
            (vec![("tenant", "a b")], "tenant"),
            (vec![("type", "a b")], "type"),
            (vec![("type", "a.*.b")], "type"),
            (vec![("since", "yesterday")], "since"),
            (vec![("since", "2026-01-02T00:00:00Z"), ("until", "2026-01-01T00:00:00Z")], "since"),
            (vec![("limit", "101")], "limit"),
            (vec![("cursor", &other_cursor)], "cursor"),
        ] {
            let problem = read(&query, None).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{query:?}");
        }
    }

    #[test]
    fn the_tenant_is_the_one_named_or_the_callers_own_or_the_default() {
        let tenant = |query: &[_], own| read(query, own).map(|page| page.filter.tenant.to_string());
        assert_eq!(tenant(&[], None).unwrap(), "default");
        assert_eq!(tenant(&[("tenant", "acme")], None).unwrap(), "acme");
        assert_eq!(tenant(&[], Some("acme")).unwrap(), "acme");
        assert_eq!(tenant(&[("tenant", "other")], Some("acme")).unwrap_err().status, 403);
    }

    #[test]
    fn a_cursor_reads_back_with_its_filters() {
        let query = [("tenant", "acme"), ("type", "student.*"), ("until", "2027-01-01T00:00:00Z")];
        let cursor = read(&query, None).unwrap().filter.cursor_behind(position());
        let page = read(&[&query[..], &[("cursor", &cursor), ("limit", "3")]].concat(), None).unwrap();
        assert_eq!((page.after, page.limit), (Some(position()), 3));
    }

    #[test]
    fn a_cursor_that_stands_outside_of_its_list_is_refused() {
        // The position is on 14 November 2023.
        for (query, stands) in [
            (vec![("since", "2023-11-14T22:13:20Z")], true),
            (vec![("since", "2023-11-14T22:13:21Z")], false),
            (vec![("until", "2023-11-14T22:13:21Z")], true),
            (vec![("until", "2023-11-14T22:13:20Z")], false),
        ] {
            let cursor = read(&query, None).unwrap().filter.cursor_behind(position());
            let page = read(&[&query[..], &[("cursor", &cursor)]].concat(), None);
            let field = page.as_ref().map_err(|problem| problem.errors[0].field.as_str()).err();
            assert_eq!(field, (!stands).then_some("cursor"), "{query:?}");
        }
    }

    #[test]
    fn a_page_looks_at_a_bounded_number_of_rows() {
        for (query, most, at_once, asked) in [
            (vec![("limit", "100")], 400, 100, 20),
            (vec![("limit", "1")], 4, 1, 1),
            (vec![("limit", "100"), ("type", "a")], 4000, 500, 70),
        ] {
            let page = read(&query, None).unwrap();
            let asks = EventFilter::rows_to_ask(page.at_once());
            assert_eq!((page.most(), page.at_once(), asks), (most, at_once, asked), "{query:?}");
        }
    }

    #[test]
    fn what_is_of_another_type_or_has_expired_is_not_shown() {
        let row = |event_type: &str, expires_at| EventRow {
            position: position(),
            event_type: event_type.parse().unwrap(),
            deliveries: Some(1),
            expires_at,
        };
        let filter = read(&[("type", "student.*")], None).unwrap().filter;
        let now = Timestamp::from_seconds(10);
        assert!(filter.shows(&row("student.created", 11), now));
        assert!(!filter.shows(&row("student.created", 10), now));
        assert!(!filter.shows(&row("teacher.created", 11), now));
    }
}
