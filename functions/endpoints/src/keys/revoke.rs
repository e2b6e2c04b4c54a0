//! `DELETE /v1/keys/{id}`.
//!
//! `?with_made=true` also revokes the keys that the key made, the keys that those made, and so on. A key is revoked before
//! the keys that it made are read. A revoked key makes no others, so none is left out, also when the key's holder makes
//! keys at the same time. Keys that were revoked before, or have been removed since, are passed through.
//!
//! Once a key and all that it made are revoked, the row that leads to it is removed. So a call that is repeated goes on where
//! the one before ended, and keys that were made and revoked in a loop do not hold it up twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pombo_aws::api_keys::{KeyItems, Written};
use pombo_aws::clock;
use pombo_domain::api_key::{Scope, StoredKey};
use pombo_domain::ids::{KeyId, base32};
use pombo_web::{Caller, Problem, Request, Response};
use serde_json::json;

use crate::App;
use crate::settings::random;

/// How long keys are revoked in one call. The function has 30 seconds, and the last key may take [`PATIENCE_FOR_ONE`].
const PATIENCE: Duration = Duration::from_secs(14);
/// How long the revocation of one key is tried.
const PATIENCE_FOR_ONE: Duration = Duration::from_secs(6);
/// How long it is looked for whether the last admin key is among what is revoked. Each revocation looks again.
const PATIENCE_BEFORE: Duration = Duration::from_secs(3);
/// Longest pause between two tries. The pause does not grow, so that a holder who makes keys in a loop cannot hold a
/// revocation up.
const MAX_PAUSE: Duration = Duration::from_millis(30);

/// The options of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    /// Whether the keys that the key made are revoked too.
    with_made: bool,
    /// Whether the stack may lose its last admin key.
    confirmed: bool,
}

/// Revokes a key. A key that is revoked already keeps its time of revocation.
pub async fn revoke(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let order = Order::read(request)?;
    let not_found = || caller.not_found("API key");
    let id: KeyId = id.parse().map_err(|_| not_found())?;
    let is_known = match app.keys.get(&id).await? {
        Some(root) => sees(caller, &root),
        // A key that was removed has no owner any more, so what it made is for the whole stack's keys to revoke.
        None => order.with_made && caller.tenant.is_none() && !app.keys.made_by(&id).await?.is_empty(),
    };
    if !is_known {
        return Err(not_found());
    }
    if !order.confirmed && app.keys.ring(None).await?.loses_last_admin(&admins_of(app, &id, order).await?, clock::now())
    {
        return Err(last_admin());
    }
    let revoked = Walk::from(id).finish(app, order).await?;
    if order.with_made { Ok(Response::json(200, &json!({"revoked": revoked}))) } else { Ok(Response::empty(204)) }
}

/// The stack's live admin keys that an order ends, found from each of them up to the key that made it.
async fn admins_of(app: &App, root: &KeyId, order: Order) -> Result<BTreeSet<KeyId>, Problem> {
    let mut ended = BTreeSet::from([root.clone()]);
    if !order.with_made {
        return Ok(ended);
    }
    let (begun, mut apart) = (Instant::now(), BTreeSet::new());
    for admin in app.keys.ring(None).await?.live_admins(clock::now()) {
        let (mut path, mut next) = (Vec::new(), Some(admin));
        while let Some(id) = next {
            if ended.contains(&id) {
                ended.extend(path.drain(..));
                break;
            }
            if apart.contains(&id) || begun.elapsed() > PATIENCE_BEFORE {
                break;
            }
            next = app.keys.get(&id).await?.and_then(|key| key.made_by);
            path.push(id);
        }
        apart.extend(path);
    }
    Ok(ended)
}

/// A step of the walk through the keys that a key made.
#[derive(Debug)]
enum Step {
    /// Revokes a key, then goes to those that it made.
    Enter(KeyId),
    /// Leaves a key whose children are done.
    Leave(KeyId),
}

