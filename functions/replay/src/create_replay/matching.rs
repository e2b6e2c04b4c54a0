//! All deliveries that match a filter: as a job of its own.

use pombo_aws::clock;
use pombo_aws::jobs::{Placed, PutJob};
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{Job, JobKey, JobKind, Ordered, Scope, Selection};
use pombo_domain::time::Timestamp;
use pombo_jobs::Invocation;
use pombo_requests::MatchingOrder;
use pombo_web::{Caller, Problem, Response};
use serde::Serialize;

use super::dry_run;
use super::{queue_leg, random};
use crate::replay_view::ReplayView;
use crate::settings::App;

#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    replay: ReplayView,
    /// Says which deliveries are left out because they are too new.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

/// Says which deliveries are too new to be selected, and which selected deliveries count as being sent because the window of
/// their first attempt is open. `None` if all deliveries are old enough.
pub(super) fn left_out(selection: &Selection, ordered: Ordered, window: FirstAttemptWindow) -> Option<String> {
    let last = |since: Timestamp| match since.until(ordered.at).as_secs() {
        60 => format!("accepted in the last minute, since {since}"),
        seconds => format!("accepted in the last {seconds} seconds, since {since}"),
    };
    let too_new = selection.left_out_since(ordered);
    let too_new = too_new.map(|since| format!("{}: may still be on the way for the first time", last(since)));
    let being_sent = selection.being_sent_since(ordered, window).map(|since| {
        let seconds = window.length().as_secs();
        let last = last(since);
        format!(
            "{last}, and without a record: counted as in_flight for {seconds} seconds, because the first attempt may be under \
             way"
        )
    });
    let parts: Vec<_> = [too_new, being_sent].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Who orders a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderedBy {
    /// An operator: the replays of one owner that run at a time are limited.
    Operator,
    /// A receiver, whose orders have a limit of their own and take no operator's place.
    Receiver,
}

/// Orders the replay, or tells what it would do.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    order: MatchingOrder,
    ordered_by: OrderedBy,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let now = clock::now();
    let ordered = Ordered { at: now, settle: app.clients.settle };
    let (owner, endpoint) = match &order.filter.scope {
        Scope::Stack => (stack(caller)?, None),
        Scope::Tenant(tenant) => (Some(caller.tenant_for(Some(tenant.clone()))?), None),
        Scope::Endpoint(id) => {
            let endpoint = active(app, caller, id).await?;
            (Some(endpoint.tenant.clone()), Some(endpoint))
        }
    };
    let selection = Selection::new(order.filter, order.include, order.rate_per_second, ordered)?;
    if order.dry_run {
        return dry_run::answer(app, caller, selection, endpoint.as_ref(), ordered, invocation).await;
    }
    let left_out = left_out(&selection, ordered, app.clients.window);
    let key = JobKey::generate(owner.as_ref(), now, random()?);
    let job = Job::new(key, JobKind::ReplayMatching(selection), now, app.retention);
    store(app, &job, ordered_by, invocation).await?;
    queue_leg(app, &job).await;
    Ok(Response::json(202, &Answer { replay: ReplayView::of(job), left_out }))
}

/// Stores the job, if there is a place for it.
async fn store(app: &App, job: &Job, ordered_by: OrderedBy, invocation: &Invocation) -> Result<(), Problem> {
    match ordered_by {
        OrderedBy::Operator => {
            match app.clients.jobs.put_limited(job, app.max_running_replays, invocation.writer()).await? {
                Placed::Stored => Ok(()),
                Placed::Refused(reached) => Err(Problem::limit(&reached, job.created_at)),
            }
        }
        OrderedBy::Receiver => match app.clients.jobs.put(None, job.clone(), invocation.writer()).await? {
            PutJob::Stored(_) => Ok(()),
            PutJob::Conflict(_) => Err(Problem::conflict()),
        },
    }
}

/// Whose a job for the whole stack is: nobody's.
fn stack(caller: &Caller) -> Result<Option<TenantId>, Problem> {
    match &caller.tenant {
        None => Ok(None),
        Some(own) => {
            Err(Problem::new(403, format!("This API key is bound to the tenant {own}: name that, or an endpoint.")))
        }
    }
}

/// The endpoint of a filter, which has to take what it is sent.
async fn active(app: &App, caller: &Caller, id: &EndpointId) -> Result<Endpoint, Problem> {
    let endpoint = app.clients.endpoints.get(id).await?.filter(|endpoint| caller.sees(&endpoint.tenant));
    let endpoint = endpoint.filter(|endpoint| endpoint.status != EndpointStatus::Deleted);
    let endpoint = endpoint.ok_or_else(|| caller.not_found("endpoint"))?;
    if endpoint.status == EndpointStatus::Paused {
        let detail = format!(
            "The endpoint is paused: what is sent to it is held. Resume it first, with POST /v1/endpoints/{id}/resume on the \
             endpoints URL; {{\"missed\": \"replay\"}} there sends what it missed."
        );
        return Err(Problem::new(409, detail));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use pombo_domain::job::{Filter, Include};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn left_out_of(include: Include, settle: u64, window: u64) -> Option<String> {
        let ordered = Ordered { at: NOW, settle: Duration::from_secs(settle) };
        let scope = Scope::Endpoint("ep_aaaaaaaaaaaaaaaa".parse().unwrap());
        let since = NOW.minus(Duration::from_secs(3600));
        let filter = Filter { scope, event_type: None, since, until: Filter::OPEN };
        let selection = Selection::new(filter, BTreeSet::from([include]), None, ordered).unwrap();
        left_out(&selection, ordered, FirstAttemptWindow::new(Duration::from_secs(window)))
    }

    #[test]
    fn an_answer_says_what_is_too_new_to_be_replayed() {
        let failed = left_out_of(Include::Failed, 120, 180).unwrap();
        assert!(failed.starts_with("accepted in the last minute, since 2023-11-14T22:12:20.000Z"), "{failed}");
        assert!(left_out_of(Include::Failed, 4, 180).unwrap().starts_with("accepted in the last 2 seconds"));
        assert_eq!(left_out_of(Include::Missing, 120, 180), None, "a last look finds those");
    }

    #[test]
    fn an_answer_says_which_pending_deliveries_count_as_being_sent_and_for_how_long() {
        let pending = left_out_of(Include::Pending, 120, 180).unwrap();
        let (too_new, being_sent) = pending.split_once("; ").unwrap();
        assert!(too_new.starts_with("accepted in the last minute, since 2023-11-14T22:12:20.000Z"), "{pending}");
        assert!(
            being_sent.starts_with("accepted in the last 180 seconds, since 2023-11-14T22:10:20.000Z"),
            "{pending}"
        );
        assert!(being_sent.contains("counted as in_flight for 180 seconds"), "{pending}");
        let failed = left_out_of(Include::Failed, 120, 180).unwrap();
        assert!(!failed.contains("in_flight"), "a delivery with a record needs no window: {failed}");
        assert!(!left_out_of(Include::Pending, 120, 60).unwrap().contains("in_flight"), "the range ends before");
    }
}
