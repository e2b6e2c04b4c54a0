//! Endpoints: registers receivers, changes them, rotates their secrets, and makes API keys.
//!
//! Every change of an endpoint writes the endpoint and its tenant's routing record in one transaction, conditional on the
//! versions of both that were read: ingest, which reads the routing record alone, never sees half a change, and of two
//! changes at the same time the second starts over from what the first one left. A change that opens or closes a door
//! for held deliveries stores its drain job in the same transaction; should the job's first message be lost, the sweep
//! finds the job.
//!
//! Signing secrets leave this function in three answers only: the one that creates an endpoint, the one that rotates its
//! secret, and `GET …/secret`. Custom headers never do. Neither is logged.

mod address;
mod admin_key;
mod change;
mod create;
mod fields;
mod handler;
mod keys;
mod lifecycle;
mod list;
mod new_id;
mod patch;
mod router;
mod secrets;
mod settings;
mod view;

#[cfg(test)]
mod samples;

pub use self::handler::handle;
pub use self::settings::{App, Rules};
