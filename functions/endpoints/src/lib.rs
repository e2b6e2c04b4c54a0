//! Endpoints: registers receivers, changes them, rotates their secrets, and makes API keys.
//!
//! Every change of an endpoint writes the endpoint and its tenant's routing record in one transaction, conditional on the
//! versions of both that were read: ingest, which reads the routing record alone, never sees half a change, and of two
//! changes at the same time the second starts over from what the first one left. A change that opens or closes a door
//! for held deliveries stores its drain job in the same transaction, and one that somebody subscribes to, the event that
//! tells of it; should the first message of either be lost, the sweep finds it.
//!
//! Signing secrets leave this function in three answers only: the one that creates an endpoint, the one that rotates its
//! secret, and `GET …/secret`. Custom headers and private keys never do. None of them is logged.

mod address;
mod admin_key;
mod change;
mod create;
mod handler;
mod keys;
mod lifecycle;
mod limits;
mod list;
mod list_stack;
mod missed_count;
mod new_id;
mod patch;
mod public_keys;
mod router;
mod secrets;
mod settings;
mod tenants;
mod test_endpoint;
mod view;

#[cfg(test)]
mod samples;

pub use self::handler::handle;
pub use self::router::{Call, Open, ROUTES};
pub use self::settings::App;
