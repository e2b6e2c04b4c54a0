//! A rate limit: how many requests a second an endpoint gets at most, and in which slot of time each of them goes.
//!
//! The generic cell rate algorithm, without a burst: requests have slots, one emission interval apart, and all that is
//! shared between dispatchers is the time of the next free one. A slot is reserved by moving that time on, so it belongs
//! to one message, which carries it while it waits. Bursts are left out because they would show: a receiver that takes
//! ten a second is not helped by sixty in the first one, and any minute may hold no more than its sixty seconds of slots.
//!
//! A slot is not always met. Who comes later than [`TOLERANCE`] reserves another one: were all that waited out a
//! standstill of ours let go together, the receiver would get them in a burst. The tolerance doubles with each slot that
//! a message has missed, so that a queue which is always late still moves. A tolerance of two seconds lets at most two
//! seconds of slots into a minute from outside, 3.3 %.
//!
//! When a limit is changed, slots start anew: those reserved under the old one are not used, however far ahead they are.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::invalid::Invalid;
use crate::number::AsGiven;
use crate::retry::LONGEST_QUEUE_DELAY;
use crate::time::Timestamp;

/// The lowest limit, in requests a second.
const LOWEST: f64 = 0.01;
/// The highest: a slot is one write of one item, and DynamoDB takes a thousand a second.
const HIGHEST: f64 = 500.0;

/// How late a message may be for its first slot.
const TOLERANCE: Duration = Duration::from_secs(2);
/// How often the tolerance doubles: to more than half an hour, longer than a message waits in one go.
const MOST_DOUBLINGS: u32 = 10;

/// A message is woken so long before its slot, and waits the rest in the process: queues delay by whole seconds.
const WOKEN_BEFORE: Duration = Duration::from_secs(1);
/// The longest wait in a process. A little more than [`WOKEN_BEFORE`], for clocks that do not quite agree.
const LONGEST_SLEEP: Duration = Duration::from_millis(1500);

/// A number of requests a second, from 0.01 to 500.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "f64")]
pub struct PerSecond(f64);

impl PerSecond {
    /// From a number.
    pub fn new(per_second: f64) -> Result<Self, Invalid> {
        if (LOWEST..=HIGHEST).contains(&per_second) {
            Ok(Self(per_second))
        } else {
            Err(Invalid::rule("must be null or a number of requests a second from 0.01 to 500"))
        }
    }

    /// The time from one slot to the next, rounded up to a microsecond: no minute holds a slot too many.
    #[must_use]
    pub fn interval_micros(self) -> i64 {
        // At most 100 seconds.
        (1_000_000.0 / self.0).ceil() as i64
    }
}

impl TryFrom<f64> for PerSecond {
    type Error = Invalid;

    fn try_from(per_second: f64) -> Result<Self, Invalid> {
        Self::new(per_second)
    }
}

/// As it was given: `10`, not `10.0`.
impl Serialize for PerSecond {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AsGiven(self.0).serialize(serializer)
    }
}

/// The limit of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// The limit.
    pub per_second: PerSecond,
    /// The endpoint's version that brought it: tells a limit, and the slots under it, from those before it.
    pub since: u64,
}

/// What is stored of an endpoint's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// [`RateLimit::since`] of the limit that they follow.
    pub since: u64,
    /// The next free one, in Unix microseconds; one in the past is taken as now.
    pub next_micros: i64,
}

/// How a slot is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// Nobody is ahead, or those who are follow a limit that is no more: the slot is now.
    First(Slots),
    /// Behind the others: the slot is the next free one.
    Behind(Slots),
    /// The limit was changed after the endpoint was read; it has to be read again.
    Outdated {
        /// The endpoint's version that brought the newer limit.
        since: u64,
    },
}

/// Decides how a slot is reserved at `now`; [`Reserve`] has what to store. The slot itself lies one interval before the
/// stored next one.
#[must_use]
pub fn reserve(stored: Option<Slots>, limit: &RateLimit, now: Timestamp) -> Reserve {
    let (since, interval, now) = (limit.since, limit.per_second.interval_micros(), now.as_millis() * 1000);
    match stored {
        Some(slots) if slots.since > since => Reserve::Outdated { since: slots.since },
        Some(slots) if slots.since == since && slots.next_micros >= now => {
            Reserve::Behind(Slots { since, next_micros: slots.next_micros + interval })
        }
        _ => Reserve::First(Slots { since, next_micros: now + interval }),
    }
}

/// A slot that a message has reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// When the request may go.
    pub at: Timestamp,
    /// [`RateLimit::since`] of the limit under which it was reserved.
    pub since: u64,
    /// How many slots the message has missed before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u32,
}

/// What a message with a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// It is its turn.
    Over,
    /// Soon: it waits in the process.
    Here(Duration),
    /// It waits in the queue until then, and looks again.
    InQueue(Timestamp),
}

