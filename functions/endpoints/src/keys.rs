//! `/v1/keys`: create, list and revoke API keys.
//!
//! A key that is bound to a tenant makes, lists and revokes keys of that tenant alone. Only a digest of a key is stored:
//! the answer that creates it is the only one that has it whole.

use std::collections::BTreeSet;

use pombo_aws::clock;
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::cursor::{from_cursor, to_cursor};
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::settings::random;
use crate::view::KeyView;
use crate::{App, fields};

/// The body of `POST /v1/keys`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    scopes: BTreeSet<Scope>,
    tenant: Option<TenantId>,
    expires_at: Option<Timestamp>,
}

/// A key that keeps every rule, before it has an id and a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct NewKey {
    /// What its holder calls it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only tenant it may act for.
    pub tenant: Option<TenantId>,
    /// When it stops being valid.
    pub valid_until: Option<Timestamp>,
}

impl NewKey {
    fn read(request: &Request, caller: &Caller, now: Timestamp) -> Result<Self, Problem> {
        let body: Body = request.json()?;
        if body.scopes.is_empty() {
            return Err(Problem::invalid("scopes", "must be one or more of ingest, ops and admin"));
        }
        if body.tenant.as_ref().is_some_and(TenantId::is_reserved) {
            return Err(Problem::invalid("tenant", "must not be pombo: that is Pombo's own"));
        }
        if body.expires_at.is_some_and(|end| end <= now) {
            return Err(Problem::invalid("expires_at", "must be in the future"));
        }
        let tenant = owner(caller, body.tenant)?;
        Ok(Self { name: name(body.name)?, scopes: body.scopes, tenant, valid_until: body.expires_at })
    }

    /// The key with what its holder has to send, stored.
    pub async fn store(self, app: &App, now: Timestamp) -> Result<(StoredKey, ApiKey), Problem> {
        let key = ApiKey::generate(random()?, random()?);
        let stored = StoredKey {
            key_id: key.id.clone(),
            name: self.name,
            tenant: self.tenant,
            scopes: self.scopes,
            digest: key.digest(),
            created_at: now,
            valid_until: self.valid_until,
            revoked_at: None,
        };
        app.keys.put(&stored).await?;
        Ok((stored, key))
    }
}

/// A key's name: a list of nameless keys tells nobody which one to revoke.
pub fn name(name: String) -> Result<String, Problem> {
    if name.trim().is_empty() {
        return Err(Problem::invalid("name", "must not be empty"));
    }
    Ok(fields::name(name)?)
}

#[derive(Debug, Serialize)]
struct Page<'a> {
    keys: Vec<KeyView<'a>>,
    cursor: Option<String>,
}

/// The place behind which a list goes on: whose keys, and the last one's time and id.
type Position = (Option<TenantId>, Timestamp, KeyId);

/// `POST /v1/keys`.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let now = clock::now();
    let (stored, key) = NewKey::read(request, caller, now)?.store(app, now).await?;
    tracing::info!(made = %stored.key_id, key = caller.name, "API key {} made.", stored.key_id);
    Ok(Response::json(201, &KeyView::with_key(&stored, &key)))
}

/// `GET /v1/keys`: the keys of a tenant, or of the whole stack when none is named; newest first.
pub async fn list(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["tenant", "limit", "cursor"])?;
    let tenant = owner(caller, request.query("tenant")?)?;
    let limit = request.limit()?;
    let after = after(request, tenant.as_ref())?;
    let after = after.as_ref().map(|(created_at, id)| (*created_at, id));
    let mut keys = app.keys.list(tenant.as_ref(), after, limit + 1).await?;
    let more = keys.len() > limit;
    keys.truncate(limit);
    let cursor = keys.last().filter(|_| more).map(|last| to_cursor(&(&last.tenant, last.created_at, &last.key_id)));
    Ok(Response::json(200, &Page { keys: keys.iter().map(KeyView::new).collect(), cursor }))
}

/// `DELETE /v1/keys/{id}`. A key that is revoked already stays so, since when it was.
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let not_found = || Problem::not_found("API key");
    let id: KeyId = id.parse().map_err(|_| not_found())?;
    let stored = app.keys.get(&id).await?.filter(|stored| sees(caller, stored)).ok_or_else(not_found)?;
    if stored.revoked_at.is_none() {
        app.keys.put(&StoredKey { revoked_at: Some(clock::now()), ..stored }).await?;
        tracing::info!(revoked = %id, key = caller.name, "API key {id} revoked.");
    }
    Ok(Response::empty(204))
}

