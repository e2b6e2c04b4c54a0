//! End-to-end tests that need a stack to themselves: what a thousand events do, and what one event costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counts;
mod load;