impl Slot {
    /// The slot before `next_micros`, for a message that had `before`.
    #[must_use]
    pub fn reserved(next_micros: i64, limit: &RateLimit, before: Option<&Self>) -> Self {
        let micros = next_micros - limit.per_second.interval_micros();
        // Rounded up: never before its time. Two slots are at least two milliseconds apart.
        let at = Timestamp::from_millis((micros + 999).div_euclid(1000));
        let missed =
            before.filter(|before| before.since == limit.since).map_or(0, |before| before.missed.saturating_add(1));
        Self { at, since: limit.since, missed }
    }

    /// Whether it may still be used, under this limit.
    #[must_use]
    pub fn holds(&self, limit: &RateLimit, now: Timestamp) -> bool {
        let tolerance = TOLERANCE * 2u32.pow(self.missed.min(MOST_DOUBLINGS));
        self.since == limit.since && self.at.until(now) <= tolerance
    }

    /// What its message does at `now`. A long wait goes in parts, so that a changed limit takes hold of what waits.
    #[must_use]
    pub fn wait(&self, now: Timestamp) -> Wait {
        match now.until(self.at) {
            Duration::ZERO => Wait::Over,
            left if left <= LONGEST_SLEEP => Wait::Here(left),
            left => Wait::InQueue(now.plus((left - WOKEN_BEFORE).min(LONGEST_QUEUE_DELAY))),
        }
    }
}

