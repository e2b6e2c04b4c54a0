//! The functions' log: JSON lines on standard output, which Lambda passes on to CloudWatch Logs.
//!
//! A log holds ids and outcomes, and nothing that is secret or that somebody else wrote. Libraries do not keep to that. At
//! DEBUG, h2 writes what a receiver sent with its `GOAWAY`, and the SDK whole answers; a receiver can make h2 warn as
//! often as it likes. So a library is heard only if it is in [`HEARD`], and an AWS call that fails is logged by us, as an
//! [`AwsError`](crate::AwsError).
//!
//! Lambda keeps or drops a line by the time and the level that the line has. So all that a function says has the form of
//! [`line`]. That includes panics, and the reason why a function cannot start. What each line is about follows from the [`spans`].

mod line;
mod panics;
pub mod spans;

use std::env;
use std::fmt::Display;
use std::process::ExitCode;
use std::str::FromStr;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::line::Lines;
use crate::clock;

/// The targets of our own crates.
const OURS: [&str; 6] = ["dispatch", "endpoints", "ingest", "jobs", "replay", "pombo_"];

/// The targets of libraries that are logged, up to the level that is set: the runtime, and which addresses a connection was
/// opened to. (A line for each use of a connection would be one for each call.)
const HEARD: [&str; 2] = ["lambda_runtime", "hyper_util::client::legacy::connect"];

/// Whether a line with this target was written by our own code.
fn is_ours(target: &str) -> bool {
    OURS.iter().any(|ours| target.starts_with(ours))
}

/// The lowest level that there is: below it, the libraries log requests whole. `tracing` is built without it, too.
const LOWEST: LevelFilter = LevelFilter::DEBUG;

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The level, at lowest [`LevelFilter::DEBUG`].
    level: LevelFilter,
    /// Whether lines are JSON.
    json: bool,
}

impl LogSettings {
    /// From a level and a format as Lambda names them ("Configuring advanced logging controls" in its Developer Guide):
    /// `TRACE` to `FATAL`, and `JSON` or `Text`. TRACE counts as DEBUG, and a level that does not exist as INFO.
    #[must_use]
    pub fn new(level: Option<&str>, format: Option<&str>) -> Self {
        let level = match level {
            Some(level) if level.eq_ignore_ascii_case("fatal") => LevelFilter::ERROR,
            level => level.and_then(|level| LevelFilter::from_str(level).ok()).unwrap_or(LevelFilter::INFO),
        };
        let json = format.is_some_and(|format| format.eq_ignore_ascii_case("json"));
        Self { level: level.min(LOWEST), json }
    }

    /// Reads the environment variables that Lambda sets. Without them, the level is that of `RUST_LOG`; its directives for
    /// single crates are not taken.
    fn from_environment() -> Self {
        let variable = |name| env::var(name).ok();
        let level = variable("AWS_LAMBDA_LOG_LEVEL").or_else(|| variable("RUST_LOG"));
        Self::new(level.as_deref(), variable("AWS_LAMBDA_LOG_FORMAT").as_deref())
    }
}

/// The time of a line of plain text.
struct Now;

impl FormatTime for Now {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", clock::now())
    }
}

/// Sends what the process logs to standard output, and that it panics. Called once, first thing.
pub fn init() {
    subscriber(LogSettings::from_environment(), std::io::stdout).init();
    panics::log();
}

/// Logs why the function ends, if it does so for an error, and gives its exit code.
#[must_use]
pub fn ended<E: Display>(end: Result<(), E>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "The function cannot work.");
            ExitCode::FAILURE
        }
    }
}

/// The subscriber that writes the lines. The writer is a value, so that a test can read them.
pub fn subscriber<W>(settings: LogSettings, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if settings.json {
        Lines::to(writer).boxed()
    } else {
        fmt::layer().with_target(false).with_timer(Now).with_writer(writer).boxed()
    };
    let heard = OURS.iter().chain(&HEARD).map(|target| (*target, settings.level));
    let heard = Targets::new().with_targets(heard);
    // Where the id of each request comes from: a span that lower levels would leave out. No line comes from there.
    let heard = heard.with_target("lambda_runtime::layers::trace", settings.level.max(LevelFilter::INFO));
    tracing_subscriber::registry().with(lines).with(heard)
}

#[cfg(test)]
mod tests;
