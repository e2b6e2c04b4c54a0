//! Pombo's own metrics: lines on standard output of which CloudWatch makes metrics, without a call or a permission.
//!
//! They count trouble, and sweeps. A delivery that succeeds writes none, so it costs no log and no metric. The format is
//! CloudWatch's [embedded metric format][emf]. A line goes past the subscriber of `tracing`: what a function logs must not
//! decide what is counted. Lambda itself drops lines that are [below the function's log level][level], and takes one
//! without a level or a time for `INFO`; so each has both, and the level is the function's own.
//!
//! [emf]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
//! [level]: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html

use std::io::Write as _;

use pombo_domain::time::Timestamp;
use serde_json::json;

use crate::clock;
use crate::settings::{self, BadSetting};

/// The namespace of all of them.
pub const NAMESPACE: &str = "Pombo";
/// Their one dimension: the stack. Each further value of a dimension would be a metric of its own, and paid for.
pub const DIMENSION: &str = "Stack";

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted. README's "Alarms" says what each means to an operator.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $($(#[$doc])* $name,)*
        }

        impl Metric {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in CloudWatch.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

metrics! {
    /// Messages of a queue that could not be handled and come again.
    MessagesFailed,
    /// Outcomes that could not be recorded and were queued.
    OutcomesQueued,
    /// First attempts that were made twice, because SQS handed out their message twice or because an outcome was queued.
    FirstAttemptsRepeated,
    /// Schedules that could not be made: the queue carries the retry.
    SchedulesFailed,
    /// Sweeps that did all of their parts. When there are none any more, nobody looks for what is stuck.
    SweepsCompleted,
    /// Retries that a sweep found overdue and queued again: their message or schedule was lost.
    OverdueDeliveries,
    /// Jobs whose leg a sweep found overdue.
    StalledJobs,
    /// Operational events that a sweep found unqueued.
    UnqueuedEvents,
    /// Dead letters that a sweep took.
    DeadLettersTaken,
    /// Deliveries that became `failed`.
    DeliveriesFailed,
    /// Circuits that opened.
    CircuitsOpened,
    /// Endpoints that Pombo itself paused.
    EndpointsPaused,
}

/// Writes metrics of a stack.
#[derive(Debug, Clone)]
pub struct Metrics {
    stack: String,
    level: String,
}

impl Metrics {
    /// From a function's environment.
    pub fn from_environment() -> Result<Self, BadSetting> {
        // Lambda sets it with the function's log format.
        let level = settings::text("AWS_LAMBDA_LOG_LEVEL").unwrap_or_else(|_| "INFO".to_owned());
        Ok(Self::new(settings::text("STACK_NAME")?, level))
    }

    /// Of this stack, in lines of this level.
    #[must_use]
    pub const fn new(stack: String, level: String) -> Self {
        Self { stack, level }
    }

    /// Counts so many; nothing when there are none.
    pub fn count(&self, metric: Metric, how_many: usize) {
        self.count_all(&[(metric, how_many)]);
    }

    /// Counts several things in one line.
    pub fn count_all(&self, counts: &[(Metric, usize)]) {
        if let Some(line) = self.line(counts, clock::now()) {
            // In one piece, so that no other line comes into it. Nobody would hear that the output is closed.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
    }

    fn line(&self, counts: &[(Metric, usize)], now: Timestamp) -> Option<String> {
        let counts: Vec<_> = counts.iter().filter(|(_, how_many)| *how_many > 0).collect();
        if counts.is_empty() {
            return None;
        }
        let metrics: Vec<_> =
            counts.iter().map(|(metric, _)| json!({"Name": metric.name(), "Unit": "Count"})).collect();
        let mut line = json!({
            "_aws": {
                "Timestamp": now.as_millis(),
                "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": metrics}],
            },
            "timestamp": now,
            "level": self.level,
            DIMENSION: self.stack,
        });
        for (metric, how_many) in counts {
            line[metric.name()] = json!(how_many);
        }
        Some(format!("{line}\n"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_document_of_the_embedded_metric_format_with_the_functions_level() {
        let metrics = Metrics::new("hooks".into(), "ERROR".into());
        let counts = [(Metric::StalledJobs, 2), (Metric::OverdueDeliveries, 0), (Metric::SweepsCompleted, 1)];
        let line = metrics.line(&counts, Timestamp::from_millis(1_769_851_800_050)).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_769_851_800_050_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Pombo",
                    "Dimensions": [["Stack"]],
                    "Metrics": [{"Name": "StalledJobs", "Unit": "Count"}, {"Name": "SweepsCompleted", "Unit": "Count"}],
                }],
            },
            "timestamp": "2026-01-31T09:30:00.050Z",
            "level": "ERROR",
            "Stack": "hooks",
            "StalledJobs": 2,
            "SweepsCompleted": 1,
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), expected);
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line");
    }

    #[test]
    fn what_did_not_happen_writes_nothing() {
        let metrics = Metrics::new("hooks".into(), "INFO".into());
        assert_eq!(metrics.line(&[(Metric::DeliveriesFailed, 0)], Timestamp::from_seconds(0)), None);
    }
}
