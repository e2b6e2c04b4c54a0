//! The start of a probe: at most one is under way at an endpoint.
//!
//! The order of a probe has [reserved](pombo_domain::health::Probe) it in the endpoint's health. Before the delivery is
//! claimed, the process renews the reservation until its own end, so that no other probe is ordered or begun while this one
//! can still run. The attempt's outcome ends it, together with what it says of the endpoint's [`health`](crate::health).

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::health::{ProbeRefused, ProbeStart};
use pombo_domain::time::Timestamp;

use crate::invocation::Invocation;
use crate::settings::App;

/// How often the start is decided again because the health changed.
const MAX_CONFLICTS: usize = 5;

/// Begins the probe with a delivery that was ordered at `ordered_at`; `false` when it must not be made. The message is then
/// acknowledged, because the drain moves what is held.
pub async fn begins(
    app: &App,
    invocation: &Invocation,
    holder: &str,
    delivery: &DeliveryKey,
    ordered_at: Timestamp,
) -> Result<bool, AwsError> {
    let id = &delivery.endpoint_id;
    for _ in 0..MAX_CONFLICTS {
        // An open circuit was read for this message. If the health has changed since, the write fails.
        let Some(known) = app.endpoints.known(id).await? else { return Ok(false) };
        let next = match known.health.probe_begun(ordered_at, holder, invocation.ends_at(), clock::now()) {
            ProbeStart::Begun => return Ok(true),
            ProbeStart::Write(next) => *next,
            ProbeStart::Refused(why) => {
                let why = match why {
                    ProbeRefused::Closed => "its circuit is closed",
                    ProbeRefused::UnderWay => "another probe is under way",
                    ProbeRefused::Passed => "it was made, or a later one has begun",
                };
                tracing::info!(why, "A probe is dropped: {why}.");
                return Ok(false);
            }
        };
        match app.health.put(id, &known.health, next, holder, Vec::new()).await? {
            PutHealth::Stored(health) => {
                app.endpoints.learn(id, *health);
                return Ok(true);
            }
            PutHealth::Conflict => app.endpoints.forget(id),
        }
    }
    tracing::info!("A probe is dropped: the endpoint's health changes all the time.");
    Ok(false)
}
