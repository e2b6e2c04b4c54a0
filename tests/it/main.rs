//! End-to-end tests: the template deployed, the real binaries driven through their URLs, real receivers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adapters;
mod bodies;
mod crashes;
mod dead_letters;
mod deliveries;
mod duplicates;
mod endpoints;
mod events;
mod inputs;
mod keys;
mod messages;
mod pauses;
mod queue_faults;
mod replays;
mod retries;
mod template;
