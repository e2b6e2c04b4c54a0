//! One attempt: sign, send, and say what became of it and what follows.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::delivery::{Record, Step};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::hops::{HOPS_HEADER, Hops};
use pombo_domain::message::{DeliveryMessage, QueuedOutcome};
use pombo_domain::outcome::{Attempt, Outcome, SentTo, Trigger};
use pombo_domain::retry::{Jitter, decide, postponement};
use pombo_domain::webhook_id::WebhookId;

use crate::deliver::Turn;
use crate::http::Exchange;
use crate::settings::App;

/// The parts of an event that are sent.
#[derive(Debug)]
pub struct Payload {
    /// The body as it goes over the wire.
    pub body: Vec<u8>,
    /// How many times Pombo has sent the event on before.
    pub hops: Hops,
}

/// Makes the attempt that the message asks for. `holder` has the turn. Without a payload there is nothing to send, because
/// the event has expired.
pub async fn attempt(
    app: &App,
    holder: &str,
    endpoint: &Endpoint,
    message: &DeliveryMessage,
    payload: Option<Payload>,
    timeout: Duration,
    turn: &Turn,
) -> QueuedOutcome {
    let started_at = clock::now();
    let event_id = &message.delivery.event_id;
    let redelivered = turn.redelivered;
    let mut exchange = match payload {
        None => Exchange::without_answer(Outcome::Expired, Duration::ZERO),
        Some(Payload { body, hops }) => {
            let webhook_id = WebhookId::new(turn.record.tenant.clone(), event_id.clone());
            // Signed anew each time: receivers refuse a timestamp that is more than minutes old.
            let signature = endpoint.secrets.sign(&webhook_id, started_at, &body);
            let mut headers = vec![
                ("content-type", "application/json".to_owned()),
                ("webhook-id", webhook_id.to_string()),
                ("webhook-timestamp", started_at.as_seconds().to_string()),
                ("webhook-signature", signature),
                (HOPS_HEADER, hops.next().to_string()),
            ];
            headers.extend(endpoint.headers.reveal().map(|(name, value)| (name, value.to_owned())));
            app.sender.post(&endpoint.url, endpoint.url_set_by, &headers, body, timeout).await
        }
    };
    let jitter = Jitter::from_random(clock::random_bits());
    let retry_after = exchange.retry_after;
    let is_test = turn.record.event_type.is_ping();
    // A probe sets no time, and after a test comes no other attempt.
    if message.probe.is_none()
        && !is_test
        && let Some(wait) = postponement(&endpoint.retry_policy, message.step, &exchange.outcome, retry_after, jitter)
    {
        exchange.answer.get_or_insert_default().retry_after = Some(wait.as_secs() as u32);
    }
    let attempt = Attempt {
        step: message.step,
        started_at,
        duration_ms: exchange.took.as_millis() as u64,
        outcome: exchange.outcome,
        sent_to: Some(SentTo::now(endpoint)),
        answer: exchange.answer,
        redelivered: redelivered || exchange.redelivered,
        trigger: if message.probe.is_some() { Trigger::Probe } else { Record::trigger(message.step) },
    };
    let ended_at = attempt.ended_at();
    let decision = decide(&endpoint.retry_policy, message.step, &attempt.outcome, ended_at, retry_after, jitter);
    let decision = if message.probe.is_some() { decision.of_probe(&attempt.outcome) } else { decision };
    let decision = if is_test { decision.of_test() } else { decision };
    log_attempt(&attempt, redelivered);
    QueuedOutcome { holder: holder.to_owned(), attempt, decision }
}

/// Writes the one line of the log for an attempt. The line holds nothing that a receiver said: see [`Detail`](pombo_domain::outcome::Detail).
///
/// A delivery that succeeds at once is no news. One that succeeds later is: its failures were logged.
pub fn log_attempt(attempt: &Attempt, redelivered: bool) {
    let (outcome, status_code, duration_ms) = (&attempt.outcome, attempt.outcome.status_code(), attempt.duration_ms);
    if outcome.is_success() && attempt.step == Step::FIRST && !redelivered {
        tracing::debug!(?outcome, status_code, duration_ms, redelivered, "Attempt made.");
    } else {
        tracing::info!(?outcome, status_code, duration_ms, redelivered, "Attempt made.");
    }
}
