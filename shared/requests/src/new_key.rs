//! The body of `POST /v1/keys`, and the payload of a direct invocation.

use std::collections::BTreeSet;

use pombo_domain::api_key::Scope;
use pombo_domain::ids::TenantId;
use pombo_domain::invalid::Invalid;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request};

use crate::json::{Mistakes, Object, Value};
use crate::{body, fields};

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
    ///
    /// # Errors
    /// 400 with every field that breaks a rule, 403 for a tenant that the caller may not act for.
    pub fn read(request: &Request, caller: &Caller, now: Timestamp) -> Result<Self, Problem> {
        let mut body = body::object(request)?;
        let name = body.required("name", name);
        let scopes = body.required("scopes", scopes);
        let tenant = body.optional("tenant", fields::tenant);
        let valid_until = body.optional("expires_at", |value| expiry(value, caller, now));
        body.end()?;
        // A key outlives none of those that it comes from: to end a key ends what it made.
        let valid_until = valid_until?.or(caller.valid_until);
        Ok(Self { name: name?, scopes: scopes?, tenant: owner(caller, tenant?)?, valid_until })
    }

    /// Reads the payload of a direct invocation: a key with the scope `admin` for the whole stack, and no other. Any
    /// other member, `requestContext` above all, is refused.
    ///
    /// # Errors
    /// 400 without what is wrong: the error is logged, and might quote whatever was sent by mistake.
    pub fn from_invocation(payload: &str) -> Result<Self, Problem> {
        let name = invocation(payload).map_err(|_| {
            Problem::new(400, r#"A direct invocation takes {"create_admin_key": {"name": "…"}} alone."#)
        })?;
        Ok(Self { name, scopes: [Scope::Admin].into(), tenant: None, valid_until: None })
    }
}

/// The name in the payload of a direct invocation.
fn invocation(payload: &str) -> Result<String, Mistakes> {
    let mut invocation = Object::parse("", payload).map_err(|_| Mistakes::none())?;
    let name = invocation.required("create_admin_key", |value| {
        let mut key = value.object()?;
        let name = key.required("name", name);
        key.end()?;
        Ok(name?)
    });
    invocation.end()?;
    Ok(name?)
}

/// A key's name: a list of nameless keys tells nobody which one to revoke.
fn name(value: &Value<'_>) -> Result<String, Mistakes> {
    let name = fields::name(value)?;
    if name.trim().is_empty() { Err(value.wrong(Invalid::rule("must not be empty"))) } else { Ok(name) }
}

fn scopes(value: &Value<'_>) -> Result<BTreeSet<Scope>, Mistakes> {
    let scopes: Vec<Scope> = value.list(Value::parsed)?;
    if scopes.is_empty() {
        return Err(value.wrong(Invalid::rule("must be one or more of ingest, ops, endpoints and admin")));
    }
    Ok(scopes.into_iter().collect())
}

fn expiry(value: &Value<'_>, caller: &Caller, now: Timestamp) -> Result<Timestamp, Mistakes> {
    let end: Timestamp = value.parsed()?;
    if end <= now {
        return Err(value.wrong(Invalid::rule("must be in the future")));
    }
    match caller.valid_until {
        Some(last) if end > last => {
            Err(value.wrong(Invalid::from(format!("must be at most {last}, when the key that makes this one expires"))))
        }
        _ => Ok(end),
    }
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
    use serde_json::{Value, json};

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
    fn all_that_is_wrong_is_named_at_once_and_what_is_there_twice() {
        let body = r#"{"name":" ","scopes":["root",7],"tenant":"pombo","expires_at":"soon","key":1,"tenant":"a"}"#;
        let fields = samples::fields(&NewKey::read(&samples::request(body), &samples::caller(None), NOW).unwrap_err());
        assert_eq!(fields, ["tenant", "name", "scopes[0]", "scopes[1]", "tenant", "expires_at", "key"]);
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
    fn a_key_expires_no_later_than_the_key_that_makes_it() {
        let second = |seconds| NOW.plus(std::time::Duration::from_secs(seconds));
        let maker = Caller { valid_until: Some(second(10)), ..samples::caller(None) };
        for (asked, expected) in [
            (Value::Null, Ok(Some(second(10)))),
            (json!(second(9)), Ok(Some(second(9)))),
            (json!(second(10)), Ok(Some(second(10)))),
            (json!(second(11)), Err((400, "expires_at".to_owned()))),
        ] {
            let mut body = json!({"name": "n", "scopes": ["ingest"]});
            if !asked.is_null() {
                body["expires_at"] = asked.clone();
            }
            let key = NewKey::read(&samples::request(body.to_string()), &maker, NOW);
            let read = key.map(|key| key.valid_until).map_err(|problem| {
                let (status, field) = samples::named(&problem);
                (status, field.to_owned())
            });
            assert_eq!(read, expected, "{asked}");
        }
    }

    #[test]
    fn a_direct_invocation_makes_admin_keys_for_the_stack_alone() {
        let expected = NewKey { name: "ops".into(), scopes: [Scope::Admin].into(), tenant: None, valid_until: None };
        assert_eq!(NewKey::from_invocation(r#"{"create_admin_key": {"name": "ops"}}"#).unwrap(), expected);
    }

    #[test]
    fn any_other_direct_invocation_is_refused() {
        for payload in [
            r#"{}"#,
            r#"[]"#,
            r#""create_admin_key""#,
            r#"{"create_admin_key": {}}"#,
            r#"{"create_admin_key": {"name": ""}}"#,
            r#"{"create_admin_key": {"name": "a\nb"}}"#,
            r#"{"create_admin_key": {"name": "x", "scopes": ["ingest"]}}"#,
            r#"{"create_admin_key": {"name": "x", "tenant": "acme"}}"#,
            r#"{"create_admin_key": {"name": "x"}, "requestContext": {}}"#,
            r#"{"create_admin_key": {"name": "x"}, "requestContext": null}"#,
            r#"{"create_admin_key": {"name": "x"}, "body": ""}"#,
            r#"{"create_admin_key": {"name": "x", "name": "x"}}"#,
            r#"{"create_admin_key": {"name": "x"}, "create_admin_key": {"name": "x"}}"#,
            r#"{"create_admin_key": {"name": "x"}"#,
            "",
        ] {
            assert_eq!(
                NewKey::from_invocation(payload).map_err(|problem| problem.status).err(),
                Some(400),
                "{payload}"
            );
        }
    }
}
