//! The work of jobs: how the deliveries of a page are found and changed, and how their messages are sent.
//!
//! Two functions use it. `jobs` runs the legs that the Jobs queue brings, and the sweep. `replay` runs the one leg of a
//! replay of chosen deliveries while its caller waits, and looks for deliveries in the same way when it says what a replay
//! would do.
//!
//! - [`leg`]: a page of a job, worked so that the process may be killed anywhere.
//! - [`gather`]: the deliveries that match a filter, out of [merged](merge) lists.
//! - [`send`]: many messages at once.

mod clients;
mod gather;
mod invocation;
mod probe;
mod rows;

pub mod leg;
pub mod merge;
pub mod send;

pub use self::clients::Clients;
pub use self::gather::{Gathered, gather};
pub use self::invocation::Invocation;
pub use self::rows::{Known, OpenCircuits, Records};
