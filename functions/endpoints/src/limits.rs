//! The limits on a tenant's endpoints: checked against what the change was decided on, and counted in its transaction.
//!
//! The routing record is read first. A change is written only if that version of it still stands, and every change that is
//! counted replaces it. So if many calls come at once, those over the limit are refused.

use aws_sdk_dynamodb::types::TransactWriteItem;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::limits::{HostEndpoints, LimitReached};
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;
use pombo_web::Problem;

use crate::App;

/// The counts that are written with a new endpoint, if the tenant may have it.
pub async fn registered(
    app: &App,
    endpoint: &Endpoint,
    routing: &RoutingRecord,
    now: Timestamp,
) -> Result<Vec<TransactWriteItem>, Problem> {
    let refused = |reached: LimitReached| Problem::limit(&reached, now);
    app.limits.check_tenant(routing).map_err(refused)?;
    let (tenant, host) = (&endpoint.tenant, HostEndpoints::host(&endpoint.url));
    let (at_host, today) = app.endpoints.counts(tenant, host).await?;
    let at_host = at_host.with(&endpoint.id, host, routing, &app.limits).map_err(refused)?;
    let today = today.with_one_more(tenant, &app.limits, now).map_err(refused)?;
    Ok(vec![
        app.endpoints.host_in_transaction(tenant, host, &at_host)?,
        app.endpoints.registered_in_transaction(tenant, &today)?,
    ])
}

/// The counts that are written with a change that takes the endpoint from its host: to another host, which must have
/// room, or away.
pub async fn moved(
    app: &App,
    current: &Endpoint,
    next: &Endpoint,
    routing: &RoutingRecord,
    now: Timestamp,
) -> Result<Vec<TransactWriteItem>, Problem> {
    let (tenant, id) = (&current.tenant, &current.id);
    let (from, to) = hosts(current, next);
    if Some(from) == to {
        return Ok(Vec::new());
    }
    let mut writes = Vec::new();
    if let Some(to) = to {
        let (at_host, _) = app.endpoints.counts(tenant, to).await?;
        let at_host = at_host.with(id, to, routing, &app.limits).map_err(|reached| Problem::limit(&reached, now))?;
        writes.push(app.endpoints.host_in_transaction(tenant, to, &at_host)?);
    }
    let (at_host, _) = app.endpoints.counts(tenant, from).await?;
    writes.push(app.endpoints.host_in_transaction(tenant, from, &at_host.without(id, routing, now))?);
    Ok(writes)
}

/// Where an endpoint is before a change and after it; nowhere once it is deleted.
fn hosts<'a>(current: &'a Endpoint, next: &'a Endpoint) -> (&'a str, Option<&'a str>) {
    let to = (next.status != EndpointStatus::Deleted).then(|| HostEndpoints::host(&next.url));
    (HostEndpoints::host(&current.url), to)
}

#[cfg(test)]
mod tests {
    use pombo_domain::address::EndpointUrl;

    use super::*;
    use crate::samples;

    #[test]
    fn an_endpoint_leaves_its_host_by_another_host_in_its_url_and_by_its_deletion() {
        let current = samples::endpoint();
        let at = |url: &str| Endpoint { url: EndpointUrl::from_stored(url).unwrap(), ..samples::endpoint() };
        let with = |status| Endpoint { status, ..samples::endpoint() };
        for (next, to) in [
            (at("https://EXAMPLE.com:8443/elsewhere"), Some("example.com")),
            (with(EndpointStatus::Paused), Some("example.com")),
            (at("https://example.org/hook"), Some("example.org")),
            (with(EndpointStatus::Deleted), None),
        ] {
            assert_eq!(hosts(&current, &next), ("example.com", to));
        }
    }
}
