//! (f) A host of a thousand endpoints is back after six hours.

use std::sync::LazyLock;

use super::{assert_within, count, delay, delays, table};
use crate::setup::{Endpoints, PLACES, Setup, Shrink, Trouble};
use crate::stats::Stats;
use crate::world::run;

/// Batches at a time, and when the host breaks again.
const CASES: [(f64, Option<f64>); 3] = [(PLACES, None), (200.0, None), (PLACES, Some(BREAKS))];
/// Requests a second to the host when all is well, and events to all others.
const USUAL: f64 = 2000.0;
const END: f64 = 1200.0;
const BREAKS: f64 = 600.0;
const PHASES: [(f64, f64); 3] = [(0.0, 60.0), (60.0, 300.0), (300.0, END)];
const HOST: usize = 0;
const OTHERS: usize = 1;

static RUNS: LazyLock<[Stats; 3]> = LazyLock::new(|| {
    CASES.map(|(places, breaks)| {
        let host = Endpoints { held: 6 * 3600 * 2, ..Endpoints::healthy(1000.0, USUAL) };
        let runs = if breaks.is_some() { 3 } else { 1 };
        let host = breaks.map_or(host, |at| host.with(Trouble::Fails(1.0), at, END));
        let setup = Setup::new(Shrink::to_fewer(50.0), END, places, vec![host, Endpoints::healthy(1000.0, USUAL)]);
        run(Setup { runs, ..setup })
    })
});

/// Hours until nothing is held, at the pace of the last ten minutes.
fn hours(stats: &Stats) -> f64 {
    let pace = (stats.held(END - 600.0) - stats.held(END)) / 600.0;
    stats.held(END) / pace / 3600.0
}

/// The table.
pub fn page() -> String {
    let rows = CASES[..2].iter().zip(&*RUNS).map(|((places, _), stats)| {
        let [first, second, third] = PHASES.map(|phase| delays(stats, OTHERS, phase));
        let most = stats.most_requests(HOST, 0.0, END) / USUAL;
        [format!("{places:.0}"), format!("{most:.1}"), first, second, third, format!("{:.1}", hours(stats))]
    });
    let head = [
        "batches at a time",
        "most requests to the host, times the usual",
        "delay of the others in minute 1",
        "minutes 2 to 5",
        "5 to 20",
        "hours until nothing is held",
    ];
    table(head, rows)
}

/// Requests to the host in the two minutes after it broke again, until all circuits are open.
fn lost() -> f64 {
    RUNS[2].requests_of(HOST, BREAKS, BREAKS + 120.0)
}

/// The sentence on a host that breaks again.
pub fn breaks_again() -> String {
    format!(
        "If the host breaks again after ten minutes, {} more requests fail before all circuits are open.\n",
        count(lost())
    )
}

#[test]
fn a_host_that_is_back_gets_several_times_its_usual_load() {
    for stats in &RUNS[..2] {
        assert_within("times the usual", stats.most_requests(HOST, 0.0, END) / USUAL, 2.8..=4.8);
        assert_within("hours", hours(stats), 3.0..=9.0);
    }
    assert_within("lost", lost(), 40_000.0..=90_000.0);
}

#[test]
fn the_others_wait_for_seconds_while_a_host_is_drained() {
    for (stats, bounds) in RUNS.iter().zip([2.0..=15.0, 15.0..=45.0]) {
        assert_within("minutes 5 to 20", delay(stats, OTHERS, 0.99, PHASES[2]), bounds);
    }
}
