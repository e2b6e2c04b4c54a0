//! The domain of Pombo, pure: what an event, an endpoint, a delivery and a message are, and what follows from what.
//!
//! Nothing in here calls AWS, reads a clock or draws a random number: time and randomness come in as values. The
//! functions decide what to do with plain data ([`verdict`](delivery::verdict), [`decide`](retry::decide),
//! [`Record::record_attempt`](delivery::Record::record_attempt)); the adapters in `shared/aws` and the functions carry
//! it out. So every rule of the delivery protocol can be tested with tables and walked exhaustively.

pub mod address;
pub mod api_key;
pub mod body;
pub mod cursor;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod event_limit;
pub mod event_type;
pub mod first_attempt;
pub mod headers;
pub mod health;
pub mod hops;
pub mod ids;
pub mod invalid;
pub mod job;
pub mod limits;
pub mod message;
pub mod missed;
pub mod nesting;
mod number;
pub mod operational;
pub mod outcome;
pub mod pace;
pub mod posted_by;
pub mod rate_limit;
pub mod retry;
pub mod routing;
pub mod schedule;
pub mod signature;
pub mod test_limit;
pub mod text;
pub mod time;
pub mod unknown;
pub mod webhook_id;
