//! Who may call: the keys that are known, and what they may do.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock::{self, Clock, Moment};
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::ids::KeyId;

use crate::caller::Caller;
use crate::logged::note_caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::url_auth::{UrlAuth, signer};

/// How long a key is trusted before it is read again. A revoked key is refused everywhere within a minute.
const TRUSTED_FOR: Duration = Duration::from_secs(30);

/// How long an id that is no key's is remembered. A key that is made under that id is refused for no longer.
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// The most keys remembered, and the most ids of none; beyond that all are forgotten, which costs a read each.
const MOST_REMEMBERED: usize = 1000;

/// Checks API keys, each read at most once in [`TRUSTED_FOR`].
#[derive(Debug)]
pub struct Authenticator {
    keys: ApiKeysTable,
    /// What a signer may do, where callers sign their requests instead.
    signer: Option<Scope>,
    /// `None` when each call reads its key.
    remembered: Option<Mutex<Remembered>>,
    clock: Clock,
}

impl Authenticator {
    /// With the keys of this table.
    #[must_use]
    pub fn new(keys: ApiKeysTable) -> Self {
        Self { keys, signer: None, remembered: Some(Mutex::default()), clock: Clock::system() }
    }

    /// The same, but each call reads its key: a revoked key is refused from the next call on.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self { remembered: None, ..self }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same, for a URL whose callers prove who they are in this way. Those that sign their requests have `scope`.
    #[must_use]
    pub fn of_url(self, auth: UrlAuth, scope: Scope) -> Self {
        Self { signer: (auth == UrlAuth::Iam).then_some(scope), ..self }
    }

    /// The caller of a request, if its key is valid and has one of the scopes; 401 or 403 otherwise.
    pub async fn authenticate(&self, request: &Request, needed: &[Scope]) -> Result<Caller, Problem> {
        let caller = match self.signer {
            Some(scope) => signer(request, scope)?,
            None => self.key_holder(request).await?,
        };
        note_caller(&caller);
        if needed.iter().any(|scope| caller.allows(*scope)) {
            return Ok(caller);
        }
        let scopes: Vec<_> = needed.iter().map(Scope::to_string).collect();
        let what = if self.signer.is_some() { "A signature" } else { "This API key" };
        Err(Problem::new(403, format!("{what} lacks the scope {}.", scopes.join(" or "))))
    }

    /// The holder of the request's API key; 401 if it is no valid one.
    async fn key_holder(&self, request: &Request) -> Result<Caller, Problem> {
        const UNAUTHORIZED: &str = "Send a valid API key: Authorization: Bearer pk_…";
        let key: ApiKey = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .and_then(|key| key.trim().parse().ok())
            .ok_or_else(|| Problem::new(401, UNAUTHORIZED))?;
        let stored = self.stored(&key).await?.filter(|stored| stored.accepts(&key, clock::now()));
        stored.map(Caller::with_key).ok_or_else(|| Problem::new(401, UNAUTHORIZED))
    }

    /// The stored key with the id of `key`, which need not be `key`: the caller of this function compares them.
    async fn stored(&self, key: &ApiKey) -> Result<Option<StoredKey>, Problem> {
        // The time before the read: a key that is revoked during the read is trusted no longer than one revoked before.
        let now = self.clock.moment();
        if let Some(known) = self.remembered.as_ref().and_then(|remembered| lock(remembered).fresh(&key.id, now)) {
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

/// The keys that were read lately, and the ids under which there was none.
///
/// An id that is no key's is remembered for a moment, so that a flood of calls with one wrong key costs few reads. They are
/// kept apart: a flood of many wrong keys makes no process forget the right ones.
#[derive(Debug, Default)]
struct Remembered {
    keys: HashMap<KeyId, (StoredKey, Moment)>,
    unknown: HashMap<KeyId, Moment>,
}

impl Remembered {
    /// The key with this id as it was read, `Some(None)` if there was none; `None` when it has to be read.
    fn fresh(&self, id: &KeyId, now: Moment) -> Option<Option<StoredKey>> {
        if let Some((stored, since)) = self.keys.get(id) {
            return (since.until(now) < TRUSTED_FOR).then(|| Some(stored.clone()));
        }
        let since = self.unknown.get(id)?;
        (since.until(now) < UNKNOWN_FOR).then_some(None)
    }

    fn update(&mut self, id: &KeyId, stored: Option<StoredKey>, read_at: Moment) {
        match stored {
            Some(stored) => {
                self.unknown.remove(id);
                insert(&mut self.keys, id, (stored, read_at));
            }
            None => {
                self.keys.remove(id);
                insert(&mut self.unknown, id, read_at);
            }
        }
    }
}

fn insert<T>(map: &mut HashMap<KeyId, T>, id: &KeyId, value: T) {
    if map.len() >= MOST_REMEMBERED {
        map.clear();
    }
    map.insert(id.clone(), value);
}

#[cfg(test)]
mod tests {
    use pombo_aws::clock::{HandClock, TimePasses};
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

    /// What is remembered of a key's id `time` after it was read, by clocks that move so.
    fn after(stored: Option<&StoredKey>, time: Duration, time_passes: TimePasses) -> Option<bool> {
        let (hands, id) = (HandClock::start(), key(1).key_id);
        let mut remembered = Remembered::default();
        remembered.update(&id, stored.cloned(), hands.clock().moment());
        time_passes(&hands, time);
        remembered.fresh(&id, hands.clock().moment()).map(|known| known.is_some())
    }

    #[test]
    fn a_key_is_trusted_for_less_than_a_minute_by_whichever_clock_runs() {
        for (how, time_passes) in HandClock::WAYS {
            for (time, known) in [(0, Some(true)), (29_999, Some(true)), (30_000, None), (59_000, None)] {
                assert_eq!(
                    after(Some(&key(1)), Duration::from_millis(time), time_passes),
                    known,
                    "{how} for {time} ms"
                );
            }
        }
    }

    #[test]
    fn an_id_that_is_no_keys_hides_a_new_key_for_less_than_a_second_by_whichever_clock_runs() {
        for (how, time_passes) in HandClock::WAYS {
            for (time, known) in [(0, Some(false)), (999, Some(false)), (1000, None), (59_000, None)] {
                assert_eq!(after(None, Duration::from_millis(time), time_passes), known, "{how} for {time} ms");
            }
        }
    }

    #[test]
    fn what_is_read_again_replaces_what_was_remembered() {
        let (key, now) = (key(1), Moment::now());
        let mut remembered = Remembered::default();
        let revoked = StoredKey { revoked_at: Some(now.wall), ..key.clone() };
        for stored in [None, Some(key.clone()), Some(revoked), None, Some(key.clone())] {
            remembered.update(&key.key_id, stored.clone(), now);
            assert_eq!(remembered.fresh(&key.key_id, now), Some(stored));
        }
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_unknown_ids_displace_no_key() {
        let now = Moment::now();
        let mut remembered = Remembered::default();
        for number in 0..=2500 {
            let key = key(number);
            remembered.update(&key.key_id, Some(key.clone()), now);
            assert!(remembered.keys.len() <= MOST_REMEMBERED && remembered.fresh(&key.key_id, now).is_some());
        }
        let kept = remembered.keys.len();
        for number in 10_000..=12_500 {
            let id = key(number).key_id;
            remembered.update(&id, None, now);
            assert!(remembered.unknown.len() <= MOST_REMEMBERED && remembered.fresh(&id, now).is_some());
        }
        assert_eq!(remembered.keys.len(), kept);
    }
}
