//! `GET /v1/replays`: jobs, newest first: replays, and the drains of endpoints.

use pombo_aws::clock;
use pombo_domain::cursor::Paged;
use pombo_domain::ids::TenantId;
use pombo_domain::job::JobKey;
use pombo_web::{Caller, Problem, Request, Response};
use serde::{Deserialize, Serialize};

use crate::get_replay::lives;
use crate::replay_view::ReplayView;
use crate::settings::App;

#[derive(Debug, Serialize)]
struct Page {
    replays: Vec<ReplayView>,
    cursor: Option<String>,
}

/// The jobs of a tenant, or everybody's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Jobs {
    jobs_of: Option<TenantId>,
}

impl Paged for Jobs {
    type Place = JobKey;

    fn may_hold(&self, place: &JobKey) -> bool {
        self.jobs_of.as_ref().is_none_or(|tenant| place.owner == tenant.as_str())
    }
}

/// Answers with a page: a tenant's jobs, or everybody's.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["tenant", "limit", "cursor"])?;
    let named = request.query::<TenantId>("tenant")?;
    let jobs_of = match (&caller.tenant, named) {
        (None, None) => None,
        (_, named) => Some(caller.tenant_for(named)?),
    };
    let list = Jobs { jobs_of };
    let after = request.page(&list)?;
    let owner = list.jobs_of.as_ref().map(TenantId::as_str);
    let (keys, more) = app.clients.jobs.list(owner, after.as_ref(), request.limit()?).await?;
    let cursor = keys.last().filter(|_| more).map(|last| list.cursor(last.clone()));
    let (jobs, now) = (app.clients.jobs.get_many(&keys).await?, clock::now());
    let replays = jobs.into_iter().filter(|job| lives(job, now)).map(ReplayView::of).collect();
    Ok(Response::json(200, &Page { replays, cursor }))
}

#[cfg(test)]
mod tests {
    use pombo_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_cursor_is_of_its_own_list_and_stands_in_it() {
        let of = |tenant: &str| Some(tenant.parse::<TenantId>().unwrap());
        let key = |owner: Option<TenantId>| JobKey::generate(owner.as_ref(), Timestamp::from_seconds(1), [1; 10]);
        let place = |jobs_of: Option<TenantId>, cursor: &str| Jobs { jobs_of }.place(cursor).ok();
        let own = Jobs { jobs_of: of("acme") }.cursor(key(of("acme")));
        assert_eq!(place(of("acme"), &own), Some(key(of("acme"))));
        assert_eq!((place(of("other"), &own), place(None, &own)), (None, None));
        for owner in [of("other"), None] {
            assert_eq!(place(of("acme"), &Jobs { jobs_of: of("acme") }.cursor(key(owner.clone()))), None, "{owner:?}");
            assert_eq!(place(None, &Jobs { jobs_of: None }.cursor(key(owner.clone()))), Some(key(owner)));
        }
    }
}
