//! The two inputs that the domain takes as values: the time, and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

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
