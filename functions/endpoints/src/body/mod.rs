//! What callers send: the bodies of this URL's calls, each read by its rules. Nothing here asks AWS for anything.

pub mod fields;
mod missed;
mod new_endpoint;
mod new_key;
mod patch;
mod rotation;
mod rules;

use pombo_web::{Problem, Request};
use serde::Deserialize;

pub use self::missed::Missed;
pub use self::new_endpoint::NewEndpoint;
pub use self::new_key::{NewKey, owner};
pub use self::patch::Patch;
pub use self::rotation::RotationOrder;
pub use self::rules::Rules;

/// A body without fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Refuses a body that asks for anything, where a call takes nothing.
pub fn nothing(request: &Request) -> Result<(), Problem> {
    request.json_or_default::<Nothing>().map(drop)
}
