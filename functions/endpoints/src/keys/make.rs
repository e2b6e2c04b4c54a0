//! `POST /v1/keys`.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use pombo_aws::api_keys::{KeyItems, Written};
use pombo_aws::clock;
use pombo_domain::api_key::{ApiKey, KeyRing, RingIsFull, StoredKey};
use pombo_domain::ids::{KeyId, base32};
use pombo_domain::time::Timestamp;
use pombo_requests::NewKey;
use pombo_web::{Caller, Problem, Request, Response};

use crate::App;
use crate::change::Repeats;
use crate::settings::random;
use crate::view::KeyView;

/// Keys that are read at once.
const AT_ONCE: usize = 16;

/// Makes a key for a caller.
pub async fn create(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    let now = clock::now();
    let new = NewKey::read(request, caller, now)?;
    let (stored, key) = store(app, new, caller.key_id.clone(), app.rules.keys_per_tenant, now).await?;
    tracing::info!(made = %stored.key_id, "API key {} made.", stored.key_id);
    Ok(Response::json(201, &KeyView::with_key(&stored, &key)))
}

/// Makes a key and stores it, if fewer than `limit` keys of its owner are in use. `made_by` is the key that makes it, if a
/// key does.
pub async fn store(
    app: &App,
    new: NewKey,
    made_by: Option<KeyId>,
    limit: usize,
    now: Timestamp,
) -> Result<(StoredKey, ApiKey), Problem> {
    let key = ApiKey::generate(random()?, random()?);
    let stored = StoredKey {
        key_id: key.id.clone(),
        name: new.name,
        tenant: new.tenant,
        scopes: new.scopes,
        digest: key.digest(),
        created_at: now,
        made_by,
        valid_until: new.valid_until,
        revoked_at: None,
    };
    let mut repeats = Repeats::of("keys");
    loop {
        let ring = app.keys.ring(stored.tenant.as_ref()).await?;
        let ring = match ring.with(&stored, now, limit) {
            Ok(next) => next,
            Err(_) => {
                let ring = without_revoked(app, ring).await?;
                ring.with(&stored, now, limit).map_err(|full| too_many(&stored, full, limit))?
            }
        };
        let new = KeyItems { key: &stored, ring: &ring, retention: app.rules.retention };
        match app.keys.create(new, &base32(&random::<16>()?)).await? {
            Written::Stored => return Ok((stored, key)),
            Written::MakerRevoked => return Err(Problem::new(401, "The API key was revoked before it made this one.")),
            Written::Conflict => repeats.wait().await?,
        }
        // A try that was still in progress when it was given up may have come through.
        if app.keys.get(&stored.key_id).await?.is_some() {
            return Ok((stored, key));
        }
    }
}

/// The ring without keys that were revoked while others changed it: those could stay on it.
async fn without_revoked(app: &App, ring: KeyRing) -> Result<KeyRing, Problem> {
    let look = ring.keys.iter().map(|key| async { Ok::<_, Problem>((key.id.clone(), app.keys.get(&key.id).await?)) });
    let found: BTreeMap<_, _> = futures::stream::iter(look).buffer_unordered(AT_ONCE).try_collect().await?;
    let is_live = |id: &KeyId| matches!(found.get(id), Some(Some(key)) if key.revoked_at.is_none());
    Ok(ring.retaining(is_live))
}

fn too_many(key: &StoredKey, RingIsFull(in_use): RingIsFull, limit: usize) -> Problem {
    let owner = key
        .tenant
        .as_ref()
        .map_or("The stack, apart from its tenants,".to_owned(), |tenant| format!("The tenant {tenant}"));
    let detail = format!(
        "{owner} has {in_use} API keys in use, and at most {limit} are allowed. Revoke one, or ask the operator of the stack \
         to raise the template's parameter MaxKeysPerTenant."
    );
    Problem::new(409, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::samples::NOW;

    #[test]
    fn a_full_ring_names_its_owner_the_number_and_the_parameter() {
        for (tenant, owner) in
            [(None, "The stack, apart from its tenants, has 7 "), (Some("acme"), "The tenant acme has 7 ")]
        {
            let key = StoredKey {
                key_id: KeyId::generate([1; 10]),
                name: "n".into(),
                tenant: tenant.map(|tenant| tenant.parse().unwrap()),
                scopes: BTreeSet::new(),
                digest: String::new(),
                created_at: NOW,
                made_by: None,
                valid_until: None,
                revoked_at: None,
            };
            let problem = too_many(&key, RingIsFull(7), 7);
            assert!(problem.status == 409 && problem.detail.starts_with(owner), "{problem:?}");
            assert!(problem.detail.contains("MaxKeysPerTenant"));
        }
    }
}
