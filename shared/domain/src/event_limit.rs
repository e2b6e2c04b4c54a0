//! A limit of events a second for each caller of ingest, if the stack has one.
//!
//! The generic cell rate algorithm with a burst: a caller's bucket holds `burst` events and fills by `per_second`. What is
//! shared between processes is one number, the time at which the bucket will be full again. To write it for each event would
//! cost a fifth of what the event costs, so a process reserves *blocks*: it moves the number on by many events in one write,
//! and lets that many in by itself.
//!
//! A block holds for [`BLOCK_LIFETIME`]; what is unused then is lost. So within any `n` seconds a caller gets at most
//! `burst + per_second × (n + 2)` events in, plus what the clocks of the machines are apart. In the other direction a
//! process asks for what comes to it in a block's lifetime, at most twice what it asked for before, and for a quarter of the
//! burst at most. So a caller whose events come steadily is not refused below a third of the limit, and comes close to the
//! whole of it where a process sees several events a second.
//!
//! An event counts when it is posted, whatever becomes of it: repeats too, which cost as much as the first time.

use std::time::Duration;

use crate::time::Timestamp;

/// How long a block of reserved events may be used.
pub const BLOCK_LIFETIME: Duration = Duration::from_secs(2);

/// The longest time for which a process refuses what comes, before it asks again whether there is room.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The default burst, in seconds of the rate.
const DEFAULT_BURST_SECONDS: u32 = 10;

/// Number of blocks that share a burst: one process must not take all of it.
const BLOCKS_PER_BURST: u32 = 4;

/// How many events a caller may post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimit {
    per_second: u32,
    burst: u32,
}

/// How a block is reserved. The numbers are what is stored: when the bucket will be full, in Unix microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// The bucket is full: the time is set again, if no other write was faster.
    Start {
        /// How many events.
        events: u32,
        /// When the bucket will be full again.
        full_micros: i64,
    },
    /// The time is moved on, wherever it stands by now, if it stands no later than `latest_micros`.
    Join {
        /// How many events.
        events: u32,
        /// By how much.
        by_micros: i64,
        /// The latest time from which that leaves no debt.
        latest_micros: i64,
    },
}

/// There is no room in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// When there will be, if nobody takes it.
    pub until: Timestamp,
}

impl Reservation {
    /// How many events are reserved.
    #[must_use]
    pub const fn events(&self) -> u32 {
        match self {
            Self::Start { events, .. } | Self::Join { events, .. } => *events,
        }
    }
}

impl EventLimit {
    /// A limit in events a second, with a burst in events; a burst of 0 is ten seconds' worth. There is no limit when
    /// `per_second` is 0.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Option<Self> {
        if per_second == 0 {
            return None;
        }
        let burst = if burst == 0 { per_second.saturating_mul(DEFAULT_BURST_SECONDS) } else { burst };
        Some(Self { per_second, burst })
    }

    /// Events a second.
    #[must_use]
    pub const fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Events at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Decides how `wanted` events are reserved at `now`, or fewer, but at least `needed`. More than a burst are let in
    /// when the bucket is full, and are then owed.
    ///
    /// # Errors
    /// There is no room for what is needed.
    pub fn reserve(
        &self,
        stored: Option<i64>,
        wanted: u32,
        needed: u32,
        now: Timestamp,
    ) -> Result<Reservation, NoRoom> {
        let (now_micros, interval) = (now.as_millis() * 1000, self.interval_micros());
        let full_at = stored.unwrap_or(now_micros).max(now_micros);
        let room = (now_micros + self.micros(self.burst) - full_at).max(0) / interval;
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        let least = needed.min(self.burst);
        if room < least {
            let until = full_at.saturating_add(self.micros(least)).saturating_sub(self.micros(self.burst));
            return Err(NoRoom { until: Timestamp::from_millis(until.div_euclid(1000) + 1) });
        }
        let events = wanted.min(room).max(needed);
        Ok(if stored.is_some_and(|stored| stored >= now_micros) {
            let latest_micros = now_micros + self.micros(self.burst) - self.micros(events.min(self.burst));
            Reservation::Join { events, by_micros: self.micros(events), latest_micros }
        } else {
            Reservation::Start { events, full_micros: now_micros + self.micros(events) }
        })
    }

    /// For how long a process asks for no more after it got less than it wanted, where there is room again at `until`: rather
    /// until there is room for what it wants than until there is room for one, so that a flood does not cost a write for each
    /// event.
    #[must_use]
    pub fn pause(&self, until: Timestamp, wanted: u32, now: Timestamp) -> Duration {
        let more = Duration::from_micros(self.micros(wanted.saturating_sub(1)).unsigned_abs());
        (now.until(until) + more).min(MAX_PAUSE)
    }

    const fn interval_micros(&self) -> i64 {
        1_000_000_i64.div_euclid(self.per_second as i64) + if 1_000_000 % self.per_second == 0 { 0 } else { 1 }
    }

    const fn micros(&self, events: u32) -> i64 {
        self.interval_micros().saturating_mul(events as i64)
    }

    const fn largest_block(&self) -> u32 {
        let part = self.burst / BLOCKS_PER_BURST;
        if part == 0 { 1 } else { part }
    }
}

