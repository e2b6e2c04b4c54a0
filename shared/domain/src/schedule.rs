//! What carries a message until it is due: the queue's own delay, or an EventBridge Scheduler one-shot.
//!
//! Sources: SQS `DelaySeconds` is 0 to 900; a Scheduler name is at most 64 characters of `[0-9a-zA-Z-_.]`, unique in its
//! group, and `at()` has whole seconds without a zone. Scheduler deletes a one-shot only *after* it fired, so a postponed
//! delivery must not meet the name it fired under: the due second is part of it.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::delivery::{DeliveryKey, Step};
use crate::message::MOST_HOPS;
use crate::retry::{LONGEST_QUEUE_DELAY, Next, Route};
use crate::time::Timestamp;

/// What is due sooner than this goes by the queue: Scheduler may not take a time that has passed when it looks at it.
const SCHEDULERS_NOTICE: Duration = Duration::from_secs(30);

/// How a message is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// As a one-shot at this time, already a whole second.
    Schedule(Timestamp),
    /// On the queue, after this many seconds, at most 900.
    Queue(u32),
}

/// What carries the next attempt of a delivery: by its policy's route the first time and every time.
#[must_use]
pub fn carrier(next: Next, now: Timestamp) -> Carrier {
    let left = now.until(next.at);
    if (next.route == Route::Scheduler && left >= SCHEDULERS_NOTICE) || left > LONGEST_QUEUE_DELAY {
        Carrier::Schedule(Timestamp::from_seconds(next.at.as_seconds_rounded_up()))
    } else {
        Carrier::Queue(whole_seconds(left))
    }
}

/// What carries a message that has to wait until `until`, having waited `hops` times.
#[must_use]
pub fn waiting_carrier(until: Timestamp, hops: u32, now: Timestamp) -> Carrier {
    let route = if hops >= MOST_HOPS { Route::Scheduler } else { Route::Queue };
    carrier(Next { at: until, route }, now)
}

/// The delay when Scheduler cannot be reached: as far as the queue goes; the message says when it is due.
#[must_use]
pub fn fallback_delay(due: Timestamp, now: Timestamp) -> u32 {
    whole_seconds(now.until(due).min(LONGEST_QUEUE_DELAY))
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// The name of the one-shot for the attempt at `step`, due at `due`: the same each time it is made for the same thing.
#[must_use]
pub fn schedule_name(delivery: &DeliveryKey, step: Step, due: Timestamp) -> String {
    let identity = format!("{delivery}/{step}/{}", due.as_seconds_rounded_up());
    Sha256::digest(identity)[..20].iter().fold(String::with_capacity(40), |mut name, byte| {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::EndpointId;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);

    fn next(millis: i64, route: Route) -> Next {
        Next { at: Timestamp::from_millis(NOW.as_millis() + millis), route }
    }

    #[test]
    fn by_route_and_distance() {
        let at = |seconds| Carrier::Schedule(Timestamp::from_seconds(seconds));
        for (millis, route, expected) in [
            (60_000, Route::Scheduler, at(1_700_000_061)),
            (30_000, Route::Scheduler, at(1_700_000_031)),
            (29_999, Route::Scheduler, Carrier::Queue(30)),
            (-5, Route::Scheduler, Carrier::Queue(0)),
            (2_500, Route::Queue, Carrier::Queue(3)),
            (900_000, Route::Queue, Carrier::Queue(900)),
            (900_001, Route::Queue, at(1_700_000_901)),
        ] {
            assert_eq!(carrier(next(millis, route), NOW), expected, "{millis} ms by {route:?}");
        }
    }

    #[test]
    fn a_message_that_has_waited_a_hundred_times_waits_in_scheduler() {
        let until = NOW.plus(Duration::from_secs(40));
        assert_eq!(waiting_carrier(until, 99, NOW), Carrier::Queue(40));
        assert_eq!(waiting_carrier(until, 100, NOW), Carrier::Schedule(Timestamp::from_seconds(1_700_000_041)));
    }

    #[test]
    fn names_are_the_same_for_the_same_due_second_and_else_differ() {
        let key = |event: &str| DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: NOW,
            event_id: event.parse().unwrap(),
        };
        let name =
            |event, attempt, due| schedule_name(&key(event), Step { round: 0, attempt }, Timestamp::from_millis(due));
        assert_eq!(name("e", 2, 60_001), name("e", 2, 61_000));
        let others = [name("f", 2, 61_000), name("e", 3, 61_000), name("e", 2, 61_001)];
        assert!(others.iter().all(|other| *other != name("e", 2, 61_000)));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_the_services_take(millis in -100_000i64..800_000_000, hops in 0u32..200, attempt in 1u32..21) {
            let due = next(millis, Route::Scheduler).at;
            for carrier in [carrier(next(millis, Route::Scheduler), NOW), carrier(next(millis, Route::Queue), NOW), waiting_carrier(due, hops, NOW)] {
                match carrier {
                    Carrier::Queue(seconds) => prop_assert!(seconds <= 900),
                    Carrier::Schedule(at) => {
                        prop_assert!(NOW.until(at) >= SCHEDULERS_NOTICE && at >= due);
                        let expression = at.to_at_expression();
                        prop_assert_eq!(expression.len(), "at(2026-01-31T09:30:01)".len());
                        prop_assert!(expression.bytes().all(|b| b.is_ascii_alphanumeric() || b"()-:".contains(&b)));
                    }
                }
            }
            prop_assert!(fallback_delay(due, NOW) <= 900);
            let key = DeliveryKey { endpoint_id: EndpointId::generate([1; 10]), accepted_at: NOW, event_id: "e".parse().unwrap() };
            let name = schedule_name(&key, Step { round: 0, attempt }, due);
            prop_assert!(name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
}
