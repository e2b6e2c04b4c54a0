//! `POST /v1/endpoints/{id}/rotate-secret` and `GET /v1/endpoints/{id}/secret`.
//!
//! A rotation is of all that signs, the secret (`v1`) and the key (`v1a`), unless it names one of them: a secret that
//! leaked says nothing about the key. What is replaced goes on signing for the grace period, so a receiver that knows only
//! the old secret, or has pinned only the old public key, accepts every request until then.
//!
//! The secret has to reach the receiver, so it is shown. A private key has not, and never is; what a receiver needs of it
//! is at `…/keys.json`.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::invalid::Invalid;
use pombo_domain::signature::{Scheme, Schemes, Secret};
use pombo_domain::time::Timestamp;
use pombo_requests::RotationOrder;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::App;
use crate::change::{Wanted, change, find};
use crate::settings::random;
use crate::view::EndpointView;

/// How long after a rotation the same rotation counts as a repeat, by a caller that has got no answer.
const REPEATED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What a rotation brings.
#[derive(Debug)]
struct Rotation {
    /// What to rotate, if not all that signs.
    signatures: Option<Schemes>,
    /// The new secret.
    secret: Secret,
    /// Whether the receiver chose it.
    imported: bool,
    /// What a new key is made from.
    key: [u8; 32],
    /// How long what signs now goes on signing.
    grace: Duration,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    secrets: Vec<ShownSecret<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownSecret<'a> {
    secret: &'a Secret,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

/// Gives an endpoint a new secret and, if `v1a` signs, a new key; those it has go on signing for the grace period.
pub async fn rotate(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let RotationOrder { secret, grace, signatures } = RotationOrder::read(request)?;
    let imported = secret.is_some();
    let secret = match secret {
        Some(imported) => imported,
        None => Secret::generate(random()?),
    };
    let rotation = Rotation { signatures, secret, imported, key: random()?, grace };
    let done = change(app, caller, id, |endpoint, now| rotated(endpoint, &rotation, now)).await?;
    let endpoint = &done.endpoint;
    tracing::info!(endpoint = %endpoint.id, tenant = %endpoint.tenant, "Secret of endpoint {} rotated.", endpoint.id);
    let secret = endpoint.secrets.current_secret().filter(|current| **current == rotation.secret);
    Ok(Response::json(200, &EndpointView::with_secret(endpoint, &done.health, secret)))
}

/// Shows the secrets that sign now, the current one first.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let endpoint = find(app, caller, id).await?;
    tracing::info!(endpoint = %endpoint.id, "Secrets of endpoint {} shown.", endpoint.id);
    Ok(Response::json(200, &shown(&endpoint, clock::now())))
}

/// The endpoint after the rotation. An imported secret must differ from the present one. The exception is a repeat: a caller
/// who got no answer rotates to the same secret again, and nothing changes.
fn rotated(endpoint: &Endpoint, rotation: &Rotation, now: Timestamp) -> Result<Wanted, Problem> {
    let Rotation { secret, imported, grace, .. } = rotation;
    let secrets = &endpoint.secrets;
    let schemes = rotation.signatures.as_ref().unwrap_or(secrets.signatures());
    if !schemes.are_among(secrets.signatures()) {
        return Err(Problem::invalid("signatures", "must be among those that the endpoint has"));
    }
    if *imported && !schemes.contains(Scheme::V1) {
        return Err(Problem::invalid("secret", "must be left out where v1 is not rotated"));
    }
    if *imported && secrets.current_secret() == Some(secret) {
        return match is_repeat(endpoint, now) {
            true => Ok(Wanted::Nothing),
            false => Err(Problem::invalid("secret", "must be another one: this is the secret that signs now")),
        };
    }
    let in_grace = secrets.live(now).any(|live| live.secret == *secret);
    let refused = |rule: Invalid| {
        let error = rule.in_field("secret");
        // What the caller sent is at fault in the one case, what the endpoint has in the other.
        if in_grace { Problem::field(error) } else { Problem { status: 409, ..Problem::field(error) } }
    };
    let secrets = secrets.rotate(schemes, secret.clone(), rotation.key, *grace, now).map_err(refused)?;
    Ok(Wanted::Change(Box::new(Endpoint { secrets, ..endpoint.clone() })))
}

/// Whether the current secret came by a rotation that was made just now.
fn is_repeat(endpoint: &Endpoint, now: Timestamp) -> bool {
    let current = endpoint.secrets.live(now).next();
    current.is_some_and(|current| {
        current.created_at != endpoint.created_at && current.created_at.until(now) <= REPEATED_WITHIN
    })
}

fn shown(endpoint: &Endpoint, now: Timestamp) -> Shown<'_> {
    let secrets = endpoint.secrets.live(now).map(|live| ShownSecret {
        secret: &live.secret,
        created_at: live.created_at,
        expires_at: live.expires_at,
    });
    Shown { secrets: secrets.collect() }
}

