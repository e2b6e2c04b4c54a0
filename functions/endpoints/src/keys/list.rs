//! `GET /v1/keys`.

use pombo_domain::cursor::Paged;
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_requests::owner;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::view::KeyView;

#[derive(Debug, Serialize)]
struct Page<'a> {
    keys: Vec<KeyView<'a>>,
    cursor: Option<String>,
}

/// The keys of a tenant, or those for the whole stack.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct KeysOf {
    keys_of: Option<TenantId>,
}

impl Paged for KeysOf {
    /// The time and the id of a key.
    type Place = (Timestamp, KeyId);

    /// The list has no bounds in time.
    fn may_hold(&self, _: &Self::Place) -> bool {
        true
    }
}

/// The keys of a tenant, or of the whole stack when none is named; newest first.
pub async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["tenant", "limit", "cursor"])?;
    let tenant = owner(caller, request.query("tenant")?)?;
    let limit = request.limit()?;
    let place = request.page(&KeysOf { keys_of: tenant.clone() })?;
    let after = place.as_ref().map(|(created_at, id)| (*created_at, id));
    let mut keys = app.keys.list(tenant.as_ref(), after, limit + 1).await?;
    let more = keys.len() > limit;
    keys.truncate(limit);
    let last = keys.last().filter(|_| more).map(|last| (last.created_at, last.key_id.clone()));
    let cursor = last.map(|last| KeysOf { keys_of: tenant }.cursor(last));
    Ok(Response::json(200, &Page { keys: keys.iter().map(KeyView::new).collect(), cursor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn a_cursor_is_for_the_same_owner() {
        let of = |tenant: Option<&str>| KeysOf { keys_of: tenant.map(|tenant| tenant.parse().unwrap()) };
        let id = KeyId::generate([1; 10]);
        let read = |cursor: &str, tenant| samples::query(&[("cursor", cursor)]).page(&of(tenant));
        for (owner, other) in [(None, Some("acme")), (Some("acme"), None), (Some("acme"), Some("other"))] {
            let cursor = of(owner).cursor((NOW, id.clone()));
            assert_eq!(read(&cursor, owner).unwrap(), Some((NOW, id.clone())));
            assert_eq!(samples::named(&read(&cursor, other).unwrap_err()), (400, "cursor"));
        }
        assert_eq!(samples::named(&read("x", None).unwrap_err()), (400, "cursor"));
    }
}
