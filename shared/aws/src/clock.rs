//! The two inputs that the domain takes as values: the time, and randomness.
//!
//! Two kinds of time are told apart. A *point in time* that is stored, sent, or compared with one that was, is a
//! [`Timestamp`] of the wall clock: [`now`]. An *age* that may span two invocations is judged by both clocks of a
//! [`Moment`], which a [`Clock`] reads. An age within one invocation is an `Instant`: no process is frozen there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pombo_domain::time::Timestamp;
use thiserror::Error;

/// The operating system gave no random bytes.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes: {0}")]
pub struct NoRandomness(getrandom::Error);

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A time by both clocks. Between two invocations a process is frozen, and the monotonic clock may stand still with it; the
/// wall clock may be set back. So the longer one of the two durations counts.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock.
    pub monotonic: Instant,
    /// The wall clock.
    pub wall: Timestamp,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: now() }
    }

    /// How much time has passed from this moment until a later one.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.monotonic.saturating_duration_since(self.monotonic).max(self.wall.until(later.wall))
    }
}

/// The clocks that a cache reads: those of the system, or in a test others.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Moment + Send + Sync>>);

impl Clock {
    /// The clocks of the system.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// Other clocks.
    #[must_use]
    pub fn from_fn(read: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Reads both clocks.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.0.as_ref().map_or_else(Moment::now, |read| read())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(other)" } else { "Clock(system)" })
    }
}

/// Moves clocks on by a time.
pub type TimePasses = fn(&HandClock, Duration);

/// Clocks that stand still until a test moves them. Copies move together.
#[derive(Debug, Clone)]
pub struct HandClock(Arc<Mutex<Moment>>);

impl HandClock {
    /// The ways in which time passes between two invocations, each with its name. An age is the same by each of them.
    pub const WAYS: [(&str, TimePasses); 3] = [
        ("running", Self::pass),
        ("frozen", Self::freeze),
        ("set back", |hands, time| {
            hands.set_back(Duration::from_secs(86_400));
            hands.pass(time);
        }),
    ];

    /// Clocks that show the present moment.
    #[must_use]
    pub fn start() -> Self {
        Self(Arc::new(Mutex::new(Moment::now())))
    }

    /// The clock for a cache.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::from_fn(move || hands.change(|_| ()))
    }

    /// Time passes by both clocks.
    pub fn pass(&self, time: Duration) {
        self.change(|moment| *moment = Moment { monotonic: moment.monotonic + time, wall: moment.wall.plus(time) });
    }

    /// The process is frozen: time passes by the wall clock alone.
    pub fn freeze(&self, time: Duration) {
        self.change(|moment| moment.wall = moment.wall.plus(time));
    }

    /// The wall clock is set back.
    pub fn set_back(&self, time: Duration) {
        self.change(|moment| moment.wall = moment.wall.minus(time));
    }

    /// Changes the moment, and gives the new one.
    fn change(&self, change: impl FnOnce(&mut Moment)) -> Moment {
        let mut moment = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut moment);
        *moment
    }
}

/// Random bytes, fit for secrets.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}

/// Random bits that keep no secret; zero if there are none to be had.
#[must_use]
pub fn random_bits() -> u32 {
    getrandom::u32().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_age_is_that_of_the_clock_by_which_more_time_has_passed() {
        let hands = HandClock::start();
        let (clock, begin) = (hands.clock(), hands.clock().moment());
        let age = || begin.until(clock.moment());
        assert_eq!(age(), Duration::ZERO);
        hands.freeze(HOUR);
        assert_eq!(age(), HOUR, "frozen");
        hands.set_back(2 * HOUR);
        assert_eq!(age(), Duration::ZERO, "set back");
        hands.pass(HOUR / 2);
        assert_eq!(age(), HOUR / 2, "by the monotonic clock");
    }

    #[test]
    fn the_clocks_of_the_system_run() {
        let begin = Clock::system().moment();
        std::thread::sleep(Duration::from_millis(5));
        assert!(begin.until(Clock::system().moment()) >= Duration::from_millis(5));
    }
}
