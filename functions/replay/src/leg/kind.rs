//! What a kind of job supplies to the leg runner beside its row plan: the next page, and whether there is one.

use pombo_aws::AwsError;
use pombo_domain::job::{Job, JobKind};
use pombo_domain::time::Timestamp;

use super::page::Page;
use super::{drain, matching};
use crate::settings::App;

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
