//! Who calls, and for whom.

use pombo_domain::api_key::Scope;
use pombo_domain::ids::TenantId;

use crate::problem::Problem;

/// Whoever a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key, or the signed identity, for the log.
    pub name: String,
    /// The only tenant the caller may act for; `None` for the whole stack.
    pub tenant: Option<TenantId>,
    /// The highest scope.
    pub scope: Scope,
}

impl Caller {
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
        Caller { name: "k".into(), tenant: tenant.map(|tenant| tenant.parse().unwrap()), scope: Scope::Ops }
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
}
