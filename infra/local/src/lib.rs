//! Runs Pombo on this machine: the emulator, the functions, and `infra/template.yaml` as it is.
//!
//! The template is the only description of the stack. What is done to it is what `sam package` does: each `CodeUri`
//! becomes the place of an archive. Everything else (tables, queues, permissions) comes from the template through
//! CloudFormation, so that what runs here is what would run in an AWS account.
//!
//! Two users: the `local` command, and the end-to-end tests, which start a stack of their own each:
//!
#![doc = concat!("```no_run\n", include_str!("../examples/stack.rs"), "```")]
//!
//! **Nothing is left behind.** The emulator runs under a small keeper process that takes it down, with each function's
//! process, when the [`Emulator`] is dropped or this process ends, in whatever way it ends.
//!
//! **Nothing is shared by accident.** A stack asks for a free port unless told otherwise, binds to 127.0.0.1 only, and keeps
//! its files under cargo's target directory. The Python environment there is made once and used by all.

mod api;
mod artifacts;
mod demo;
mod deploy;
mod emulator;
mod exchange;
mod fingerprint;
mod functions;
mod guide;
mod keys;
mod page;
mod paths;
mod process;
mod progress;
mod receiver;
mod run;
mod sdk;
mod stack;
mod template;
mod translate;

pub mod options;
pub mod venv;

pub use api::{Api, Urls};
pub use emulator::{Emulator, EmulatorOptions};
pub use exchange::{Answer, Received, Signature};
pub use functions::{cargo, programs};
pub use keys::Keys;
pub use paths::target;
pub use progress::Progress;
pub use receiver::Receiver;
pub use run::run;
pub use sdk::for_emulator as sdk_config;
pub use stack::{LocalOptions, LocalStack};
pub use translate::translate;
