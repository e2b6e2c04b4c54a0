//! An endpoint and an API key as callers see them.

use std::collections::{BTreeMap, BTreeSet};

use pombo_domain::address::EndpointUrl;
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::endpoint::{Endpoint, EndpointStatus, Pause, SetBy};
use pombo_domain::event_type::Pattern;
use pombo_domain::health::{Circuit, Health};
use pombo_domain::ids::{EndpointId, KeyId, TenantId};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::retry::RetryPolicy;
use pombo_domain::signature::{PrivateKey, PublicKey, Schemes, Secret};
use pombo_domain::time::Timestamp;
use pombo_web::Caller;
use serde::Serialize;

/// An endpoint. Headers are masked; the secret is there only where a call has just set it, and a private key never is.
#[derive(Debug, Serialize)]
pub struct EndpointView<'a> {
    id: &'a EndpointId,
    tenant: &'a TenantId,
    name: &'a str,
    url: &'a EndpointUrl,
    url_set_by: SetBy,
    event_types: &'a [Pattern],
    headers: BTreeMap<&'a str, &'static str>,
    retry_policy: &'a RetryPolicy,
    timeout_seconds: u32,
    rate_limit: Option<PerSecond>,
    status: EndpointStatus,
    pause: Option<Pause>,
    circuit: Circuit,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
    signatures: &'a Schemes,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<PublicKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a Secret>,
}

impl<'a> EndpointView<'a> {
    /// The endpoint without its secret.
    pub fn new(endpoint: &'a Endpoint, health: &Health) -> Self {
        Self {
            id: &endpoint.id,
            tenant: &endpoint.tenant,
            name: &endpoint.name,
            url: &endpoint.url,
            url_set_by: endpoint.url_set_by,
            event_types: &endpoint.event_types,
            headers: endpoint.headers.masked(),
            retry_policy: &endpoint.retry_policy,
            timeout_seconds: endpoint.timeout_seconds,
            rate_limit: endpoint.rate_limit.map(|limit| limit.per_second),
            status: endpoint.status,
            pause: endpoint.pause,
            circuit: Circuit::of(health),
            version: endpoint.version,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            signatures: endpoint.secrets.signatures(),
            public_key: endpoint.secrets.current_key().map(PrivateKey::public),
            secret: None,
        }
    }

    /// The endpoint with the secret that the call has set, if it set one.
    pub fn with_secret(endpoint: &'a Endpoint, health: &Health, secret: Option<&'a Secret>) -> Self {
        Self { secret, ..Self::new(endpoint, health) }
    }
}

/// An endpoint as operators know it. Headers and secrets are left out, and most of the URL, which may hold a token.
#[derive(Debug, Serialize)]
pub struct EndpointSummary<'a> {
    id: &'a EndpointId,
    tenant: &'a TenantId,
    name: &'a str,
    /// Masked.
    url: String,
    event_types: &'a [Pattern],
    status: EndpointStatus,
    pause: Option<Pause>,
    circuit: Circuit,
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> EndpointSummary<'a> {
    /// The endpoint as a key may see it that does not manage endpoints.
    pub fn new(endpoint: &'a Endpoint, health: &Health) -> Self {
        Self {
            id: &endpoint.id,
            tenant: &endpoint.tenant,
            name: &endpoint.name,
            url: endpoint.url.masked(),
            event_types: &endpoint.event_types,
            status: endpoint.status,
            pause: endpoint.pause,
            circuit: Circuit::of(health),
            version: endpoint.version,
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
        }
    }
}

