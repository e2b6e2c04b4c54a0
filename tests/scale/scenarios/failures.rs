//! Much fails at the same time: each failure is a row in lists of the whole stack, and each retry a schedule.

use std::sync::LazyLock;

use super::{assert_within, count, table, time};
use crate::setup::{Endpoints, PLACES, Setup, Shrink, Trouble};
use crate::stats::Stats;
use crate::world::run;

/// Events a second to 2,000 endpoints, and the share of requests that are answered with a 500.
const CASES: [(f64, f64); 5] = [(5000.0, 0.05), (10_000.0, 0.10), (30_000.0, 0.10), (5000.0, 1.0), (10_000.0, 1.0)];
const END: f64 = 900.0;

static RUNS: LazyLock<[Stats; 5]> = LazyLock::new(|| {
    CASES.map(|(rate, share)| {
        let failing = Endpoints::healthy(2000.0, rate).with(Trouble::Fails(share), 0.0, END);
        run(Setup::new(Shrink::to_fewer(50.0), END, PLACES, vec![failing]))
    })
});

/// Messages a second that could not do their work and were queued again, or came again.
fn repeated(stats: &Stats) -> f64 {
    stats.a_second(|counts| counts.outcomes_queued + counts.returned, END - 300.0, END)
}

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((rate, share), stats)| {
        let held = stats.a_second(|counts| counts.held, END - 300.0, END);
        let late = time(stats.latest_schedule());
        let case = format!("{}; {:.0} %", count(*rate), share * 100.0);
        [case, count(held), count(repeated(stats)), late, count(stats.longest_queue(0.0, END))]
    });
    let head = [
        "events a second; share of requests that fail",
        "put on hold a second",
        "messages repeated a second",
        "latest retry, in seconds",
        "longest queue",
    ];
    table(head, rows)
}

#[test]
fn retries_are_as_late_as_the_quota_of_scheduler_makes_them() {
    let late = |run: usize| RUNS[run].latest_schedule();
    assert_within("250 failures a second", late(0), 0.0..=1.0);
    assert_within("1,000 failures a second", late(1), 10.0..=90.0);
    assert_within("3,000 failures a second", late(2), 1400.0..=1900.0);
}

#[test]
fn what_fails_or_waits_is_bound_by_the_lists_of_the_whole_stack() {
    let held = |run: usize| RUNS[run].a_second(|counts| counts.held, END - 300.0, END);
    assert_within("all of 5,000 a second", held(3), 4800.0..=5100.0);
    // Eight partitions, each of which takes a thousand.
    assert_within("all of 10,000 a second", held(4), 7500.0..=8000.0);
    assert_within("repeated", repeated(&RUNS[4]), 50.0..=1000.0);
    for stats in &RUNS[..4] {
        assert_within("repeated", repeated(stats), 0.0..=1.0);
    }
}
