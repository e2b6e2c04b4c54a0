//! The key ring of an owner: the live keys of a tenant, or of the whole stack, in one item.
//!
//! Each call that makes or revokes a key replaces the ring in the same transaction, on the condition that nobody has
//! replaced it since it was read. So the number of an owner's keys, and the answer to "is this the last admin key?", are
//! exact, whatever is called at the same time.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Scope, StoredKey};
use crate::ids::KeyId;
use crate::time::Timestamp;

/// A key on its owner's ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingKey {
    /// The key.
    pub id: KeyId,
    /// Whether it has the scope `admin`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}

/// The owner has as many live keys as one owner may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} keys are in use, and no more are allowed")]
pub struct RingIsFull(pub usize);

/// The keys of one owner that are not revoked. Expired keys leave the ring when it is next changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRing {
    /// Raised by every change; 0 before the first.
    pub version: u64,
    /// The keys.
    pub keys: Vec<RingKey>,
}

impl KeyRing {
    /// The next ring, with a new key.
    ///
    /// # Errors
    /// When the owner has `limit` live keys already.
    pub fn with(&self, key: &StoredKey, now: Timestamp, limit: usize) -> Result<Self, RingIsFull> {
        let mut keys = self.live(now);
        if keys.len() >= limit {
            return Err(RingIsFull(keys.len()));
        }
        keys.push(RingKey {
            id: key.key_id.clone(),
            admin: key.scopes.contains(&Scope::Admin),
            valid_until: key.valid_until,
        });
        Ok(Self { version: self.version + 1, keys })
    }

    /// The next ring, without a key.
    #[must_use]
    pub fn without(&self, id: &KeyId, now: Timestamp) -> Self {
        let mut keys = self.live(now);
        keys.retain(|key| key.id != *id);
        Self { version: self.version + 1, keys }
    }

    /// Whether there is a live admin key now, and none would be left without these keys. A key that expires does not count
    /// as left if there is one now that does not expire.
    #[must_use]
    pub fn loses_last_admin(&self, without: &BTreeSet<KeyId>, now: Timestamp) -> bool {
        let mut admins: Vec<_> = self.live(now).into_iter().filter(|key| key.admin).collect();
        if admins.iter().any(|key| key.valid_until.is_none()) {
            admins.retain(|key| key.valid_until.is_none());
        }
        !admins.is_empty() && admins.iter().all(|key| without.contains(&key.id))
    }

    /// The admin keys that are live now.
    pub fn live_admins(&self, now: Timestamp) -> impl Iterator<Item = KeyId> {
        self.live(now).into_iter().filter(|key| key.admin).map(|key| key.id)
    }

    /// The ring without the keys that `keep` refuses, at the same version.
    #[must_use]
    pub fn retaining(mut self, keep: impl Fn(&KeyId) -> bool) -> Self {
        self.keys.retain(|key| keep(&key.id));
        self
    }

    fn live(&self, now: Timestamp) -> Vec<RingKey> {
        self.keys.iter().filter(|key| key.valid_until.is_none_or(|end| end > now)).cloned().collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(100);

    fn key(number: u8, scope: Scope, valid_until: Option<i64>) -> StoredKey {
        StoredKey {
            key_id: KeyId::generate([number; 10]),
            name: "n".into(),
            tenant: None,
            scopes: [scope].into(),
            digest: String::new(),
            created_at: NOW,
            made_by: None,
            valid_until: valid_until.map(Timestamp::from_seconds),
            revoked_at: None,
        }
    }

    fn ring(keys: &[StoredKey]) -> KeyRing {
        keys.iter().fold(KeyRing::default(), |ring, key| ring.with(key, Timestamp::from_seconds(0), 100).unwrap())
    }

    #[test]
    fn a_full_ring_takes_a_key_once_another_has_expired_or_was_revoked() {
        let full = ring(&[key(1, Scope::Ops, None), key(2, Scope::Ops, Some(101))]);
        let new = key(3, Scope::Ops, None);
        assert_eq!(full.with(&new, NOW, 2), Err(RingIsFull(2)));
        let later = full.with(&new, Timestamp::from_seconds(101), 2).unwrap();
        assert_eq!((later.version, later.keys.len()), (3, 2));
        let freed = full.without(&KeyId::generate([1; 10]), NOW).with(&new, NOW, 2).unwrap();
        assert_eq!((freed.version, freed.keys.len()), (4, 2));
    }

    #[test]
    fn the_last_admin_key_is_the_last_live_one_with_that_scope() {
        let ids = |numbers: &[u8]| numbers.iter().map(|number| KeyId::generate([*number; 10])).collect();
        let two = ring(&[key(1, Scope::Admin, None), key(2, Scope::Admin, Some(101)), key(3, Scope::Ops, None)]);
        let lasting = ring(&[key(1, Scope::Admin, None), key(2, Scope::Admin, None)]);
        assert!(!lasting.loses_last_admin(&ids(&[1]), NOW) && lasting.loses_last_admin(&ids(&[1, 2]), NOW));
        let ending = ring(&[key(1, Scope::Admin, Some(101)), key(2, Scope::Admin, Some(102))]);
        assert!(!ending.loses_last_admin(&ids(&[1]), NOW) && ending.loses_last_admin(&ids(&[1, 2]), NOW));
        for (without, at, last) in [
            (&[1][..], 100, true),
            (&[2], 100, false),
            (&[1, 2], 100, true),
            (&[1], 101, true),
            (&[2], 101, false),
            (&[3], 100, false),
        ] {
            assert_eq!(two.loses_last_admin(&ids(without), Timestamp::from_seconds(at)), last, "{without:?} at {at}");
        }
        assert!(!ring(&[key(3, Scope::Ops, None)]).loses_last_admin(&ids(&[3]), NOW), "there was none before");
    }
}
