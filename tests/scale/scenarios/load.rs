//! (a) Many healthy endpoints, (c) an event for all endpoints of a large tenant, and an endpoint with a rate limit.

use std::sync::LazyLock;

use super::{assert_within, count, delay, delays, table, time};
use crate::setup::{Endpoints, PLACES, Setup, Shrink};
use crate::stats::Stats;
use crate::world::run;

/// Places, and whether the mapping is warm.
const STARTS: [(f64, bool); 4] = [(250.0, true), (PLACES, true), (PLACES, false), (1250.0, false)];
const FAN_OUT_PLACES: [f64; 2] = [PLACES, 1250.0];
const FIRST_MINUTE: (f64, f64) = (0.0, 60.0);
const LATER: (f64, f64) = (300.0, 600.0);
const LAST_MINUTE: (f64, f64) = (540.0, 600.0);

static BUSY: LazyLock<[Stats; 4]> = LazyLock::new(|| {
    STARTS.map(|(places, is_warm)| {
        let setup = Setup::new(Shrink::to_fewer(25.0), 600.0, places, vec![Endpoints::healthy(10_000.0, 10_000.0)]);
        run(Setup { warm: is_warm.then_some(places), ..setup })
    })
});

static FAN_OUT: LazyLock<[Stats; 2]> = LazyLock::new(|| {
    FAN_OUT_PLACES.map(|places| {
        let all = Endpoints { fan_out: true, ..Endpoints::healthy(2000.0, 50.0) };
        run(Setup::new(Shrink::to_fewer(100.0), 600.0, places, vec![all]))
    })
});

fn batch(stats: &Stats) -> f64 {
    stats.whole(|counts| counts.messages) / stats.whole(|counts| counts.invocations)
}

/// The table of (a).
pub fn busy() -> String {
    let rows = STARTS.iter().zip(&*BUSY).map(|((places, is_warm), stats)| {
        let start = if *is_warm { "busy before" } else { "idle before" };
        let size = format!("{:.1}", batch(stats));
        [format!("{places:.0}, {start}"), delays(stats, 0, FIRST_MINUTE), delays(stats, 0, LATER), size]
    });
    table(["batches at a time", "delay in minute 1", "in minutes 6 to 10", "messages in a batch"], rows)
}

/// The table of (c).
pub fn fan_out() -> String {
    let rows = FAN_OUT_PLACES.iter().zip(&*FAN_OUT).map(|(places, stats)| {
        let recorded = stats.a_second(|counts| counts.recorded, 60.0, 600.0);
        let age = delay(stats, 0, 0.5, LAST_MINUTE);
        [format!("{places:.0}"), count(recorded), count(stats.longest_queue(0.0, 600.0)), time(age)]
    });
    table(["batches at a time", "delivered a second", "waiting after 10 minutes", "delay in minute 10, median"], rows)
}

#[test]
fn ten_thousand_events_a_second_are_delivered_in_less_than_half_a_second() {
    for (stats, (low, high)) in BUSY.iter().zip([(7.0, 10.0), (2.0, 4.0), (2.0, 4.0), (1.5, 3.5)]) {
        assert_within("messages in a batch", batch(stats), low..=high);
        assert_within("p50", delay(stats, 0, 0.5, LATER), 0.19..=0.31);
        assert_within("p99", delay(stats, 0, 0.99, LATER), 0.22..=0.45);
        assert_within("outcomes queued", stats.whole(|counts| counts.outcomes_queued), 0.0..=0.0);
    }
}

#[test]
fn a_queue_that_was_idle_makes_a_busy_minute_wait_for_half_a_minute() {
    assert_within("p99", delay(&BUSY[2], 0, 0.99, FIRST_MINUTE), 20.0..=30.0);
    assert_within("p99, warm", delay(&BUSY[1], 0, 0.99, FIRST_MINUTE), 0.2..=0.4);
}

#[test]
fn a_hundred_thousand_deliveries_a_second_are_bound_by_the_batches_and_then_by_the_claims_of_late_ones() {
    let delivered = |stats: &Stats, from, until| stats.a_second(|counts| counts.recorded, from, until);
    assert_within("900, at first", delivered(&FAN_OUT[0], 10.0, 100.0), 35_000.0..=40_500.0);
    assert_within("1250, at first", delivered(&FAN_OUT[1], 10.0, 100.0), 36_000.0..=41_000.0);
    for stats in &*FAN_OUT {
        // Each claim is a second write, and the table takes 40,000.
        assert_within("later", delivered(stats, 300.0, 600.0), 18_000.0..=21_000.0);
    }
}

#[test]
fn an_endpoint_with_a_rate_limit_gets_no_more_than_that_and_the_others_do_not_notice() {
    let limited = Endpoints { limit: Some(10.0), ..Endpoints::healthy(1.0, 30.0) };
    let stats = run(Setup::new(Shrink::NOT, 300.0, 100.0, vec![limited, Endpoints::healthy(100.0, 100.0)]));
    assert_within("requests", stats.most_requests(0, 60.0, 300.0), 9.0..=10.1);
    assert_within("others", delay(&stats, 1, 0.99, (60.0, 300.0)), 0.2..=0.3);
}
