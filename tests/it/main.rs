//! End-to-end tests: the template deployed, the real binaries driven through their URLs, real receivers.
//!
//! All suites are in this one binary, so that they share stacks and wait at the same time:
//! `cargo test -p tests --test it -- console` runs one of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod adapters;
mod addresses;
mod bodies;
mod cancel;
mod circuit;
mod console;
mod crashes;
mod dead_letter_list;
mod dead_letters;
mod deliveries;
mod duplicates;
mod endpoints;
mod event_limit;
mod events;
mod first_attempts;
mod flood;
mod forged;
mod frozen;
mod health;
mod holes;
mod hops;
mod inputs;
mod jobs;
mod keys;
mod limits;
mod measured;
mod messages;
mod metrics;
mod missed;
mod operational;
mod pages;
mod pauses;
mod ping;
mod probes;
mod process;
mod queue_faults;
mod rate_limit;
mod readme;
mod replays;
mod retries;
mod rows;
mod search;
mod signatures;
mod signed;
mod stale;
mod template;
mod time_left;
mod upgrade;
mod webhook_ids;
mod without_claim;

use std::process::ExitCode;

fn main() -> ExitCode {
    pombo_tests::harness::run("it")
}
