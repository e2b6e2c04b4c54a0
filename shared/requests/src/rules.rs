//! What bounds the fields of an endpoint.

use std::time::Duration;

use pombo_domain::address::AddressPolicy;
use pombo_domain::endpoint::SetBy;
use pombo_web::Caller;

/// What the stack allows an endpoint to be.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where it may be.
    pub addresses: AddressPolicy,
    /// How long an event is kept: bounds a custom retry policy, and how long a tombstone and an ended API key stay.
    pub retention: Duration,
    /// The longest deadline of an attempt, in seconds.
    pub longest_timeout: u32,
    /// Maximum number of API keys in use of a tenant, and of the stack.
    pub keys_per_tenant: usize,
}

impl Rules {
    /// The address policy for a URL that the caller sets.
    #[must_use]
    pub fn addresses_for(&self, caller: &Caller) -> AddressPolicy {
        self.addresses.for_url_set_by(set_by(caller))
    }
}

/// Who sets a URL, if the caller does.
#[must_use]
pub fn set_by(caller: &Caller) -> SetBy {
    if caller.tenant.is_none() { SetBy::Stack } else { SetBy::Tenant }
}
