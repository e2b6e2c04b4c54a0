//! What the end-to-end tests share: stacks that are started once, a proxy that counts and spoils AWS calls, and the steps
//! of a scenario.
//!
//! Between the functions and each emulator stands a proxy. On [`Stack::calm`], which most tests share, a test spoils the
//! calls about its own endpoint only; one that kills functions has a stack of its own, [`Stack::own`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend;
pub mod bodies;
pub mod harness;
mod limits;
mod logs;
mod proxy;
pub mod records;
mod reference;
mod scenario;
pub mod sources;
mod stack;
mod template;

pub use backend::Backend;
pub use pombo_tests_macros::scenario;
pub use proxy::{Call, Fault, Proxy, Stopped, stop_process_of};
pub use reference::{Signed, Verdict, ask_for_missed, assert_accepted, verdicts};
pub use scenario::{Hook, SOON, SUBSCRIPTION_KNOWN, eventually, unique};
pub use stack::Stack;
pub use template::Template;
