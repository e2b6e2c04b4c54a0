//! What carries a message until it is due: the queue's own delay, or an EventBridge Scheduler one-shot.
//!
//! Sources: SQS `DelaySeconds` is 0 to 900; a Scheduler name is at most 64 characters of `[0-9a-zA-Z-_.]`, unique in its
//! group, and `at()` has whole seconds without a zone. "All schedule types on EventBridge Scheduler invoke their targets with
//! 60 second precision" (User Guide, schedule types): a schedule for 1:00 fires between 1:00:00 and 1:00:59. Nothing says
//! that one for 1:00:45 never fires in the same minute before. So a message that goes by Scheduler says when it is due, and
//! waits in the queue for the rest when it comes early.
//!
//! Scheduler deletes a one-shot only *after* it fired, and refuses another of the same name until then. The name stands
//! for (delivery, attempt, due second), and the message that a one-shot brings must never ask for that name again, or it
//! would be taken for made and lost. Two rules see to that: a postponed delivery has another due second, and what comes
//! early waits in the queue, however often it has waited before. So a refusal of the name (`ConflictException`) always
//! means that another message for the same attempt is still to come, or has come. `at()` is no part of the name: of two
//! that make the same one-shot, the later may ask for a later second, and the earlier one stands.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::delivery::{DeliveryKey, Step};
use crate::message::{DeliveryMessage, MOST_HOPS};
use crate::retry::{LONGEST_QUEUE_DELAY, Next, Route};
use crate::time::Timestamp;

/// A message that is due sooner than this goes by the queue, which is exact to a second.
const TOO_SOON_FOR_SCHEDULER: Duration = Duration::from_secs(30);

/// How far ahead a one-shot's time is at least. Scheduler looks at its schedules by the minute, and does not say what becomes
/// of a time that has passed when it looks.
const SCHEDULERS_NOTICE: Duration = Duration::from_secs(60);

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
    if (next.route == Route::Scheduler && left >= TOO_SOON_FOR_SCHEDULER) || left > LONGEST_QUEUE_DELAY {
        let at = next.at.max(now.plus(SCHEDULERS_NOTICE));
        Carrier::Schedule(Timestamp::from_seconds(at.as_seconds_rounded_up()))
    } else {
        Carrier::Queue(whole_seconds(left))
    }
}

