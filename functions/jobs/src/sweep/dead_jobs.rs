//! Dead letters of the Jobs queue. A job's leg is found again among the stalled jobs, an event to publish among the unqueued
//! ones, and a sweep is made up for by the next, so all are deleted; what cannot be read stays for an operator.

use pombo_aws::AwsError;
use pombo_domain::message::JobMessage;

use super::{HIDDEN_SECONDS, MOST_RECEIVES};
use crate::settings::App;

/// What this part of a sweep found.
#[derive(Debug, Default)]
pub(super) struct DeadJobs {
    /// Letters that were deleted.
    pub(super) deleted: usize,
    /// Letters that cannot be read; they stay.
    pub(super) unreadable: usize,
}

/// Takes the dead letters there are, at most so many.
pub(super) async fn take(app: &App) -> Result<DeadJobs, AwsError> {
    let mut found = DeadJobs::default();
    for _ in 0..MOST_RECEIVES {
        let letters = app.dead_jobs.receive(HIDDEN_SECONDS).await?;
        if letters.is_empty() {
            break;
        }
        for letter in letters {
            if JobMessage::parse(&letter.body).is_ok() {
                app.dead_jobs.delete(&letter).await?;
                found.deleted += 1;
            } else {
                found.unreadable += 1;
            }
        }
    }
    Ok(found)
}
