//! `GET /v1/deliveries/{id}`: one delivery with its attempts.

use pombo_aws::clock;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::ids::TenantId;
use pombo_web::{Caller, Problem, Request, Response};

use crate::pending;
use crate::settings::App;
use crate::view::DeliveryView;

/// Answers with the delivery. One whose first message is still on its way is `pending`; with `tenant`, one of another
/// tenant does not exist.
pub(crate) async fn answer(app: &App, caller: &Caller, request: &Request, id: &str) -> Result<Response, Problem> {
    request.only_query(&["tenant"])?;
    let named = request.query::<TenantId>("tenant")?;
    let wanted = named.map(|named| caller.tenant_for(Some(named))).transpose()?;
    let visible = |tenant: &TenantId| caller.sees(tenant) && wanted.as_ref().is_none_or(|wanted| wanted == tenant);
    let unknown = || Problem::not_found("delivery");
    let key: DeliveryKey = id.parse().map_err(|_| unknown())?;
    let now = clock::now();
    if let Some(record) = app.protocol.deliveries.get(&key).await? {
        return if visible(&record.tenant) && record.expires_at > now.as_seconds() {
            Ok(Response::json(200, &DeliveryView::of(record)))
        } else {
            Err(unknown())
        };
    }
    let endpoint = app.endpoints.get(&key.endpoint_id).await?.filter(|endpoint| visible(&endpoint.tenant));
    let endpoint = endpoint.ok_or_else(unknown)?;
    let event = pending::event_of(app, &endpoint, &key, now).await?.ok_or_else(unknown)?;
    Ok(Response::json(200, &DeliveryView::pending(&event, key)))
}
