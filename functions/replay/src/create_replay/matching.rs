//! All deliveries that match a filter: as a job of its own.

use pombo_aws::clock;
use pombo_aws::jobs::PutJob;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{Job, JobKey, JobKind, Ordered, Scope, Selection};
use pombo_requests::MatchingOrder;
use pombo_web::{Caller, Problem, Response};

use super::dry_run;
use super::{queue_leg, random};
use crate::invocation::Invocation;
use crate::replay_view::ReplayView;
use crate::settings::App;

/// Orders the replay, or tells what it would do.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    order: MatchingOrder,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let now = clock::now();
    let ordered = Ordered { at: now, settle: app.settle };
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
        return dry_run::answer(app, selection, endpoint.as_ref(), ordered, invocation).await;
    }
    let key = JobKey::generate(owner.as_ref(), now, random()?);
    let job = Job::new(key, JobKind::ReplayMatching(selection), now, app.retention);
    match app.jobs.put(None, job, invocation.writer()).await? {
        PutJob::Stored(job) => {
            queue_leg(app, &job).await;
            Ok(Response::json(202, &ReplayView::of(*job)))
        }
        PutJob::Conflict(_) => Err(Problem::conflict()),
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
    let endpoint = app.endpoints.get(id).await?.filter(|endpoint| caller.sees(&endpoint.tenant));
    let endpoint = endpoint.filter(|endpoint| endpoint.status != EndpointStatus::Deleted);
    let endpoint = endpoint.ok_or_else(|| Problem::not_found("endpoint"))?;
    if endpoint.status == EndpointStatus::Paused {
        let detail = format!(
            "The endpoint is paused: what is sent to it is held. Resume it first, with POST /v1/endpoints/{id}/resume on the \
             endpoints URL; {{\"missed\": \"replay\"}} there sends what it missed."
        );
        return Err(Problem::new(409, detail));
    }
    Ok(endpoint)
}
