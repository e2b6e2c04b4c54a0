//! Rates and times over an endpoint's newest deliveries.

use pombo_domain::delivery::{Record, Status};
use pombo_domain::time::Timestamp;
use serde::Serialize;

/// What the newest deliveries tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Newest {
    /// How many there are.
    deliveries: usize,
    /// When the event of the oldest of them was accepted.
    from: Option<Timestamp>,
    /// When that of the newest was.
    to: Option<Timestamp>,
    /// How many were tried at least once. What waits for its first attempt, or was held or cancelled before it, says nothing
    /// about the endpoint.
    tried: usize,
    /// How many of those the receiver has taken so far.
    succeeded: usize,
    /// Of each one that was tried.
    success_rate: Option<f64>,
    /// Of the attempts that succeeded; none, when none did.
    latency_ms: Option<Latency>,
}

/// Percentiles of how long attempts took, each a time that one did take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Latency {
    p50: u64,
    p95: u64,
    p99: u64,
}

impl Newest {
    /// From their records, newest first; what has expired counts as gone.
    pub(super) fn of(records: &[Record], now: Timestamp) -> Self {
        let records: Vec<_> = records.iter().filter(|record| record.expires_at > now.as_seconds()).collect();
        let tried: Vec<_> = records.iter().filter(|record| was_tried(record)).collect();
        let succeeded = tried.iter().filter(|record| record.status == Status::Succeeded).count();
        let attempts = records.iter().flat_map(|record| &record.attempts);
        let mut durations: Vec<_> =
            attempts.filter(|attempt| attempt.outcome.is_success()).map(|attempt| attempt.duration_ms).collect();
        durations.sort_unstable();
        Self {
            deliveries: records.len(),
            from: records.last().map(|record| record.key.accepted_at),
            to: records.first().map(|record| record.key.accepted_at),
            tried: tried.len(),
            succeeded,
            success_rate: (!tried.is_empty()).then(|| (succeeded as f64 / tried.len() as f64 * 1e4).round() / 1e4),
            latency_ms: Latency::of(&durations),
        }
    }
}

/// Whether there was an attempt that says something of the endpoint.
fn was_tried(record: &Record) -> bool {
    record.attempts.iter().any(|attempt| attempt.outcome.tells_of_endpoint())
}

impl Latency {
    /// From durations, shortest first.
    fn of(durations: &[u64]) -> Option<Self> {
        // By rank: the shortest than which at least so many of a hundred took no longer.
        let percentile = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100);
            durations.get(rank.checked_sub(1)?).copied()
        };
        Some(Self { p50: percentile(50)?, p95: percentile(95)?, p99: percentile(99)? })
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Step};
    use pombo_domain::outcome::{Attempt, Outcome, Trigger};

    use super::*;

    fn record(second: i64, status: Status, attempts: &[(u16, u64)]) -> Record {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(second),
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
        let attempt = |(place, (status_code, duration_ms)): (usize, &(u16, u64))| Attempt {
            step: Step { round: 0, attempt: place as u32 + 1 },
            started_at: Timestamp::from_seconds(second),
            duration_ms: *duration_ms,
            outcome: match status_code {
                200 => Outcome::Succeeded { status_code: 200 },
                508 => Outcome::Loop,
                status_code => Outcome::HttpStatus { status_code: *status_code },
            },
            answer: None,
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        };
        let attempts = attempts.iter().enumerate().map(attempt).collect();
        Record { status, attempts, ..Record::begin(key, new) }
    }

    /// What is told at a time when nothing has expired.
    fn of(records: &[Record]) -> Newest {
        Newest::of(records, Timestamp::from_seconds(8))
    }

    #[test]
    fn what_has_expired_counts_as_gone() {
        let expiring = |expires_at, second| Record { expires_at, ..record(second, Status::Succeeded, &[(200, 10)]) };
        let records = [expiring(12, 6), expiring(11, 5), expiring(10, 4), expiring(9, 3)];
        let newest = Newest::of(&records, Timestamp::from_seconds(10));
        assert_eq!((newest.deliveries, newest.tried, newest.succeeded), (2, 2, 2));
        assert_eq!((newest.from, newest.to), (Some(Timestamp::from_seconds(5)), Some(Timestamp::from_seconds(6))));
    }

    #[test]
    fn an_event_that_went_round_in_a_loop_does_not_lower_the_rate() {
        let newest = of(&[record(7, Status::Failed, &[(508, 1)]), record(6, Status::Succeeded, &[(200, 30)])]);
        assert_eq!((newest.deliveries, newest.tried, newest.success_rate), (2, 1, Some(1.0)));
    }

    #[test]
    fn the_rate_is_of_what_was_tried_and_the_times_are_of_what_succeeded() {
        let newest = of(&[
            record(9, Status::Pending, &[]),
            record(8, Status::Held, &[]),
            record(7, Status::Retrying, &[(500, 9000)]),
            record(6, Status::Succeeded, &[(500, 9000), (200, 30)]),
            record(5, Status::Succeeded, &[(200, 10)]),
            record(4, Status::Failed, &[(404, 1)]),
            record(3, Status::Cancelled, &[]),
            record(2, Status::Retrying, &[(200, 20), (500, 1)]),
        ]);
        assert_eq!((newest.deliveries, newest.tried, newest.succeeded), (8, 5, 2));
        assert_eq!((newest.from, newest.to), (Some(Timestamp::from_seconds(2)), Some(Timestamp::from_seconds(9))));
        assert_eq!(newest.success_rate, Some(0.4));
        assert_eq!(newest.latency_ms, Some(Latency { p50: 20, p95: 30, p99: 30 }));
    }

    #[test]
    fn nothing_tried_has_no_rate_and_nothing_succeeded_no_times() {
        let nothing = of(&[]);
        assert_eq!((nothing.deliveries, nothing.from, nothing.success_rate, nothing.latency_ms), (0, None, None, None));
        assert_eq!(of(&[record(1, Status::Held, &[])]).success_rate, None);
        let failing = of(&[record(1, Status::Retrying, &[(500, 5)])]);
        assert_eq!((failing.success_rate, failing.latency_ms), (Some(0.0), None));
    }

    #[test]
    fn a_percentile_is_a_time_that_was_taken() {
        let of = |durations: &[u64]| Latency::of(durations).map(|latency| (latency.p50, latency.p95, latency.p99));
        assert_eq!(of(&(1..=100).collect::<Vec<_>>()), Some((50, 95, 99)));
        assert_eq!(of(&(1..=200).collect::<Vec<_>>()), Some((100, 190, 198)));
        assert_eq!(of(&[7]), Some((7, 7, 7)));
        assert_eq!(of(&[1, 2, 3]), Some((2, 3, 3)));
    }
}
