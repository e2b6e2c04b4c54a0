//! End-to-end tests: the template deployed, the real binaries driven through their URLs, real receivers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adapters;
mod addresses;
mod bodies;
mod cancel;
mod circuit;
mod crashes;
mod dead_letter_list;
mod dead_letters;
mod deliveries;
mod duplicates;
mod endpoints;
mod events;
mod health;
mod holes;
mod inputs;
mod jobs;
mod keys;
mod messages;
mod metrics;
mod missed;
mod operational;
mod pauses;
mod ping;
mod queue_faults;
mod rate_limit;
mod replays;
mod retries;
mod rows;
mod search;
mod signatures;
mod stale;
mod template;
mod time_left;
