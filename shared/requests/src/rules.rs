//! What bounds the fields of an endpoint.

use std::time::Duration;

use pombo_domain::address::AddressPolicy;

/// What the stack allows an endpoint to be.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where it may be.
    pub addresses: AddressPolicy,
    /// How long an event is kept: bounds a custom retry policy, and how long a tombstone stays.
    pub retention: Duration,
    /// The longest deadline of an attempt, in seconds.
    pub longest_timeout: u32,
}
