//! A replay by filter: page after page of what its selection finds, oldest first.
//!
//! A page is stored together with how far the selection has come, so a leg that runs again neither skips nor repeats. What
//! the page says of a delivery is its round: whoever else replays it meanwhile makes the write of one of the two fail.
//!
//! A replay of one endpoint ends when the endpoint is paused or deleted: what it would send would only be held or
//! cancelled.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::job::{Job, JobKind, Look, Ordered, Scope, Selection, StopReason};
use pombo_domain::pace::{REPLAY_PAGE_TIME, REPLAY_SPACING, rows_in_page};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::time::Timestamp;
use pombo_jobs::{Gathered, gather};

use super::drain;
use super::page::Page;
use crate::settings::App;

/// The longest pause between two legs.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The next page, and the job's kind with the selection as far as it has come then.
pub(super) async fn next_page(
    app: &App,
    job: &Job,
    selection: &Selection,
    began: Timestamp,
) -> Result<(JobKind, Page), AwsError> {
    let stay = |page| (JobKind::ReplayMatching(selection.clone()), page);
    let endpoint = match &selection.filter.scope {
        Scope::Tenant(_) | Scope::Stack => None,
        Scope::Endpoint(id) => match app.clients.endpoints.get(id).await? {
            Some(endpoint) if endpoint.status == EndpointStatus::Active => Some(endpoint),
            Some(endpoint) if endpoint.status == EndpointStatus::Paused => {
                return Ok(stay(Page::Stop(StopReason::EndpointPaused)));
            }
            Some(_) | None => return Ok(stay(Page::Stop(StopReason::EndpointDeleted))),
        },
    };
    let ordered = Ordered { at: job.created_at, settle: app.clients.settle };
    let (_, settled) = ordered.last_look();
    if selection.look == Look::Last && began < settled {
        return Ok(stay(Page::Nothing { look_again_in: began.until(settled).min(LONGEST_PAUSE) }));
    }
    let spacing = spacing(selection.rate_per_second, endpoint.as_ref());
    let Gathered { rows, known, selection } =
        gather(&app.clients, selection, endpoint.as_ref(), ordered, most_rows(spacing)).await?;
    let page = match selection.look {
        _ if !rows.is_empty() => Page::Rows { rows, known: Box::new(known), spacing },
        Look::Over => Page::End,
        Look::First | Look::Last => Page::Nothing { look_again_in: Duration::ZERO },
    };
    Ok((JobKind::ReplayMatching(selection), page))
}

/// How far apart deliveries are sent: as was asked for, or as suits the endpoint; never faster than the endpoint's limit.
fn spacing(asked: Option<PerSecond>, endpoint: Option<&Endpoint>) -> Duration {
    let usual = endpoint.map_or(REPLAY_SPACING, drain::spacing);
    let limit = endpoint.and_then(|endpoint| endpoint.rate_limit).map(|limit| interval(limit.per_second));
    asked.map_or(usual, |asked| interval(asked).max(limit.unwrap_or_default()))
}

fn interval(rate: PerSecond) -> Duration {
    Duration::from_micros(u64::try_from(rate.interval_micros()).unwrap_or_default())
}

fn most_rows(spacing: Duration) -> usize {
    rows_in_page(spacing, REPLAY_PAGE_TIME)
}

#[cfg(test)]
mod tests {
    use pombo_domain::job::LARGEST_PAGE;

    use super::*;

    #[test]
    fn a_page_is_as_large_as_can_be_sent_in_a_minute() {
        let per_second = |rate: f64| most_rows(spacing(Some(PerSecond::new(rate).unwrap()), None));
        assert_eq!([0.01, 0.5, 1.0, 8.0, 9.0, 500.0].map(per_second), [1, 30, 60, 480, 500, 500]);
        assert_eq!(most_rows(spacing(None, None)), LARGEST_PAGE);
    }
}
