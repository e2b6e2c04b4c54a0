//! `GET /v1/endpoints` and `GET /v1/endpoints/{id}`.
//!
//! A list is strongly consistent: the routing record says which endpoints there are, in the order in which they were
//! registered, and those of a page are read by their ids. Without a tenant, a key for the whole stack lists the endpoints
//! of all tenants, one tenant after the other: see `list_stack`. A key without the scope `admin` sees of an endpoint what
//! it is known by, and nothing that may be secret ([`SeenEndpoint`]).

use pombo_domain::cursor::Paged;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::routing::RoutingRecord;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::change::{find_with_health, is_visible};
use crate::list_stack;
use crate::new_id::Place;
use crate::view::SeenEndpoint;

#[derive(Debug, Serialize)]
struct Page<'a> {
    endpoints: Vec<SeenEndpoint<'a>>,
    cursor: Option<String>,
}

/// The endpoints of a tenant.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OfTenant {
    endpoints_of: TenantId,
}

impl Paged for OfTenant {
    type Place = EndpointId;

    /// An endpoint that is gone since cannot be told from one that was never there; either way its place is known, and no
    /// call is made with it.
    fn may_hold(&self, _: &EndpointId) -> bool {
        true
    }
}

/// One endpoint.
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let (endpoint, health) = find_with_health(app, caller, id).await?;
    Ok(Response::json(200, &SeenEndpoint::by(caller, &endpoint, &health)))
}

/// A page of the endpoints of a tenant, or of the stack.
pub async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["tenant", "limit", "cursor"])?;
    let (named, limit) = (request.query::<TenantId>("tenant")?, request.limit()?);
    let (ids, cursor) = match (&caller.tenant, named) {
        (None, None) => list_stack::page(app, request, limit).await?,
        (_, named) => of_tenant(app, request, &caller.tenant_for(named)?, limit).await?,
    };
    let known = app.endpoints.get_many_with_health(&ids).await?;
    // One may have been deleted since the record was read.
    let visible = known.iter().filter(|(endpoint, _)| is_visible(endpoint, caller));
    let endpoints = visible.map(|(endpoint, health)| SeenEndpoint::by(caller, endpoint, health)).collect();
    Ok(Response::json(200, &Page { endpoints, cursor }))
}

/// The ids of a page of a tenant's endpoints, and the cursor behind it.
async fn of_tenant(
    app: &App,
    request: &Request,
    tenant: &TenantId,
    limit: usize,
) -> Result<(Vec<EndpointId>, Option<String>), Problem> {
    let list = OfTenant { endpoints_of: tenant.clone() };
    let after = request.page(&list)?;
    let routing = app.routing.get(tenant).await?;
    let (ids, more) = page(&routing, after.as_ref(), limit);
    let cursor = ids.last().filter(|_| more).map(|last| list.cursor(last.clone()));
    Ok((ids, cursor))
}

/// The ids behind `after`, at most `limit`, and whether there are more. When `after` itself is gone, its place tells:
/// the record is sorted by it.
pub fn page(routing: &RoutingRecord, after: Option<&EndpointId>, limit: usize) -> (Vec<EndpointId>, bool) {
    let ids: Vec<&EndpointId> = routing.routes.iter().map(|route| &route.endpoint_id).collect();
    let start = match after {
        None => 0,
        Some(after) => match ids.iter().position(|id| *id == after) {
            Some(position) => position + 1,
            None => ids.iter().position(|id| Place::of(id) > Place::of(after)).unwrap_or(ids.len()),
        },
    };
    let rest = &ids[start..];
    (rest.iter().take(limit).map(|id| (*id).clone()).collect(), rest.len() > limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new_id;
    use crate::samples::{self, NOW};

    fn registered(count: u8) -> RoutingRecord {
        let mut record = RoutingRecord::empty("acme".parse().unwrap());
        for byte in 0..count {
            let id = new_id::next(&record, NOW, [byte.wrapping_mul(97); 4]);
            record = record.with(pombo_domain::endpoint::Endpoint { id, ..samples::endpoint() }.route()).unwrap();
        }
        record
    }

    fn ids(record: &RoutingRecord) -> Vec<EndpointId> {
        record.routes.iter().map(|route| route.endpoint_id.clone()).collect()
    }

    /// Reads all pages; `between` changes the record before each page but the first.
    fn walk(
        mut record: RoutingRecord,
        limit: usize,
        between: impl Fn(RoutingRecord) -> RoutingRecord,
    ) -> Vec<EndpointId> {
        let (mut seen, mut more) = page(&record, None, limit);
        while more {
            let last = seen.last().cloned();
            record = between(record);
            let (next, again) = page(&record, last.as_ref(), limit);
            seen.extend(next);
            more = again;
        }
        seen
    }

    #[test]
    fn pages_hold_every_endpoint_once_in_the_order_of_registration() {
        let record = registered(25);
        for limit in [1, 7, 24, 25, 26, 100] {
            assert_eq!(walk(record.clone(), limit, |record| record), ids(&record), "pages of {limit}");
        }
        assert_eq!(page(&registered(0), None, 10), (vec![], false));
        assert!(!page(&record, None, 25).1, "a last page that is full has no cursor");
    }

    #[test]
    fn deleting_what_was_listed_skips_and_repeats_nothing() {
        let record = registered(25);
        let all = ids(&record);
        // Whoever lists deletes every endpoint of the page before asking for the next.
        let cleared = walk(record.clone(), 4, |record| {
            let listed = page(&record, None, 4).0;
            listed.iter().fold(record, |record, id| record.without(id))
        });
        assert_eq!(cleared, all);
        let last = all[9].clone();
        let without_last = record.without(&last);
        assert_eq!(page(&without_last, Some(&last), 100).0, all[10..]);
        let only_later = all[..12].iter().fold(record, |record, id| record.without(id));
        assert_eq!(page(&only_later, Some(&last), 100).0, all[12..]);
    }

    #[test]
    fn a_cursor_behind_the_end_gives_an_empty_page() {
        let record = registered(3);
        let last = ids(&record).pop().unwrap();
        assert_eq!(page(&record.without(&last), Some(&last), 10), (vec![], false));
    }

    #[test]
    fn a_cursor_is_its_own_tenants_and_nothing_else() {
        let id = EndpointId::generate([3; 10]);
        let list = |tenant: &str| OfTenant { endpoints_of: tenant.parse().unwrap() };
        let cursor = list("acme").cursor(id.clone());
        let read = |tenant: &str, cursor: &str| samples::query(&[("cursor", cursor)]).page(&list(tenant));
        assert_eq!(read("acme", &cursor).unwrap(), Some(id));
        for (tenant, cursor) in [("other", cursor.as_str()), ("acme", "x"), ("acme", "")] {
            assert_eq!(samples::named(&read(tenant, cursor).unwrap_err()), (400, "cursor"));
        }
    }
}
