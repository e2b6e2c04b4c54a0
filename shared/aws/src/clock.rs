//! The two inputs that the domain takes as values: the time, and randomness.

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
/// wall clock may be set back. So a duration is that of the clock which says that more time has passed.
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
