//! The `webhook-id` of a request: a name of the event that is unique in the stack.
//!
//! Event ids are unique within a tenant only. A receiver that serves two tenants on one URL drops repeats by `webhook-id`,
//! so that header names the tenant too: `acme~enrolment-4711`. The tenant `default` is left out, because an app without
//! tenants should find its own ids at the receiver: `enrolment-4711`. Neither part can hold `~`, so no two events share
//! a `webhook-id`. A `webhook-id` holds no dot, because the signed text has dots between its parts, and is at most 129
//! characters long.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::ids::{EventId, TenantId};
use crate::invalid::Invalid;

const RULE: &str = "must be an event's id, or for a tenant other than default <tenant>~<event id>";

/// The value of the header `webhook-id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookId {
    tenant: TenantId,
    event_id: EventId,
}

impl WebhookId {
    /// The `webhook-id` of an event of this tenant.
    #[must_use]
    pub const fn new(tenant: TenantId, event_id: EventId) -> Self {
        Self { tenant, event_id }
    }

    /// Whose event it is, and the event's id within that tenant.
    #[must_use]
    pub fn into_parts(self) -> (TenantId, EventId) {
        (self.tenant, self.event_id)
    }
}

/// An id without a tenant: that of an event of the tenant `default`, or of a request that a receiver signs itself.
impl From<EventId> for WebhookId {
    fn from(event_id: EventId) -> Self {
        Self::new(TenantId::default_tenant(), event_id)
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant.is_default() {
            write!(f, "{}", self.event_id)
        } else {
            write!(f, "{}~{}", self.tenant, self.event_id)
        }
    }
}

impl FromStr for WebhookId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((tenant, event_id)) = text.split_once('~') else { return Ok(text.parse::<EventId>()?.into()) };
        let tenant: TenantId = tenant.parse()?;
        if tenant.is_default() {
            // Each event has one `webhook-id` only.
            return Err(Invalid::rule(RULE));
        }
        Ok(Self::new(tenant, event_id.parse()?))
    }
}

impl Serialize for WebhookId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(tenant: &str, event_id: &str) -> WebhookId {
        WebhookId::new(tenant.parse().unwrap(), event_id.parse().unwrap())
    }

    #[test]
    fn the_default_tenant_is_left_out_and_every_other_one_is_named() {
        assert_eq!(of("default", "e-1").to_string(), "e-1");
        assert_eq!(of("acme", "e-1").to_string(), "acme~e-1");
        assert_eq!(of("pombo", "failed_x_1").to_string(), "pombo~failed_x_1");
        let longest = "x".repeat(64);
        assert_eq!(of(&longest, &longest).to_string().len(), 129);
    }

    #[test]
    fn what_names_no_event_is_refused() {
        for wrong in ["", "~", "a~", "~e", "a~b~c", "default~e", "a.b", "a~b.c", "a b~c", "a#b", "a%7Eb"] {
            assert!(wrong.parse::<WebhookId>().is_err(), "{wrong:?}");
        }
        for long in ["x".repeat(65), format!("a~{}", "x".repeat(65)), format!("{}~a", "x".repeat(65))] {
            assert!(long.parse::<WebhookId>().is_err(), "{long:?}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_back_and_no_two_events_share_one(
            tenants in prop::array::uniform2("default|[A-Za-z0-9_-]{1,64}"),
            ids in prop::array::uniform2("[A-Za-z0-9_-]{1,64}"),
        ) {
            let [a, b] = [0, 1].map(|place| of(&tenants[place], &ids[place]));
            prop_assert_eq!(&a.to_string().parse::<WebhookId>().unwrap(), &a);
            prop_assert_eq!(a.to_string() == b.to_string(), a == b);
        }
    }
}
