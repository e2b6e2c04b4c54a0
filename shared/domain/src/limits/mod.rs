//! Limits on what a tenant has, each a parameter of the template.
//!
//! An endpoint's URL is not proved to be its owner's, and one event goes to every endpoint that subscribes to it. So what a
//! leaked key can aim at one receiver is bounded here. The limits are exact, whoever calls at the same time: what is counted
//! is written in the transaction that makes it. No honest user meets them; the operator of the stack can raise each.

mod endpoints;
mod replays;

use thiserror::Error;

pub use self::endpoints::{EndpointLimits, HostEndpoints, Registered};
pub use self::replays::RunningReplays;
use crate::ids::TenantId;
use crate::time::Timestamp;

/// A limit that is reached: what is limited, how much of it is in use, and who can raise the limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LimitReached {
    /// Endpoints of a tenant, paused ones too.
    #[error(
        "The tenant {tenant} has {in_use} endpoints, and at most {limit} are allowed. Delete one that is not needed any more, \
         or ask the operator of the stack to raise the template's parameter MaxEndpointsPerTenant."
    )]
    Endpoints {
        /// Whose.
        tenant: TenantId,
        /// How many there are.
        in_use: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Endpoints of a tenant at one host, whatever their ports and paths.
    #[error(
        "The tenant {tenant} has {in_use} endpoints at {host}, and at most {limit} at one host are allowed. Delete one that is \
         not needed any more, or ask the operator of the stack to raise the template's parameter MaxEndpointsPerHost."
    )]
    EndpointsAtHost {
        /// Whose.
        tenant: TenantId,
        /// Where.
        host: String,
        /// How many there are.
        in_use: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// Endpoints that a tenant registered today, deleted ones too.
    #[error(
        "The tenant {tenant} has registered {in_use} endpoints today, those it deleted included, and at most {limit} in a day \
         are allowed. Repeat the request after {until}, or ask the operator of the stack to raise the template's parameter \
         MaxEndpointsRegisteredPerDay."
    )]
    Registered {
        /// Whose.
        tenant: TenantId,
        /// How many.
        in_use: usize,
        /// How many are allowed.
        limit: usize,
        /// The end of the day, in UTC.
        until: Timestamp,
    },
    /// Replays by filter that have not ended.
    #[error(
        "{in_use} replays of {} are running, and at most {limit} at a time are allowed. Wait until one has ended, cancel one \
         with POST /v1/replays/{{id}}/cancel, or ask the operator of the stack to raise the template's parameter \
         MaxRunningReplays.",
        owner_name(owner)
    )]
    Replays {
        /// A tenant, or `*` for the whole stack.
        owner: String,
        /// How many there are.
        in_use: usize,
        /// How many are allowed.
        limit: usize,
    },
}

impl LimitReached {
    /// When there is room again, if that is a matter of time.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Registered { until, .. } => Some(*until),
            Self::Endpoints { .. } | Self::EndpointsAtHost { .. } | Self::Replays { .. } => None,
        }
    }
}

fn owner_name(owner: &str) -> String {
    if owner == "*" { "the whole stack".to_owned() } else { format!("the tenant {owner}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_says_what_is_limited_how_much_is_in_use_and_which_parameter_raises_it() {
        let tenant: TenantId = "acme".parse().unwrap();
        let until = Timestamp::from_seconds(1_700_006_400);
        let (in_use, limit, host) = (7, 6, "example.com".to_owned());
        for (reached, parts, parameter) in [
            (
                LimitReached::Endpoints { tenant: tenant.clone(), in_use, limit },
                "tenant acme has 7 endpoints, and at most 6",
                "MaxEndpointsPerTenant",
            ),
            (
                LimitReached::EndpointsAtHost { tenant: tenant.clone(), host, in_use, limit },
                "7 endpoints at example.com, and at most 6",
                "MaxEndpointsPerHost",
            ),
            (
                LimitReached::Registered { tenant, in_use, limit, until },
                "after 2023-11-15T00:00:00.000Z",
                "MaxEndpointsRegisteredPerDay",
            ),
            (
                LimitReached::Replays { owner: "acme".into(), in_use, limit },
                "7 replays of the tenant acme are running, and at most 6",
                "MaxRunningReplays",
            ),
            (LimitReached::Replays { owner: "*".into(), in_use, limit }, "of the whole stack", "{id}/cancel"),
        ] {
            let text = reached.to_string();
            assert!(text.contains(parts) && text.contains(parameter), "{text}");
            assert_eq!(reached.until().is_some(), text.contains("after 2023"), "{text}");
        }
    }
}
