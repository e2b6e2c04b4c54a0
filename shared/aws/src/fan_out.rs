//! Queueing the deliveries of an event: one message an endpoint, ten in a call, the calls concurrently.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use pombo_domain::body::PackedBody;
use pombo_domain::event::Event;
use pombo_domain::ids::EndpointId;
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_domain::time::Timestamp;
use tracing::Span;

use crate::clock;
use crate::logs::spans;
use crate::protocol::outgoing;
use crate::queue::{LARGEST_BATCH, Outgoing, Queue};

/// The most that a batch may hold with bodies; SQS takes four times as much, and bills each 64 KiB.
const LARGEST_BATCH_BYTES: usize = 256 * 1024;
/// How many calls are made at a time.
const CONCURRENT_CALLS: usize = 16;
/// How often the refused entries of a batch are sent again.
const REPEATS: u32 = 3;

/// Queues a message for every endpoint of the event's list; gives how many could not be queued. `version_of` is the
/// version of an endpoint, where it is known: dispatch does not act on an older copy. No call is begun after `until`, if that
/// is given: of many that each take long, the last would end after the caller had to answer.
pub async fn send(
    queue: &Queue,
    event: &Event,
    version_of: impl Fn(&EndpointId) -> Option<u64>,
    until: Option<Timestamp>,
) -> usize {
    let batches = event.fan_out.endpoints().chunks(LARGEST_BATCH).map(|endpoints| {
        // To write a large body a thousand times, only to find each time that it does not fit, would take most of ingest's time.
        let body = Some(&event.body).filter(|body| body.bytes.len() * endpoints.len() <= LARGEST_BATCH_BYTES);
        let messages = endpoints.iter().map(|endpoint| message(event, endpoint, version_of(endpoint), body)).collect();
        send_batch(queue, messages, until)
    });
    stream::iter(batches).buffer_unordered(CONCURRENT_CALLS).fold(0, |sum, unsent| async move { sum + unsent }).await
}

/// The first message of a delivery, with the body or by reference.
fn message(
    event: &Event,
    endpoint: &EndpointId,
    endpoint_version: Option<u64>,
    body: Option<&PackedBody>,
) -> DeliveryMessage {
    let part = EventPart { new: event.new_delivery(), endpoint_version, body: body.cloned(), hops: event.hops };
    DeliveryMessage::first(event.delivery_to(endpoint.clone()), part)
}

async fn send_batch(queue: &Queue, messages: Vec<DeliveryMessage>, until: Option<Timestamp>) -> usize {
    let mut left = entries(&messages);
    for repeat in 0..=REPEATS {
        if repeat > 0 {
            tokio::time::sleep(Duration::from_millis(50 << repeat)).await;
        }
        if until.is_some_and(|until| clock::now() >= until) {
            tracing::error!(messages = left.len(), "There is no time left to queue a batch.");
            break;
        }
        let batch: Vec<Outgoing> = left.iter().map(|(_, entry)| entry.clone()).collect();
        let refused = match queue.send_batch(&batch).await {
            Ok(refused) => refused,
            Err(error) => {
                // The SDK has repeated the call already.
                tracing::error!(%error, "A batch could not be queued.");
                return left.len();
            }
        };
        left = refused
            .into_iter()
            .filter_map(|refused| {
                let (position, entry) = left.get(refused.index)?;
                let message = messages.get(*position);
                // What SQS refuses for its content it may take without the body.
                let entry = match message {
                    Some(message) if refused.senders_fault => outgoing(&message.clone().without_body(), 0),
                    _ => entry.clone(),
                };
                let span =
                    message.map_or_else(Span::none, |message| spans::delivery(&message.delivery, Some(message.step)));
                span.in_scope(|| {
                    tracing::warn!(code = refused.code, senders_fault = refused.senders_fault, "SQS refused an entry.");
                });
                Some((*position, entry))
            })
            .collect();
        if left.is_empty() {
            return 0;
        }
    }
    left.len()
}

/// The entries of a batch with their place in it: with bodies, or by reference when those would make it too large.
fn entries(messages: &[DeliveryMessage]) -> Vec<(usize, Outgoing)> {
    let whole: Vec<Outgoing> = messages.iter().map(|message| outgoing(message, 0)).collect();
    let size: usize = whole.iter().map(|entry| entry.body.len()).sum();
    if size <= LARGEST_BATCH_BYTES {
        return whole.into_iter().enumerate().collect();
    }
    messages.iter().map(|message| outgoing(&message.clone().without_body(), 0)).enumerate().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pombo_domain::event::FanOut;

    use super::*;

    fn messages(body: &[u8], endpoints: u8) -> Vec<DeliveryMessage> {
        let endpoints: Vec<_> = (0..endpoints).map(|byte| EndpointId::generate([byte; 10])).collect();
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: Timestamp::from_millis(0),
            body: PackedBody { encoding: pombo_domain::body::Encoding::Identity, bytes: body.to_vec() },
            fan_out: FanOut::new(endpoints.clone()),
            fingerprint: String::new(),
            expires_at: 0,
            hops: "2".parse().unwrap(),
            posted_by: None,
        };
        endpoints.iter().map(|endpoint| message(&event, endpoint, Some(1), Some(&event.body))).collect()
    }

    #[test]
    fn bodies_travel_with_the_message_until_a_batch_would_be_too_large() {
        for (bytes, endpoints, with_body) in
            [(10, 10, true), (18_000, 10, true), (20_000, 10, false), (190_000, 1, true)]
        {
            let messages = messages(&vec![b'x'; bytes], endpoints);
            let entries = entries(&messages);
            let sum: usize = entries.iter().map(|(_, entry)| entry.body.len()).sum();
            assert!(sum <= LARGEST_BATCH_BYTES, "{bytes} bytes to {endpoints}");
            let carried = entries
                .iter()
                .all(|(_, entry)| DeliveryMessage::parse(&entry.body).unwrap().event.unwrap().body.is_some());
            assert_eq!(carried, with_body, "{bytes} bytes to {endpoints}");
        }
    }

    #[test]
    fn every_message_is_in_its_endpoints_group() {
        for (position, entry) in entries(&messages(b"{}", 10)) {
            assert_eq!(entry.group, Some(EndpointId::generate([position as u8; 10])));
        }
    }
}
