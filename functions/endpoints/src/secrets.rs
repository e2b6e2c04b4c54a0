//! `POST /v1/endpoints/{id}/rotate-secret` and `GET /v1/endpoints/{id}/secret`.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::invalid::Invalid;
use pombo_domain::signature::{DEFAULT_GRACE, LONGEST_GRACE, Secret};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::App;
use crate::change::{Wanted, change, find};
use crate::router::optional_body;
use crate::settings::random;
use crate::view::EndpointView;

const HOUR: Duration = Duration::from_secs(3600);

/// The body of a rotation.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    /// The new secret, if the receiver chose it.
    secret: Option<Secret>,
    /// How long the present one goes on signing.
    grace_hours: Option<Number>,
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

/// Gives an endpoint a new secret; the present one goes on signing beside it for the grace period.
pub async fn rotate(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let body: Rotate = optional_body(request)?;
    let grace = grace(body.grace_hours.as_ref())?;
    let secret = match body.secret {
        Some(imported) => imported,
        None => Secret::generate(random()?),
    };
    let endpoint = change(app, caller, id, |endpoint, now| rotated(endpoint, &secret, grace, now)).await?;
    tracing::info!(endpoint = %endpoint.id, tenant = %endpoint.tenant, "Secret of endpoint {} rotated.", endpoint.id);
    Ok(Response::json(200, &EndpointView::with_secret(&endpoint, &secret)))
}

/// Shows the secrets that sign now, the current one first.
pub async fn show(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let endpoint = find(app, caller, id).await?;
    tracing::info!(endpoint = %endpoint.id, key = caller.name, "Secrets of endpoint {} shown.", endpoint.id);
    Ok(Response::json(200, &shown(&endpoint, clock::now())))
}

fn grace(hours: Option<&Number>) -> Result<Duration, Problem> {
    let Some(hours) = hours else { return Ok(DEFAULT_GRACE) };
    match hours.as_u64().and_then(|hours| u32::try_from(hours).ok()).map(|hours| HOUR.saturating_mul(hours)) {
        Some(grace) if grace <= LONGEST_GRACE => Ok(grace),
        _ => Err(Problem::invalid("grace_hours", "must be a whole number from 0 to 168")),
    }
}

/// The endpoint with the secret as its current one. With a secret that is that already nothing changes, so that a
/// rotation whose answer was lost can be repeated.
fn rotated(endpoint: &Endpoint, secret: &Secret, grace: Duration, now: Timestamp) -> Result<Wanted, Problem> {
    if endpoint.secrets.live(now).next().is_some_and(|current| current.secret == *secret) {
        return Ok(Wanted::Nothing);
    }
    let in_grace = endpoint.secrets.live(now).any(|live| live.secret == *secret);
    let refused = |rule: Invalid| {
        let error = rule.in_field("secret");
        // What the caller sent is at fault in the one case, what the endpoint has in the other.
        if in_grace { Problem::field(error) } else { Problem { status: 409, ..Problem::field(error) } }
    };
    let secrets = endpoint.secrets.rotate(secret.clone(), grace, now).map_err(refused)?;
    Ok(Wanted::Change(Box::new(Endpoint { secrets, ..endpoint.clone() })))
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
    use serde_json::json;

    use super::*;
    use crate::samples::{self, NOW, secret};

    fn rotate_once(endpoint: &Endpoint, byte: u8, grace: Duration) -> Endpoint {
        match rotated(endpoint, &secret(byte), grace, NOW).unwrap() {
            Wanted::Change(endpoint) => *endpoint,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rotation_keeps_the_old_secret_for_the_grace_period_and_changes_nothing_else() {
        let before = samples::endpoint();
        let after = rotate_once(&before, 2, HOUR * 24);
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
    fn a_repeated_rotation_changes_nothing() {
        let after = rotate_once(&samples::endpoint(), 2, HOUR);
        assert_eq!(rotated(&after, &secret(2), HOUR, NOW).unwrap(), Wanted::Nothing);
    }

    #[test]
    fn a_secret_in_its_grace_period_and_a_sixth_one_are_refused() {
        let mut endpoint = rotate_once(&samples::endpoint(), 2, HOUR);
        assert_eq!(samples::named(&rotated(&endpoint, &secret(1), HOUR, NOW).unwrap_err()), (400, "secret"));
        for byte in 3..=5 {
            endpoint = rotate_once(&endpoint, byte, HOUR);
        }
        assert_eq!(samples::named(&rotated(&endpoint, &secret(6), HOUR, NOW).unwrap_err()), (409, "secret"));
        assert_eq!(shown(&rotate_once(&endpoint, 6, Duration::ZERO), NOW).secrets.len(), 1, "no grace frees them all");
    }

    #[test]
    fn grace_is_whole_hours_up_to_a_week() {
        let read = |body: &str| {
            let body: Rotate = optional_body(&samples::request(body))?;
            grace(body.grace_hours.as_ref())
        };
        for (body, hours) in [("", 24), ("{}", 24), (r#"{"grace_hours":0}"#, 0), (r#"{"grace_hours":168}"#, 168)] {
            assert_eq!(read(body).unwrap(), HOUR * hours, "{body}");
        }
        for (body, field) in [
            (r#"{"grace_hours":169}"#, "grace_hours"),
            (r#"{"grace_hours":-1}"#, "grace_hours"),
            (r#"{"grace_hours":1.5}"#, "grace_hours"),
            (r#"{"grace_hours":"24"}"#, "grace_hours"),
            (r#"{"grace_hours":99999999999}"#, "grace_hours"),
            (r#"{"secret":"whsec_"}"#, "secret"),
            (r#"{"grace":1}"#, "grace"),
        ] {
            assert_eq!(samples::named(&read(body).unwrap_err()), (400, field), "{body}");
        }
    }
}
