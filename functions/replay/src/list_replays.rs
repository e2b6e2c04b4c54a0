//! `GET /v1/replays`: jobs, newest first: replays, and the drains of endpoints.

use pombo_aws::clock;
use pombo_domain::cursor::{from_cursor, to_cursor};
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

/// Where a walk goes on, and of which list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cursor {
    tenant: Option<TenantId>,
    after: String,
}

/// Answers with a page: a tenant's jobs, or everybody's.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request) -> Result<Response, Problem> {
    request.only_query(&["tenant", "limit", "cursor"])?;
    let named = request.query::<TenantId>("tenant")?;
    let tenant = match (&caller.tenant, named) {
        (None, None) => None,
        (_, named) => Some(caller.tenant_for(named)?),
    };
    let after = request.query_text("cursor").map(|cursor| position(cursor, tenant.as_ref())).transpose()?;
    let owner = tenant.as_ref().map(TenantId::as_str);
    let (keys, more) = app.jobs.list(owner, after.as_ref(), request.limit()?).await?;
    let last = keys.last().filter(|_| more);
    let cursor = last.map(|key| to_cursor(&Cursor { tenant: tenant.clone(), after: key.to_string() }));
    let (jobs, now) = (app.jobs.get_many(&keys).await?, clock::now());
    let replays = jobs.into_iter().filter(|job| lives(job, now)).map(ReplayView::of).collect();
    Ok(Response::json(200, &Page { replays, cursor }))
}

fn position(cursor: &str, tenant: Option<&TenantId>) -> Result<JobKey, Problem> {
    let read: Cursor = from_cursor(cursor).map_err(|invalid| invalid.in_field("cursor"))?;
    let key = read.after.parse::<JobKey>().ok().filter(|_| read.tenant.as_ref() == tenant);
    key.ok_or_else(|| Problem::invalid("cursor", "must be used with the filters of the page that it came with"))
}

#[cfg(test)]
mod tests {
    use pombo_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_cursor_reads_back_for_its_own_list_alone() {
        let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let key = JobKey::generate(Some(&acme), Timestamp::from_seconds(1), [1; 10]);
        for tenant in [None, Some(acme)] {
            let cursor = to_cursor(&Cursor { tenant: tenant.clone(), after: key.to_string() });
            assert_eq!(position(&cursor, tenant.as_ref()).unwrap(), key);
            assert_eq!(position(&cursor, Some(&other)).unwrap_err().errors[0].field, "cursor");
        }
        assert_eq!(position("x", None).unwrap_err().errors[0].field, "cursor");
    }
}
