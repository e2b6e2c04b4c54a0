//! A key as it is stored.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{ApiKey, Scope};
use crate::ids::{KeyId, TenantId};
use crate::time::Timestamp;

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// The key's id.
    pub key_id: KeyId,
    /// The name that its holder gave it.
    pub name: String,
    /// The only tenant it may act for; `None` for the whole stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// [`ApiKey::digest`] of the key.
    pub digest: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The key that made it; `None` if it was made by invoking the function directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<KeyId>,
    /// When it stops being valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl StoredKey {
    /// Whether `key` is this key, and neither expired nor revoked.
    ///
    /// The time that the answer takes tells nothing about the secret. Digests are compared, all of their bytes and before
    /// anything else, so a caller who does not know the secret cannot choose how far two digests agree. The id is not
    /// secret: the key was found by it.
    #[must_use]
    pub fn accepts(&self, key: &ApiKey, now: Timestamp) -> bool {
        let same = self.key_id == key.id && bool::from(self.digest.as_bytes().ct_eq(key.digest().as_bytes()));
        same && self.is_live(now)
    }

    /// Whether the key is neither expired nor revoked.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.valid_until.is_none_or(|end| end > now)
    }

    /// Whether the key may do what needs `scope`.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.includes(scope))
    }

    /// When the item may be removed: the retention time after the key expired or was revoked, in Unix seconds. `None`
    /// for a key without an end.
    #[must_use]
    pub fn removed_at(&self, retention: Duration) -> Option<i64> {
        let ended = self.revoked_at.into_iter().chain(self.valid_until).min()?;
        Some(ended.plus(retention).as_seconds())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(100);

    fn stored(key: &ApiKey, scopes: &[Scope]) -> StoredKey {
        StoredKey {
            key_id: key.id.clone(),
            name: "test".into(),
            tenant: None,
            scopes: scopes.iter().copied().collect(),
            digest: key.digest(),
            created_at: Timestamp::from_seconds(1),
            made_by: None,
            valid_until: None,
            revoked_at: None,
        }
    }

    #[test]
    fn only_the_same_secret_unexpired_and_unrevoked_is_accepted() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        let valid = stored(&key, &[Scope::Ingest]);
        assert!(valid.accepts(&key, NOW));
        assert!(!valid.accepts(&ApiKey::generate([1; 10], [3; 32]), NOW));
        assert!(!valid.accepts(&ApiKey::generate([9; 10], [2; 32]), NOW));
        assert!(!StoredKey { valid_until: Some(NOW), ..valid.clone() }.accepts(&key, NOW));
        assert!(!StoredKey { revoked_at: Some(NOW), ..valid }.accepts(&key, NOW));
    }

    #[test]
    fn a_key_allows_what_any_of_its_scopes_includes() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        let allowed =
            |scopes: &[Scope]| Scope::ALL.into_iter().filter(|scope| stored(&key, scopes).allows(*scope)).count();
        assert_eq!(allowed(&[]), 0);
        assert_eq!(allowed(&[Scope::Endpoints]), 1);
        assert_eq!(allowed(&[Scope::Ops, Scope::Endpoints]), 3, "all but admin");
        assert_eq!(allowed(&[Scope::Admin]), 4);
    }

    #[test]
    fn a_key_is_removed_the_retention_after_it_ended() {
        let key = stored(&ApiKey::generate([1; 10], [2; 32]), &[Scope::Ops]);
        let at = |seconds| Some(Timestamp::from_seconds(seconds));
        for (valid_until, revoked_at, removed_at) in
            [(None, None, None), (at(50), None, Some(60)), (None, at(70), Some(80)), (at(50), at(70), Some(60))]
        {
            let key = StoredKey { valid_until, revoked_at, ..key.clone() };
            assert_eq!(key.removed_at(Duration::from_secs(10)), removed_at, "{valid_until:?} {revoked_at:?}");
        }
    }
}
