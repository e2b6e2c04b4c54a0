//! Who calls, and for whom.

use std::collections::BTreeSet;

use pombo_domain::api_key::{Scope, StoredKey};
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;

use crate::problem::Problem;

/// The caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's id, or the signed identity.
    pub name: String,
    /// The only tenant the caller may act for; `None` for the whole stack.
    pub tenant: Option<TenantId>,
    /// What the caller may do; see [`Caller::allows`].
    pub scopes: BTreeSet<Scope>,
    /// The key, if the caller has one.
    pub key_id: Option<KeyId>,
    /// When the key expires.
    pub valid_until: Option<Timestamp>,
}

impl Caller {
    /// A caller without an API key: one who proved something else.
    #[must_use]
    pub fn without_key(name: String, tenant: Option<TenantId>, scope: Scope) -> Self {
        Self { name, tenant, scopes: [scope].into(), key_id: None, valid_until: None }
    }

    /// The holder of a key.
    #[must_use]
    pub fn with_key(key: StoredKey) -> Self {
        Self {
            name: key.key_id.to_string(),
            tenant: key.tenant,
            scopes: key.scopes,
            key_id: Some(key.key_id),
            valid_until: key.valid_until,
        }
    }

    /// Whether the caller may do what needs `scope`.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.includes(scope))
    }

    /// The tenant that a request is about: the one it names, else the caller's own, else `default`. A caller that is
    /// bound to a tenant may name no other.
    pub fn tenant_for(&self, named: Option<TenantId>) -> Result<TenantId, Problem> {
        match (&self.tenant, named) {
            (None, named) => Ok(named.unwrap_or_else(TenantId::default_tenant)),
            (Some(own), None) => Ok(own.clone()),
            (Some(own), Some(named)) if *own == named => Ok(named),
            (Some(own), Some(_)) => Err(Problem::new(403, format!("This API key is bound to the tenant {own}."))),
        }
    }

    /// 404 for a thing that has one place in the stack, whoever's it is: a caller that is bound to a tenant is told that only
    /// that was searched.
    #[must_use]
    pub fn not_found(&self, what: &str) -> Problem {
        match &self.tenant {
            None => Problem::not_found(what),
            Some(own) => Problem::not_found_in(what, own),
        }
    }

    /// 404 for a thing that was looked for in `tenant` alone, which [`Caller::tenant_for`] chose.
    #[must_use]
    pub fn not_found_in(&self, what: &str, tenant: &TenantId, named: bool) -> Problem {
        let problem = Problem::not_found_in(what, tenant);
        if named || self.tenant.is_some() {
            return problem;
        }
        let detail = format!("{} The request names no tenant: `?tenant=` searches another one.", problem.detail);
        Problem { detail, ..problem }
    }

    /// Whether the caller manages endpoints, and so may see the whole of their URLs.
    #[must_use]
    pub fn manages_endpoints(&self) -> bool {
        self.allows(Scope::Endpoints)
    }

    /// Whether the caller may see what belongs to `tenant`. What it may not see does not exist for it.
    #[must_use]
    pub fn sees(&self, tenant: &TenantId) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tenant: Option<&str>) -> Caller {
        Caller::without_key("k".into(), tenant.map(|tenant| tenant.parse().unwrap()), Scope::Ops)
    }

    #[test]
    fn a_bound_caller_acts_for_its_tenant_alone() {
        let named = |name: &str| Some(name.parse::<TenantId>().unwrap());
        let tenant =
            |caller: Caller, name| caller.tenant_for(name).map(|tenant| tenant.to_string()).map_err(|p| p.status);
        assert_eq!(tenant(caller(None), None), Ok("default".into()));
        assert_eq!(tenant(caller(None), named("a")), Ok("a".into()));
        assert_eq!(tenant(caller(Some("a")), None), Ok("a".into()));
        assert_eq!(tenant(caller(Some("a")), named("a")), Ok("a".into()));
        assert_eq!(tenant(caller(Some("a")), named("b")), Err(403));
        assert!(caller(Some("a")).sees(&"a".parse().unwrap()) && !caller(Some("a")).sees(&"b".parse().unwrap()));
    }

    #[test]
    fn what_is_not_found_names_the_tenant_that_was_searched() {
        let (acme, default) = ("acme".parse().unwrap(), TenantId::default_tenant());
        let in_acme = "There is no such event in the tenant acme.";
        assert_eq!(caller(None).not_found_in("event", &acme, true).detail, in_acme);
        assert_eq!(caller(Some("acme")).not_found_in("event", &acme, false).detail, in_acme);
        let silent = caller(None).not_found_in("event", &default, false);
        assert!(silent.detail.starts_with("There is no such event in the tenant default. The request names no tenant"));
        assert_eq!(caller(None).not_found("endpoint").detail, "There is no such endpoint.");
        assert_eq!(caller(Some("acme")).not_found("endpoint").detail, "There is no such endpoint in the tenant acme.");
    }
}
