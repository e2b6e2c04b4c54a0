//! Queueing the deliveries of an event: one message an endpoint, ten in a call, the calls concurrently.
//!
//! The mark of a first message permits an attempt without a claim, see [`first_attempt`](pombo_domain::first_attempt), and is
//! given once. A message that SQS has certainly not queued may be sent again with the mark. A message that may be on the
//! queue is sent again without the mark, and is received only when the window has closed. If the attempt was made, the
//! repeated message then finds the outcome.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use pombo_domain::body::PackedBody;
use pombo_domain::event::{Event, FanOut};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::ids::EndpointId;
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_domain::time::Timestamp;

use crate::clock;
use crate::logs::spans;
use crate::protocol::outgoing;
use crate::queue::{LARGEST_BATCH, Outgoing, Queue, Refused, SentOnce};

/// The most that a batch may hold with bodies; SQS takes four times as much, and bills each 64 KiB.
const LARGEST_BATCH_BYTES: usize = 256 * 1024;
/// How many calls are made at a time.
const CONCURRENT_CALLS: usize = 16;
/// How often the refused entries of a batch are sent again.
const REPEATS: u32 = 3;

/// Why the messages of an event are sent now. The reason decides which messages have the mark, and which have to wait.
#[derive(Debug, Clone, Copy)]
pub enum Occasion<'a> {
    /// The event was stored in this invocation, and none of its messages has been sent. The messages get the mark.
    Stored(FirstAttemptWindow),
    /// The app repeats an event that an earlier request stored. That request's messages may be on the queue until the window
    /// has closed, except for those to the `refused` endpoints.
    Repeated(FirstAttemptWindow, &'a FanOut),
    /// The event is one of Pombo's own, whose messages never have the mark.
    Own,
}

/// The messages that could not be queued.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// The endpoints to which nothing was sent: SQS refused each message to them, or there was no time to send one.
    pub refused: Vec<EndpointId>,
    /// Number of messages that could not be queued this time, but may have been queued before.
    pub uncertain: usize,
}

impl Unsent {
    /// Number of messages.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.refused.len() + self.uncertain
    }

    fn and(mut self, other: Self) -> Self {
        self.refused.extend(other.refused);
        self.uncertain += other.uncertain;
        self
    }
}

/// Queues a message for every endpoint of the event's list, and returns the messages that could not be queued. `version_of`
/// gives the version of an endpoint, if it is known: dispatch does not act on an older copy. No call begins after `until`, if
/// that is given. Otherwise the last of many slow calls would end after the caller had to answer.
pub async fn send(
    queue: &Queue,
    event: &Event,
    occasion: Occasion<'_>,
    version_of: impl Fn(&EndpointId) -> Option<u64>,
    until: Option<Timestamp>,
) -> Unsent {
    let batches = event.fan_out.endpoints().chunks(LARGEST_BATCH).map(|endpoints| {
        // To write a large body a thousand times, only to find each time that it does not fit, would take most of ingest's time.
        let body = Some(&event.body).filter(|body| body.bytes.len() * endpoints.len() <= LARGEST_BATCH_BYTES);
        let message = |endpoint| Message::new(event, endpoint, version_of(endpoint), body, occasion);
        send_batch(queue, endpoints.iter().map(message).collect(), until)
    });
    let unsent = stream::iter(batches).buffer_unordered(CONCURRENT_CALLS);
    unsent.fold(Unsent::default(), |sum, unsent| async move { sum.and(unsent) }).await
}

/// The first message of a delivery, on its way to the queue.
#[derive(Debug, Clone)]
struct Message {
    message: DeliveryMessage,
    /// The window of the mark that the message has, or that an earlier copy of it may have had.
    window: Option<FirstAttemptWindow>,
    /// The message as it is sent, except for the delay.
    entry: Outgoing,
}

impl Message {
    /// Makes the message, with the body or by reference.
    fn new(
        event: &Event,
        endpoint: &EndpointId,
        endpoint_version: Option<u64>,
        body: Option<&PackedBody>,
        occasion: Occasion<'_>,
    ) -> Self {
        let part = EventPart { new: event.new_delivery(), endpoint_version, body: body.cloned(), hops: event.hops };
        let message = DeliveryMessage::first(event.delivery_to(endpoint.clone()), part);
        match occasion {
            Occasion::Stored(window) => Self::of(message.marked(), Some(window)),
            Occasion::Repeated(_, refused) if refused.endpoints().contains(endpoint) => Self::of(message, None),
            Occasion::Repeated(window, _) => Self::of(message.repeated(), Some(window)),
            Occasion::Own => Self::of(message, None),
        }
    }

