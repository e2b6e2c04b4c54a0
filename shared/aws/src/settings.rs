//! What a function reads when it starts: its environment, and the configuration of its AWS clients.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use pombo_domain::address::{AddressPolicy, BadEntry};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::HealthRules;
use pombo_domain::job::STALLED_AFTER;
use thiserror::Error;

use crate::clock::Clock;
use crate::connections::Connections;

/// How long one try of an AWS call may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an AWS call may take with its repeats: a function's time is planned with it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A setting that is missing or makes no sense. The template sets every one.
#[derive(Debug, Error)]
#[error("environment variable {name} {problem}")]
pub struct BadSetting {
    name: &'static str,
    problem: Cow<'static, str>,
}

/// The text of an environment variable.
pub fn text(name: &'static str) -> Result<String, BadSetting> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(BadSetting { name, problem: "is not set".into() }),
    }
}

/// An environment variable as a value.
pub fn value<T: FromStr>(name: &'static str) -> Result<T, BadSetting> {
    text(name)?.parse().map_err(|_| BadSetting { name, problem: "has a value of the wrong kind".into() })
}

/// An environment variable that counts seconds.
pub fn seconds(name: &'static str) -> Result<Duration, BadSetting> {
    value(name).map(Duration::from_secs)
}

/// An environment variable that counts days.
pub fn days(name: &'static str) -> Result<Duration, BadSetting> {
    value(name).map(|days: u32| Duration::from_secs(u64::from(days) * 86_400))
}

/// The longest deadline of an attempt, `MAX_ENDPOINT_TIMEOUT_SECONDS`. `after` is the time that a run of dispatch keeps for
/// what follows an attempt.
///
/// # Errors
/// When a run of dispatch is too short for such an attempt, or its queue would give out a message again during the run.
pub fn longest_deadline(after: Duration) -> Result<Duration, BadSetting> {
    const TIMEOUT: &str = "DISPATCH_TIMEOUT_SECONDS";
    let longest = seconds("MAX_ENDPOINT_TIMEOUT_SECONDS")?;
    let runs_for = run_time(TIMEOUT, "DELIVERIES_VISIBILITY_SECONDS")?;
    if runs_for >= longest + after {
        return Ok(longest);
    }
    let [runs_for, least, longest, after] = [runs_for, longest + after, longest, after].map(|time| time.as_secs());
    let problem = format!(
        "is {runs_for}, and must be at least {least}: MAX_ENDPOINT_TIMEOUT_SECONDS ({longest}), and {after} to record the attempt"
    );
    Err(BadSetting { name: TIMEOUT, problem: problem.into() })
}

/// How long first attempts may go without a claim, `FIRST_ATTEMPT_WINDOW_SECONDS`.
pub fn first_attempt_window() -> Result<FirstAttemptWindow, BadSetting> {
    seconds("FIRST_ATTEMPT_WINDOW_SECONDS").map(FirstAttemptWindow::new)
}

/// Checks the times of the function that runs the jobs.
///
/// # Errors
/// When a leg would count as stalled, or its message come again, while it may still run.
pub fn check_jobs_clock() -> Result<(), BadSetting> {
    const TIMEOUT: &str = "JOBS_TIMEOUT_SECONDS";
    let runs_for = run_time(TIMEOUT, "JOBS_VISIBILITY_SECONDS")?;
    if runs_for < STALLED_AFTER {
        return Ok(());
    }
    let [runs_for, stalled] = [runs_for, STALLED_AFTER].map(|time| time.as_secs());
    let problem = format!("is {runs_for}, and must be below {stalled}, after which a leg counts as stalled");
    Err(BadSetting { name: TIMEOUT, problem: problem.into() })
}

/// How long a function may run that takes messages from a queue. The queue must hide a message for longer.
fn run_time(timeout: &'static str, visibility: &'static str) -> Result<Duration, BadSetting> {
    let (runs_for, hidden_for) = (seconds(timeout)?, seconds(visibility)?);
    if hidden_for > runs_for {
        return Ok(runs_for);
    }
    let [runs_for, hidden_for] = [runs_for, hidden_for].map(|time| time.as_secs());
    let problem = format!(
        "is {hidden_for}, and must be above {timeout} ({runs_for}), or a message comes again while its function runs"
    );
    Err(BadSetting { name: visibility, problem: problem.into() })
}

/// The address policy of the stack, as whoever judges URLs needs it: `ALLOW_LOOPBACK`; `ALLOWED_CIDRS`, the networks that
/// are open beyond the public internet; `INGEST_URL`, for the other hosts that lead there `INGEST_HOSTS`, and the stack's
/// other URLs in `OWN_URLS`, as far as the template can name them to the function. The three lists may be empty.
pub fn addresses() -> Result<AddressPolicy, BadSetting> {
    const CIDRS: &str = "ALLOWED_CIDRS";
    const HOSTS: &str = "INGEST_HOSTS";
    let list = |name| std::env::var(name).unwrap_or_default();
    let bad = |name| move |problem: BadEntry| BadSetting { name, problem: problem.to_string().into() };
    let policy = match value("ALLOW_LOOPBACK")? {
        true => AddressPolicy::local(),
        false => AddressPolicy::production(),
    };
    let servers = format!("{},{},{}", text("INGEST_URL")?, list("OWN_URLS"), list(HOSTS));
    policy.allowing(&list(CIDRS)).map_err(bad(CIDRS))?.of_stack_at(&servers).map_err(bad(HOSTS))
}

/// The numbers of the circuit.
pub fn health_rules() -> Result<HealthRules, BadSetting> {
    Ok(HealthRules {
        failures: value("CIRCUIT_FAILURES")?,
        opens_after: seconds("CIRCUIT_SECONDS")?,
        probe_every: seconds("PROBE_SECONDS")?,
        ..HealthRules::DEFAULT
    })
}

/// The time limits of every AWS call, so that one that hangs leaves time to say so.
#[must_use]
pub fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build()
}

/// The configuration of every AWS client: region and credentials from the environment, [`timeouts`], and one pool of
/// [`Connections`] for all of them.
pub async fn aws() -> SdkConfig {
    let defaults = aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts());
    // The SDK can also give up an answer that comes too slowly for 20 seconds, and watches each body for that. The time limit of a
    // try is over long before.
    let defaults = defaults.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    defaults.http_client(Connections::new(Clock::system())).load().await
}
