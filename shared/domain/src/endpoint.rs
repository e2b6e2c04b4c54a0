//! An endpoint: a receiver's URL with what it subscribes to, how it is signed for and how it is retried.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::EndpointUrl;
use crate::event_type::Pattern;
use crate::headers::CustomHeaders;
use crate::health::PauseReason;
use crate::ids::{EndpointId, TenantId};
use crate::rate_limit::RateLimit;
use crate::retry::RetryPolicy;
use crate::routing::Route;
use crate::signature::Secrets;
use crate::time::Timestamp;
use crate::unknown::Unknown;

/// The deadline of an attempt unless the endpoint has its own.
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 15;

/// Whether an endpoint gets events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointStatus {
    /// It gets events.
    Active,
    /// It gets none; what is on its way is held.
    Paused,
    /// It is gone; what is on its way is cancelled. Kept as a tombstone for the retention time.
    Deleted,
}

/// Who last set an endpoint's URL. The networks that the operator lists are open to the stack's URLs alone: a tenant must
/// not be able to look around in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// A key that is bound to a tenant.
    #[default]
    Tenant,
    /// A key for the whole stack.
    Stack,
}

impl SetBy {
    /// Whether it is a tenant's key.
    #[must_use]
    pub fn is_tenant(&self) -> bool {
        *self == Self::Tenant
    }
}

/// When an endpoint was paused, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When. Events accepted since are missing at the endpoint.
    pub at: Timestamp,
    /// Why.
    pub reason: PauseReason,
}

/// An endpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    #[serde(rename = "endpoint_id")]
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What its owner calls it.
    #[serde(default)]
    pub name: String,
    /// Where requests go; judged when it was registered, and again with each attempt.
    #[serde(deserialize_with = "EndpointUrl::deserialize_stored")]
    pub url: EndpointUrl,
    /// Whose key set `url` last.
    #[serde(default, skip_serializing_if = "SetBy::is_tenant")]
    pub url_set_by: SetBy,
    /// What it subscribes to.
    pub event_types: Vec<Pattern>,
    /// Headers of its own on each request.
    #[serde(default)]
    pub headers: CustomHeaders,
    /// When failed attempts are repeated.
    pub retry_policy: RetryPolicy,
    /// The deadline of an attempt, from name resolution to the status line, in seconds.
    pub timeout_seconds: u32,
    /// How many requests a second it gets at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// What its requests are signed with: `secrets`, and `signing_keys` and `signatures` once it asked for `v1a`.
    #[serde(flatten)]
    pub secrets: Secrets,
    /// Whether it gets events.
    pub status: EndpointStatus,
    /// The pause, while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Raised by every change.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When a tombstone expires, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// What a newer version stored beside these; kept as it is.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Endpoint {
    /// The endpoint as it is when it is paused.
    #[must_use]
    pub fn paused(&self, reason: PauseReason, now: Timestamp) -> Self {
        Self { status: EndpointStatus::Paused, pause: Some(Pause { at: now, reason }), ..self.clone() }
    }

    /// When a paused endpoint was paused; one that an older version paused says it by its last change.
    #[must_use]
    pub fn paused_at(&self) -> Timestamp {
        self.pause.map_or(self.updated_at, |pause| pause.at)
    }

    /// The deadline of an attempt.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// The endpoint as ingest sees it.
    #[must_use]
    pub fn route(&self) -> Route {
        Route {
            endpoint_id: self.id.clone(),
            version: self.version,
            active: self.status == EndpointStatus::Active,
            patterns: self.event_types.clone(),
            unknown: Vec::new(),
        }
    }
}
