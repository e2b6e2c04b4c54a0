//! What a kind of job supplies to the leg runner beside its row plan: the next page, and whether there is one.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_domain::job::{Job, JobKind, Row, StopReason};
use pombo_domain::time::Timestamp;

use super::rows::Known;
use super::{drain, matching};
use crate::settings::App;

/// The next page of a job.
#[derive(Debug)]
pub(super) enum Page {
    /// Deliveries to change.
    Rows {
        /// The page, at most [`LARGEST_PAGE`](pombo_domain::job::LARGEST_PAGE) rows.
        rows: Vec<Row>,
        /// What was read to make it.
        known: Known,
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

/// The next page of a job, by its kind, and the job's kind as it is stored with it. `began` is when the leg began: before
/// anything that the page is made of was read.
pub(super) async fn next_page(
    app: &App,
    job: &Job,
    began: Timestamp,
    writer: &str,
) -> Result<(JobKind, Page), AwsError> {
    match &job.kind {
        // Its only page was stored with it.
        JobKind::Replay => Ok((JobKind::Replay, Page::End)),
        JobKind::ReplayMatching(selection) => matching::next_page(app, job, selection, began).await,
        JobKind::Drain { endpoint_id } => {
            Ok((job.kind.clone(), drain::next_page(app, job, endpoint_id, began, writer).await?))
        }
    }
}
