//! Pombo at scale: a simulation of what no emulator shows.
//!
//! The simulation lets one thing happen after another: events come, Lambda's mapping takes batches from the queue, dispatch makes
//! attempts and writes records, circuits open, drains probe and release. AWS is simulated by its documented limits
//! (`limits.rs`). The code under test is Pombo's own, as far as it is pure: circuits and probes, retries, the window of first
//! attempts, rate limits, the pace of releases, and the rows and shards of the indexes. So a change of a rule changes the
//! results.
//!
//! Each scenario is a test with bounds, and a table in `docs/scale.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agenda;
mod attempt;
mod bucket;
mod dispatch;
mod jobs;
mod limits;
mod mapping;
mod message;
mod page;
mod queue;
mod random;
mod scenarios;
mod scheduler;
mod setup;
mod slab;
mod stats;
mod tables;
mod template;
mod world;
