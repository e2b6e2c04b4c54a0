//! `/v1/keys`: create, list and revoke API keys.
//!
//! A key that is bound to a tenant makes, lists and revokes keys of that tenant alone. Only a digest of a key is stored:
//! the answer that creates it is the only one that has it whole.

mod list;
mod make;
mod revoke;

pub use self::list::list;
pub use self::make::{create, store};
pub use self::revoke::revoke;