    fn of(message: DeliveryMessage, window: Option<FirstAttemptWindow>) -> Self {
        Self { entry: outgoing(&message, 0), message, window }
    }

    /// The same message after the answer to its call was lost: it may already be queued.
    fn lost(self) -> Self {
        Self::of(self.message.repeated(), self.window)
    }

    /// The same message by reference.
    fn without_body(self) -> Self {
        Self::of(self.message.without_body(), self.window)
    }

    /// Sets the delay of a message that is sent at `now`: without the mark, it waits until the window has closed.
    fn delay(&mut self, now: Timestamp) {
        let wait = match self.window {
            Some(window) if !self.message.first => window.left(self.message.delivery.accepted_at, now),
            _ => Duration::ZERO,
        };
        self.entry.delay_seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    }
}

async fn send_batch(queue: &Queue, messages: Vec<Message>, until: Option<Timestamp>) -> Unsent {
    let mut left = of_fitting_size(messages);
    let mut repeats = 0;
    while repeats <= REPEATS && !left.is_empty() {
        if repeats > 0 {
            tokio::time::sleep(Duration::from_millis(50 << repeats)).await;
        }
        let now = clock::now();
        if until.is_some_and(|until| now >= until) {
            tracing::error!(messages = left.len(), "There is no time left to queue a batch.");
            break;
        }
        left.iter_mut().for_each(|message| message.delay(now));
        // Either all messages of a batch have the mark, or none of them.
        let has_mark = left.iter().any(|message| message.message.first);
        let entries = left.iter().map(|message| &message.entry);
        let sent = if has_mark { queue.send_batch_once(entries).await } else { repeated(queue, entries).await };
        match sent {
            SentOnce::Answered(refused) => left = again(&left, &refused),
            SentOnce::Refused(error) if has_mark => tracing::warn!(%error, "SQS refused a batch."),
            SentOnce::Lost(error) if has_mark => {
                tracing::warn!(%error, "The answer about a batch was lost. The batch is sent again, to be handled later.");
                left = left.into_iter().map(Message::lost).collect();
                repeats = 0;
                continue;
            }
            // The SDK has repeated the call already.
            SentOnce::Refused(error) | SentOnce::Lost(error) => {
                tracing::error!(%error, "A batch could not be queued.");
                break;
            }
        }
        repeats += 1;
    }
    unsent(left)
}

/// Sends a batch with the repeats of the SDK.
async fn repeated(queue: &Queue, entries: impl Iterator<Item = &Outgoing>) -> SentOnce {
    match queue.send_batch(entries).await {
        Ok(refused) => SentOnce::Answered(refused),
        Err(error) => SentOnce::Lost(error),
    }
}

/// The messages that SQS refused, to be sent again. If SQS refused a message for its content, it may take the message without
/// the body.
fn again(sent: &[Message], refused: &[Refused]) -> Vec<Message> {
    let refused = refused.iter().filter_map(|refused| {
        let message = sent.get(refused.index)?.clone();
        let span = spans::delivery(&message.message.delivery, Some(message.message.step));
        span.in_scope(|| {
            tracing::warn!(code = refused.code, senders_fault = refused.senders_fault, "SQS refused an entry.");
        });
        Some(if refused.senders_fault { message.without_body() } else { message })
    });
    refused.collect()
}

/// Sorts the messages that are not queued. A message that still has the mark was never sent, or was refused each time.
fn unsent(messages: Vec<Message>) -> Unsent {
    messages.into_iter().fold(Unsent::default(), |mut unsent, Message { message, .. }| {
        if message.first {
            unsent.refused.push(message.delivery.endpoint_id);
        } else {
            unsent.uncertain += 1;
        }
        unsent
    })
}

