//! `/v1/keys`: create, list and revoke API keys.
//!
//! A key that is bound to a tenant makes, lists and revokes keys of that tenant alone. Only a digest of a key is stored:
//! the answer that creates it is the only one that has it whole.

use pombo_aws::clock;
use pombo_domain::api_key::{ApiKey, StoredKey};
use pombo_domain::cursor::Paged;
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_requests::{NewKey, owner};
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::settings::random;
use crate::view::KeyView;

/// Makes a key with what its holder has to send, and stores it.
pub async fn store(app: &App, new: NewKey, now: Timestamp) -> Result<(StoredKey, ApiKey), Problem> {
    let key = ApiKey::generate(random()?, random()?);
    let stored = StoredKey {
        key_id: key.id.clone(),
        name: new.name,
        tenant: new.tenant,
        scopes: new.scopes,
        digest: key.digest(),
        created_at: now,
        valid_until: new.valid_until,
        revoked_at: None,
    };
    app.keys.put(&stored).await?;
    Ok((stored, key))
}

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

/// `POST /v1/keys`.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let now = clock::now();
    let (stored, key) = store(app, NewKey::read(request, caller, now)?, now).await?;
    tracing::info!(made = %stored.key_id, key = caller.name, "API key {} made.", stored.key_id);
    Ok(Response::json(201, &KeyView::with_key(&stored, &key)))
}

/// `GET /v1/keys`: the keys of a tenant, or of the whole stack when none is named; newest first.
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

/// `DELETE /v1/keys/{id}`. A key that is revoked already stays so, since when it was.
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let not_found = || caller.not_found("API key");
    let id: KeyId = id.parse().map_err(|_| not_found())?;
    let stored = app.keys.get(&id).await?.filter(|stored| sees(caller, stored)).ok_or_else(not_found)?;
    if stored.revoked_at.is_none() {
        app.keys.put(&StoredKey { revoked_at: Some(clock::now()), ..stored }).await?;
        tracing::info!(revoked = %id, key = caller.name, "API key {id} revoked.");
    }
    Ok(Response::empty(204))
}

fn sees(caller: &Caller, stored: &StoredKey) -> bool {
    caller.tenant.is_none() || caller.tenant == stored.tenant
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pombo_domain::api_key::Scope;

    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn a_bound_key_sees_neither_the_stacks_keys_nor_another_tenants() {
        let stored = |tenant: Option<&str>| StoredKey {
            key_id: KeyId::generate([1; 10]),
            name: "n".into(),
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
            scopes: BTreeSet::from([Scope::Ops]),
            digest: String::new(),
            created_at: NOW,
            valid_until: None,
            revoked_at: None,
        };
        for (callers, keys, seen) in [
            (None, None, true),
            (None, Some("acme"), true),
            (Some("acme"), Some("acme"), true),
            (Some("acme"), Some("other"), false),
            (Some("acme"), None, false),
        ] {
            assert_eq!(sees(&samples::caller(callers), &stored(keys)), seen, "{callers:?} and {keys:?}");
        }
    }

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
