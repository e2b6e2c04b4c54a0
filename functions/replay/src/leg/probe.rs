//! The probe of an open circuit: one held delivery is sent, to see whether its endpoint is back.
//!
//! Success closes the circuit; dispatch writes that. Failure costs the delivery none of its attempts. The probes take
//! turns among the oldest held deliveries: an event that its receiver will never take must not keep the circuit open for
//! all the others.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::health::{Health, Open};
use pombo_domain::job::{Job, Row};
use pombo_domain::message::DeliveryMessage;
use pombo_domain::time::Timestamp;

use super::circuit;
use super::held::{Look, look};
use super::page::Page;
use super::rows::Records;
use crate::settings::App;

/// Among so many of the oldest held deliveries the probes take turns.
const TAKING_TURNS: usize = 8;

/// Sends a probe, unless one is on its way or there is nothing to send.
pub(super) async fn probe(
    app: &App,
    job: &Job,
    endpoint: &Endpoint,
    health: &Health,
    open: &Open,
    began: Timestamp,
    writer: &str,
) -> Result<Page, AwsError> {
    let look_again_in = match look(app, &endpoint.id, TAKING_TURNS).await? {
        Look::Held(rows, records) => {
            let now = clock::now();
            if let Some(record) = choose(&rows, &records, job.leg, now) {
                let message = DeliveryMessage::probe(record.key.clone(), record.step.next(), now);
                app.protocol.send(message, 0).await?;
            }
            app.rules.probe_every
        }
        Look::Stale => Duration::from_secs(1),
        // Deliveries come to be held for some time after the circuit opened. When none has come by then, there is nothing
        // to look after: the circuit closes with its mark left, and the next failure opens it again.
        Look::Nothing if began >= open.since.plus(app.settle) => {
            if circuit::close(app, endpoint, health, health.closed_unproven(clock::now()), writer).await? {
                tracing::info!(endpoint = %endpoint.id, "Nothing is held to probe with; the circuit closed unproven.");
            }
            Duration::from_secs(1)
        }
        Look::Nothing => app.rules.probe_every,
    };
    Ok(Page::Nothing { look_again_in })
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
