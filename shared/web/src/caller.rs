//! Who calls, and what they may do.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock;
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::ids::{KeyId, TenantId};

use crate::problem::Problem;
use crate::request::Request;

/// How long a key is trusted before it is read again: a revoked one is refused within a minute everywhere.
const TRUSTED_FOR: Duration = Duration::from_secs(30);

/// The most keys remembered; beyond that all are forgotten, which costs a read each.
const MOST_REMEMBERED: usize = 1000;

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

/// Checks API keys, each at most once in [`TRUSTED_FOR`].
#[derive(Debug)]
pub struct Authenticator {
    keys: ApiKeysTable,
    remembered: Mutex<HashMap<KeyId, (StoredKey, Instant)>>,
}

impl Authenticator {
    /// With the keys of this table.
    #[must_use]
    pub fn new(keys: ApiKeysTable) -> Self {
        Self { keys, remembered: Mutex::default() }
    }

    /// The caller of a request, if its key is valid and has the scope; 401 or 403 otherwise.
    pub async fn authenticate(&self, request: &Request, needed: Scope) -> Result<Caller, Problem> {
        const UNAUTHORIZED: &str = "Send a valid API key: Authorization: Bearer pk_…";
        let key: ApiKey = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .and_then(|key| key.trim().parse().ok())
            .ok_or_else(|| Problem::new(401, UNAUTHORIZED))?;
        let stored = self.stored(&key).await?.filter(|stored| stored.accepts(&key, clock::now()));
        let stored = stored.ok_or_else(|| Problem::new(401, UNAUTHORIZED))?;
        if !stored.allows(needed) {
            return Err(Problem::new(403, format!("This API key lacks the scope {needed}.")));
        }
        let scope = stored.scopes.last().copied().unwrap_or(needed);
        Ok(Caller { name: stored.key_id.to_string(), tenant: stored.tenant, scope })
    }

    async fn stored(&self, key: &ApiKey) -> Result<Option<StoredKey>, Problem> {
        if let Some((stored, since)) = self.remembered().get(&key.id)
            && since.elapsed() < TRUSTED_FOR
        {
            return Ok(Some(stored.clone()));
        }
        let stored = self.keys.get(&key.id).await?;
        let mut remembered = self.remembered();
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        match &stored {
            Some(stored) => remembered.insert(key.id.clone(), (stored.clone(), Instant::now())),
            None => remembered.remove(&key.id),
        };
        Ok(stored)
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<KeyId, (StoredKey, Instant)>> {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
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
