//! The body of `POST /v1/keys`, and the payload of a direct invocation.

use std::collections::BTreeSet;

use pombo_domain::api_key::Scope;
use pombo_domain::ids::TenantId;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request};
use serde::Deserialize;
use serde_json::Value;

use crate::fields;

/// The body of `POST /v1/keys`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
    scopes: BTreeSet<Scope>,
    tenant: Option<TenantId>,
    expires_at: Option<Timestamp>,
}

/// The payload of a direct invocation. Any other member, `requestContext` above all, is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invocation {
    create_admin_key: AdminKey,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdminKey {
    name: String,
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
    /// What a body asks for.
    pub fn read(request: &Request, caller: &Caller, now: Timestamp) -> Result<Self, Problem> {
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

    /// What a direct invocation asks for: a key with the scope `admin` for the whole stack, and no other.
    pub fn from_invocation(payload: Value) -> Result<Self, Problem> {
        // Without what is wrong about it: the error is logged, and might quote whatever was sent by mistake.
        let invocation: Invocation = serde_json::from_value(payload).map_err(|_| {
            Problem::new(400, r#"A direct invocation takes {"create_admin_key": {"name": "…"}} alone."#)
        })?;
        let name = name(invocation.create_admin_key.name)?;
        Ok(Self { name, scopes: [Scope::Admin].into(), tenant: None, valid_until: None })
    }
}

/// A key's name: a list of nameless keys tells nobody which one to revoke.
fn name(name: String) -> Result<String, Problem> {
    if name.trim().is_empty() {
        return Err(Problem::invalid("name", "must not be empty"));
    }
    Ok(fields::name(name)?)
}

/// Whose keys a request is about: `None` for those of the whole stack, which only such a key may touch.
pub fn owner(caller: &Caller, named: Option<TenantId>) -> Result<Option<TenantId>, Problem> {
    match (&caller.tenant, named) {
        (None, named) => Ok(named),
        (Some(_), named) => caller.tenant_for(named).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW};

    fn read(body: &Value, tenant: Option<&str>) -> Result<NewKey, Problem> {
        NewKey::read(&samples::request(body.to_string()), &samples::caller(tenant), NOW)
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
    fn a_direct_invocation_makes_admin_keys_for_the_stack_alone() {
        let expected = NewKey { name: "ops".into(), scopes: [Scope::Admin].into(), tenant: None, valid_until: None };
        assert_eq!(NewKey::from_invocation(json!({"create_admin_key": {"name": "ops"}})).unwrap(), expected);
    }

    #[test]
    fn any_other_direct_invocation_is_refused() {
        for payload in [
            json!({}),
            json!([]),
            json!("create_admin_key"),
            json!({"create_admin_key": {}}),
            json!({"create_admin_key": {"name": ""}}),
            json!({"create_admin_key": {"name": "a\nb"}}),
            json!({"create_admin_key": {"name": "x", "scopes": ["ingest"]}}),
            json!({"create_admin_key": {"name": "x", "tenant": "acme"}}),
            json!({"create_admin_key": {"name": "x"}, "requestContext": {}}),
            json!({"create_admin_key": {"name": "x"}, "requestContext": null}),
            json!({"create_admin_key": {"name": "x"}, "body": ""}),
        ] {
            assert_eq!(
                NewKey::from_invocation(payload.clone()).map_err(|problem| problem.status).err(),
                Some(400),
                "{payload}"
            );
        }
    }
}