/// The messages of a batch, with bodies, or by reference if bodies would make the batch too large.
fn of_fitting_size(messages: Vec<Message>) -> Vec<Message> {
    let size: usize = messages.iter().map(|message| message.entry.body.len()).sum();
    if size <= LARGEST_BATCH_BYTES { messages } else { messages.into_iter().map(Message::without_body).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use pombo_domain::event::FanOut;

    use super::*;

    const WINDOW: FirstAttemptWindow = FirstAttemptWindow::new(Duration::from_secs(180));
    const ACCEPTED: Timestamp = Timestamp::from_seconds(1000);

    fn endpoint(byte: u8) -> EndpointId {
        EndpointId::generate([byte; 10])
    }

    fn messages(body: &[u8], endpoints: u8, occasion: Occasion<'_>) -> Vec<Message> {
        let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
        let event = Event {
            tenant: "acme".parse().unwrap(),
            id: "evt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            accepted_at: ACCEPTED,
            body: PackedBody { encoding: pombo_domain::body::Encoding::Identity, bytes: body.to_vec() },
            fan_out: FanOut::new(endpoints.clone()),
            fingerprint: String::new(),
            expires_at: 0,
            hops: "2".parse().unwrap(),
            posted_by: None,
        };
        endpoints.iter().map(|endpoint| Message::new(&event, endpoint, Some(1), Some(&event.body), occasion)).collect()
    }

    /// The mark and the delay of a message that is sent `seconds` after the event was accepted. Asserts that exactly the
    /// messages that wait for the window to close say that they are repeats.
    fn sent(message: &Message, seconds: u64) -> (bool, u32) {
        let mut message = message.clone();
        message.delay(ACCEPTED.plus(Duration::from_secs(seconds)));
        let read = DeliveryMessage::parse(&message.entry.body).unwrap();
        assert_eq!(read.repeat, !read.first && message.window.is_some());
        (read.first, message.entry.delay_seconds)
    }

    #[test]
    fn bodies_travel_with_the_message_until_a_batch_would_be_too_large() {
        for (bytes, endpoints, with_body) in
            [(10, 10, true), (18_000, 10, true), (20_000, 10, false), (190_000, 1, true)]
        {
            let messages = of_fitting_size(messages(&vec![b'x'; bytes], endpoints, Occasion::Own));
            let sum: usize = messages.iter().map(|message| message.entry.body.len()).sum();
            assert!(sum <= LARGEST_BATCH_BYTES, "{bytes} bytes to {endpoints}");
            let carried = messages
                .iter()
                .all(|message| DeliveryMessage::parse(&message.entry.body).unwrap().event.unwrap().body.is_some());
            assert_eq!(carried, with_body, "{bytes} bytes to {endpoints}");
        }
    }

    #[test]
    fn every_message_is_in_its_endpoints_group() {
        for (position, message) in messages(b"{}", 10, Occasion::Own).into_iter().enumerate() {
            assert_eq!(message.entry.group, Some(endpoint(position as u8)));
        }
    }

    #[test]
    fn a_new_event_s_messages_have_the_mark_and_those_of_pombo_s_own_do_not() {
        assert_eq!(sent(&messages(b"{}", 1, Occasion::Stored(WINDOW))[0], 7), (true, 0));
        assert_eq!(sent(&messages(b"{}", 1, Occasion::Own)[0], 7), (false, 0));
    }

    #[test]
    fn a_message_that_may_be_queued_is_sent_without_the_mark_after_the_window() {
        let message = messages(b"{}", 1, Occasion::Stored(WINDOW)).remove(0).lost();
        for (seconds, delay) in [(0, 180), (60, 120), (180, 0), (500, 0)] {
            assert_eq!(sent(&message, seconds), (false, delay), "after {seconds} s");
        }
        let mut message = message;
        message.delay(Timestamp::from_millis(ACCEPTED.as_millis() + 1));
        assert_eq!(message.entry.delay_seconds, 180, "179.999 s, rounded up");
    }

    #[test]
    fn an_entry_that_is_refused_keeps_the_mark_and_goes_by_reference_if_its_content_is_at_fault() {
        let batch = messages(b"{}", 3, Occasion::Stored(WINDOW));
        let refused = |index, senders_fault| Refused { index, senders_fault, code: "x".into() };
        let again = again(&batch, &[refused(1, false), refused(2, true)]);
        for (message, (place, with_body)) in again.iter().zip([(1, true), (2, false)]) {
            let read = DeliveryMessage::parse(&message.entry.body).unwrap();
            assert_eq!((read.first, &read.delivery.endpoint_id), (true, &endpoint(place)));
            assert_eq!(read.event.unwrap().body.is_some(), with_body);
        }
        assert_eq!(again.len(), 2);
    }

    #[test]
    fn a_repeat_has_no_mark_and_waits_except_for_the_endpoints_that_were_refused() {
        let refused = FanOut::new(vec![endpoint(1)]);
        let messages = messages(b"{}", 3, Occasion::Repeated(WINDOW, &refused));
        for (message, delay) in messages.iter().zip([170, 0, 170]) {
            assert_eq!(sent(message, 10), (false, delay));
        }
    }

    #[test]
    fn a_message_that_was_lost_once_does_not_count_as_refused() {
        let mut messages = messages(b"{}", 3, Occasion::Stored(WINDOW));
        let lost = messages.remove(0).lost();
        messages.push(lost);
        let unsent = unsent(messages);
        assert_eq!(unsent, Unsent { refused: vec![endpoint(1), endpoint(2)], uncertain: 1 });
        assert_eq!(unsent.count(), 3);
    }
}
