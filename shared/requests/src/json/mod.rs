//! A caller's JSON, read member by member.
//!
//! Serde stops at the first mistake, takes the last of two members with one name, and speaks of sequences and structs. Here
//! each member is read by its own rule and every mistake is noted, so that one answer names them all, in JSON's words:
//!
//! ```ignore
//! let mut body = body::object(request)?;
//! let url = body.required("url", Value::string);
//! let name = body.optional("name", Value::string);
//! body.end()?;
//! Ok(Endpoint { url: url?, name: name? })
//! ```
//!
//! Only what belongs to Pombo is read this way. The `data` of an event is the app's own and stays as it was sent.

mod mistakes;
mod object;
mod value;

pub use self::mistakes::{Mistakes, Noted};
pub use self::object::Object;
pub use self::value::{Kind, Value};
