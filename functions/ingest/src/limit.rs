//! The limit of events a second for each caller, if the stack has one. See [`pombo_domain::event_limit`].
//!
//! Without a limit this costs nothing: no call, and no look. With one, a process lets events in from the block that it has
//! reserved, and writes only for the next block. An event counts before it is read, so that repeats, and what is refused for
//! its content, count too.
//!
//! When the bucket cannot be written, events are let in as if it had been: the limit is there for the receivers' sake and the
//! operator's bill, and no app must lose an event, or stop, because a counter does not answer. The next block is asked for
//! when this one is used up, or two seconds later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock::{Clock, Moment};
use pombo_aws::event_limit::{EventLimits, Reserved};
use pombo_domain::event_limit::{Block, EventLimit, NoRoom};
use pombo_web::{Caller, Problem};

/// How long a request waits for the bucket.
const PATIENCE: Duration = Duration::from_millis(500);

/// Maximum number of callers that are remembered. When there are more, all are forgotten, which costs each a block.
const MAX_REMEMBERED: usize = 1000;

/// Counts the events of each caller.
#[derive(Debug)]
pub struct Limiter {
    limit: Option<EventLimit>,
    buckets: EventLimits,
    clock: Clock,
    callers: Mutex<HashMap<String, Remembered>>,
}

impl Limiter {
    /// A limiter with this limit, or without any.
    #[must_use]
    pub fn new(limit: Option<EventLimit>, buckets: EventLimits, clock: Clock) -> Self {
        Self { limit, buckets, clock, callers: Mutex::default() }
    }

    /// Counts the events of a call, each of them; 429 when there are too many.
    pub async fn admit(&self, caller: &Caller, events: u32) -> Result<(), Problem> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let (name, now) = (counted_as(&caller.name), self.clock.moment());
        let (wanted, stored) = match self.remembered(name, now, |known| known.look(limit, events, now)) {
            Look::In => return Ok(()),
            Look::Refused(left) => return Err(too_many(limit, left)),
            Look::Ask { wanted, stored } => (wanted.max(events), stored),
        };
        let reserving = self.buckets.reserve(name, limit, stored, (wanted, events), now.wall);
        match tokio::time::timeout(PATIENCE, reserving).await {
            Ok(Ok(reserved)) => {
                let left = self.remembered(name, now, |known| known.learn(limit, reserved, wanted, events, now));
                left.map_or(Ok(()), |left| Err(too_many(limit, left)))
            }
            failed => {
                let error = failed.map_or_else(|_| "no answer in time".to_owned(), said);
                tracing::warn!(
                    key = name,
                    error,
                    "The events of {name} could not be counted; this process goes on by itself."
                );
                self.remembered(name, now, |known| known.go_on(limit, wanted, now));
                Ok(())
            }
        }
    }

    /// Looks at what is remembered of a caller, or changes it.
    fn remembered<T>(&self, name: &str, now: Moment, look: impl FnOnce(&mut Remembered) -> T) -> T {
        // The map is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= MAX_REMEMBERED && !callers.contains_key(name) {
            callers.clear();
        }
        look(callers.entry(name.to_owned()).or_insert_with(|| Remembered::nothing(now)))
    }
}

/// The error, for the log.
fn said<T>(failed: Result<T, AwsError>) -> String {
    failed.err().map(|error| error.to_string()).unwrap_or_default()
}

/// The state of a caller in this process.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    block: Block,
    /// When the block was reserved.
    since: Moment,
    /// Pause before the next reservation: its length and start.
    pause: (Duration, Moment),
    /// When the bucket will be full again, as far as this process knows.
    stored: Option<i64>,
}

/// The decision about events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The events come in.
    In,
    /// The events are refused, and so are those that come within this time.
    Refused(Duration),
    /// A block is to be reserved.
    Ask {
        /// For how many.
        wanted: u32,
        /// The value that was stored last.
        stored: Option<i64>,
    },
}

impl Remembered {
    fn nothing(now: Moment) -> Self {
        Self { block: Block::default(), since: now, pause: (Duration::ZERO, now), stored: None }
    }

    fn look(&mut self, limit: &EventLimit, events: u32, now: Moment) -> Look {
        let age = self.since.until(now);
        if self.block.take(events, age) {
            return Look::In;
        }
        let (pause, from) = self.pause;
        match pause.saturating_sub(from.until(now)) {
            Duration::ZERO => Look::Ask { wanted: self.block.next_size(limit, age), stored: self.stored },
            left => Look::Refused(left),
        }
    }

    /// Takes over what was reserved; gives after which time there is room, if there was none for these events.
    fn learn(
        &mut self,
        limit: &EventLimit,
        reserved: Reserved,
        wanted: u32,
        events: u32,
        now: Moment,
    ) -> Option<Duration> {
        self.stored = reserved.stored;
        match reserved.events {
            Ok(size) => {
                let pause = if size < wanted { limit.pause(now.wall, wanted, now.wall) } else { Duration::ZERO };
                (self.block, self.since, self.pause) = (Block::new(wanted, size, events), now, (pause, now));
                None
            }
            Err(NoRoom { until }) => {
                self.block = self.block.not_given(wanted);
                self.pause = (limit.pause(until, wanted, now.wall), now);
                Some(now.wall.until(until))
            }
        }
    }

    fn go_on(&mut self, limit: &EventLimit, wanted: u32, now: Moment) {
        (self.block, self.since) = (Block::unasked(limit, wanted), now);
    }
}

