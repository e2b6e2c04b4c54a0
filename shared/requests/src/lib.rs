//! What callers send: the body of each call of the three Function URLs, and what proves a receiver's request.
//!
//! Each call has a type that is made by its `read` alone: it checks the body against the rules of its fields and refuses
//! with a [`Problem`] that names the field and the rule. Nothing here asks AWS for anything, so that what comes from
//! outside can be fuzzed.

pub mod body;
pub mod fields;
pub mod json;
mod missed_request;
mod new_endpoint;
mod new_event;
mod new_key;
mod patch;
mod proof;
mod replay_order;
mod resume;
mod rotation;
mod rules;

#[cfg(test)]
mod samples;

pub use self::body::nothing;
pub use self::missed_request::MissedRequest;
pub use self::new_endpoint::NewEndpoint;
pub use self::new_event::{NewEvent, too_large};
pub use self::new_key::{NewKey, owner};
pub use self::patch::Patch;
pub use self::proof::{Signed, proved, signed};
pub use self::replay_order::{MatchingOrder, ReplayOrder};
pub use self::resume::Missed;
pub use self::rotation::RotationOrder;
pub use self::rules::{Rules, set_by};
