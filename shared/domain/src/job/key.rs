//! The key of a job, which is also its id.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::cursor::{seal, unseal};
use crate::delivery::{SHARDS, shard_of};
use crate::ids::{TenantId, base32, is_generated};
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// The key of a job: whose it is, and when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// A tenant's name, or `*` for the whole stack.
    pub owner: String,
    /// When it was made, and a random part.
    pub created_key: String,
}

impl JobKey {
    /// A new job's key.
    #[must_use]
    pub fn generate(tenant: Option<&TenantId>, now: Timestamp, random: [u8; 10]) -> Self {
        let owner = tenant.map_or_else(|| "*".to_owned(), ToString::to_string);
        Self { owner, created_key: format!("{now}#{}", base32(&random)) }
    }

    /// Which shard of the timers holds the job.
    #[must_use]
    pub fn shard(&self) -> u8 {
        shard_of(&self.created_key, SHARDS)
    }
}

/// The id of a job: its key as base64url.
impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seal(&format!("{}/{}", self.owner, self.created_key)))
    }
}

impl FromStr for JobKey {
    type Err = Invalid;

    fn from_str(id: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid::rule("must be a job's id");
        let text = unseal(id).ok_or(RULE)?;
        let (owner, created_key) = text.split_once('/').ok_or(RULE)?;
        let (time, random) = created_key.split_once('#').ok_or(RULE)?;
        // Whatever else it were, no job has it, and the table refuses a longer key.
        let is_time = time.parse::<Timestamp>().is_ok_and(|parsed| parsed.to_string() == time);
        if (owner == "*" || owner.parse::<TenantId>().is_ok()) && is_time && is_generated(random, "", 16) {
            Ok(Self { owner: owner.to_owned(), created_key: created_key.to_owned() })
        } else {
            Err(RULE)
        }
    }
}

impl Serialize for JobKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for JobKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_key_and_reads_back() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let tenant = "acme".parse().unwrap();
        for key in [JobKey::generate(None, now, [1; 10]), JobKey::generate(Some(&tenant), now, [2; 10])] {
            assert_eq!(key.to_string().parse::<JobKey>().unwrap(), key);
        }
        for wrong in [
            "*",
            "*/now",
            "*/2026-01-31T09:30:00.050Z#x",
            "*/2026-01-31T09:30:00Z#aaaaaaaaaaaaaaaa",
            "a b/2026-01-31T09:30:00.050Z#aaaaaaaaaaaaaaaa",
            &format!("*/2026-01-31T09:30:00.050Z#{}", "a".repeat(2000)),
        ] {
            assert!(seal(wrong).parse::<JobKey>().is_err(), "{wrong:?}");
        }
        assert!("".parse::<JobKey>().is_err() && "x".parse::<JobKey>().is_err());
    }
}