/// The walk through a key and what it made, depth first.
#[derive(Debug)]
struct Walk {
    steps: Vec<Step>,
    /// The maker of each key that was met.
    makers: BTreeMap<KeyId, Option<KeyId>>,
    /// Rows of each key that are left.
    rows: BTreeMap<KeyId, usize>,
    revoked: Vec<KeyId>,
}

impl Walk {
    fn from(root: KeyId) -> Self {
        let makers = BTreeMap::from([(root.clone(), None)]);
        Self { steps: vec![Step::Enter(root)], makers, rows: BTreeMap::new(), revoked: Vec::new() }
    }

    async fn finish(mut self, app: &App, order: Order) -> Result<Vec<KeyId>, Problem> {
        let begun = Instant::now();
        while let Some(step) = self.steps.pop() {
            if begun.elapsed() > PATIENCE {
                return Err(Problem::unavailable(format!(
                    "{} keys are revoked, and there are more. Repeat the request to go on.",
                    self.revoked.len()
                )));
            }
            match step {
                Step::Enter(id) => self.enter(app, order, id).await?,
                Step::Leave(id) => self.leave(app, &id).await?,
            }
        }
        Ok(self.revoked)
    }

    async fn enter(&mut self, app: &App, order: Order, id: KeyId) -> Result<(), Problem> {
        if let Some(key) = app.keys.get(&id).await?
            && key.revoked_at.is_none()
            && revoke_one(app, key, order).await?
        {
            tracing::info!(revoked = %id, "API key {id} revoked.");
            self.revoked.push(id.clone());
        }
        if !order.with_made {
            return Ok(());
        }
        let made = app.keys.made_by(&id).await?;
        self.rows.insert(id.clone(), made.len());
        self.steps.push(Step::Leave(id.clone()));
        for made in made {
            // Each key has one maker, so none is met twice.
            self.makers.insert(made.clone(), Some(id.clone()));
            self.steps.push(Step::Enter(made));
        }
        Ok(())
    }

    async fn leave(&mut self, app: &App, id: &KeyId) -> Result<(), Problem> {
        let Some(Some(maker)) = self.makers.get(id) else { return Ok(()) };
        if self.rows.get(id) == Some(&0) {
            app.keys.forget_made(maker, id).await?;
            if let Some(rows) = self.rows.get_mut(maker) {
                *rows -= 1;
            }
        }
        Ok(())
    }
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

/// Revokes a key that was read as not revoked; says whether this call did it.
///
/// The key and its owner's ring are written together, so that the last admin key is known exactly. If other calls change the
/// ring at the same time, the key is revoked by a write of its own: a holder who makes keys in a loop cannot hold it up. The
/// ring may then have a key too many, until the next key that finds it full.
async fn revoke_one(app: &App, mut key: StoredKey, order: Order) -> Result<bool, Problem> {
    let begun = Instant::now();
    let is_stacks_admin = key.tenant.is_none() && key.scopes.contains(&Scope::Admin);
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
        let revocation = KeyItems { key: &revoked, ring: &next, retention: app.rules.retention };
        if app.keys.revoke(revocation, &base32(&random::<16>()?)).await? == Written::Stored {
            return Ok(true);
        }
        let alone = order.confirmed || !is_stacks_admin;
        if alone && app.keys.revoke_alone(&revoked, app.rules.retention).await? == Written::Stored {
            return Ok(true);
        }
        match app.keys.get(&revoked.key_id).await? {
            Some(stored) if stored.revoked_at.is_none() => key = stored,
            _ => return Ok(false),
        }
        if begun.elapsed() > PATIENCE_FOR_ONE {
            return Err(Problem::unavailable("Too many keys are being changed at the same time. Repeat the request."));
        }
        tokio::time::sleep(MAX_PAUSE.mul_f64(f64::from(clock::random_bits()) / f64::from(u32::MAX))).await;
    }
}

fn last_admin() -> Problem {
    let detail = "This would leave the stack without an admin key. A new one could only be made by invoking the endpoints \
                  function directly, if the template's parameter CreateAdminKey allows that. To do it all the same, repeat the \
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
