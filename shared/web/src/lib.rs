//! What the three functions behind a Function URL share: requests, answers, problems, and who may call.

mod caller;
mod problem;
mod request;
mod response;

pub use self::caller::{Authenticator, Caller};
pub use self::problem::Problem;
pub use self::request::{IamIdentity, Method, Request};
pub use self::response::Response;
