//! (h) An account that allows ten invocations at a time, which ingest and dispatch share.

use std::sync::LazyLock;

use super::{assert_within, delay, delays, percent, table};
use crate::setup::{Endpoints, Setup, Shrink, Trouble};
use crate::stats::Stats;
use crate::world::run;

const ACCOUNT: f64 = 10.0;
const EVENTS_A_SECOND: f64 = 40.0;
/// Batches at a time, endpoints, and the share of those that hang.
const CASES: [(f64, f64, f64); 10] = [
    (10.0, 100.0, 0.0),
    (8.0, 100.0, 0.0),
    (5.0, 100.0, 0.0),
    (8.0, 100.0, 0.01),
    (5.0, 100.0, 0.01),
    (10.0, 1000.0, 0.05),
    (8.0, 1000.0, 0.05),
    (5.0, 1000.0, 0.05),
    (8.0, 100.0, 0.20),
    (5.0, 100.0, 0.20),
];
/// The first 3 minutes of the outage, minutes 3 to 10, and 10 to 30.
const PHASES: [(f64, f64); 3] = [(60.0, 240.0), (240.0, 660.0), (660.0, 1860.0)];
const HEALTHY: usize = 0;

static RUNS: LazyLock<[Stats; 10]> = LazyLock::new(|| {
    CASES.map(|(places, endpoints, share)| {
        let healthy = Endpoints::healthy(endpoints * (1.0 - share), EVENTS_A_SECOND * (1.0 - share));
        let hanging = Endpoints::healthy(endpoints * share, EVENTS_A_SECOND * share).with(Trouble::Hangs, 60.0, 1860.0);
        let setup = Setup::new(Shrink::NOT, 1860.0, places, vec![healthy, hanging]);
        run(Setup { account: Some(ACCOUNT), ..setup })
    })
});

fn refused(stats: &Stats) -> f64 {
    stats.whole(|counts| counts.posts_refused) / stats.whole(|counts| counts.posts)
}

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((places, endpoints, share), stats)| {
        let case = format!("{places:.0}; {:.0} % of {endpoints:.0}", share * 100.0);
        let [first, second, third] = PHASES.map(|phase| delays(stats, HEALTHY, phase));
        [case, percent(refused(stats)), first, second, third]
    });
    let head = ["batches at a time; endpoints that hang", "posts refused", "minutes 1 to 3", "3 to 10", "10 to 30"];
    table(head, rows)
}

#[test]
fn ingest_needs_half_of_an_account_of_ten() {
    // The first three are healthy: with ten, eight and five batches at a time.
    for (stats, bounds) in RUNS.iter().zip([0.4..=0.8, 0.15..=0.25, 0.0..=0.01]) {
        assert_within("refused", refused(stats), bounds);
        assert_within("p99", delay(stats, HEALTHY, 0.99, PHASES[2]), 0.2..=0.4);
    }
    for run in [4, 7, 9] {
        assert_within("refused with five batches", refused(&RUNS[run]), 0.0..=0.01);
    }
}

#[test]
fn many_hanging_endpoints_take_all_of_an_account_of_ten() {
    assert_within("refused", refused(&RUNS[5]), 0.9..=1.0);
    let p50 = |run: usize| delay(&RUNS[run], HEALTHY, 0.50, PHASES[2]);
    assert_within("5 % of 1,000, eight batches", p50(6), 400.0..=700.0);
    assert_within("5 % of 1,000, five batches", p50(7), 300.0..=600.0);
    assert_within("one of 100", delay(&RUNS[4], HEALTHY, 0.99, PHASES[2]), 0.2..=0.4);
}
