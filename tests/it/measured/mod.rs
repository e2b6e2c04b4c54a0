//! End-to-end tests that need a stack to themselves: what a thousand events do, what one event costs, and jobs whose
//! function is killed.

mod cost;
mod counts;
mod killed;
mod load;
mod logs;