/// An endpoint, as much of it as its reader may see.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum SeenEndpoint<'a> {
    /// To a key that manages endpoints.
    Whole(Box<EndpointView<'a>>),
    /// To any other key.
    Summary(EndpointSummary<'a>),
}

impl<'a> SeenEndpoint<'a> {
    /// The endpoint as `caller` sees it. Only a caller who may change the endpoint sees the whole of it.
    pub fn by(caller: &Caller, endpoint: &'a Endpoint, health: &Health) -> Self {
        if caller.manages_endpoints() {
            Self::Whole(Box::new(EndpointView::new(endpoint, health)))
        } else {
            Self::Summary(EndpointSummary::new(endpoint, health))
        }
    }
}

/// An API key. The key itself is there only where a call has just made it.
#[derive(Debug, Serialize)]
pub struct KeyView<'a> {
    id: &'a KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    name: &'a str,
    scopes: &'a BTreeSet<Scope>,
    tenant: Option<&'a TenantId>,
    created_at: Timestamp,
    /// The id of the key that made it; `null` if it was made by invoking the function directly.
    made_by: Option<&'a KeyId>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl<'a> KeyView<'a> {
    /// What is stored, but for the digest.
    pub fn new(stored: &'a StoredKey) -> Self {
        Self {
            id: &stored.key_id,
            key: None,
            name: &stored.name,
            scopes: &stored.scopes,
            tenant: stored.tenant.as_ref(),
            created_at: stored.created_at,
            made_by: stored.made_by.as_ref(),
            expires_at: stored.valid_until,
            revoked_at: stored.revoked_at,
        }
    }

    /// A key that was just made, with what its holder has to send.
    pub fn with_key(stored: &'a StoredKey, key: &ApiKey) -> Self {
        Self { key: Some(key.reveal()), ..Self::new(stored) }
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::health::Open;
    use serde_json::json;

    use super::*;
    use crate::samples;

    #[test]
    fn an_endpoint_is_shown_without_secret_and_header_values() {
        let endpoint = samples::endpoint();
        assert_eq!(
            json!(EndpointView::new(&endpoint, &Health::good())),
            json!({
                "id": "ep_aeaqcaibaeaqcaib", "tenant": "acme", "name": "first", "url": "https://example.com/hook",
                "url_set_by": "tenant", "event_types": ["student.*"], "headers": {"x-api-key": "********"}, "retry_policy": "standard",
                "timeout_seconds": 15, "rate_limit": null, "status": "active", "pause": null,
                "circuit": {"state": "closed", "since": null, "next_probe_at": null}, "version": 4,
                "created_at": "2023-11-14T22:13:20.000Z", "updated_at": "2023-11-14T22:13:20.000Z",
                "signatures": ["v1"],
            })
        );
    }

    #[test]
    fn an_open_circuit_is_shown_with_the_time_of_the_next_probe() {
        let next = samples::NOW.plus(std::time::Duration::from_secs(30));
        let health = Health { open: Some(Open::new(samples::NOW, "drain", next)), ..Health::good() };
        let shown = json!(EndpointView::new(&samples::endpoint(), &health));
        assert_eq!(shown["circuit"], json!({"state": "open", "since": samples::NOW, "next_probe_at": next}));
        assert_eq!(shown["status"], "active", "it takes events");
    }

    #[test]
    fn a_key_that_cannot_change_an_endpoint_sees_no_header_no_secret_and_the_beginning_of_the_url() {
        let url = EndpointUrl::from_stored("https://example.com/hook/T0/hidden?token=hidden").unwrap();
        let secrets = samples::endpoint().secrets.with_signatures(samples::both(), [9; 32], samples::NOW);
        let endpoint = Endpoint { url, secrets, ..samples::endpoint() };
        let seen =
            |scope| json!(SeenEndpoint::by(&Caller::without_key("k".into(), None, scope), &endpoint, &Health::good()));
        let summary = json!({
            "id": "ep_aeaqcaibaeaqcaib", "tenant": "acme", "name": "first", "url": "https://example.com/hook/…?…",
            "event_types": ["student.*"], "status": "active", "pause": null, "version": 4,
            "circuit": {"state": "closed", "since": null, "next_probe_at": null},
            "created_at": "2023-11-14T22:13:20.000Z", "updated_at": "2023-11-14T22:13:20.000Z",
        });
        assert_eq!([Scope::Ingest, Scope::Ops].map(seen), [summary.clone(), summary]);
        let whole = json!(EndpointView::new(&endpoint, &Health::good()));
        assert_eq!([Scope::Endpoints, Scope::Admin].map(seen), [whole.clone(), whole]);
        assert_eq!(seen(Scope::Admin)["url"], "https://example.com/hook/T0/hidden?token=hidden");
    }

    #[test]
    fn the_public_key_is_shown_while_v1a_signs() {
        let plain = samples::endpoint();
        let secrets = plain.secrets.with_signatures(samples::both(), [9; 32], samples::NOW);
        let endpoint = Endpoint { secrets, ..plain };
        let shown = json!(EndpointView::new(&endpoint, &Health::good()));
        let key = PrivateKey::generate([9; 32]).public().to_string();
        assert_eq!((&shown["signatures"], &shown["public_key"]), (&json!(["v1", "v1a"]), &json!(key)));
    }

    #[test]
    fn the_answer_that_sets_a_secret_shows_it() {
        let (endpoint, secret) = (samples::endpoint(), samples::secret(2));
        assert_eq!(
            json!(EndpointView::with_secret(&endpoint, &Health::good(), Some(&secret)))["secret"],
            json!(secret.reveal())
        );
    }

    #[test]
    fn a_key_is_shown_without_digest_and_whole_only_when_made() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        let stored = StoredKey {
            key_id: key.id.clone(),
            name: "ci".into(),
            tenant: None,
            scopes: [Scope::Ops, Scope::Ingest].into(),
            digest: key.digest(),
            created_at: samples::NOW,
            made_by: Some(KeyId::generate([3; 10])),
            valid_until: None,
            revoked_at: None,
        };
        let mut shown = json!({
            "id": "aeaqcaibaeaqcaib", "name": "ci", "scopes": ["ingest", "ops"], "tenant": null,
            "created_at": "2026-01-31T09:30:00.050Z", "made_by": "ambqgaydambqgayd", "expires_at": null, "revoked_at": null,
        });
        assert_eq!(json!(KeyView::new(&stored)), shown);
        shown["key"] = json!(key.reveal());
        assert_eq!(json!(KeyView::with_key(&stored, &key)), shown);
    }
}
