//! The closing of a circuit by its drain. One that a probe proves to be back is closed by dispatch.

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::Health;
use pombo_domain::operational::Happening;

use crate::settings::App;

/// Writes the health with the circuit closed, and tells so in the same transaction; gives whether it did. Otherwise
/// another process was faster, and the next leg sees what stands.
pub(super) async fn close(
    app: &App,
    endpoint: &Endpoint,
    health: &Health,
    closed: Health,
    writer: &str,
) -> Result<bool, AwsError> {
    let (now, operations) = (clock::now(), &app.clients.protocol.operations);
    let open_since = health.open.as_ref().map_or(now, |open| open.since);
    // A mark that is left says that no attempt has succeeded.
    let what = Happening::CircuitClosed { open_since, proven: closed.failing_since.is_none() };
    let event = operations.prepare(endpoint, &what, now).await?;
    let also = event.iter().map(|event| operations.write(event)).collect::<Result<_, _>>()?;
    if app.clients.health.put(&endpoint.id, health, closed, writer, also).await? == PutHealth::Conflict {
        return Ok(false);
    }
    if let Some(event) = &event {
        operations.announce(event).await;
    }
    Ok(true)
}
