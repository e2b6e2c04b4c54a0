//! What a leg has to do.

use std::time::Duration;

use pombo_domain::job::{Row, StopReason};
use pombo_jobs::Known;

/// The next page of a job.
#[derive(Debug)]
pub(super) enum Page {
    /// Deliveries to change.
    Rows {
        /// The page, at most [`LARGEST_PAGE`](pombo_domain::job::LARGEST_PAGE) rows.
        rows: Vec<Row>,
        /// What was read to make it.
        known: Box<Known>,
        /// How far apart they are sent.
        spacing: Duration,
    },
    /// There is nothing now, and there may be something later.
    Nothing {
        /// How long to wait before the next look.
        look_again_in: Duration,
    },
    /// There is nothing left to do.
    End,
    /// The job cannot go on.
    Stop(StopReason),
}