/// The events that a process has reserved for a caller, and the number that has come since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Block {
    wanted: u32,
    left: u32,
    came: u32,
}

impl Block {
    /// A block of `size` events, of which some are let in at once. Where there was little room, it is smaller
    /// than what was wanted.
    #[must_use]
    pub const fn new(wanted: u32, size: u32, events: u32) -> Self {
        Self { wanted, left: size.saturating_sub(events), came: events }
    }

    /// A block while the bucket cannot be asked. It lets in as much as the limit would over the block's life, so a flood that
    /// throttles the bucket is not let in whole, and honest traffic goes on.
    #[must_use]
    pub const fn unasked(limit: &EventLimit, wanted: u32) -> Self {
        let seconds = BLOCK_LIFETIME.as_secs() as u32;
        let usual = limit.per_second.saturating_mul(seconds);
        Self { wanted, left: if usual > limit.burst { usual } else { limit.burst }, came: 0 }
    }

    /// Lets events in, if the block has that many left and is not too old.
    pub const fn take(&mut self, events: u32, age: Duration) -> bool {
        self.came = self.came.saturating_add(events);
        let has = age.as_millis() < BLOCK_LIFETIME.as_millis() && events <= self.left;
        if has {
            self.left -= events;
        }
        has
    }

    /// The same block, when nothing of what was wanted could be had.
    #[must_use]
    pub const fn not_given(self, wanted: u32) -> Self {
        Self { wanted, ..self }
    }

