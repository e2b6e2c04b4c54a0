//! `GET /v1/replays/{id}`: how far a replay has come.

use pombo_aws::clock;
use pombo_domain::job::{Job, JobKey};
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};

use crate::replay_view::ReplayView;
use crate::settings::App;

/// Answers with the job's status and counts.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&[])?;
    Ok(Response::json(200, &ReplayView::of(find(app, caller, id).await?)))
}

/// The job of this id, if there is one that the caller may see.
pub(crate) async fn find(app: &App, caller: &Caller, id: &str) -> Result<Job, Problem> {
    let unknown = || caller.not_found("replay");
    let key: JobKey = id.parse().map_err(|_| unknown())?;
    let now = clock::now();
    app.clients.jobs.get(&key).await?.filter(|job| is_visible(job, caller) && lives(job, now)).ok_or_else(unknown)
}

/// Whoever is bound to a tenant sees that tenant's jobs.
fn is_visible(job: &Job, caller: &Caller) -> bool {
    caller.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == job.owner)
}

/// Whether the job has not expired; DynamoDB deletes what has when it comes to it.
pub(crate) const fn lives(job: &Job, now: Timestamp) -> bool {
    job.expires_at > now.as_seconds()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::api_key::Scope;
    use pombo_domain::job::JobKind;

    use super::*;

    #[test]
    fn a_bound_caller_sees_its_tenants_jobs() {
        let now = Timestamp::from_seconds(1);
        let job = |tenant: Option<&str>| {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            Job::new(JobKey::generate(tenant.as_ref(), now, [1; 10]), JobKind::Replay, now, Duration::from_secs(9))
        };
        let caller = |tenant: Option<&str>| {
            Caller::without_key("k".into(), tenant.map(|tenant| tenant.parse().unwrap()), Scope::Ops)
        };
        for (owner, asks, visible) in [
            (None, None, true),
            (Some("a"), None, true),
            (Some("a"), Some("a"), true),
            (Some("a"), Some("b"), false),
            (None, Some("a"), false),
        ] {
            assert_eq!(is_visible(&job(owner), &caller(asks)), visible, "{owner:?} {asks:?}");
        }
    }

    #[test]
    fn a_job_that_has_expired_is_gone() {
        let (begun, kept) = (Timestamp::from_seconds(1), Duration::from_secs(9));
        let job = Job::new(JobKey::generate(None, begun, [1; 10]), JobKind::Replay, begun, kept);
        assert!(lives(&job, Timestamp::from_seconds(9)) && !lives(&job, Timestamp::from_seconds(10)));
    }
}
