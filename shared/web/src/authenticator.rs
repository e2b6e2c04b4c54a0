//! Who may call: the keys that are known, and what they may do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock::{self, Moment};
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::ids::KeyId;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::Request;

/// How long a key is trusted before it is read again. A revoked key is refused everywhere within a minute.
const TRUSTED_FOR: Duration = Duration::from_secs(30);

/// The most keys remembered; beyond that all are forgotten, which costs a read each.
const MOST_REMEMBERED: usize = 1000;

/// Checks API keys, each read at most once in [`TRUSTED_FOR`].
#[derive(Debug)]
pub struct Authenticator {
    keys: ApiKeysTable,
    /// `None` when each call reads its key.
    remembered: Option<Mutex<Remembered>>,
}

impl Authenticator {
    /// With the keys of this table.
    #[must_use]
    pub fn new(keys: ApiKeysTable) -> Self {
        Self { keys, remembered: Some(Mutex::default()) }
    }

    /// The same, but each call reads its key: a revoked key is refused from the next call on.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self { remembered: None, ..self }
    }

    /// The caller of a request, if its key is valid and has one of the scopes; 401 or 403 otherwise.
    pub async fn authenticate(&self, request: &Request, needed: &[Scope]) -> Result<Caller, Problem> {
        const UNAUTHORIZED: &str = "Send a valid API key: Authorization: Bearer pk_…";
        let key: ApiKey = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .and_then(|key| key.trim().parse().ok())
            .ok_or_else(|| Problem::new(401, UNAUTHORIZED))?;
        let stored = self.stored(&key).await?.filter(|stored| stored.accepts(&key, clock::now()));
        let stored = stored.ok_or_else(|| Problem::new(401, UNAUTHORIZED))?;
        let caller = Caller::with_key(stored);
        if needed.iter().any(|scope| caller.allows(*scope)) {
            return Ok(caller);
        }
        let scopes: Vec<_> = needed.iter().map(Scope::to_string).collect();
        Err(Problem::new(403, format!("This API key lacks the scope {}.", scopes.join(" or "))))
    }

    /// The stored key with the id of `key`, which need not be `key`: the caller of this function compares them.
    async fn stored(&self, key: &ApiKey) -> Result<Option<StoredKey>, Problem> {
        // The time before the read: a key that is revoked during the read is trusted no longer than one revoked before.
        let now = Moment::now();
        let known = self.remembered.as_ref().and_then(|remembered| lock(remembered).fresh(&key.id, now));
        if known.is_some() {
            return Ok(known);
        }
        let stored = self.keys.get(&key.id).await?;
        if let Some(remembered) = &self.remembered {
            lock(remembered).update(&key.id, stored.clone(), now);
        }
        Ok(stored)
    }
}

fn lock(remembered: &Mutex<Remembered>) -> MutexGuard<'_, Remembered> {
    // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
    remembered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys that were read lately. A key that is not there is not remembered: it may be made the next moment.
#[derive(Debug, Default)]
struct Remembered(HashMap<KeyId, (StoredKey, Moment)>);

impl Remembered {
    fn fresh(&self, id: &KeyId, now: Moment) -> Option<StoredKey> {
        let (stored, since) = self.0.get(id)?;
        (since.until(now) < TRUSTED_FOR).then(|| stored.clone())
    }

    fn update(&mut self, id: &KeyId, stored: Option<StoredKey>, read_at: Moment) {
        if self.0.len() >= MOST_REMEMBERED {
            self.0.clear();
        }
        match stored {
            Some(stored) => self.0.insert(id.clone(), (stored, read_at)),
            None => self.0.remove(id),
        };
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::time::Timestamp;

    use super::*;

    fn key(number: u32) -> StoredKey {
        let mut id = [0; 10];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let key = ApiKey::generate(id, [2; 32]);
        StoredKey {
            key_id: key.id.clone(),
            name: "test".into(),
            tenant: None,
            scopes: [Scope::Ingest].into(),
            digest: key.digest(),
            created_at: Timestamp::from_seconds(1),
            made_by: None,
            valid_until: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_is_trusted_for_less_than_a_minute_by_whichever_clock_runs() {
        let (key, begin) = (key(1), Moment::now());
        let mut remembered = Remembered::default();
        remembered.update(&key.key_id, Some(key.clone()), begin);
        let after = |monotonic: f64, wall: f64| Moment {
            monotonic: begin.monotonic + Duration::from_secs_f64(monotonic),
            wall: Timestamp::from_millis(begin.wall.as_millis() + (wall * 1000.0) as i64),
        };
        for (monotonic, wall, trusted) in [
            (0.0, 0.0, true),
            (29.9, 29.9, true),
            (30.0, 30.0, false),
            (59.0, 59.0, false),
            // Frozen between two invocations.
            (0.1, 30.0, false),
            // Set back.
            (30.0, -3600.0, false),
            (1.0, -3600.0, true),
        ] {
            let found = remembered.fresh(&key.key_id, after(monotonic, wall));
            assert_eq!(found.is_some(), trusted, "{monotonic} s and {wall} s");
        }
    }

    #[test]
    fn what_is_read_again_replaces_what_was_remembered() {
        let (key, now) = (key(1), Moment::now());
        let mut remembered = Remembered::default();
        remembered.update(&key.key_id, Some(key.clone()), now);
        let revoked = StoredKey { revoked_at: Some(now.wall), ..key.clone() };
        remembered.update(&key.key_id, Some(revoked.clone()), now);
        assert_eq!(remembered.fresh(&key.key_id, now), Some(revoked));
        remembered.update(&key.key_id, None, now);
        assert_eq!(remembered.fresh(&key.key_id, now), None);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let now = Moment::now();
        let mut remembered = Remembered::default();
        for number in 0..=2500 {
            let key = key(number);
            remembered.update(&key.key_id, Some(key.clone()), now);
            assert!(remembered.0.len() <= MOST_REMEMBERED && remembered.fresh(&key.key_id, now).is_some());
        }
    }
}