/// Whose keys a request is about: `None` for those of the whole stack, which only such a key may touch.
fn owner(caller: &Caller, named: Option<TenantId>) -> Result<Option<TenantId>, Problem> {
    match (&caller.tenant, named) {
        (None, named) => Ok(named),
        (Some(_), named) => caller.tenant_for(named).map(Some),
    }
}

fn sees(caller: &Caller, stored: &StoredKey) -> bool {
    caller.tenant.is_none() || caller.tenant == stored.tenant
}

fn after(request: &Request, tenant: Option<&TenantId>) -> Result<Option<(Timestamp, KeyId)>, Problem> {
    let Some(cursor) = request.query.get("cursor") else { return Ok(None) };
    let (of, created_at, id): Position = from_cursor(cursor).map_err(|rule| Problem::field(rule.in_field("cursor")))?;
    if of.as_ref() == tenant {
        Ok(Some((created_at, id)))
    } else {
        Err(Problem::invalid("cursor", "must be the cursor of the page before, with the same tenant"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW};

    fn read(body: &serde_json::Value, tenant: Option<&str>) -> Result<NewKey, Problem> {
        NewKey::read(&samples::request(&body.to_string()), &samples::caller(tenant), NOW)
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (json!({"scopes": ["ops"]}), "name"),
            (json!({"name": "", "scopes": ["ops"]}), "name"),
            (json!({"name": " ", "scopes": ["ops"]}), "name"),
            (json!({"name": "x".repeat(101), "scopes": ["ops"]}), "name"),
            (json!({"name": "a\u{0}", "scopes": ["ops"]}), "name"),
            (json!({"name": "n"}), "scopes"),
            (json!({"name": "n", "scopes": []}), "scopes"),
            (json!({"name": "n", "scopes": "ops"}), "scopes"),
            (json!({"name": "n", "scopes": ["ops", "root"]}), "scopes[1]"),
            (json!({"name": "n", "scopes": ["ops"], "tenant": "a b"}), "tenant"),
            (json!({"name": "n", "scopes": ["ops"], "tenant": "*"}), "tenant"),
            (json!({"name": "n", "scopes": ["ops"], "tenant": "pombo"}), "tenant"),
            (json!({"name": "n", "scopes": ["ops"], "expires_at": "soon"}), "expires_at"),
            (json!({"name": "n", "scopes": ["ops"], "expires_at": NOW}), "expires_at"),
            (json!({"name": "n", "scopes": ["ops"], "key": "pk_"}), "key"),
        ] {
            let problem = read(&body, None).unwrap_err();
            assert_eq!(samples::named(&problem), (400, field), "{body}: {problem:?}");
        }
    }

    #[test]
    fn a_bound_key_makes_keys_of_its_tenant_alone() {
        let owner_of = |callers, named: Option<&str>| {
            let body = json!({"name": "n", "scopes": ["admin", "ops"], "tenant": named});
            read(&body, callers)
                .map(|key| key.tenant.map(|tenant| tenant.to_string()))
                .map_err(|problem| problem.status)
        };
        for (callers, named, expected) in [
            (None, None, Ok(None)),
            (None, Some("acme"), Ok(Some("acme".to_owned()))),
            (Some("acme"), None, Ok(Some("acme".to_owned()))),
            (Some("acme"), Some("acme"), Ok(Some("acme".to_owned()))),
            (Some("acme"), Some("other"), Err(403)),
        ] {
            assert_eq!(owner_of(callers, named), expected, "{callers:?} for {named:?}");
        }
    }

    #[test]
    fn an_expiry_in_the_future_is_taken() {
        let end = NOW.plus(std::time::Duration::from_secs(1));
        let key = read(&json!({"name": "n", "scopes": ["ingest"], "expires_at": end}), None).unwrap();
        assert_eq!((key.valid_until, key.scopes), (Some(end), BTreeSet::from([Scope::Ingest])));
    }

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
        let acme: TenantId = "acme".parse().unwrap();
        let id = KeyId::generate([1; 10]);
        for owner in [None, Some(&acme)] {
            let request = samples::query(&[("cursor", &to_cursor(&(owner, NOW, &id)))]);
            assert_eq!(after(&request, owner).unwrap(), Some((NOW, id.clone())));
            let other = if owner.is_none() { Some(&acme) } else { None };
            assert_eq!(samples::named(&after(&request, other).unwrap_err()), (400, "cursor"));
        }
        assert_eq!(samples::named(&after(&samples::query(&[("cursor", "x")]), None).unwrap_err()), (400, "cursor"));
    }
}
