//! What a function reads when it starts: its environment, and the configuration of its AWS clients.

use std::str::FromStr;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use thiserror::Error;

/// How long one try of an AWS call may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an AWS call may take with its repeats: a function's time is planned with it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A setting that is missing or makes no sense. The template sets every one.
#[derive(Debug, Error)]
#[error("environment variable {name} {problem}")]
pub struct BadSetting {
    name: &'static str,
    problem: &'static str,
}

/// The text of an environment variable.
pub fn text(name: &'static str) -> Result<String, BadSetting> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(BadSetting { name, problem: "is not set" }),
    }
}

/// An environment variable as a value.
pub fn value<T: FromStr>(name: &'static str) -> Result<T, BadSetting> {
    text(name)?.parse().map_err(|_| BadSetting { name, problem: "has a value of the wrong kind" })
}

/// An environment variable that counts seconds.
pub fn seconds(name: &'static str) -> Result<Duration, BadSetting> {
    value(name).map(Duration::from_secs)
}

/// An environment variable that counts days.
pub fn days(name: &'static str) -> Result<Duration, BadSetting> {
    value(name).map(|days: u32| Duration::from_secs(u64::from(days) * 86_400))
}

/// The time limits of every AWS call, so that one that hangs leaves time to say so.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build()
}

/// The configuration of every AWS client: region and credentials from the environment, and [`timeouts`].
pub async fn aws() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts()).load().await
}