    /// How many to ask for next, when this block does not have what came last: what comes in a block's lifetime, by what has
    /// come since this one was reserved, and at most twice what was wanted then.
    #[must_use]
    pub fn next_size(&self, limit: &EventLimit, age: Duration) -> u32 {
        let lifetimes = age.as_secs_f64().max(0.001) / BLOCK_LIFETIME.as_secs_f64();
        // A number that is too large for the type becomes the type's largest.
        let comes = (f64::from(self.came) / lifetimes).ceil() as u32;
        comes.min(self.wanted.saturating_mul(2)).clamp(1, limit.largest_block())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const NOW_MICROS: i64 = 1_700_000_000_000_000;
    const SECOND: Duration = Duration::from_secs(1);

    fn limit(per_second: u32, burst: u32) -> EventLimit {
        EventLimit::new(per_second, burst).unwrap()
    }

    #[test]
    fn a_rate_of_none_is_no_limit_and_a_burst_of_none_is_ten_seconds_worth() {
        assert_eq!(EventLimit::new(0, 5), None);
        assert_eq!((limit(3, 0).burst(), limit(3, 7).burst(), limit(3, 7).per_second()), (30, 7, 3));
    }

    #[test]
    fn what_is_reserved_fits_the_bucket() {
        let limit = limit(10, 20);
        let start = |events, full| Ok(Reservation::Start { events, full_micros: NOW_MICROS + full });
        let join =
            |events, by_micros, latest| Ok(Reservation::Join { events, by_micros, latest_micros: NOW_MICROS + latest });
        let full = |millis| Err(NoRoom { until: Timestamp::from_millis(NOW.as_millis() + millis) });
        for (stored, wanted, needed, expected) in [
            (None, 5, 1, start(5, 500_000)),
            (Some(-1), 5, 1, start(5, 500_000)),
            (Some(0), 5, 1, join(5, 500_000, 1_500_000)),
            (Some(1_500_000), 5, 1, join(5, 500_000, 1_500_000)),
            (Some(1_600_000), 5, 1, join(4, 400_000, 1_600_000)),
            (Some(1_900_000), 5, 1, join(1, 100_000, 1_900_000)),
            (Some(1_900_001), 5, 1, full(1)),
            (Some(2_400_000), 5, 1, full(501)),
            (Some(1_500_000), 5, 8, full(301)),
            (None, 1, 20, start(20, 2_000_000)),
            (None, 1, 50, start(50, 5_000_000)),
            (Some(100_000), 1, 50, full(101)),
        ] {
            let stored = stored.map(|micros: i64| NOW_MICROS + micros);
            assert_eq!(limit.reserve(stored, wanted, needed, NOW), expected, "{stored:?} {wanted} {needed}");
        }
    }

    #[test]
    fn a_block_is_used_up_or_grows_too_old() {
        let mut block = Block::new(4, 4, 1);
        assert!(block.take(2, Duration::ZERO) && !block.take(2, Duration::ZERO) && !block.take(1, BLOCK_LIFETIME));
        assert!(block.take(1, SECOND) && !block.take(1, SECOND));
    }

    #[test]
    fn the_next_block_is_what_comes_in_its_lifetime_and_never_more_than_a_quarter_of_the_burst() {
        let limit = limit(100, 200);
        let came = |wanted, events| Block { wanted, left: 0, came: events };
        for (block, age, next) in [
            (Block::default(), Duration::ZERO, 1),
            (came(1, 2), Duration::from_millis(1), 2),
            (came(8, 9), Duration::from_millis(1900), 10),
            (came(8, 9), SECOND, 16),
            (came(8, 3), BLOCK_LIFETIME, 3),
            (came(40, 41), SECOND, 50),
            (came(40, 20), 10 * BLOCK_LIFETIME, 2),
            (came(8, 1), 500 * BLOCK_LIFETIME, 1),
            (came(2, 200).not_given(16), SECOND, 32),
        ] {
            assert_eq!(block.next_size(&limit, age), next, "{block:?} after {age:?}");
        }
        assert_eq!(came(9, 10).next_size(&EventLimit::new(1, 2).unwrap(), SECOND), 1);
    }

    #[test]
    fn a_process_that_is_refused_waits_for_room_for_a_block_and_at_most_a_second() {
        let until = NOW.plus(Duration::from_millis(100));
        assert_eq!(limit(100, 0).pause(until, 1, NOW), Duration::from_millis(100));
        assert_eq!(limit(100, 0).pause(until, 11, NOW), Duration::from_millis(200));
        assert_eq!(limit(1, 0).pause(until, 11, NOW), SECOND);
    }

    /// Processes as the function has them, on one bucket.
    struct Process {
        block: Block,
        since: u64,
        asks_at: u64,
    }

    /// Lets an event at `now`, in milliseconds, come to a process; whether it gets in, and whether that took a write.
    fn comes(process: &mut Process, stored: &mut Option<i64>, limit: &EventLimit, now: u64) -> (bool, bool) {
        let age = Duration::from_millis(now - process.since);
        if process.block.take(1, age) {
            return (true, false);
        }
        if now < process.asks_at {
            return (false, false);
        }
        let wanted = process.block.next_size(limit, age);
        let at = NOW.plus(Duration::from_millis(now));
        let events = match limit.reserve(*stored, wanted, 1, at) {
            Ok(Reservation::Start { events, full_micros }) => {
                *stored = Some(full_micros);
                events
            }
            Ok(Reservation::Join { events, by_micros, latest_micros }) => {
                assert!(stored.unwrap() <= latest_micros);
                *stored = stored.map(|stored| stored + by_micros);
                events
            }
            Err(NoRoom { until }) => {
                process.block = process.block.not_given(wanted);
                process.asks_at = now + limit.pause(until, wanted, at).as_millis() as u64;
                return (false, true);
            }
        };
        if events < wanted {
            process.asks_at = now + limit.pause(at, wanted, at).as_millis() as u64;
        }
        (process.block, process.since) = (Block::new(wanted, events, 1), now);
        (true, true)
    }

    fn processes(count: usize) -> Vec<Process> {
        (0..count).map(|_| Process { block: Block::default(), since: 0, asks_at: 0 }).collect()
    }

    proptest! {
        #[test]
        fn no_time_has_more_events_than_the_burst_and_the_rate_over_it_and_a_blocks_lifetime(
            per_second in 1u32..50, burst in 1u32..100, comings in prop::collection::vec((0usize..5, 0u64..200), 0..400),
        ) {
            let limit = limit(per_second, burst);
            let (mut processes, mut stored, mut now, mut taken) = (processes(5), None, 0, Vec::new());
            for (process, pause) in comings {
                now += pause;
                if comes(&mut processes[process], &mut stored, &limit, now).0 {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let seconds = (to - from) as f64 / 1000.0;
                    let most = f64::from(burst) + f64::from(per_second) * (seconds + BLOCK_LIFETIME.as_secs_f64());
                    prop_assert!((last - first + 1) as f64 <= most + 1e-6, "{} events in {} s", last - first + 1, seconds);
                }
            }
        }

        #[test]
        fn below_a_third_of_the_limit_steady_events_are_never_refused(
            per_second in 3u32..200, count in 1usize..6, seed in any::<u64>(),
        ) {
            let limit = limit(per_second, 0);
            let (mut processes, mut stored, mut random) = (processes(count), None, seed);
            let pause = 3000 / u64::from(per_second) + 1;
            for event in 0..2000u64 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let process = (random >> 33) as usize % count;
                prop_assert!(comes(&mut processes[process], &mut stored, &limit, event * pause).0, "event {}", event);
            }
        }
    }

    #[test]
    fn a_block_costs_a_small_part_of_the_events_and_overload_gets_the_whole_limit() {
        for (per_second, offered, most_writes, least, most) in
            [(100, 50, 0.10, 0.999, 1.0), (100, 400, 0.10, 0.20, 0.30), (20, 10, 0.20, 0.999, 1.0)]
        {
            let limit = limit(per_second, 0);
            let (mut processes, mut stored, mut writes, mut taken) = (processes(4), None, 0, 0);
            // A minute in which the first burst is over.
            let pause = 1000.0 / f64::from(offered);
            let total = offered as usize * 100;
            let mut counted = 0;
            for event in 0..total {
                let now = (event as f64 * pause) as u64;
                let (is_in, wrote) = comes(&mut processes[event % 4], &mut stored, &limit, now);
                if now >= 40_000 {
                    counted += 1;
                    taken += usize::from(is_in);
                    writes += usize::from(wrote);
                }
            }
            let share = taken as f64 / counted as f64;
            assert!((least..=most).contains(&share), "{offered} a second at a limit of {per_second}: {share}");
            let cost = writes as f64 / counted as f64;
            assert!(cost <= most_writes, "{offered} a second at a limit of {per_second}: {cost} writes for each");
        }
    }
}