#[cfg(test)]
mod tests {
    use pombo_domain::health::Health;
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW, secret};

    const HOUR: Duration = Duration::from_secs(3600);

    /// A rotation to the secret of `byte`, and to the key of the one after.
    fn to(byte: u8, grace: Duration) -> Rotation {
        Rotation { signatures: None, secret: secret(byte), imported: true, key: [byte + 1; 32], grace }
    }

    fn rotate_once(endpoint: &Endpoint, rotation: &Rotation) -> Endpoint {
        match rotated(endpoint, rotation, NOW).unwrap() {
            Wanted::Change(endpoint) => *endpoint,
            other => panic!("{other:?}"),
        }
    }

    fn with(signatures: Schemes) -> Endpoint {
        let endpoint = samples::endpoint();
        Endpoint { secrets: endpoint.secrets.with_signatures(signatures, [100; 32], NOW), ..endpoint }
    }

    fn only(scheme: Scheme) -> Schemes {
        vec![scheme].try_into().unwrap()
    }

    /// How many secrets and keys sign.
    fn signing(endpoint: &Endpoint) -> (usize, usize) {
        (endpoint.secrets.live(NOW).count(), endpoint.secrets.live_keys(NOW).count())
    }

    #[test]
    fn a_rotation_keeps_the_old_secret_for_the_grace_period_and_changes_nothing_else() {
        let before = samples::endpoint();
        let after = rotate_once(&before, &to(2, HOUR * 24));
        assert_eq!(
            json!(shown(&after, NOW)),
            json!({"secrets": [
                {"secret": secret(2).reveal(), "created_at": "2026-01-31T09:30:00.050Z", "expires_at": null},
                {"secret": secret(1).reveal(), "created_at": "2023-11-14T22:13:20.000Z",
                 "expires_at": "2026-02-01T09:30:00.050Z"},
            ]})
        );
        assert_eq!(shown(&after, NOW.plus(HOUR * 24)).secrets.len(), 1);
        assert_eq!(Endpoint { secrets: before.secrets.clone(), ..after }, before);
    }

    #[test]
    fn a_rotation_that_is_repeated_for_its_answer_changes_nothing_whatever_its_grace() {
        for grace in [HOUR, Duration::ZERO] {
            let after = rotate_once(&samples::endpoint(), &to(2, grace));
            for soon in [NOW, NOW.plus(REPEATED_WITHIN)] {
                assert_eq!(rotated(&after, &to(2, grace), soon).unwrap(), Wanted::Nothing);
            }
        }
    }

    #[test]
    fn a_rotation_to_the_present_secret_is_refused() {
        let registered = samples::endpoint();
        for now in [registered.created_at, NOW] {
            assert_eq!(samples::named(&rotated(&registered, &to(1, HOUR), now).unwrap_err()), (400, "secret"));
        }
        let rotated_once = rotate_once(&registered, &to(2, HOUR));
        let later = NOW.plus(REPEATED_WITHIN + Duration::from_millis(1));
        assert_eq!(samples::named(&rotated(&rotated_once, &to(2, HOUR), later).unwrap_err()), (400, "secret"));
    }

    #[test]
    fn a_secret_in_its_grace_period_and_a_sixth_one_are_refused() {
        let mut endpoint = rotate_once(&samples::endpoint(), &to(2, HOUR));
        assert_eq!(samples::named(&rotated(&endpoint, &to(1, HOUR), NOW).unwrap_err()), (400, "secret"));
        for byte in 3..=5 {
            endpoint = rotate_once(&endpoint, &to(byte, HOUR));
        }
        assert_eq!(samples::named(&rotated(&endpoint, &to(6, HOUR), NOW).unwrap_err()), (409, "secret"));
        assert_eq!(
            shown(&rotate_once(&endpoint, &to(6, Duration::ZERO)), NOW).secrets.len(),
            1,
            "no grace frees them all"
        );
    }

    #[test]
    fn all_that_signs_is_rotated_unless_one_is_named() {
        let endpoint = with(samples::both());
        let named = |scheme| Rotation { signatures: Some(only(scheme)), imported: false, ..to(2, HOUR) };
        assert_eq!(signing(&rotate_once(&endpoint, &to(2, HOUR))), (2, 2));
        assert_eq!(signing(&rotate_once(&endpoint, &named(Scheme::V1))), (2, 1));
        let keys = rotate_once(&endpoint, &named(Scheme::V1a));
        assert_eq!((signing(&keys), keys.secrets.current_secret()), ((1, 2), Some(&secret(1))));
    }

    #[test]
    fn a_scheme_that_does_not_sign_is_not_rotated() {
        let rotation = Rotation { signatures: Some(only(Scheme::V1a)), imported: false, ..to(2, HOUR) };
        assert_eq!(samples::named(&rotated(&samples::endpoint(), &rotation, NOW).unwrap_err()), (400, "signatures"));
        let v1a = with(only(Scheme::V1a));
        assert_eq!(samples::named(&rotated(&v1a, &to(2, HOUR), NOW).unwrap_err()), (400, "secret"));
        let after = rotate_once(&v1a, &Rotation { imported: false, ..to(2, HOUR) });
        assert_eq!((signing(&after), shown(&after, NOW).secrets.len()), ((0, 2), 0));
    }

    #[test]
    fn no_private_key_is_shown() {
        let endpoint = rotate_once(&with(samples::both()), &to(2, HOUR));
        let private = json!(endpoint.secrets.current_key().unwrap());
        let view = EndpointView::with_secret(&endpoint, &Health::good(), endpoint.secrets.current_secret());
        for answer in [json!(view).to_string(), json!(shown(&endpoint, NOW)).to_string()] {
            assert!(!answer.contains("whsk_") && !answer.contains(&private.as_str().unwrap()[5..]), "{answer}");
        }
    }
}
