//! The deliveries of a page, each changed under a condition.

use std::collections::HashMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_domain::delivery::{DeliveryKey, Record};
use pombo_domain::job::{Job, Row, RowPlan, RowResult};

use crate::settings::App;

/// How many deliveries are changed at one time.
const AT_ONCE: usize = 16;
/// How often a change is planned anew because another process was faster. Each time the record moves, so a delivery that
/// is changed more often is busy.
const MOST_CONFLICTS: usize = 10;

/// Records by key.
pub(crate) type Records = HashMap<DeliveryKey, Record>;

/// What a page came to.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// What became of each delivery, in the order of the page.
    pub(super) results: Vec<(DeliveryKey, RowResult)>,
    /// The records that were queued, by this run or an earlier one.
    pub(super) to_send: Vec<Record>,
}

/// Changes the deliveries of a page as the job plans.
pub(super) async fn change(
    app: &App,
    job: &Job,
    page: &[Row],
    mut known: Records,
    writer: &str,
) -> Result<Changed, AwsError> {
    let unread: Vec<_> = page.iter().map(|row| &row.delivery).filter(|key| !known.contains_key(key)).cloned().collect();
    known.extend(app.protocol.deliveries.get_many(&unread).await?);
    let work = page.iter().map(|row| {
        let record = known.remove(&row.delivery);
        async move {
            let (result, record) = change_one(app, job, row, record, writer).await?;
            Ok::<_, AwsError>((row.delivery.clone(), result, record))
        }
    });
    let done: Vec<_> = stream::iter(work).buffered(AT_ONCE).try_collect().await?;
    let mut changed = Changed::default();
    for (key, result, record) in done {
        changed.results.push((key, result));
        changed.to_send.extend(record);
    }
    Ok(changed)
}

/// Changes one delivery; gives its record if its next attempt is to be sent.
async fn change_one(
    app: &App,
    job: &Job,
    row: &Row,
    mut record: Option<Record>,
    writer: &str,
) -> Result<(RowResult, Option<Record>), AwsError> {
    for _ in 0..MOST_CONFLICTS {
        let wanted = match job.plan(row, record.as_ref(), clock::now()) {
            RowPlan::Skip(reason) => return Ok((reason, None)),
            RowPlan::QueueAgain => return Ok((RowResult::Queued, record)),
            RowPlan::Write(wanted) => *wanted,
        };
        let seen = record.as_ref().map(|record| record.rev);
        match app.protocol.deliveries.put(seen, wanted, writer).await? {
            Put::Stored(stored) => return Ok((RowResult::Queued, Some(*stored))),
            Put::Conflict(standing) => record = standing.map(|record| *record),
        }
    }
    Ok((RowResult::InFlight, None))
}