/// The carrier of a message that has to wait until `until`: Scheduler, if the message has waited often. A message that came
/// before its own time waits for the rest in the queue: see the [module](self).
#[must_use]
pub fn waiting_carrier(message: &DeliveryMessage, until: Timestamp, now: Timestamp) -> Carrier {
    let came_early = message.not_before == Some(until);
    let route = if message.hops >= MOST_HOPS && !came_early { Route::Scheduler } else { Route::Queue };
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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::EndpointId;
    use crate::outcome::Outcome;
    use crate::retry::{Decision, Jitter, RetryPolicy, decide};

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);

    fn next(millis: i64, route: Route) -> Next {
        Next { at: Timestamp::from_millis(NOW.as_millis() + millis), route }
    }

    fn key(event: &str) -> DeliveryKey {
        DeliveryKey { endpoint_id: EndpointId::generate([1; 10]), accepted_at: NOW, event_id: event.parse().unwrap() }
    }

    /// A message that has been put back `hops` times.
    fn message(hops: u32) -> DeliveryMessage {
        let mut message = DeliveryMessage::by_reference(key("e"), Step::FIRST);
        message.hops = hops;
        message
    }

    #[test]
    fn by_route_and_distance() {
        let at = |seconds| Carrier::Schedule(Timestamp::from_seconds(seconds));
        for (millis, route, expected) in [
            (120_000, Route::Scheduler, at(1_700_000_121)),
            (60_001, Route::Scheduler, at(1_700_000_061)),
            (60_000, Route::Scheduler, at(1_700_000_061)),
            (59_990, Route::Scheduler, at(1_700_000_061)),
            (30_000, Route::Scheduler, at(1_700_000_061)),
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
    fn the_first_retry_of_the_default_policy_goes_by_scheduler_although_its_record_took_a_while() {
        let failure = Outcome::HttpStatus { status_code: 500 };
        let decision = decide(&RetryPolicy::Standard, Step::FIRST, &failure, NOW, None, Jitter::NONE);
        let Decision::Retry(next) = decision else { panic!("{decision:?}") };
        for written_after in [0, 7, 5_000, 30_000] {
            let now = NOW.plus(Duration::from_millis(written_after));
            let Carrier::Schedule(at) = carrier(next, now) else { panic!("{written_after} ms: by the queue") };
            assert!(now.until(at) >= Duration::from_secs(60) && at >= next.at, "{written_after} ms: {at}");
        }
    }

    #[test]
    fn a_message_that_has_waited_a_hundred_times_waits_in_scheduler() {
        let until = NOW.plus(Duration::from_secs(40));
        assert_eq!(waiting_carrier(&message(99), until, NOW), Carrier::Queue(40));
        assert_eq!(
            waiting_carrier(&message(100), until, NOW),
            Carrier::Schedule(Timestamp::from_seconds(1_700_000_061))
        );
    }

    #[test]
    fn what_comes_early_waits_for_the_rest_in_the_queue_however_often_it_has_waited() {
        let due = NOW.plus(Duration::from_millis(44_200));
        for hops in [0, 100, u32::MAX] {
            assert_eq!(waiting_carrier(&message(hops).due_at(due), due, NOW), Carrier::Queue(45), "{hops} hops");
        }
        let other = due.plus(Duration::from_secs(1));
        let other = waiting_carrier(&message(100).due_at(due), other, NOW);
        assert!(matches!(other, Carrier::Schedule(_)), "another time is another wait: {other:?}");
        // No longer than the queue can: that is one which the queue has carried a part of the way.
        let far = NOW.plus(Duration::from_secs(1000));
        assert!(matches!(waiting_carrier(&message(1).due_at(far), far, NOW), Carrier::Schedule(_)));
    }

    #[test]
    fn names_are_the_same_for_the_same_due_second_and_else_differ() {
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
            for carrier in [
                carrier(next(millis, Route::Scheduler), NOW),
                carrier(next(millis, Route::Queue), NOW),
                waiting_carrier(&message(hops), due, NOW),
                waiting_carrier(&message(hops).due_at(due), due, NOW),
            ] {
                match carrier {
                    Carrier::Queue(seconds) => {
                        prop_assert!(seconds <= 900);
                        prop_assert!(NOW.plus(Duration::from_secs(seconds.into())) >= due, "sooner than it is due");
                    }
                    Carrier::Schedule(at) => {
                        prop_assert!(NOW.until(at) >= SCHEDULERS_NOTICE && at >= due);
                        prop_assert!(due.max(NOW.plus(SCHEDULERS_NOTICE)).until(at) < Duration::from_secs(1), "needlessly late");
                        prop_assert_eq!(at.as_millis() % 1000, 0);
                        let expression = at.to_at_expression();
                        prop_assert_eq!(expression.len(), "at(2026-01-31T09:30:01)".len());
                        prop_assert!(expression.bytes().all(|b| b.is_ascii_alphanumeric() || b"()-:".contains(&b)));
                    }
                }
            }
            prop_assert!(fallback_delay(due, NOW) <= 900);
            let name = schedule_name(&key("e"), Step { round: 0, attempt }, due);
            prop_assert!(name.len() == 40 && name.bytes().all(|b| b.is_ascii_hexdigit()));
        }

        /// A message that waits for one time after another. Each one-shot fires up to a minute before its `at()`, and its name
        /// is taken for ever: a refused name would be a lost message.
        #[test]
        fn no_message_asks_for_the_one_shot_that_brought_it_and_none_is_let_through_before_its_time(
            hops in 90u32..110, waits in prop::collection::vec((1i64..2_000_000, 0u64..60_000), 1..20),
        ) {
            let (mut message, mut now, mut names) = (message(hops), NOW, BTreeSet::new());
            for (millis, fires_early) in waits {
                let due = Timestamp::from_millis(now.as_millis() + millis);
                while now < due {
                    now = match waiting_carrier(&message, due, now) {
                        Carrier::Queue(seconds) => now.plus(Duration::from_secs(seconds.into())),
                        Carrier::Schedule(at) => {
                            prop_assert!(names.insert(schedule_name(&message.delivery, message.step, due)), "lost");
                            at.minus(Duration::from_millis(fires_early))
                        }
                    };
                    message = message.waiting_until(due);
                    prop_assert!(message.not_before == Some(due));
                }
            }
        }

        /// A process that makes sure of an attempt makes the one-shot again, under the same name. Either of the two may stand.
        #[test]
        fn a_one_shot_that_is_made_again_fires_no_sooner_than_due_and_at_most_half_a_minute_later(
            left in 30_000i64..4_000_000, later in 0u64..30_000,
        ) {
            let next = next(left, Route::Scheduler);
            for now in [NOW, NOW.plus(Duration::from_millis(later))] {
                if let Carrier::Schedule(at) = carrier(next, now) {
                    prop_assert!(at >= next.at && at <= next.at.plus(Duration::from_secs(31)), "{}", at);
                }
            }
        }
    }
}
