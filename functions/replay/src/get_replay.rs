//! `GET /v1/replays/{id}`: how far a replay has come.

use pombo_domain::job::{Job, JobKey, JobKind};
use pombo_web::{Caller, Problem, Request, Response};

use crate::settings::App;
use crate::view::ReplayView;

/// Answers with the replay's status and counts.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&[])?;
    let unknown = || Problem::not_found("replay");
    let key: JobKey = id.parse().map_err(|_| unknown())?;
    let job = app.jobs.get(&key).await?.filter(|job| is_visible(job, caller)).ok_or_else(unknown)?;
    Ok(Response::json(200, &ReplayView::of(job)))
}

/// A drain is no replay, though it is a job with an id; whoever is bound to a tenant sees that tenant's.
fn is_visible(job: &Job, caller: &Caller) -> bool {
    job.kind == JobKind::Replay && caller.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == job.owner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::api_key::Scope;
    use pombo_domain::ids::EndpointId;
    use pombo_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_bound_caller_sees_its_tenants_replays_and_nobody_a_drain() {
        let now = Timestamp::from_seconds(1);
        let job = |tenant: Option<&str>, kind| {
            let tenant = tenant.map(|tenant| tenant.parse().unwrap());
            Job::new(JobKey::generate(tenant.as_ref(), now, [1; 10]), kind, now, Duration::from_secs(9))
        };
        let caller = |tenant: Option<&str>| Caller {
            name: "k".into(),
            tenant: tenant.map(|tenant| tenant.parse().unwrap()),
            scope: Scope::Ops,
        };
        for (owner, asks, visible) in [
            (None, None, true),
            (Some("a"), None, true),
            (Some("a"), Some("a"), true),
            (Some("a"), Some("b"), false),
            (None, Some("a"), false),
        ] {
            assert_eq!(is_visible(&job(owner, JobKind::Replay), &caller(asks)), visible, "{owner:?} {asks:?}");
        }
        let drain = JobKind::Drain { endpoint_id: EndpointId::generate([1; 10]) };
        assert!(!is_visible(&job(None, drain), &caller(None)));
    }
}
