//! What Pombo does, in pieces: each is run undisturbed once, and once more for each point that it reaches first.
//!
//! A scenario does what a caller does who must be sure, and says how things stand in the end. It says so in the same way
//! whether a function died meanwhile or not: that is what the matrix shows.

mod deliveries;
mod endpoints;
mod jobs;
mod news;
mod reads;
mod sweep;

use futures::future::BoxFuture;

use crate::run::Run;

/// One of them.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// Runs it.
    pub run: for<'r> fn(&'r Run<'_>) -> BoxFuture<'r, ()>,
}

macro_rules! scenarios {
    ($($module:ident: $($name:ident),+;)+) => {
        /// All of them. A point that several reach is died at in one of them.
        pub const ALL: &[Scenario] = &[$($(
            Scenario { name: concat!(stringify!($module), "::", stringify!($name)), run: |run| Box::pin($module::$name(run)) },
        )+)+];
    };
}

scenarios! {
    endpoints: keys, created, created_beside, patched, rotated, paused, resumed, resumed_with_missed, deleted, tested;
    deliveries: posted, fanned_out, refused, retried_by_the_queue, retried_by_scheduler, given_up, held, cancelled,
        limited, waiting_long, outcome_queued, unreadable, came_early, came_before_due, came_twice, too_late_for_an_attempt, ensured,
        broken_idle, scheduler_down, slot_refused, slot_too_late, limit_changed, outcome_again;
    reads: lists, held, of_one;
    jobs: chosen, chosen_pending, chosen_unsent, by_filter, by_filter_in_turn, by_filter_unsent, missing_unwritten, page_sent_twice, by_tenant,
        missing, missed_by_receiver, stopped, stopped_at_work, delivery_cancelled, circuit, probed_by_operator, gone, refuted, still_alive;
    sweep: overdue, overdue_by_scheduler, dead_letters, dead_jobs, stalled, unqueued;
    news: of_endpoints, of_circuits, of_an_unproven_circuit, of_failures, of_a_pause;
}