fn is_zero(missed: &u32) -> bool {
    *missed == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn limit(per_second: f64, since: u64) -> RateLimit {
        RateLimit { per_second: PerSecond::new(per_second).unwrap(), since }
    }

    /// The slot and what is stored then.
    fn take(stored: &mut Option<Slots>, limit: &RateLimit, now: Timestamp) -> Slot {
        let (Reserve::First(slots) | Reserve::Behind(slots)) = reserve(*stored, limit, now) else { unreachable!() };
        *stored = Some(slots);
        Slot::reserved(slots.next_micros, limit, None)
    }

    fn in_millis(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + millis)
    }

    #[test]
    fn a_limit_is_a_hundredth_to_five_hundred_a_second() {
        for (right, micros) in [(0.01, 100_000_000), (0.5, 2_000_000), (3.0, 333_334), (10.0, 100_000), (500.0, 2000)] {
            assert_eq!(PerSecond::new(right).unwrap().interval_micros(), micros, "{right}");
        }
        for wrong in [0.0, -1.0, 0.0099, 500.1, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            assert!(PerSecond::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_written_as_it_was_given_and_reads_back() {
        for (number, text) in [(10.0, "10"), (0.5, "0.5"), (33.25, "33.25")] {
            let limit = limit(number, 3);
            let json = serde_json::to_string(&limit).unwrap();
            assert_eq!(json, format!(r#"{{"per_second":{text},"since":3}}"#));
            assert_eq!(serde_json::from_str::<RateLimit>(&json).unwrap(), limit);
        }
        assert!(serde_json::from_value::<PerSecond>(json!(0)).is_err());
    }

    #[test]
    fn the_first_slot_is_now_and_the_others_follow_an_interval_apart() {
        let (limit, mut stored) = (limit(10.0, 1), None);
        let at = |slot: Slot| NOW.until(slot.at).as_millis();
        let slots: Vec<_> = (0..4).map(|_| at(take(&mut stored, &limit, NOW))).collect();
        assert_eq!(slots, [0, 100, 200, 300]);
        assert_eq!(at(take(&mut stored, &limit, in_millis(250))), 400, "those ahead are waited for");
        assert_eq!(at(take(&mut stored, &limit, in_millis(500))), 500, "the one that is free just now");
        assert_eq!(at(take(&mut stored, &limit, in_millis(5000))), 5000, "what was not used is not saved up");
    }

    #[test]
    fn a_new_limit_starts_at_once_and_an_old_one_reserves_nothing() {
        let (slow, fast, mut stored) = (limit(0.01, 1), limit(100.0, 4), None);
        for _ in 0..100 {
            take(&mut stored, &slow, NOW);
        }
        assert_eq!(take(&mut stored, &fast, NOW).at, NOW);
        assert_eq!(take(&mut stored, &fast, NOW).at, in_millis(10));
        assert_eq!(reserve(stored, &slow, in_millis(5000)), Reserve::Outdated { since: 4 });
    }

    #[test]
    fn a_slot_holds_for_two_seconds_and_twice_as_long_for_each_that_was_missed() {
        let limit = limit(1.0, 2);
        let mut slot = Slot::reserved(NOW.as_millis() * 1000 + 1_000_000, &limit, None);
        assert_eq!(slot, Slot { at: NOW, since: 2, missed: 0 });
        for (missed, tolerated) in [(0, 2), (1, 4), (2, 8), (3, 16)] {
            assert_eq!(slot.missed, missed);
            assert!(slot.holds(&limit, in_millis(tolerated * 1000)) && slot.holds(&limit, in_millis(-5_000_000)));
            assert!(!slot.holds(&limit, in_millis(tolerated * 1000 + 1)));
            slot = Slot::reserved(NOW.as_millis() * 1000 + 1_000_000, &limit, Some(&slot));
        }
        assert!(Slot { missed: u32::MAX, ..slot }.holds(&limit, in_millis(2_048_000)));
    }

    #[test]
    fn a_slot_under_another_limit_does_not_hold() {
        let slot = Slot { at: NOW, since: 2, missed: 5 };
        for since in [1, 3] {
            assert!(!slot.holds(&limit(1.0, since), NOW));
            assert_eq!(Slot::reserved(0, &limit(1.0, since), Some(&slot)).missed, 0);
        }
    }

    #[test]
    fn a_near_slot_is_waited_for_here_and_a_far_one_in_the_queue() {
        let slot = Slot { at: NOW, since: 1, missed: 0 };
        for (millis, expected) in [
            (0, Wait::Over),
            (700, Wait::Over),
            (-1, Wait::Here(Duration::from_millis(1))),
            (-1500, Wait::Here(Duration::from_millis(1500))),
            (-1501, Wait::InQueue(in_millis(-1000))),
            (-900_000, Wait::InQueue(in_millis(-1000))),
            (-902_000, Wait::InQueue(in_millis(-2000))),
            (-5_000_000, Wait::InQueue(in_millis(-4_100_000))),
        ] {
            assert_eq!(slot.wait(in_millis(millis)), expected, "at {millis} ms");
        }
    }

    #[test]
    fn a_slot_is_small_in_a_message() {
        let slot = Slot { at: NOW, since: 1, missed: 0 };
        assert_eq!(json!(slot), json!({"at": "2023-11-14T22:13:20.000Z", "since": 1}));
        assert_eq!(serde_json::from_value::<Slot>(json!(slot)).unwrap(), slot);
    }

    /// The most slots in any 60 seconds.
    fn most_in_a_minute(slots: &[Timestamp]) -> usize {
        let mut begin = 0;
        let counts = slots.iter().enumerate().map(|(index, slot)| {
            while slots[begin].until(*slot) >= 60 * SECOND {
                begin += 1;
            }
            index + 1 - begin
        });
        counts.max().unwrap_or_default()
    }

    proptest! {
        #[test]
        fn slots_are_exact_over_any_minute(
            per_second in prop_oneof![LOWEST..1.0, 1.0..HIGHEST],
            gaps in prop::collection::vec(prop_oneof![4 => 0i64..3, 1 => 0i64..3000], 1..3000),
        ) {
            let (limit, mut stored, mut now) = (limit(per_second, 1), None, NOW);
            let mut slots = Vec::new();
            for gap in gaps {
                now = Timestamp::from_millis(now.as_millis() + gap);
                let slot = take(&mut stored, &limit, now).at;
                prop_assert!(slot >= now, "a slot in the past");
                // To the millisecond, to which a slot is rounded.
                let earliest = slots.last().map_or(now, |last: &Timestamp| last.plus(Duration::from_secs_f64(1.0 / per_second) - Duration::from_millis(1)));
                prop_assert!(slot >= earliest && slots.last() != Some(&slot), "{:?} after {:?}", slot, slots.last());
                slots.push(slot);
            }
            prop_assert!(most_in_a_minute(&slots) as f64 <= per_second * 60.0 + 1.0);
        }

        #[test]
        fn under_overload_every_minute_is_used(per_second in 0.5..HIGHEST, ahead in 0i64..1000) {
            // Messages come twice as fast as they may go, by two clocks that differ.
            let (limit, mut stored) = (limit(per_second, 1), None);
            let count = (per_second * 130.0) as i64;
            let slots: Vec<_> = (0..count).map(|n| {
                let millis = (n as f64 * 500.0 / per_second) as i64 + if n % 2 == 0 { ahead } else { 0 };
                take(&mut stored, &limit, in_millis(millis)).at
            }).collect();
            for begin in [0, 10, 30, 60] {
                let (begin, end) = (in_millis(begin * 1000 + ahead), in_millis(begin * 1000 + 60_000 + ahead));
                let used = slots.iter().filter(|slot| (begin..end).contains(*slot)).count() as f64;
                prop_assert!(used >= per_second * 60.0 * 0.95 && used <= per_second * 60.0 * 1.05 + 1.0, "{used}");
            }
        }

        #[test]
        fn a_message_that_is_late_by_less_than_half_an_hour_goes_in_the_end(late_by in 0u32..1800) {
            let (limit, mut stored, mut now) = (limit(1.0, 1), None, NOW);
            let mut slot = take(&mut stored, &limit, now);
            for _ in 0..12 {
                now = slot.at.plus(late_by * SECOND);
                if slot.holds(&limit, now) {
                    return Ok(());
                }
                slot = Slot { missed: slot.missed + 1, ..take(&mut stored, &limit, now) };
            }
            prop_assert!(false, "{late_by} s late, it never goes");
        }
    }
}
