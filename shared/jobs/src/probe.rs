//! An operator's probe of an open circuit: a replay of one delivery is sent at once, to see whether its endpoint is back.
//!
//! A probe is reserved in the endpoint's [health](pombo_domain::health::Probe) before its message is sent, so at most one is
//! under way: the drain's, or this. A process that dies between the two leaves a reservation that runs out by the drain's
//! next turn.

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_aws::logs::spans;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::EndpointStatus;
use pombo_domain::message::DeliveryMessage;

use crate::clients::Clients;

/// How often the probe is decided again because the health changed.
const MAX_CONFLICTS: usize = 5;

/// Sends a held delivery at once, as the probe; `false` when one is under way, or the circuit is no longer open: then the
/// drain moves the delivery.
pub(crate) async fn at_once(clients: &Clients, record: &Record, writer: &str) -> Result<bool, AwsError> {
    let id = &record.key.endpoint_id;
    for _ in 0..MAX_CONFLICTS {
        let known = clients.endpoints.get_with_health(id).await?;
        let Some((_, health)) = known.filter(|(endpoint, _)| endpoint.status == EndpointStatus::Active) else {
            return Ok(false);
        };
        let Some((next, ordered_at)) = health.probe_ordered(clock::now(), &clients.rules) else { return Ok(false) };
        if clients.health.put(id, &health, next, writer, Vec::new()).await? == PutHealth::Conflict {
            continue;
        }
        clients.protocol.send(DeliveryMessage::probe(record.key.clone(), record.step.next(), ordered_at), 0).await?;
        spans::delivery(&record.key, Some(record.step.next()))
            .in_scope(|| tracing::info!("A replay probes the open circuit."));
        return Ok(true);
    }
    Ok(false)
}
