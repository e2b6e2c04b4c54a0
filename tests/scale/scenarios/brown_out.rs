//! (d) Many endpoints hang for half an hour.

use std::sync::LazyLock;

use super::{assert_within, count, delay, delays, table, time};
use crate::setup::{Endpoints, PLACES, Setup, Shrink, Trouble};
use crate::stats::Stats;
use crate::world::run;

/// Batches at a time, the share of endpoints that hang, and how many endpoints there are.
const CASES: [(f64, f64, f64); 7] = [
    (PLACES, 0.20, 10_000.0),
    (1250.0, 0.20, 10_000.0),
    (200.0, 0.20, 10_000.0),
    (PLACES, 0.05, 10_000.0),
    (200.0, 0.05, 10_000.0),
    (200.0, 0.01, 10_000.0),
    (200.0, 0.20, 1_000.0),
];
const EVENTS_A_SECOND: f64 = 2000.0;
pub const BEGINS: f64 = 60.0;
pub const ENDS: f64 = 1860.0;
/// Minutes 1 to 3, 3 to 10 and 20 to 30 of the outage, and 2 to 10 after it.
pub const PHASES: [(f64, f64); 4] = [(120.0, 240.0), (240.0, 660.0), (1260.0, ENDS), (1980.0, 2460.0)];
const END: f64 = 3300.0;
const HEALTHY: usize = 0;

static RUNS: LazyLock<[Stats; 7]> = LazyLock::new(|| {
    CASES.map(|(places, share, endpoints)| {
        // Near the number of circuits that the batches can just probe, chance decides much.
        let is_near = (places, share) == (PLACES, 0.20) || (places, share) == (200.0, 0.05);
        run(Setup { runs: if is_near { 3 } else { 1 }, ..setup(places, share, endpoints) })
    })
});

/// A stack of which so large a share of endpoints hangs.
pub fn setup(places: f64, share: f64, endpoints: f64) -> Setup {
    let healthy = Endpoints::healthy(endpoints * (1.0 - share), EVENTS_A_SECOND * (1.0 - share));
    let hanging = Endpoints::healthy(endpoints * share, EVENTS_A_SECOND * share).with(Trouble::Hangs, BEGINS, ENDS);
    let setup = Setup::new(Shrink::to_fewer(10.0), END, places, vec![healthy, hanging]);
    // The traffic before has brought the mapping to 500 batches at most.
    Setup { warm: Some(places.min(500.0)), ..setup }
}

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((places, share, endpoints), stats)| {
        let case = format!("{places:.0}; {:.0} % of {}", share * 100.0, count(*endpoints));
        let [first, second, third, after] = PHASES.map(|phase| delays(stats, HEALTHY, phase));
        let [queue, released] = [count(stats.longest_queue(0.0, END)), time(released_after(stats))];
        [case, first, second, third, after, queue, released]
    });
    let head = [
        "batches at a time; endpoints that hang",
        "minutes 1 to 3",
        "3 to 10",
        "20 to 30",
        "2 to 10 after it",
        "longest queue",
        "minutes until all is released",
    ];
    table(head, rows)
}

/// Minutes from the end of the outage until the last release.
fn released_after(stats: &Stats) -> f64 {
    (stats.last_release() - ENDS) / 60.0
}

fn p99(run: usize, phase: usize) -> f64 {
    delay(&RUNS[run], HEALTHY, 0.99, PHASES[phase])
}

#[test]
fn with_900_batches_the_healthy_wait_for_a_minute_and_then_hardly() {
    assert_within("minutes 1 to 3", p99(0, 0), 65.0..=100.0);
    assert_within("minutes 20 to 30", p99(0, 2), 0.3..=3.0);
    assert_within("1,250, minutes 20 to 30", p99(1, 2), 0.2..=0.4);
    assert_within("5 %, minutes 20 to 30", p99(3, 2), 0.2..=0.3);
}

#[test]
fn with_200_batches_the_healthy_wait_as_long_as_the_others_hang() {
    let p50 = |run: usize, phase: usize| delay(&RUNS[run], HEALTHY, 0.50, PHASES[phase]);
    assert_within("20 %, minutes 3 to 10", p50(2, 1), 280.0..=360.0);
    assert_within("20 %, minutes 20 to 30", p50(2, 2), 750.0..=950.0);
    assert_within("5 %, minutes 1 to 3", p50(4, 0), 95.0..=135.0);
    assert_within("5 %, minutes 20 to 30", p99(4, 2), 10.0..=200.0);
    assert_within("1 %, minutes 20 to 30", p99(5, 2), 0.2..=0.4);
    assert_within("1,000 endpoints, minutes 20 to 30", p99(6, 2), 0.2..=0.4);
}

#[test]
fn what_was_held_is_released_no_faster_than_the_lists_of_the_stack_allow() {
    for stats in &*RUNS {
        assert_within("held at the end", stats.held(END), 0.0..=0.0);
    }
    // 720,000 are held, and at most 4,000 a second can be released and delivered.
    assert_within("minutes after the outage", released_after(&RUNS[0]), 8.0..=20.0);
    assert_within("1 %, minutes after the outage", released_after(&RUNS[5]), 0.0..=3.0);
}
