//! API keys: `pk_<key id>_<secret>`. Only a digest of the secret is stored.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::ids::{KeyId, TenantId, base32};
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// What a key may do. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Post events.
    Ingest,
    /// Search, inspect and replay.
    Ops,
    /// Register endpoints and make keys.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Ops => "ops",
            Self::Admin => "admin",
        })
    }
}

/// An API key as its holder presents it. Its `Debug` shows the id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part, under which the key is stored.
    pub id: KeyId,
    secret: String,
}

impl ApiKey {
    /// A new key, from 80 random bits for its id and 256 for its secret.
    #[must_use]
    pub fn generate(id: [u8; 10], secret: [u8; 32]) -> Self {
        Self { id: KeyId::generate(id), secret: base32(&secret) }
    }

    /// The whole key, shown once to who made it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("pk_{}_{}", self.id, self.secret)
    }

    /// What is stored in the secret's place. The secret has 256 random bits, so a plain digest cannot be searched.
    #[must_use]
    pub fn digest(&self) -> String {
        STANDARD.encode(Sha256::digest(&self.secret))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, …)", self.id)
    }
}

impl FromStr for ApiKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be an API key: pk_<key id>_<secret>";
        let (id, secret) = text.strip_prefix("pk_").and_then(|rest| rest.split_once('_')).ok_or(Invalid::rule(RULE))?;
        let well_formed = secret.len() == 52 && secret.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        if !well_formed {
            return Err(Invalid::rule(RULE));
        }
        Ok(Self { id: id.parse().map_err(|_| Invalid::rule(RULE))?, secret: secret.to_owned() })
    }
}

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// The key's id.
    pub key_id: KeyId,
    /// What its holder calls it.
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
    /// Nothing of the secret can be learnt from the time this takes. What is compared is a digest, so that who does not know
    /// the secret cannot choose how far two of them agree; all its bytes are looked at whatever they are; and nothing else
    /// is looked at before. The id is no secret: with it the key was found.
    #[must_use]
    pub fn accepts(&self, key: &ApiKey, now: Timestamp) -> bool {
        let same = self.key_id == key.id && bool::from(self.digest.as_bytes().ct_eq(key.digest().as_bytes()));
        same && self.revoked_at.is_none() && self.valid_until.is_none_or(|end| end > now)
    }

    /// Whether the key may do what needs `scope`.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| *held >= scope)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stored(key: &ApiKey, scopes: &[Scope]) -> StoredKey {
        StoredKey {
            key_id: key.id.clone(),
            name: "test".into(),
            tenant: None,
            scopes: scopes.iter().copied().collect(),
            digest: key.digest(),
            created_at: Timestamp::from_seconds(1),
            valid_until: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_reads_back_and_debug_hides_its_secret() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        assert_eq!(key.reveal().parse::<ApiKey>().unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.secret));
        for wrong in
            ["", "pk_", "pk_a_b", &key.reveal()[3..], &key.reveal().to_uppercase(), &format!("{}a", key.reveal())]
        {
            assert!(wrong.parse::<ApiKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_the_same_secret_unexpired_and_unrevoked_is_accepted() {
        let now = Timestamp::from_seconds(100);
        let key = ApiKey::generate([1; 10], [2; 32]);
        let valid = stored(&key, &[Scope::Ingest]);
        assert!(valid.accepts(&key, now));
        assert!(!valid.accepts(&ApiKey::generate([1; 10], [3; 32]), now));
        assert!(!valid.accepts(&ApiKey::generate([9; 10], [2; 32]), now));
        assert!(!StoredKey { valid_until: Some(now), ..valid.clone() }.accepts(&key, now));
        assert!(!StoredKey { revoked_at: Some(now), ..valid }.accepts(&key, now));
    }

    #[test]
    fn a_scope_includes_those_below_it() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        let table =
            [(Scope::Ingest, [true, false, false]), (Scope::Ops, [true, true, false]), (Scope::Admin, [true; 3])];
        for (held, expected) in table {
            let stored = stored(&key, &[held]);
            let allowed = [Scope::Ingest, Scope::Ops, Scope::Admin].map(|scope| stored.allows(scope));
            assert_eq!(allowed, expected, "{held}");
        }
        assert!(!stored(&key, &[]).allows(Scope::Ingest));
    }
}
