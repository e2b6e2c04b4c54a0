//! The probe of an open circuit: one held delivery is sent, to see whether its endpoint is back.
//!
//! Success closes the circuit; dispatch writes that, and wakes the drain. Failure costs the delivery none of its attempts.
//! The drain's probes take turns among the oldest held deliveries: an event that its receiver will never take must not keep
//! the circuit open for all the others. An operator who replays one delivery chooses that one.
//!
//! A probe is reserved in the endpoint's [health](pombo_domain::health::Probe) before its message is sent, so at most one is
//! under way. A process that dies between the two leaves a reservation that runs out by the drain's next turn.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::health::PutHealth;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::{Health, Open};
use pombo_domain::job::{Job, Row};
use pombo_domain::message::DeliveryMessage;
use pombo_domain::time::Timestamp;
use pombo_jobs::Records;

use super::circuit;
use super::held::{Look, look};
use super::page::Page;
use crate::settings::App;

/// Number of the oldest held deliveries among which the probes take turns.
const TAKING_TURNS: usize = 8;

/// The pause before a look that is repeated because something changed under it.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// The drain's turn: sends a probe, unless one is on its way or there is nothing to send.
pub(super) async fn probe(
    app: &App,
    job: &Job,
    endpoint: &Endpoint,
    health: &Health,
    open: &Open,
    began: Timestamp,
    writer: &str,
) -> Result<Page, AwsError> {
    let chosen = match look(app, &endpoint.id, TAKING_TURNS).await? {
        Look::Held(rows, records) => choose(&rows, &records, job.leg, clock::now()).cloned(),
        Look::Stale => return Ok(Page::Nothing { look_again_in: SHORT_PAUSE }),
        // Deliveries come to be held for some time after the circuit opened. When none has come by then, there is nothing
        // to look after: the circuit closes with its mark left, and the next failure opens it again.
        Look::Nothing if began >= open.since.plus(app.clients.settle) => {
            let closed = circuit::close(app, endpoint, health, health.closed_unproven(clock::now()), writer).await?;
            if closed {
                tracing::info!(endpoint = %endpoint.id, "Nothing is held to probe with; the circuit closed unproven.");
            }
            return Ok(Page::Nothing { look_again_in: if closed { Duration::ZERO } else { SHORT_PAUSE } });
        }
        Look::Nothing => None,
    };
    let look_again_in = take_turn(app, endpoint, health, chosen.as_ref(), writer).await?;
    Ok(Page::Nothing { look_again_in })
}

/// Writes when the next turn is, and sends the probe; gives how long until then.
async fn take_turn(
    app: &App,
    endpoint: &Endpoint,
    health: &Health,
    chosen: Option<&Record>,
    writer: &str,
) -> Result<Duration, AwsError> {
    let now = clock::now();
    let turn = health.probed_next_at(now.plus(app.clients.rules.probe_every));
    let ordered = chosen.and_then(|record| {
        let (next, ordered_at) = turn.probe_ordered(now, &app.clients.rules)?;
        Some((next, DeliveryMessage::probe(record.key.clone(), record.step.next(), ordered_at)))
    });
    let (next, message) = ordered.map_or((turn, None), |(next, message)| (next, Some(message)));
    if app.clients.health.put(&endpoint.id, health, next, writer, Vec::new()).await? == PutHealth::Conflict {
        return Ok(SHORT_PAUSE);
    }
    if let Some(message) = message {
        app.clients.protocol.send(message, 0).await?;
    }
    Ok(app.clients.rules.probe_every)
}

/// The delivery to probe with; none while one of them is being sent.
fn choose<'a>(rows: &[Row], records: &'a Records, leg: u32, now: Timestamp) -> Option<&'a Record> {
    if records.values().any(|record| record.live_claim(now).is_some()) {
        return None;
    }
    let turn = leg as usize % rows.len().max(1);
    records.get(&rows.get(turn)?.delivery)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::delivery::{DeliveryKey, NewDelivery};
    use pombo_domain::ids::EndpointId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn held(events: &[&str]) -> (Vec<Row>, Records) {
        let records = events.iter().map(|event| {
            let endpoint_id = EndpointId::generate([1; 10]);
            let key = DeliveryKey { endpoint_id, accepted_at: NOW, event_id: event.parse().unwrap() };
            let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
            Record::begin(key, new).held("me")
        });
        let records: Vec<_> = records.collect();
        let rows = records.iter().map(|record| Row { delivery: record.key.clone(), round: 0, first: false }).collect();
        (rows, records.into_iter().map(|record| (record.key.clone(), record)).collect())
    }

    #[test]
    fn the_oldest_take_turns() {
        let (rows, records) = held(&["a", "b", "c"]);
        let chosen = |leg| choose(&rows, &records, leg, NOW).unwrap().key.event_id.to_string();
        assert_eq!([chosen(3), chosen(4), chosen(5), chosen(6)], ["a", "b", "c", "a"]);
        assert_eq!(choose(&[], &Records::new(), 1, NOW), None);
    }

    #[test]
    fn no_probe_is_sent_while_one_is_on_its_way() {
        let (rows, mut records) = held(&["a", "b"]);
        let claimed = records[&rows[1].delivery].claimed("x", NOW.plus(Duration::from_secs(1)));
        records.insert(claimed.key.clone(), claimed);
        assert_eq!(choose(&rows, &records, 1, NOW), None);
        assert!(choose(&rows, &records, 1, NOW.plus(Duration::from_secs(1))).is_some(), "a dead one");
    }
}
