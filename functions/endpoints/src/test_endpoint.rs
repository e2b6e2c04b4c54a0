//! `POST /v1/endpoints/{id}/test`: a real signed request, down the path that every event takes.
//!
//! The event is of the endpoint's own tenant, with this endpoint alone on its list, whatever it subscribes to. What became of
//! it is seen on the replay URL, as with any delivery. A test is a question, so it has one attempt, whatever the endpoint's
//! retry policy; and because it passes an open circuit, an endpoint is tested at most six times a minute.

use pombo_aws::admission::Admitted;
use pombo_aws::clock;
use pombo_aws::events::PutEvent;
use pombo_aws::fan_out::{self, Occasion};
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::event::Event;
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::operational::ping;
use pombo_domain::test_limit::{MAX_TESTS, TooManyTests};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_requests::nothing;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::App;
use crate::address::{self, SystemResolver};
use crate::change::find;
use crate::settings::random;

/// Where the test can be followed.
#[derive(Debug, Serialize)]
struct Sent<'a> {
    event_id: &'a EventId,
    /// How the receiver knows the event.
    webhook_id: WebhookId,
    delivery_id: &'a DeliveryKey,
    #[serde(rename = "type")]
    event_type: &'a EventType,
}

/// Stores a ping and queues its delivery.
pub async fn send(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    nothing(request)?;
    let endpoint = find(app, caller, id).await?;
    check_active(&endpoint)?;
    address::check(&endpoint.url, &app.rules, caller, endpoint.url_set_by, &SystemResolver).await?;
    let now = clock::now();
    let event = ping(&endpoint, EventId::generate(random()?), now, app.rules.retention);
    // The id is random, so that it also tells this call's own writes from another's.
    if let Admitted::No(refusal) = app.tests.admit(&endpoint.id, event.id.as_str(), now).await? {
        // Another test that was ordered after `now` may have been admitted before this one.
        return Err(too_many(refusal, clock::now()));
    }
    if app.events.put_new(&event, event.id.as_str(), now).await? != PutEvent::Stored {
        return Err(Problem::unavailable("The test's event could not be stored. Repeat the request."));
    }
    let delivery = event.delivery_to(endpoint.id.clone());
    let version_of = |_: &EndpointId| Some(endpoint.version);
    if fan_out::send(&app.deliveries_queue, &event, Occasion::Own, version_of, None).await.count() > 0 {
        tracing::error!(endpoint = %endpoint.id, event = %event.id, "A test of endpoint {} could not be queued.", endpoint.id);
        return Err(not_queued(&event, &delivery));
    }
    tracing::info!(endpoint = %endpoint.id, event = %event.id, "Endpoint {} is tested.", endpoint.id);
    let webhook_id = event.webhook_id();
    let sent = Sent { event_id: &event.id, webhook_id, delivery_id: &delivery, event_type: &event.event_type };
    Ok(Response::json(202, &sent))
}

fn check_active(endpoint: &Endpoint) -> Result<(), Problem> {
    if endpoint.status == EndpointStatus::Active {
        return Ok(());
    }
    let detail = format!(
        "The endpoint is paused: what is sent to it is held. Resume it first, with POST /v1/endpoints/{}/resume.",
        endpoint.id
    );
    Err(Problem::new(409, detail))
}

fn too_many(TooManyTests { until }: TooManyTests, now: Timestamp) -> Problem {
    let seconds = u32::try_from(now.until(until).as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
    let detail = format!(
        "The endpoint was tested {MAX_TESTS} times in the last minute, and no more tests are allowed in a minute. Repeat the \
         request in {seconds} seconds."
    );
    Problem { retry_after: Some(seconds), ..Problem::new(429, detail) }
}

fn not_queued(event: &Event, delivery: &DeliveryKey) -> Problem {
    let extra = vec![("event_id", event.id.to_string()), ("delivery_id", delivery.to_string())];
    let detail =
        "The test's event is stored, but its delivery could not be queued: it stays pending. Repeat the request.";
    Problem { extra, ..Problem::unavailable(detail) }
}

#[cfg(test)]
mod tests {
    use pombo_domain::health::PauseReason;

    use super::*;
    use crate::samples::{self, NOW};

    #[test]
    fn a_paused_endpoint_is_not_tested_and_the_answer_says_what_to_do() {
        let endpoint = samples::endpoint();
        assert_eq!(check_active(&endpoint), Ok(()));
        let problem = check_active(&endpoint.paused(PauseReason::Requested, NOW)).unwrap_err();
        assert_eq!(problem.status, 409);
        assert!(problem.detail.contains(&format!("{}/resume", endpoint.id)), "{}", problem.detail);
    }

    #[test]
    fn one_test_too_many_says_when_the_next_may_be_made() {
        for (millis, seconds) in [(30_001, 31), (1, 1), (0, 1)] {
            let problem = too_many(TooManyTests { until: Timestamp::from_millis(NOW.as_millis() + millis) }, NOW);
            assert_eq!((problem.status, problem.retry_after), (429, Some(seconds)));
            assert!(problem.detail.contains("6 times") && problem.detail.contains(&format!("in {seconds} seconds")));
        }
    }

    #[test]
    fn a_test_that_is_not_queued_names_its_event_and_delivery() {
        let event = ping(&samples::endpoint(), EventId::generate([1; 16]), NOW, std::time::Duration::from_secs(60));
        let delivery = event.delivery_to(samples::endpoint().id);
        let problem = not_queued(&event, &delivery);
        let ids = vec![("event_id", event.id.to_string()), ("delivery_id", delivery.to_string())];
        assert_eq!((problem.status, problem.extra), (503, ids));
    }
}
