//! What the three functions behind a Function URL share: requests, answers, problems, and who may call.

#[cfg(feature = "aws")]
mod authenticator;
mod caller;
#[cfg(feature = "aws")]
pub mod logged;
mod logged_path;
mod payload;
mod problem;
mod promises;
mod request;
mod response;
pub mod route;
mod served;
mod url_auth;

#[cfg(feature = "aws")]
pub use self::authenticator::Authenticator;
pub use self::caller::Caller;
pub use self::payload::{Payload, Source, UrlEvent};
pub use self::problem::Problem;
pub use self::request::{IamIdentity, Method, Request};
pub use self::response::Response;
pub use self::route::{Access, Route};
pub use self::served::{SERVED, Served, Url, not_served, served_by};
pub use self::url_auth::{UrlAuth, signer};
