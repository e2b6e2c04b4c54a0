//! What is done with one message of the Deliveries queue.

use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_aws::logs::spans;
use pombo_aws::metrics::Metric;
use pombo_aws::protocol::{SeenRecord, SettleError, Settled};
use pombo_aws::queue::Outgoing;
use pombo_domain::body::Damaged;
use pombo_domain::delivery::{DropReason, Record, Verdict, verdict};
use pombo_domain::message::{DeliveryMessage, QueuedOutcome};
use pombo_domain::pace::RECORD_AGAIN;
use pombo_domain::time::Timestamp;
use thiserror::Error;

use crate::attempt::{self, Payload};
use crate::endpoint_cache::Receiver;
use crate::health;
use crate::invocation::{Invocation, Room};
use crate::probe;
use crate::settings::App;
use crate::slot;

/// How often a claim is repeated against others that are faster.
const MOST_CONFLICTS: usize = 10;

/// Why a message has to come again.
#[derive(Debug, Error)]
pub enum Undone {
    /// An AWS call failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// An attempt is recorded, but what follows is not on its way.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The stored body is damaged.
    #[error(transparent)]
    Body(#[from] Damaged),
    /// The record changed under every try to claim it.
    #[error("the record changed ten times in a row")]
    Contended,
}

/// Handles a message. `received` is the number of times that SQS has given out the message, if SQS says so. After `Ok` the
/// message may be acknowledged: what it asked for is done, or another message has taken its place.
pub async fn deliver(
    app: &App,
    invocation: &Invocation,
    holder: &str,
    body: &str,
    received: Option<u32>,
) -> Result<(), Undone> {
    let message = match DeliveryMessage::parse(body) {
        Ok(message) => message.received(received),
        Err(error) => {
            tracing::error!(%error, "A message cannot be read; it goes to the dead-letter queue.");
            let letter = Outgoing { body: body.to_owned(), group: None, delay_seconds: 0 };
            return Ok(app.dead_letters.send(letter).await?);
        }
    };
    spans::note_delivery(&message.delivery, message.step);
    if let Some(time) = message.not_before.filter(|time| *time > clock::now()) {
        return Ok(app.protocol.wait(message, time).await?);
    }
    if let Some(outcome) = message.record.clone() {
        return settle(app, &message, SeenRecord::NotRead, outcome).await;
    }
    attempt_delivery(app, invocation, holder, message).await
}

async fn attempt_delivery(
    app: &App,
    invocation: &Invocation,
    holder: &str,
    message: DeliveryMessage,
) -> Result<(), Undone> {
    let version = message.event.as_ref().and_then(|event| event.endpoint_version);
    let receiver = app.endpoints.receiver(&message.delivery.endpoint_id, version).await?;
    if message.probe.is_some() && !matches!(receiver, Receiver::Open(_)) {
        // Whatever became of the circuit, the drain moves what is held.
        tracing::info!("The circuit is no longer open; the probe is dropped.");
        return Ok(());
    }
    let timeout = match &receiver {
        Receiver::Active(endpoint) | Receiver::Open(endpoint) => {
            match invocation.room(endpoint.timeout().min(app.longest_timeout), clock::now()) {
                Room::For(timeout) => timeout,
                Room::Later => return Ok(app.protocol.send(message, 0).await?),
            }
        }
        Receiver::Paused | Receiver::Gone => Duration::ZERO,
    };
    let turn = match without_claim(app, invocation, &message, &receiver) {
        Some(turn) => turn,
        None => match claim(app, invocation, holder, &message, &receiver).await? {
            Some(turn) => turn,
            None => return Ok(()),
        },
    };
    let (Receiver::Active(endpoint) | Receiver::Open(endpoint)) = receiver else { return Ok(()) };
    let payload = payload(app, &message, &turn.record).await?;
    let mut outcome = attempt::attempt(app, holder, &endpoint, &message, payload, timeout, &turn).await;
    outcome.decision = outcome.decision.before(Timestamp::from_seconds(turn.record.expires_at));
    let attempt = outcome.attempt.clone();
    settle(app, &message, turn.seen(), outcome).await?;
    health::note(app, &message, &attempt, holder).await;
    Ok(())
}

/// A delivery that this process may attempt now.
#[derive(Debug)]
pub struct Turn {
    /// The delivery's record as it was claimed. Without a claim, this is the record that the delivery begins with.
    pub record: Record,
    /// Whether the delivery was claimed. If it was not, there may be no record.
    is_claimed: bool,
    /// Whether a process died that may have sent the attempt.
    pub redelivered: bool,
}

impl Turn {
    /// The delivery's record as far as it is known when the attempt is over.
    fn seen(self) -> SeenRecord {
        if self.is_claimed { SeenRecord::Found(Box::new(self.record)) } else { SeenRecord::None }
    }
}

/// The turn of a delivery, if its first attempt may be made without a claim: see [`FirstAttemptWindow`].
///
/// [`FirstAttemptWindow`]: pombo_domain::first_attempt::FirstAttemptWindow
fn without_claim(app: &App, invocation: &Invocation, message: &DeliveryMessage, receiver: &Receiver) -> Option<Turn> {
    // `Receiver::Active` also means that the circuit is not open.
    let (Receiver::Active(endpoint), Some(window)) = (receiver, app.without_claim) else { return None };
    let record = message.new_record().filter(|_| window.spares_claim(message, endpoint, invocation.ends_at()))?;
    Some(Turn { record, is_claimed: false, redelivered: false })
}

/// Claims the delivery, or does what else its record asks for and gives `None`: the message is then done with.
async fn claim(
    app: &App,
    invocation: &Invocation,
    holder: &str,
    message: &DeliveryMessage,
    receiver: &Receiver,
) -> Result<Option<Turn>, Undone> {
    let head = message.head(holder);
    // A first message meets no record, unless it is a repeat: its write tells. The others have one.
    let mut seen =
        if head.begins && message.hops == 0 { None } else { app.protocol.deliveries.get(&message.delivery).await? };
    let mut slot = message.slot;
    for _ in 0..MOST_CONFLICTS {
        match verdict(seen.as_ref(), head, clock::now()) {
            Verdict::Claim => {}
            Verdict::Wait { until } => {
                tracing::info!("Another claim is live; the message waits.");
                app.protocol.wait(message.clone(), until.plus(Duration::from_secs(1))).await?;
                return Ok(None);
            }
            Verdict::Early { due } => {
                tracing::info!(%due, "The attempt is not due yet; the message waits.");
                app.protocol.wait(message.clone(), due).await?;
                return Ok(None);
            }
            Verdict::Ensure => {
                if let Some(record) = &seen {
                    app.protocol.ensure_next(record).await?;
                }
                return Ok(None);
            }
            Verdict::Drop(reason) => {
                log_drop(reason);
                return Ok(None);
            }
        }
        let rev = seen.as_ref().map(|record| record.rev);
        let Some(base) = seen.clone().or_else(|| message.new_record()) else { return Ok(None) };
        let redelivered = base.was_abandoned(holder);
        let may_go = may_go(receiver, message, &base);
        if let (true, Receiver::Active(endpoint) | Receiver::Open(endpoint)) = (may_go, receiver)
            && !slot::is_up(app, invocation, holder, endpoint, message, &mut slot, seen.as_ref()).await?
        {
            return Ok(None);
        }
        if let (true, Some(ordered_at)) = (may_go, message.probe)
            && !probe::begins(app, invocation, holder, &message.delivery, ordered_at).await?
        {
            return Ok(None);
        }
        let wanted = match receiver {
            _ if may_go => base.claimed(holder, invocation.ends_at()),
            Receiver::Gone => base.cancelled(),
            Receiver::Active(_) | Receiver::Open(_) | Receiver::Paused => base.held(holder),
        };
        match app.protocol.deliveries.put(rev, wanted, holder).await? {
            Put::Conflict(record) => seen = record.map(|record| *record),
            Put::Stored(record) => {
                if !may_go {
                    tracing::info!(status = record.status.as_str(), "The endpoint takes nothing.");
                    return Ok(None);
                }
                return Ok(Some(Turn { record: *record, is_claimed: true, redelivered }));
            }
        }
    }
    Err(Undone::Contended)
}

/// Whether the receiver may be sent the delivery now. A circuit lets probes through, and the attempt of a test: whoever asks
/// for one wants to see what the endpoint does. The number of tests is limited and that of replays is not, so a test that is
/// replayed waits like any other delivery.
fn may_go(receiver: &Receiver, message: &DeliveryMessage, record: &Record) -> bool {
    match receiver {
        Receiver::Active(_) => true,
        Receiver::Open(_) => message.probe.is_some() || record.passes_open_circuit(message.step),
        Receiver::Paused | Receiver::Gone => false,
    }
}

/// The payload that goes over the wire. It is read from the message, or from the event if the message's body is left out or
/// damaged; `None` when the event has expired.
async fn payload(app: &App, message: &DeliveryMessage, record: &Record) -> Result<Option<Payload>, Undone> {
    let carried = message.event.as_ref().and_then(|event| {
        let body = event.body.as_ref()?.unpack().ok()?;
        Some(Payload { body, hops: event.hops })
    });
    if carried.is_some() {
        return Ok(carried);
    }
    match app.events.get(&record.tenant, &record.key.event_id, clock::now()).await? {
        // An id may be used again after its event has expired; that is another event.
        Some(event) if event.accepted_at == record.key.accepted_at => {
            Ok(Some(Payload { body: event.body.unpack()?, hops: event.hops }))
        }
        _ => Ok(None),
    }
}

/// Records an outcome and sends what follows on its way. When the record cannot be written, the outcome itself is queued
/// in this message's place: the receiver has had the request, and must not get it again for our trouble.
async fn settle(app: &App, message: &DeliveryMessage, seen: SeenRecord, outcome: QueuedOutcome) -> Result<(), Undone> {
    // A claimed delivery has a record. Without a claim, the outcome carries what a new record needs.
    let event = message.event.as_ref().filter(|_| !matches!(seen, SeenRecord::Found(_)));
    match app.protocol.settle(&message.delivery, seen, event.map(|event| &event.new), &outcome).await {
        Ok(settled) => {
            if event.is_some() {
                note_repeat(app, &settled, &outcome);
            }
            Ok(())
        }
        Err(SettleError::Record(error)) => {
            tracing::error!(%error, "The outcome could not be recorded; it is queued.");
            app.protocol.metrics.count(Metric::OutcomesQueued, 1);
            let again = DeliveryMessage::outcome(message.delivery.clone(), outcome);
            let mut again = match event {
                Some(event) => again.with_new_record(event.clone()),
                None => again,
            };
            again.hops = message.hops.saturating_add(1);
            Ok(app.protocol.send(again, RECORD_AGAIN.as_secs() as u32).await?)
        }
        Err(error @ SettleError::Next(_)) => Err(error.into()),
    }
}

/// Counts a first attempt without a claim that turns out to have been made twice. SQS may hand out a message twice, each time
/// as a first receive.
fn note_repeat(app: &App, settled: &Settled, outcome: &QueuedOutcome) {
    if let Settled::Recorded(record) | Settled::Superseded(record) = settled
        && record.holds_another(&outcome.attempt)
    {
        tracing::info!("The first attempt was made twice: another process had its message too.");
        app.protocol.metrics.count(Metric::FirstAttemptsRepeated, 1);
    }
}

fn log_drop(reason: DropReason) {
    let reason = match reason {
        DropReason::Settled => "settled",
        DropReason::Passed => "passed",
        DropReason::Ahead => "ahead of its record",
        DropReason::Gone => "gone",
    };
    tracing::info!(reason, "A message was dropped.");
}
