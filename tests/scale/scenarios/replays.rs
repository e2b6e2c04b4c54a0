//! (g) A replay by filter of ten million failed deliveries.

use std::sync::LazyLock;

use super::{assert_within, delay, delays, table};
use crate::setup::{Endpoints, PLACES, Replay, Setup, Shrink};
use crate::stats::Stats;
use crate::world::run;

const DELIVERIES: f64 = 1e7;
/// Whether the replay is of one endpoint.
const CASES: [(&str, bool); 2] = [("of 1,000 endpoints", false), ("of one endpoint", true)];
const END: f64 = 600.0;
const LIVE: f64 = 200.0;

static RUNS: LazyLock<[Stats; 2]> = LazyLock::new(|| {
    CASES.map(|(_, one_endpoint)| {
        let setup = Setup::new(Shrink::NOT, END, PLACES, vec![Endpoints::healthy(1000.0, LIVE)]);
        run(Setup { replay: Some(Replay { of: 0, one_endpoint }), ..setup })
    })
});

fn hours(stats: &Stats) -> f64 {
    DELIVERIES / stats.a_second(|counts| counts.released, 0.0, END) / 3600.0
}

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((what, _), stats)| {
        let a_second = stats.a_second(|counts| counts.released, 0.0, END);
        [(*what).to_owned(), format!("{a_second:.0}"), format!("{:.1}", hours(stats)), delays(stats, 0, (0.0, END))]
    });
    table(["replay", "deliveries a second", "hours for 10 million", "delay of live events"], rows)
}

#[test]
fn a_replay_of_ten_million_takes_most_of_a_day_and_one_of_a_single_endpoint_more() {
    assert_within("many endpoints", hours(&RUNS[0]), 13.0..=18.0);
    assert_within("one endpoint", hours(&RUNS[1]), 33.0..=42.0);
    for stats in &*RUNS {
        assert_within("live events", delay(stats, 0, 0.99, (0.0, END)), 0.2..=0.3);
    }
}
