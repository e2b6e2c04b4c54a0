//! `GET /v1/tenants`: the tenants that have endpoints, in the order of their names.
//!
//! A key for the whole stack sees all of them, by an index that is late by moments. A key that is bound to a tenant sees that
//! one, whether it has endpoints or not.

use pombo_domain::cursor::Paged;
use pombo_domain::ids::TenantId;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::App;

/// The tenants that have endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum List {
    Tenants,
}

impl Paged for List {
    type Place = TenantId;

    /// The list goes on behind a name, whether a tenant has it or not.
    fn may_hold(&self, _: &TenantId) -> bool {
        true
    }
}

#[derive(Debug, Serialize)]
struct TenantView {
    tenant: TenantId,
}

#[derive(Debug, Serialize)]
struct Page {
    tenants: Vec<TenantView>,
    cursor: Option<String>,
}

/// A page of tenants.
pub async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["limit", "cursor"])?;
    let (limit, after) = (request.limit()?, request.page(&List::Tenants)?);
    let (tenants, more) = match &caller.tenant {
        Some(own) => (own_only(own, after.as_ref()), false),
        None => app.endpoints.tenants(after.as_ref(), limit).await?,
    };
    let cursor = tenants.last().filter(|_| more).map(|last| List::Tenants.cursor(last.clone()));
    let tenants = tenants.into_iter().map(|tenant| TenantView { tenant }).collect();
    Ok(Response::json(200, &Page { tenants, cursor }))
}

/// The tenant of a caller that may see no other, unless the page before ended with it.
fn own_only(own: &TenantId, after: Option<&TenantId>) -> Vec<TenantId> {
    if after.is_none_or(|after| own > after) { vec![own.clone()] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use pombo_domain::cursor::seal;

    use super::*;
    use crate::samples;

    #[test]
    fn a_bound_key_sees_its_own_tenant_once() {
        let [acme, before, behind]: [TenantId; 3] = ["acme", "aa", "b"].map(|name| name.parse().unwrap());
        let own = vec![acme.clone()];
        assert_eq!((own_only(&acme, None), own_only(&acme, Some(&before))), (own.clone(), own));
        assert_eq!(own_only(&acme, Some(&acme)), []);
        assert_eq!(own_only(&acme, Some(&behind)), []);
    }

    #[test]
    fn a_cursor_is_this_lists_and_no_others() {
        let read = |cursor: &str| samples::query(&[("cursor", cursor)]).page(&List::Tenants);
        let acme: TenantId = "acme".parse().unwrap();
        assert_eq!(read(&List::Tenants.cursor(acme.clone())).unwrap(), Some(acme));
        let of_endpoints = seal(r#"{"list":"stack_endpoints","after":"acme"}"#);
        for wrong in [of_endpoints.as_str(), "x", ""] {
            assert_eq!(samples::named(&read(wrong).unwrap_err()), (400, "cursor"), "{wrong}");
        }
    }
}
