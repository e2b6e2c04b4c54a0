//! What a replay costs, roughly, when each delivery succeeds at its first attempt.
//!
//! The estimate counts what is written and sent for each delivery; in comparison, reading is cheap. Prices and Lambda times
//! come from [`pombo_aws::prices`], as in `docs/cost.md`.
//!
//! Messages that have a group cost a surcharge. AWS's price list does not say whether the surcharge is for sending alone, or
//! for receiving and deleting too. The estimate includes the surcharge for every request, so it is not too low in either
//! case. If the surcharge is for sending alone, the estimate for a million deliveries is 2.5 cents too high.

use pombo_aws::prices::assumed::{FULL_BATCH, FULL_DISPATCH_SECONDS, MEMORY_GB};
use pombo_aws::prices::{GROUPED_REQUEST, LAMBDA_GB_SECOND, LAMBDA_REQUEST, QUEUE_REQUEST, WRITE_UNIT};
use serde::Serialize;

/// Of a delivery with a record that is on the lists: the new round moves it in three lists and puts it on a timer (1 for the
/// record, 2 for each move, 1 for the timer); the claim writes the record; the outcome writes it and takes it off all four.
const WRITES_OF_A_ROUND: f64 = 8.0 + 1.0 + 5.0;
/// Of a delivery without a record: the same, but on three lists there is nothing to take off at first.
const WRITES_OF_A_FIRST: f64 = 5.0 + 1.0 + 5.0;
/// Sent in tens.
const SENDS: f64 = 1.0 / FULL_BATCH;
/// Received and deleted in tens, and a share of the legs' own.
const OTHER_QUEUE_REQUESTS: f64 = 0.25;
/// Price of Lambda for one delivery: a tenth of an invocation, which sends ten at the same time.
const LAMBDA_DOLLARS: f64 =
    (LAMBDA_REQUEST.each() + MEMORY_GB * FULL_DISPATCH_SECONDS * LAMBDA_GB_SECOND.each()) / FULL_BATCH;

/// What a replay costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cost {
    /// DynamoDB's write request units.
    write_units: u64,
    /// Requests to the queues.
    requests: u64,
    /// All together in dollars.
    usd: f64,
}

impl Cost {
    /// Of so many deliveries, of which so many have no record.
    pub(super) fn of(deliveries: usize, new: usize) -> Self {
        let (all, new) = (deliveries as f64, new.min(deliveries) as f64);
        let writes = (all - new) * WRITES_OF_A_ROUND + new * WRITES_OF_A_FIRST;
        let requests = all * (SENDS + OTHER_QUEUE_REQUESTS);
        let queue_dollars = requests * (QUEUE_REQUEST.each() + GROUPED_REQUEST.each());
        let usd = writes * WRITE_UNIT.each() + queue_dollars + all * LAMBDA_DOLLARS;
        Self {
            write_units: writes.ceil() as u64,
            requests: requests.ceil() as u64,
            // In millionths: what is below is no money.
            usd: (usd * 1e6).round() / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_replays_cost_some_nine_dollars_and_nothing_costs_nothing() {
        let million = Cost::of(1_000_000, 0);
        assert_eq!((million.write_units, million.requests), (14_000_000, 350_000));
        assert!((9.0..9.3).contains(&million.usd), "{}", million.usd);
        assert!(Cost::of(1_000_000, 1_000_000).usd < million.usd);
        assert_eq!(Cost::of(0, 0), Cost { write_units: 0, requests: 0, usd: 0.0 });
    }

    /// The one price that is not certain: on every request, or on those that send.
    #[test]
    fn the_price_of_groups_makes_the_estimate_at_most_two_and_a_half_cents_a_million_too_high() {
        let estimate = Cost::of(1_000_000, 0).usd;
        let on_sends_alone = estimate - 1e6 * OTHER_QUEUE_REQUESTS * GROUPED_REQUEST.each();
        let without_any = 1e6 * (WRITES_OF_A_ROUND * WRITE_UNIT.each() + LAMBDA_DOLLARS + 0.35 * QUEUE_REQUEST.each());
        assert!((estimate - without_any - 0.035).abs() < 1e-6, "on every request: {estimate} {without_any}");
        assert!((0.0..=0.025 + 1e-6).contains(&(estimate - on_sends_alone)), "{estimate} {on_sends_alone}");
    }
}
