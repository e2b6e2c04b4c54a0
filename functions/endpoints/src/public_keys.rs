//! `GET /v1/endpoints/{id}/keys.json`: the public keys that sign for an endpoint, for anybody who has the URL.
//!
//! The receiver, who has no API key, fetches them from here and pins them. So this answer says nothing that a signed
//! request would not let its receiver check: no tenant, no URL, not whether the endpoint is paused. Where there are no
//! public keys the answer is always the same: for an id that never was, an endpoint that is deleted, and one whose
//! requests have no `v1a`.

use pombo_aws::clock;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::EndpointId;
use pombo_domain::signature::PublicKey;
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request, Response};
use serde::Serialize;

use crate::App;

/// For five minutes a copy is as good: a key that is rotated out goes on signing for hours. Only after a rotation without
/// grace may a receiver's copy lack the key that signs; the retries then reach it with a newer one.
const CACHED: &str = "public, max-age=300";

#[derive(Debug, Serialize)]
struct Shown {
    keys: Vec<ShownKey>,
}

#[derive(Debug, Serialize)]
struct ShownKey {
    public_key: PublicKey,
    created_at: Timestamp,
    /// When it stops signing; `null` for the current one.
    expires_at: Option<Timestamp>,
}

/// Answers without asking who calls.
pub async fn show(app: &App, id: &str, request: &Request) -> Result<Response, Problem> {
    // Each query would be a URL of its own to a cache.
    request.only_query(&[])?;
    let id: EndpointId = id.parse().map_err(|_| nothing())?;
    let endpoint = app.endpoints.get(&id).await?.ok_or_else(nothing)?;
    answer(&endpoint, clock::now())
}

fn answer(endpoint: &Endpoint, now: Timestamp) -> Result<Response, Problem> {
    let live = endpoint.secrets.live_keys(now);
    let keys: Vec<_> = live
        .map(|key| ShownKey { public_key: key.secret.public(), created_at: key.created_at, expires_at: key.expires_at })
        .collect();
    if keys.is_empty() || endpoint.status == EndpointStatus::Deleted {
        return Err(nothing());
    }
    Ok(Response::json(200, &Shown { keys }).with_header("cache-control", CACHED))
}

fn nothing() -> Problem {
    Problem::not_found("list of public keys")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::signature::{PrivateKey, Schemes};
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{self, NOW};

    const HOUR: Duration = Duration::from_secs(3600);

    fn with(signatures: Schemes) -> Endpoint {
        let endpoint = samples::endpoint();
        Endpoint { secrets: endpoint.secrets.with_signatures(signatures, [1; 32], NOW), ..endpoint }
    }

    fn key(byte: u8) -> String {
        PrivateKey::generate([byte; 32]).public().to_string()
    }

    #[test]
    fn live_public_keys_are_shown_with_their_times_and_nothing_else() {
        let endpoint = with(samples::both());
        let later = NOW.plus(HOUR);
        let secrets = endpoint.secrets.rotate(&samples::both(), samples::secret(2), [2; 32], HOUR, later).unwrap();
        let rotated = Endpoint { secrets, status: EndpointStatus::Paused, ..endpoint };
        let response = answer(&rotated, later).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&response.body).unwrap(),
            json!({"keys": [
                {"public_key": key(2), "created_at": "2026-01-31T10:30:00.050Z", "expires_at": null},
                {"public_key": key(1), "created_at": "2026-01-31T09:30:00.050Z", "expires_at": "2026-01-31T11:30:00.050Z"},
            ]})
        );
        assert_eq!((response.status, response.header("cache-control")), (200, Some("public, max-age=300")));
        let over = answer(&rotated, later.plus(HOUR)).unwrap().body;
        assert!(over.contains(&key(2)) && !over.contains(&key(1)), "{over}");
    }

    #[test]
    fn without_v1a_or_after_a_deletion_there_is_nothing() {
        let off = with(samples::both());
        let off = Endpoint { secrets: off.secrets.with_signatures(Schemes::default(), [2; 32], NOW), ..off };
        let deleted = Endpoint { status: EndpointStatus::Deleted, ..with(samples::both()) };
        for endpoint in [samples::endpoint(), off, deleted] {
            assert_eq!(answer(&endpoint, NOW).unwrap_err(), nothing());
        }
        assert_eq!(Response::from(nothing()).header("cache-control"), Some("no-store"));
    }
}
