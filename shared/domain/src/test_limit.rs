//! How often an endpoint may be tested.
//!
//! A test is a request that somebody orders by hand, and it passes an open circuit: without a bound, a button that asks "is
//! it back?" would be a way to send as much as one likes to a receiver that is in trouble.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::EndpointId;
use crate::time::Timestamp;

/// Maximum number of tests of an endpoint within [`WINDOW`].
pub const MAX_TESTS: usize = 6;

/// The time in which tests are counted, wherever it begins.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The tests of an endpoint that count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tests {
    /// When they were ordered.
    #[serde(default)]
    pub recent: Vec<Timestamp>,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// Who wrote this revision.
    pub writer: String,
    /// When none of them counts any more, in Unix seconds.
    pub expires_at: i64,
}

/// The endpoint was tested as often as it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTests {
    /// When there may be one more.
    pub until: Timestamp,
}

impl Tests {
    /// The key of an endpoint's tests, next to the endpoint.
    #[must_use]
    pub fn key(endpoint_id: &EndpointId) -> String {
        format!("{endpoint_id}#tests")
    }

    /// The tests once one more is ordered at `now`.
    ///
    /// # Errors
    /// There were [`MAX_TESTS`] within [`WINDOW`].
    pub fn admit(&self, now: Timestamp) -> Result<Self, TooManyTests> {
        let mut recent: Vec<_> = self.recent.iter().copied().filter(|at| at.plus(WINDOW) > now).collect();
        if let Some(oldest) = recent.iter().min().filter(|_| recent.len() >= MAX_TESTS) {
            return Err(TooManyTests { until: oldest.plus(WINDOW) });
        }
        recent.push(now);
        Ok(Self { recent, expires_at: now.plus(WINDOW).as_seconds_rounded_up(), ..self.clone() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn six_tests_are_taken_in_a_minute_and_then_one_for_each_that_no_longer_counts() {
        let mut tests = Tests::default();
        for second in 0..6 {
            tests = tests.admit(at(second)).unwrap();
        }
        for (second, until) in [(6, 60), (59, 60)] {
            assert_eq!(tests.admit(at(second)), Err(TooManyTests { until: at(until) }), "{second}");
        }
        let next = tests.admit(at(60)).unwrap();
        assert_eq!((next.recent.len(), next.expires_at), (6, at(120).as_seconds()));
        assert_eq!(next.admit(at(60)), Err(TooManyTests { until: at(61) }));
    }

    #[test]
    fn a_clock_that_is_behind_counts_what_another_has_ordered() {
        let mut tests = Tests::default();
        for _ in 0..6 {
            tests = tests.admit(at(10)).unwrap();
        }
        assert_eq!(tests.admit(at(5)), Err(TooManyTests { until: at(70) }));
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_six(pauses in prop::collection::vec(0u64..30, 0..200)) {
            let (mut tests, mut now, mut taken) = (Tests::default(), 0, Vec::new());
            for pause in pauses {
                now += pause;
                match tests.admit(at(now)) {
                    Ok(next) => {
                        tests = next;
                        taken.push(now);
                    }
                    Err(TooManyTests { until }) => {
                        prop_assert!(until > at(now) && tests.admit(until).is_ok(), "the time that is told is right");
                    }
                }
            }
            for start in &taken {
                prop_assert!(taken.iter().filter(|time| (*start..*start + 60).contains(*time)).count() <= MAX_TESTS);
            }
        }
    }
}
