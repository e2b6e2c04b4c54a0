//! What a kind of job supplies to the leg runner beside its row plan: the next page, and whether there is one.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_domain::job::{Job, JobKind, JobStatus, Row};
use pombo_domain::time::Timestamp;

use super::drain;
use super::rows::Records;
use crate::settings::App;

/// The next page of a job.
#[derive(Debug)]
pub(super) enum Page {
    /// Deliveries to change, with their records as far as they were read.
    Rows {
        /// The page, at most [`LARGEST_PAGE`](pombo_domain::job::LARGEST_PAGE) rows.
        rows: Vec<Row>,
        /// Records that were read to make it.
        records: Records,
    },
    /// There is nothing now, and there may be something later.
    Nothing {
        /// How long to wait before the next look.
        look_again_in: Duration,
    },
    /// There is nothing left to do.
    End(JobStatus),
}

/// The next page of a job, by its kind. `began` is when the leg began: before anything that the page is made of was read.
pub(super) async fn next_page(app: &App, job: &Job, began: Timestamp) -> Result<Page, AwsError> {
    match &job.kind {
        // Its only page was stored with it.
        JobKind::Replay => Ok(Page::End(JobStatus::Done)),
        JobKind::Drain { endpoint_id } => drain::next_page(app, job, endpoint_id, began).await,
    }
}

/// The job after a page was worked: one that has no other ends with it.
pub(super) fn after_page(job: Job) -> Job {
    match job.kind {
        JobKind::Replay => job.ended(JobStatus::Done, job.updated_at),
        JobKind::Drain { .. } => job,
    }
}
