//! `DELETE /v1/keys/{id}`.
//!
//! `?with_made=true` also revokes the keys that the key made, the keys that those made, and so on. A key is revoked before
//! the keys that it made are read. A revoked key makes no others, so none is left out, also when the key's holder makes
//! keys at the same time.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use pombo_aws::api_keys::{Revocation, Written};
use pombo_aws::clock;
use pombo_domain::api_key::StoredKey;
use pombo_domain::ids::{KeyId, base32};
use pombo_web::{Caller, Problem, Request, Response};
use serde_json::json;

use crate::App;
use crate::change::Repeats;
use crate::settings::random;

/// How long keys are revoked in one call. The function has 30 seconds.
const PATIENCE: Duration = Duration::from_secs(18);

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    /// Whether the keys that the key made are revoked too.
    with_made: bool,
    /// Whether the stack may lose its last admin key.
    confirmed: bool,
}

/// Revokes a key. A key that is revoked already stays so, since when it was.
pub async fn revoke(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let order = Order::read(request)?;
    let not_found = || caller.not_found("API key");
    let id: KeyId = id.parse().map_err(|_| not_found())?;
    let root = app.keys.get(&id).await?.filter(|stored| sees(caller, stored)).ok_or_else(not_found)?;
    if !order.confirmed {
        let ids = if order.with_made { with_made(app, &id).await? } else { [id.clone()].into() };
        if app.keys.ring(None).await?.loses_last_admin(&ids, clock::now()) {
            return Err(last_admin());
        }
    }
    let begun = Instant::now();
    let (mut revoked, mut seen) = (Vec::new(), BTreeSet::from([id]));
    let mut next = VecDeque::from([root]);
    while let Some(key) = next.pop_front() {
        if begun.elapsed() > PATIENCE {
            return Err(Problem::unavailable(format!(
                "{} keys are revoked, and there are more. Repeat the request to go on.",
                revoked.len()
            )));
        }
        let id = key.key_id.clone();
        if key.revoked_at.is_none() && revoke_one(app, key, order).await? {
            tracing::info!(revoked = %id, key = caller.name, "API key {id} revoked.");
            revoked.push(id.clone());
        }
        if order.with_made {
            for made in app.keys.made_by(&id).await? {
                if seen.insert(made.clone()) {
                    next.extend(app.keys.get(&made).await?);
                }
            }
        }
    }
    if order.with_made { Ok(Response::json(200, &json!({"revoked": revoked}))) } else { Ok(Response::empty(204)) }
}

impl Order {
    fn read(request: &Request) -> Result<Self, Problem> {
        request.only_query(&["with_made", "confirm"])?;
        let with_made = match request.query_text("with_made") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::invalid("with_made", "must be true or false")),
        };
        let confirmed = match request.query_text("confirm") {
            None => false,
            Some("last_admin") => true,
            Some(_) => return Err(Problem::invalid("confirm", "must be last_admin")),
        };
        Ok(Self { with_made, confirmed })
    }
}

/// A key, the keys that it made, the keys that those made, and so on.
async fn with_made(app: &App, id: &KeyId) -> Result<BTreeSet<KeyId>, Problem> {
    let mut found = BTreeSet::from([id.clone()]);
    let mut next = vec![id.clone()];
    while let Some(id) = next.pop() {
        for made in app.keys.made_by(&id).await? {
            if found.insert(made.clone()) {
                next.push(made);
            }
        }
    }
    Ok(found)
}

/// Revokes a key that was read as not revoked; says whether this call did it.
async fn revoke_one(app: &App, mut key: StoredKey, order: Order) -> Result<bool, Problem> {
    let mut repeats = Repeats::of("keys");
    loop {
        let now = clock::now();
        let ring = app.keys.ring(key.tenant.as_ref()).await?;
        // The keys may have changed since the first look.
        let last = key.tenant.is_none() && ring.loses_last_admin(&[key.key_id.clone()].into(), now);
        if last && !order.confirmed {
            return Err(last_admin());
        }
        let revoked = StoredKey { revoked_at: Some(now), ..key };
        let next = ring.without(&revoked.key_id, now);
        let revocation = Revocation { key: &revoked, ring: &next, retention: app.rules.retention };
        if app.keys.revoke(revocation, &base32(&random::<16>()?)).await? == Written::Stored {
            return Ok(true);
        }
        repeats.wait().await?;
        match app.keys.get(&revoked.key_id).await? {
            Some(stored) if stored.revoked_at.is_none() => key = stored,
            _ => return Ok(false),
        }
    }
}

fn last_admin() -> Problem {
    let detail = "This would leave the stack without an admin key. A new one could only be made by invoking the endpoints \
                  function directly, if the stack's parameter CreateAdminKey allows that. To do it all the same, repeat the \
                  request with ?confirm=last_admin.";
    Problem::new(409, detail)
}

fn sees(caller: &Caller, stored: &StoredKey) -> bool {
    caller.tenant.is_none() || caller.tenant == stored.tenant
}

#[cfg(test)]
mod tests {
    use pombo_domain::api_key::Scope;

    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn a_bound_key_sees_neither_the_stacks_keys_nor_another_tenants() {
        let stored = |tenant: Option<&str>| StoredKey {
            key_id: KeyId::generate([1; 10]),
            name: "n".into(),
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
            scopes: BTreeSet::from([Scope::Ops]),
            digest: String::new(),
            created_at: NOW,
            made_by: None,
            valid_until: None,
            revoked_at: None,
        };
        for (callers, keys, seen) in [
            (None, None, true),
            (None, Some("acme"), true),
            (Some("acme"), Some("acme"), true),
            (Some("acme"), Some("other"), false),
            (Some("acme"), None, false),
        ] {
            assert_eq!(sees(&samples::caller(callers), &stored(keys)), seen, "{callers:?} and {keys:?}");
        }
    }

    #[test]
    fn an_order_is_read_exactly() {
        let read = |query: &[(&str, &str)]| Order::read(&samples::query(query));
        for (query, with_made, confirmed) in [
            (&[][..], false, false),
            (&[("with_made", "true")], true, false),
            (&[("with_made", "false"), ("confirm", "last_admin")], false, true),
        ] {
            assert_eq!(read(query).unwrap(), Order { with_made, confirmed });
        }
        for (name, value) in
            [("with_made", "yes"), ("with_made", ""), ("confirm", "true"), ("confirm", ""), ("made", "true")]
        {
            assert_eq!(samples::named(&read(&[(name, value)]).unwrap_err()), (400, name), "{value}");
        }
    }
}
