//! The functions' log: JSON lines on standard output, which Lambda passes on to CloudWatch Logs.
//!
//! A log holds ids and outcomes, and nothing that is secret or that somebody else wrote. Libraries do not keep to that. At
//! DEBUG, h2 writes what a receiver sent with its `GOAWAY`, and the SDK whole answers; a receiver can make h2 warn as
//! often as it likes. So a library is heard only if it is in [`HEARD`], and an AWS call that fails is logged by us, as an
//! [`AwsError`](crate::AwsError).

use std::env;
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

use crate::clock;

/// The targets that are logged, up to the level that is set: our own crates, the runtime with the id of each request, and which
/// addresses a connection was opened to or taken up again.
const HEARD: [&str; 9] = [
    "dispatch",
    "endpoints",
    "ingest",
    "jobs",
    "replay",
    "pombo_",
    "lambda_runtime",
    "hyper_util::client::legacy::connect",
    "hyper_util::client::legacy::pool",
];

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

/// The time of a line. Lambda takes a line without one for INFO, and would drop it where the log is set to WARN or ERROR
/// ("Log-level filtering" in the Developer Guide).
struct Now;

impl FormatTime for Now {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", clock::now())
    }
}

/// Sends what the process logs to standard output. Called once, first thing.
pub fn init() {
    subscriber(LogSettings::from_environment(), std::io::stdout).init();
}

/// The subscriber that writes the lines. The writer is a value, so that a test can read them.
pub fn subscriber<W>(settings: LogSettings, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_target(false).with_timer(Now).with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> =
        if settings.json { lines.json().boxed() } else { lines.boxed() };
    let heard = Targets::new().with_targets(HEARD.map(|target| (target, settings.level)));
    // Where the id of each request comes from: a span that lower levels would leave out. No line comes from there.
    let heard = heard.with_target("lambda_runtime::layers::trace", settings.level.max(LevelFilter::INFO));
    tracing_subscriber::registry().with(lines).with(heard)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use pombo_domain::time::Timestamp;
    use tracing::level_filters::STATIC_MAX_LEVEL;

    use super::*;

    /// Lines in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of a log at this level.
    fn logged(level: &str) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = LogSettings::new(Some(level), Some("JSON"));
        tracing::subscriber::with_default(subscriber(settings, move || writer.clone()), || {
            tracing::info!(delivery = "d", "ours");
            tracing::debug!(target: "dispatch::deliver", "ours, in detail");
            tracing::trace!(target: "dispatch::deliver", "ours, whole");
            tracing::error!(target: "h2::proto::connection", "theirs");
            tracing::debug!(target: "hyper_util::client::legacy::client", "theirs, in detail");
            tracing::debug!(target: "hyper_util::client::legacy::connect::http", "connected");
            tracing::trace!(target: "aws_smithy_runtime::client", "theirs, whole");
        });
        let lines = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = String::from_utf8_lossy(&lines).into_owned();
        lines.lines().map(without_time).collect()
    }

    /// A line without its time, which is held to the form that Lambda reads.
    fn without_time(line: &str) -> String {
        let rest = line.strip_prefix("{\"timestamp\":\"").unwrap();
        let (time, rest) = rest.split_once("\",").unwrap();
        assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        format!("{{{rest}\n")
    }

    #[test]
    fn a_line_has_the_id_of_its_request_at_every_level() {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = LogSettings::new(Some("ERROR"), Some("JSON"));
        tracing::subscriber::with_default(subscriber(settings, move || writer.clone()), || {
            let runtime = tracing::info_span!(target: "lambda_runtime::layers::trace", "invoke", requestId = "r-1");
            runtime.in_scope(|| tracing::error!("ours"));
        });
        let lines = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(String::from_utf8_lossy(&lines).contains("\"requestId\":\"r-1\""));
    }

    #[test]
    fn libraries_are_heard_only_where_they_say_nothing_of_what_is_sent() {
        let ours = "{\"level\":\"INFO\",\"fields\":{\"message\":\"ours\",\"delivery\":\"d\"}}\n";
        assert_eq!(logged("INFO"), ours);
        let detailed = |message| format!("{{\"level\":\"DEBUG\",\"fields\":{{\"message\":\"{message}\"}}}}\n");
        assert_eq!(logged("DEBUG"), [ours, &detailed("ours, in detail"), &detailed("connected")].concat());
        assert_eq!(logged("ERROR"), "");
    }

    #[test]
    fn the_level_trace_is_debug_and_is_not_even_built() {
        assert_eq!(logged("TRACE"), logged("DEBUG"));
        assert_eq!(STATIC_MAX_LEVEL, LevelFilter::DEBUG);
    }

    #[test]
    fn levels_and_formats_are_those_of_lambda() {
        let level = |level| LogSettings::new(level, None).level;
        for (name, wanted) in [
            (Some("TRACE"), LevelFilter::DEBUG),
            (Some("DEBUG"), LevelFilter::DEBUG),
            (Some("warn"), LevelFilter::WARN),
            (Some("FATAL"), LevelFilter::ERROR),
            (Some("h2=trace"), LevelFilter::INFO),
            (None, LevelFilter::INFO),
        ] {
            assert_eq!(level(name), wanted, "{name:?}");
        }
        for (format, json) in [(Some("JSON"), true), (Some("Text"), false), (None, false)] {
            assert_eq!(LogSettings::new(None, format).json, json, "{format:?}");
        }
    }
}