/// Whose events they are: a key's, or those of an identity of AWS. The holder of a role gives its session any name, so all
/// sessions of a role are one: `arn:aws:sts::111122223333:assumed-role/app` of `…:assumed-role/app/session`.
fn counted_as(name: &str) -> &str {
    let Some((_, role)) = name.split_once(":assumed-role/") else { return name };
    let session = role.rfind('/').map_or(0, |slash| role.len() - slash);
    &name[..name.len() - session]
}

fn too_many(limit: &EventLimit, left: Duration) -> Problem {
    let seconds = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    let detail = format!(
        "These are more events than each caller may post: {} a second, and {} at once. The event is not stored. Repeat \
         the request in {seconds} s, or ask the operator of the stack to raise the template's parameter KeyEventsPerSecond.",
        limit.per_second(),
        limit.burst(),
    );
    Problem { retry_after: Some(seconds), ..Problem::new(429, detail) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit() -> EventLimit {
        EventLimit::new(10, 20).unwrap()
    }

    fn later(moment: Moment, monotonic: Duration, wall: Duration) -> Moment {
        Moment { monotonic: moment.monotonic + monotonic, wall: moment.wall.plus(wall) }
    }

    fn reserved(events: u32) -> Reserved {
        Reserved { events: Ok(events), stored: Some(7) }
    }

    #[test]
    fn events_come_in_from_the_block_until_it_is_used_up_or_too_old_by_either_clock() {
        let now = Moment::now();
        let mut known = Remembered::nothing(now);
        assert_eq!(known.look(&limit(), 1, now), Look::Ask { wanted: 1, stored: None });
        assert_eq!(known.learn(&limit(), reserved(3), 3, 1, now), None);
        assert_eq!(known.look(&limit(), 1, now), Look::In);
        for (monotonic, wall) in [(2 * SECOND, Duration::ZERO), (Duration::ZERO, 2 * SECOND)] {
            let mut old = known;
            assert_eq!(old.look(&limit(), 1, later(now, monotonic, wall)), Look::Ask { wanted: 3, stored: Some(7) });
        }
        assert_eq!(known.look(&limit(), 1, later(now, SECOND, SECOND)), Look::In);
        assert!(matches!(known.look(&limit(), 1, later(now, SECOND, SECOND)), Look::Ask { .. }));
    }

    #[test]
    fn what_is_refused_is_refused_without_a_call_until_there_may_be_room() {
        let now = Moment::now();
        let mut known = Remembered::nothing(now);
        let until = now.wall.plus(Duration::from_millis(300));
        let no_room = Reserved { events: Err(NoRoom { until }), stored: Some(7) };
        assert_eq!(known.learn(&limit(), no_room, 1, 1, now), Some(Duration::from_millis(300)));
        let at = |millis| later(now, Duration::from_millis(millis), Duration::from_millis(millis));
        assert_eq!(known.look(&limit(), 1, at(100)), Look::Refused(Duration::from_millis(200)));
        assert_eq!(known.look(&limit(), 1, at(300)), Look::Ask { wanted: 2, stored: Some(7) });
        // Less than was wanted: the next call waits for more.
        assert_eq!(known.learn(&limit(), reserved(1), 4, 1, at(300)), None);
        assert_eq!(known.look(&limit(), 1, at(400)), Look::Refused(Duration::from_millis(200)));
    }

    #[test]
    fn while_the_bucket_cannot_be_written_the_process_keeps_the_limit_by_itself_and_asks_again_after_two_seconds() {
        let now = Moment::now();
        let mut known = Remembered::nothing(now);
        known.go_on(&limit(), 1, now);
        let most = limit().burst().max(2 * limit().per_second());
        for _ in 0..most {
            assert_eq!(known.look(&limit(), 1, later(now, SECOND, SECOND)), Look::In);
        }
        assert_ne!(known.look(&limit(), 1, later(now, SECOND, SECOND)), Look::In, "a flood is not let in whole");
        assert!(matches!(known.look(&limit(), 1, later(now, 2 * SECOND, SECOND)), Look::Ask { wanted: 1..=5, .. }));
    }

    #[test]
    fn all_sessions_of_a_role_are_counted_as_one() {
        for (name, expected) in [
            ("pk_abcdefghijklmnop", "pk_abcdefghijklmnop"),
            ("arn:aws:iam::111122223333:user/team/app", "arn:aws:iam::111122223333:user/team/app"),
            ("arn:aws:sts::111122223333:assumed-role/app/one", "arn:aws:sts::111122223333:assumed-role/app"),
            ("arn:aws:sts::111122223333:assumed-role/app/two", "arn:aws:sts::111122223333:assumed-role/app"),
            ("arn:aws:sts::111122223333:assumed-role/app", "arn:aws:sts::111122223333:assumed-role/app"),
            ("", ""),
        ] {
            assert_eq!(counted_as(name), expected);
        }
    }

    #[test]
    fn a_refusal_says_the_limit_and_when_to_repeat() {
        let problem = too_many(&limit(), Duration::from_millis(1001));
        assert_eq!((problem.status, problem.retry_after), (429, Some(2)));
        assert!(
            problem.detail.contains("10 a second, and 20 at once") && problem.detail.contains("KeyEventsPerSecond")
        );
        assert_eq!(too_many(&limit(), Duration::ZERO).retry_after, Some(1));
    }
}
