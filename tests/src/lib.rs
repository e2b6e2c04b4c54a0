//! What the end-to-end tests share: stacks that are started once, a proxy that counts and spoils AWS calls, and the steps
//! of a scenario.
//!
//! Two emulators run, each with a proxy between the functions and it. On [`Stack::calm`] calls are only counted; on
//! [`Stack::stormy`] tests make calls fail and kill functions, each for its own endpoint, so that a test must expect there
//! that a delivery of its own is made twice because another test killed the process that made it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxy;
mod scenario;
mod stack;

pub use proxy::{Call, Fault, Proxy};
pub use scenario::{Hook, eventually, unique};
pub use stack::Stack;
