//! (e) A service of AWS refuses calls for ten minutes.

use std::sync::LazyLock;

use super::{assert_within, count, delay, delays, table};
use crate::setup::{Endpoints, PLACES, Setup, Shrink, Trouble};
use crate::stats::Stats;
use crate::world::run;

/// The service that refuses, the share of attempts that fail, and batches at a time.
const CASES: [(Refuses, f64, f64); 6] = [
    (Refuses::Scheduler, 0.05, PLACES),
    (Refuses::Scheduler, 0.05, 200.0),
    (Refuses::Scheduler, 0.20, PLACES),
    (Refuses::Scheduler, 0.20, 200.0),
    (Refuses::Table, 0.0, PLACES),
    (Refuses::Table, 0.0, 200.0),
];
const OUTAGE: (f64, f64) = (60.0, 660.0);
const AFTER: (f64, f64) = (660.0, 720.0);
const LATER: (f64, f64) = (960.0, 1260.0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Scheduler,
    Table,
}

static RUNS: LazyLock<[Stats; 6]> = LazyLock::new(|| {
    CASES.map(|(refuses, share, places)| {
        let all = Endpoints::healthy(10_000.0, 2000.0).with(Trouble::Fails(share), 0.0, 1260.0);
        let setup = Setup::new(Shrink::to_fewer(10.0), 1260.0, places, vec![all]);
        run(match refuses {
            Refuses::Scheduler => Setup { scheduler_refuses: Some(OUTAGE), ..setup },
            Refuses::Table => Setup { table_refuses: Some(OUTAGE), ..setup },
        })
    })
});

/// The table.
pub fn page() -> String {
    let rows = CASES.iter().zip(&*RUNS).map(|((refuses, share, places), stats)| {
        let what = match refuses {
            Refuses::Scheduler => format!("Scheduler, {:.0} % of attempts fail", share * 100.0),
            Refuses::Table => "the Deliveries table".into(),
        };
        let [during, after, later] = [OUTAGE, AFTER, LATER].map(|phase| delays(stats, 0, phase));
        let [queue, returned] = [stats.longest_queue(0.0, 1260.0), stats.whole(|counts| counts.returned)].map(count);
        [format!("{what}; {places:.0}"), during, after, later, queue, returned]
    });
    let head = [
        "refuses; batches at a time",
        "delay in the 10 minutes",
        "in the minute after",
        "5 to 10 minutes after",
        "longest queue",
        "messages that came again",
    ];
    table(head, rows)
}

fn p50(run: usize, phase: (f64, f64)) -> f64 {
    delay(&RUNS[run], 0, 0.50, phase)
}

#[test]
fn a_scheduler_that_refuses_costs_time_where_there_are_few_batches_and_much_fails() {
    for run in 0..3 {
        assert_within("p99", delay(&RUNS[run], 0, 0.99, OUTAGE), 0.2..=2.5);
    }
    assert_within("20 %, 200 batches", p50(3, OUTAGE), 120.0..=200.0);
    for stats in &*RUNS {
        assert_within("5 to 10 minutes after", delay(stats, 0, 0.99, LATER), 0.2..=0.4);
        assert_within("dead letters", stats.whole(|counts| counts.dead), 0.0..=0.0);
    }
}

#[test]
fn a_table_that_refuses_for_ten_minutes_makes_all_wait_and_nothing_a_dead_letter() {
    for (stats, after) in RUNS[4..].iter().zip([120.0..=220.0, 280.0..=440.0]) {
        assert_within("in the minute after", delay(stats, 0, 0.50, AFTER), after);
        assert_within("longest queue", stats.longest_queue(0.0, 1260.0), 0.9e6..=1.3e6);
        assert_within("came again", stats.whole(|counts| counts.returned), 0.2e6..=0.5e6);
        assert_within("dead letters", stats.whole(|counts| counts.dead), 0.0..=0.0);
    }
}

#[test]
fn an_outcome_that_cannot_be_recorded_is_tried_again_every_ten_seconds_until_it_is() {
    let setup = Setup::new(Shrink::NOT, 120.0, PLACES, vec![Endpoints::healthy(1000.0, 100.0)]);
    let stats = run(Setup { table_refuses: Some((10.0, 70.0)), ..setup });
    // 6,000 outcomes, each once in the ten seconds and the one or two that its tries take.
    assert_within("queued again", stats.whole(|counts| counts.outcomes_queued), 13_000.0..=19_000.0);
    let recorded = stats.a_second(|counts| counts.recorded, 70.0, 90.0) - 100.0;
    assert_within("recorded in the 20 seconds after", recorded * 20.0, 5_500.0..=6_500.0);
}
