//! End-to-end tests that need a stack to themselves: what a thousand events do, what one event costs, and jobs whose
//! function is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod counts;
mod killed;
mod load;
