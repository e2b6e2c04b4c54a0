//! `POST /v1/deliveries/{id}/cancel`: ends a delivery that has not come to an end.
//!
//! What waits for it somewhere, a message or a schedule, is left where it is: when it comes, it finds the delivery settled and
//! is dropped. An attempt that is under way cannot be called back, so a delivery that is being sent is refused. One that was
//! sent by a process whose claim has run out may yet turn out to have succeeded, and then says so.
//!
//! A first attempt may be made without a claim while its window is open. Until the window closes, a delivery without a record
//! counts as being sent. If a record appears in the meantime, the write fails, and the order is decided again on that record.

use pombo_aws::clock;
use pombo_aws::deliveries::Put;
use pombo_aws::logs::spans;
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::time::Timestamp;
use pombo_jobs::Invocation;
use pombo_requests::nothing;
use pombo_web::{Caller, Problem, Request, Response};

use crate::pending;
use crate::settings::App;
use crate::view::DeliveryView;

/// How often the order is decided anew because the record changed.
const MOST_CONFLICTS: usize = 5;

/// Cancels the delivery and answers with it.
pub(crate) async fn answer(
    app: &App,
    caller: &Caller,
    request: &Request,
    id: &str,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    request.only_query(&[])?;
    nothing(request)?;
    let unknown = || caller.not_found("delivery");
    let key: DeliveryKey = id.parse().map_err(|_| unknown())?;
    let mut seen = app.clients.protocol.deliveries.get(&key).await?;
    for _ in 0..MOST_CONFLICTS {
        let now = clock::now();
        let record = match &seen {
            Some(record) if caller.sees(&record.tenant) && record.expires_at > now.as_seconds() => record.clone(),
            Some(_) => return Err(unknown()),
            None => {
                let record = awaited(app, caller, &key, now).await?.ok_or_else(unknown)?;
                window_closed(app.clients.window, key.accepted_at, now)?;
                record
            }
        };
        if record.status == Status::Cancelled {
            // The order may have been carried out before, and its answer lost.
            return Ok(Response::json(200, &DeliveryView::of(record, caller)));
        }
        let cancelled = cancelled(&record, now)?;
        let rev = seen.as_ref().map(|record| record.rev);
        match app.clients.protocol.deliveries.put(rev, cancelled, invocation.writer()).await? {
            Put::Stored(record) => {
                let span = spans::delivery(&key, Some(record.step));
                span.in_scope(|| tracing::info!("Delivery {id} cancelled."));
                return Ok(Response::json(200, &DeliveryView::of(*record, caller)));
            }
            Put::Conflict(standing) => seen = standing.map(|record| *record),
        }
    }
    Err(Problem::conflict())
}

/// The delivery that has no record yet: its first message is on its way.
async fn awaited(app: &App, caller: &Caller, key: &DeliveryKey, now: Timestamp) -> Result<Option<Record>, Problem> {
    let endpoint = app.clients.endpoints.get(&key.endpoint_id).await?.filter(|endpoint| caller.sees(&endpoint.tenant));
    let Some(endpoint) = endpoint else { return Ok(None) };
    let event = pending::event_of(app, &endpoint, key, now).await?;
    Ok(event.map(|event| Record::begin(key.clone(), event.new_delivery())))
}

/// 409 for a delivery without a record while the window of its first attempt is open.
fn window_closed(window: FirstAttemptWindow, accepted_at: Timestamp, now: Timestamp) -> Result<(), Problem> {
    let Some(until) = window.open_until(accepted_at, now) else { return Ok(()) };
    let detail = format!(
        "The delivery may be on its way to the receiver: it has no attempt on record yet, and counts as being sent until {until}. \
         Repeat the call after that."
    );
    Err(being_sent(until, now, detail))
}

/// 409 with the number of seconds until the delivery no longer counts as being sent, rounded up.
fn being_sent(until: Timestamp, now: Timestamp, detail: impl Into<String>) -> Problem {
    let seconds = u32::try_from(now.until(until).as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    Problem { retry_after: Some(seconds), ..Problem::new(409, detail.into()) }
}

/// The record as it is when it is cancelled; 409 for one that cannot be.
fn cancelled(record: &Record, now: Timestamp) -> Result<Record, Problem> {
    if record.status.is_settled() {
        let status = record.status.as_str();
        return Err(Problem::new(409, format!("The delivery has come to an end already: it is {status}.")));
    }
    if let Some(claim) = record.live_claim(now) {
        let detail = "The delivery is being sent at this moment. Repeat the call when the attempt has ended.";
        return Err(being_sent(claim.until, now, detail));
    }
    Ok(record.cancelled())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::delivery::{NewDelivery, Step};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn record(status: Status) -> Record {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1),
            event_id: "e".parse().unwrap(),
        };
        let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
        Record { status, step: Step { round: 1, attempt: 2 }, ..Record::begin(key, new) }
    }

    #[test]
    fn what_has_not_come_to_an_end_is_cancelled_where_it_stands() {
        for status in [Status::Pending, Status::Retrying, Status::Held] {
            let cancelled = cancelled(&record(status), NOW).unwrap();
            assert_eq!((cancelled.status, cancelled.step), (Status::Cancelled, Step { round: 1, attempt: 2 }));
        }
    }

    #[test]
    fn what_has_come_to_an_end_is_refused_by_its_status() {
        for status in [Status::Succeeded, Status::Failed] {
            let problem = cancelled(&record(status), NOW).unwrap_err();
            assert!(problem.status == 409 && problem.detail.contains(status.as_str()), "{problem:?}");
        }
    }

    #[test]
    fn one_without_a_record_is_refused_until_its_window_closes_and_says_when_to_come_back() {
        let window = FirstAttemptWindow::new(Duration::from_secs(180));
        let closed = |millis| window_closed(window, Timestamp::from_seconds(900), Timestamp::from_millis(millis));
        for (millis, seconds) in [(1_000_000, 80), (1_000_001, 80), (1_079_999, 1)] {
            let problem = closed(millis).unwrap_err();
            assert_eq!((problem.status, problem.retry_after), (409, Some(seconds)), "{millis}");
            assert!(problem.detail.contains("being sent until 1970-01-01T00:18:00.000Z"), "{problem:?}");
        }
        assert!(closed(1_080_000).is_ok());
    }

    #[test]
    fn a_live_claim_is_refused_with_its_end_and_a_dead_one_is_not() {
        let claimed = record(Status::Retrying).claimed("other", Timestamp::from_millis(1_000_001));
        let problem = cancelled(&claimed, NOW).unwrap_err();
        assert_eq!((problem.status, problem.retry_after), (409, Some(1)));
        assert!(cancelled(&claimed, Timestamp::from_millis(1_000_001)).is_ok());
    }
}
