//! `GET /v1/endpoints` of the whole stack: tenant by tenant, in the order of their names, and of each tenant in the order in
//! which its endpoints were registered.
//!
//! Neither order changes, so pages neither skip nor repeat. Which tenants there are, an index says, which is late by moments;
//! the endpoints of each are those of its routing record.

use futures::future::try_join_all;
use pombo_domain::cursor::Paged;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::routing::RoutingRecord;
use pombo_web::{Problem, Request};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::list;

/// The endpoints of all tenants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum List {
    StackEndpoints,
}

impl Paged for List {
    type Place = Position;

    /// Any tenant may have endpoints, and none of the calls begins at a key that has to be there.
    fn may_hold(&self, _: &Position) -> bool {
        true
    }
}

/// The number of routing records that are read at one time.
const READ_AT_ONCE: usize = 10;

/// Where the page before ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    tenant: TenantId,
    /// The last endpoint that was listed; `None` behind all of the tenant's.
    endpoint: Option<EndpointId>,
}

/// The ids of a page, and the cursor behind it.
pub async fn page(app: &App, request: &Request, limit: usize) -> Result<(Vec<EndpointId>, Option<String>), Problem> {
    let after = request.page(&List::StackEndpoints)?;
    let mut filling = Filling { ids: Vec::new(), limit, position: after.clone() };
    if let Some(Position { tenant, endpoint: Some(endpoint) }) = &after {
        filling.take(&app.routing.get(tenant).await?, Some(endpoint));
    }
    let behind = after.map(|position| position.tenant);
    let (tenants, mut more) = match filling.is_full() {
        true => (Vec::new(), true),
        false => app.endpoints.tenants(behind.as_ref(), limit).await?,
    };
    for some in tenants.chunks(READ_AT_ONCE) {
        if filling.is_full() {
            more = true;
            break;
        }
        for routing in try_join_all(some.iter().map(|tenant| app.routing.get(tenant))).await? {
            more |= filling.take(&routing, None);
        }
    }
    let cursor = filling.position.filter(|_| more).map(|position| List::StackEndpoints.cursor(position));
    Ok((filling.ids, cursor))
}

/// A page while it is filled, one tenant after the other.
#[derive(Debug)]
struct Filling {
    ids: Vec<EndpointId>,
    limit: usize,
    position: Option<Position>,
}

impl Filling {
    fn is_full(&self) -> bool {
        self.ids.len() >= self.limit
    }

    /// Takes of a tenant what still has room, and says whether something is left.
    fn take(&mut self, routing: &RoutingRecord, after: Option<&EndpointId>) -> bool {
        if self.is_full() {
            return true;
        }
        let (ids, more) = list::page(routing, after, self.limit - self.ids.len());
        let endpoint = ids.last().filter(|_| more).cloned();
        self.position = Some(Position { tenant: routing.tenant.clone(), endpoint });
        self.ids.extend(ids);
        more
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::cursor::seal;
    use pombo_domain::endpoint::Endpoint;

    use super::*;
    use crate::samples;

    /// A tenant with so many endpoints.
    fn routing(tenant: &str, first: u8, count: u8) -> RoutingRecord {
        let empty = RoutingRecord::empty(tenant.parse().unwrap());
        (first..first + count).fold(empty, |record, byte| {
            let id = EndpointId::generate([byte; 10]);
            record.with(Endpoint { id, ..samples::endpoint() }.route()).unwrap()
        })
    }

    /// Lists all of these tenants in pages, as `page` does.
    fn walk(tenants: &[RoutingRecord], limit: usize) -> Vec<EndpointId> {
        let (mut listed, mut after) = (Vec::new(), None::<Position>);
        loop {
            let mut filling = Filling { ids: Vec::new(), limit, position: after.clone() };
            let mut more = false;
            for routing in tenants {
                match &after {
                    Some(Position { tenant, .. }) if routing.tenant < *tenant => {}
                    Some(Position { tenant, endpoint }) if routing.tenant == *tenant => {
                        if let Some(endpoint) = endpoint {
                            more |= filling.take(routing, Some(endpoint));
                        }
                    }
                    _ => more |= filling.take(routing, None),
                }
            }
            assert!(filling.ids.len() <= limit);
            listed.extend(filling.ids);
            after = filling.position;
            if !more {
                return listed;
            }
        }
    }

    #[test]
    fn pages_hold_every_endpoint_of_every_tenant_once() {
        let tenants = [routing("a", 0, 3), routing("b", 10, 0), routing("c", 20, 7), routing("d", 30, 1)];
        let all: Vec<_> =
            tenants.iter().flat_map(|record| &record.routes).map(|route| route.endpoint_id.clone()).collect();
        for limit in [1, 2, 3, 4, 10, 11, 100] {
            assert_eq!(walk(&tenants, limit), all, "pages of {limit}");
        }
    }

    #[test]
    fn a_cursor_is_the_stacks_and_no_tenants() {
        let read = |cursor: &str| samples::query(&[("cursor", cursor)]).page(&List::StackEndpoints);
        let endpoint = EndpointId::generate([3; 10]);
        for endpoint in [None, Some(endpoint.clone())] {
            let position = Position { tenant: "acme".parse().unwrap(), endpoint };
            assert_eq!(read(&List::StackEndpoints.cursor(position.clone())).unwrap(), Some(position));
        }
        let of_tenant = seal(&format!(r#"{{"list":{{"endpoints_of":"acme"}},"after":"{endpoint}"}}"#));
        let of_tenants = seal(r#"{"list":"tenants","after":"acme"}"#);
        for wrong in [of_tenant.as_str(), of_tenants.as_str(), "x", ""] {
            assert_eq!(samples::named(&read(wrong).unwrap_err()), (400, "cursor"), "{wrong}");
        }
    }
}
