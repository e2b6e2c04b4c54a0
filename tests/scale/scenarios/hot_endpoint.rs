//! (b) One endpoint gets more than a partition key of DynamoDB takes.

use std::sync::LazyLock;

use super::{assert_within, count, delay, delays, table};
use crate::setup::{Code, Endpoints, PLACES, Setup, Shrink};
use crate::stats::Stats;
use crate::world::run;

/// Events a second to the endpoint, and whether SQS prefers quiet groups.
const CASES: [(f64, bool); 5] = [(450.0, true), (900.0, true), (1500.0, true), (5000.0, true), (5000.0, false)];
/// Events a second to the others.
const OTHERS: f64 = 200.0;
const END: f64 = 3600.0;
const ALL: (f64, f64) = (0.0, END);
/// The place of the others.
const QUIET: usize = 1;

static RUNS: LazyLock<[Stats; 5]> = LazyLock::new(|| {
    CASES.map(|(rate, fair)| {
        let endpoints = vec![Endpoints::healthy(1.0, rate), Endpoints::healthy(100.0, OTHERS)];
        let setup = Setup::new(Shrink::each(20.0), END, PLACES, endpoints);
        run(Setup { code: Code { fair, ..Code::TODAY }, ..setup })
    })
});

/// Outcomes of the endpoint that were recorded a second, in the last ten minutes.
fn recorded(stats: &Stats) -> f64 {
    stats.a_second(|counts| counts.recorded, END - 600.0, END) - stats.a_second_of(QUIET, END - 600.0, END)
}

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((rate, fair), stats)| {
        let fair = if *fair { "" } else { ", not a fair queue" };
        let again = stats.a_second(|counts| counts.outcomes_queued, END - 600.0, END);
        let waiting = stats.longest_queue(END - 60.0, END);
        let in_flight = stats.most_in_flight(0.0, END);
        let [recorded, again, waiting, in_flight] = [recorded(stats), again, waiting, in_flight].map(count);
        [format!("{rate:.0} a second{fair}"), recorded, again, waiting, in_flight, delays(stats, QUIET, ALL)]
    });
    let head = [
        "events to the endpoint",
        "recorded a second",
        "outcomes queued again, a second",
        "waiting after an hour",
        "most in flight",
        "delay of the others",
    ];
    table(head, rows)
}

#[test]
fn below_its_partition_an_endpoint_gets_what_is_posted() {
    for (stats, rate) in RUNS.iter().zip([450.0, 900.0]) {
        assert_within("recorded", recorded(stats), rate * 0.97..=rate * 1.03);
        assert_within("dead letters", stats.whole(|counts| counts.dead), 0.0..=0.0);
    }
}

#[test]
fn above_its_partition_an_endpoint_gets_less_than_the_partition_takes_and_fills_the_quota_of_messages_in_flight() {
    for (stats, bounds) in RUNS[2..].iter().zip([560.0..=660.0, 410.0..=490.0, 410.0..=490.0]) {
        assert_within("recorded", recorded(stats), 310.0..=450.0);
        let again = stats.a_second(|counts| counts.outcomes_queued, END - 600.0, END);
        assert_within("queued again", again, bounds);
        assert_within("in flight", stats.most_in_flight(0.0, END), 115_000.0..=120_000.0);
    }
}

#[test]
fn a_fair_queue_protects_the_others_from_one_loud_endpoint() {
    for stats in &RUNS[..4] {
        assert_within("p99 of the others", delay(stats, QUIET, 0.99, ALL), 0.2..=0.6);
    }
    assert_within("p50 of the others, not a fair queue", delay(&RUNS[4], QUIET, 0.5, ALL), 900.0..=1400.0);
}
