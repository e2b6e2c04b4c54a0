//! Rules on host names, before anything is resolved.
//!
//! The address table would refuse most of what these names resolve to. They are refused by name as
//! well because some resolve to something only in some places, because a customer is told at once
//! rather than at the first event, and because a resolver's search list can turn them into anything.

use super::domains;
use super::rule::{Refusal, Rule};

/// RFC 1035 §2.3.4, without the dot at the end.
const MAX_NAME_BYTES: usize = 253;
/// RFC 1035 §2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// Rules that hold whatever the name resolves to: its spelling. `name` is as the `url` crate gives
/// it: lower-case ASCII.
pub fn check_spelling(name: &str) -> Result<(), Refusal> {
    if name.ends_with('.') {
        return Err(Refusal::new(Rule::TrailingDot, name));
    }
    if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
        return Err(Refusal::new(Rule::MalformedName, name));
    }
    Ok(())
}

/// Rules that an allow-list overrides when it lists all of the name's addresses: a private network
/// has names of its own.
pub fn check_domain(name: &str) -> Result<(), Refusal> {
    if let Some(special) = domains::special(name) {
        return Err(Refusal::new(Rule::SpecialDomain(special), name));
    }
    if !name.contains('.') {
        return Err(Refusal::new(Rule::SingleLabel, name));
    }
    Ok(())
}

/// Letters, digits and hyphens, and the underscore that host names must not have and some do.
fn is_label(label: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && label.bytes().all(known)
}
