//! The turn of a delivery whose endpoint has a rate limit.
//!
//! A message reserves a slot once and carries it while it waits, so that a delivery costs one write more however long the
//! line is. It waits in the process when its slot is near, which is more exact than a queue that delays by whole seconds;
//! else in the queue, without a claim. A wait over a minute is written to the record first: the delivery is seen, and the
//! sweep knows when to miss it.
//!
//! A slot is lost when a process dies with it, or when its message was a repeat; the receiver then gets one request less
//! in that time. Nothing else is lost: a reservation that fails leaves the message to try again some seconds later.
//! Probes of an open circuit take no slot. There is one in each probe interval, and behind a long line it would tell
//! nothing for as long.

use std::time::Duration;

use pombo_aws::rate_limit::Reserved;
use pombo_aws::{AwsError, clock};
use pombo_domain::delivery::{Record, Status};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::message::DeliveryMessage;
use pombo_domain::rate_limit::{Slot, Wait};
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;

use crate::invocation::{Invocation, Room};
use crate::settings::App;

/// What waits longer than this says so in its record.
const UNRECORDED: Duration = Duration::from_secs(60);

/// When an AWS call has failed, the message comes back after so many seconds, and up to as many more: those that were
/// refused together should not come together.
const AGAIN_SECONDS: u32 = 3;

/// Waits for the delivery's turn, if that is soon, and gives `true`: it may be claimed and sent. Else its message is sent
/// on, to come back when its turn is near, and this one is done with.
///
/// `slot` is what the message has reserved, to begin with the one that it carries; a second call does not reserve again.
/// `seen` is the record as it stands.
pub async fn is_up(
    app: &App,
    invocation: &Invocation,
    holder: &str,
    endpoint: &Endpoint,
    message: &DeliveryMessage,
    slot: &mut Option<Slot>,
    seen: Option<&Record>,
) -> Result<bool, AwsError> {
    let Some(limit) = endpoint.rate_limit.filter(|_| message.probe.is_none()) else { return Ok(true) };
    let now = clock::now();
    let reserved = match slot.filter(|slot| slot.holds(&limit, now)) {
        Some(slot) => slot,
        None => match app.rate_limits.reserve(&endpoint.id, &limit, slot.as_ref(), now).await {
            Ok(Reserved::Slot(slot)) => slot,
            Ok(Reserved::Outdated) => {
                app.endpoints.forget(&endpoint.id);
                app.protocol.wait(message.clone(), now.plus(Duration::from_secs(1))).await?;
                return Ok(false);
            }
            Err(error) => {
                tracing::warn!(%error, "No slot could be reserved; the message waits.");
                app.protocol.wait(message.clone(), clock::now().plus(again())).await?;
                return Ok(false);
            }
        },
    };
    *slot = Some(reserved);
    let with_slot = || {
        let mut message = message.clone();
        message.slot = Some(reserved);
        message
    };
    let now = clock::now();
    match reserved.wait(now) {
        Wait::Over => Ok(true),
        Wait::Here(left) => match invocation.room(endpoint.timeout().min(app.longest_timeout) + left, now) {
            Room::For(_) => {
                tokio::time::sleep(left).await;
                Ok(true)
            }
            Room::Later => app.protocol.send(with_slot(), 0).await.map(|()| false),
        },
        Wait::InQueue(until) => {
            let message = with_slot();
            let until = match record(app, holder, &message, &reserved, seen).await {
                Ok(()) => until,
                Err(error) => {
                    tracing::warn!(%error, "A wait could not be recorded; the message tries again.");
                    until.min(clock::now().plus(again()))
                }
            };
            app.protocol.wait(message, until).await.map(|()| false)
        }
    }
}

/// Writes a long wait to the record, once. When another was faster there, it has the delivery, and this message is a
/// spare that will see so when it comes back.
async fn record(
    app: &App,
    holder: &str,
    message: &DeliveryMessage,
    slot: &Slot,
    seen: Option<&Record>,
) -> Result<(), AwsError> {
    let Some(waiting) = waiting(holder, message, slot, seen, clock::now()) else { return Ok(()) };
    app.protocol.deliveries.put(seen.map(|record| record.rev), waiting, holder).await.map(|_| ())
}

/// The record to write before the wait, if it has to be.
fn waiting(
    holder: &str,
    message: &DeliveryMessage,
    slot: &Slot,
    seen: Option<&Record>,
    now: Timestamp,
) -> Option<Record> {
    let timer = seen.filter(|record| record.status == Status::Retrying).and_then(|record| record.next);
    if now.until(slot.at) <= UNRECORDED || timer.is_some_and(|next| next.at >= slot.at) {
        return None;
    }
    let base = seen.cloned().or_else(|| message.new_record())?;
    let route = base.next.map_or(Route::Queue, |next| next.route);
    Some(base.due_at(holder, Next { at: slot.at, route }))
}

fn again() -> Duration {
    Duration::from_secs((AGAIN_SECONDS + clock::random_bits() % (AGAIN_SECONDS + 1)).into())
}

#[cfg(test)]
mod tests {
    use pombo_domain::delivery::{DeliveryKey, NewDelivery, Step};
    use pombo_domain::hops::Hops;
    use pombo_domain::ids::EndpointId;
    use pombo_domain::message::EventPart;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn first() -> DeliveryMessage {
        let key = DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: NOW,
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 7 };
        DeliveryMessage::first(key, EventPart { new, endpoint_version: None, body: None, hops: Hops::NONE })
    }

    fn begun() -> Record {
        let message = first();
        Record::begin(message.delivery, message.event.unwrap().new)
    }

    /// What is written before a wait until so many seconds from now.
    fn written(seconds: u64, seen: Option<&Record>) -> Option<Record> {
        let slot = Slot { at: NOW.plus(Duration::from_secs(seconds)), since: 1, missed: 0 };
        waiting("me", &first(), &slot, seen, NOW)
    }

    #[test]
    fn a_wait_over_a_minute_is_recorded_and_a_shorter_one_is_not() {
        assert_eq!(written(60, None), None);
        assert_eq!(written(60, Some(&begun())), None);
        let waiting = written(61, None).unwrap();
        assert_eq!((waiting.status, waiting.step), (Status::Retrying, Step::default()), "no attempt is used");
        assert_eq!(waiting.next, Some(Next { at: NOW.plus(Duration::from_secs(61)), route: Route::Queue }));
    }

    #[test]
    fn a_wait_that_is_recorded_is_not_recorded_again_unless_it_is_longer() {
        let waiting = written(1000, None).unwrap();
        assert_eq!(written(1000, Some(&waiting)), None);
        assert!(written(1001, Some(&waiting)).is_some());
        let held = Record { status: Status::Held, ..waiting };
        assert!(written(1000, Some(&held)).is_some(), "what is held has no timer");
    }

    #[test]
    fn a_retry_keeps_its_route_and_its_attempts_and_is_not_claimed() {
        let retry = Next { at: NOW, route: Route::Scheduler };
        let step = Step { round: 1, attempt: 2 };
        let seen = Record { status: Status::Retrying, step, next: Some(retry), ..begun() }.claimed("me", NOW);
        let waiting = written(100, Some(&seen)).unwrap();
        assert_eq!((waiting.step, waiting.claim), (step, None));
        assert_eq!(waiting.next, Some(Next { at: NOW.plus(Duration::from_secs(100)), route: Route::Scheduler }));
    }
}
