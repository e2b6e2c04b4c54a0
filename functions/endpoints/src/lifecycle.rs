//! Pause, resume and delete.
//!
//! A paused endpoint gets no new events, and what is on its way to it is held. Resuming and deleting begin a drain job,
//! which releases what is held: to be sent, or to be cancelled. Each may be repeated: what is so already is not changed.

use std::time::Duration;

use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::headers::CustomHeaders;
use pombo_domain::signature::Secrets;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request, Response};
use serde::Deserialize;

use crate::App;
use crate::change::{Wanted, change};
use crate::router::optional_body;
use crate::view::EndpointView;

/// A body without fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The body of resume.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// What shall become of the events that were posted while the endpoint was paused.
    missed: Option<String>,
}

/// `POST /v1/endpoints/{id}/pause`.
pub async fn pause(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    optional_body::<Nothing>(request)?;
    let endpoint = change(app, caller, id, |endpoint, _| Ok(paused(endpoint))).await?;
    Ok(Response::json(200, &EndpointView::new(&endpoint)))
}

/// `POST /v1/endpoints/{id}/resume`.
pub async fn resume(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    check_missed(&optional_body(request)?)?;
    let endpoint = change(app, caller, id, |endpoint, _| Ok(resumed(endpoint))).await?;
    Ok(Response::json(200, &EndpointView::new(&endpoint)))
}

/// `DELETE /v1/endpoints/{id}`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let retention = app.rules.retention;
    let endpoint = change(app, caller, id, |endpoint, now| Ok(deleted(endpoint, retention, now))).await?;
    tracing::info!(endpoint = %endpoint.id, tenant = %endpoint.tenant, "Endpoint {} deleted.", endpoint.id);
    Ok(Response::empty(204))
}

fn check_missed(body: &Resume) -> Result<(), Problem> {
    match body.missed.as_deref() {
        None | Some("leave") => Ok(()),
        Some(_) => Err(Problem::invalid(
            "missed",
            "must be leave, or left out: deliveries are sent again with POST /v1/replays on the replay URL",
        )),
    }
}

fn paused(endpoint: &Endpoint) -> Wanted {
    match endpoint.status {
        EndpointStatus::Active => {
            Wanted::Change(Box::new(Endpoint { status: EndpointStatus::Paused, ..endpoint.clone() }))
        }
        EndpointStatus::Paused | EndpointStatus::Deleted => Wanted::Nothing,
    }
}

fn resumed(endpoint: &Endpoint) -> Wanted {
    match endpoint.status {
        EndpointStatus::Paused => {
            Wanted::ChangeAndDrain(Box::new(Endpoint { status: EndpointStatus::Active, ..endpoint.clone() }))
        }
        EndpointStatus::Active | EndpointStatus::Deleted => Wanted::Nothing,
    }
}

/// The tombstone tells dispatch, for as long as a delivery can live, that the endpoint is gone and not merely unknown.
fn deleted(endpoint: &Endpoint, retention: Duration, now: Timestamp) -> Wanted {
    Wanted::ChangeAndDrain(Box::new(Endpoint {
        status: EndpointStatus::Deleted,
        secrets: Secrets::none(),
        headers: CustomHeaders::default(),
        expires_at: Some(now.plus(retention).as_seconds()),
        ..endpoint.clone()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};

    fn with(status: EndpointStatus) -> Endpoint {
        Endpoint { status, ..samples::endpoint() }
    }

    #[test]
    fn pausing_and_resuming_change_the_status_alone_and_once() {
        let (active, paused_one) = (with(EndpointStatus::Active), with(EndpointStatus::Paused));
        assert_eq!(paused(&active), Wanted::Change(Box::new(paused_one.clone())));
        assert_eq!(paused(&paused_one), Wanted::Nothing);
        assert_eq!(resumed(&paused_one), Wanted::ChangeAndDrain(Box::new(active.clone())));
        assert_eq!(resumed(&active), Wanted::Nothing);
    }

    #[test]
    fn a_tombstone_keeps_no_secret_and_expires_with_the_last_delivery() {
        let retention = Duration::from_secs(86_400);
        let Wanted::ChangeAndDrain(tombstone) = deleted(&samples::endpoint(), retention, NOW) else { panic!() };
        assert_eq!((tombstone.status, tombstone.headers), (EndpointStatus::Deleted, CustomHeaders::default()));
        assert_eq!(tombstone.secrets.live(NOW).count(), 0);
        assert_eq!(tombstone.expires_at, Some(NOW.as_seconds() + 86_400));
        assert_eq!((tombstone.id, tombstone.url), (samples::endpoint().id, samples::endpoint().url));
    }

    #[test]
    fn resume_leaves_what_was_missed_and_says_what_sends_it() {
        let check = |body: &str| {
            optional_body(&samples::request(body)).and_then(|body| check_missed(&body)).map_err(|problem| {
                let (status, field) = samples::named(&problem);
                (status, field.to_owned(), problem.detail.contains("/v1/replays"))
            })
        };
        for right in ["", "{}", r#"{"missed":"leave"}"#, r#"{"missed":null}"#] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        assert_eq!(check(r#"{"missed":"replay"}"#), Err((400, "missed".into(), true)));
        assert_eq!(check(r#"{"missed":"x"}"#), Err((400, "missed".into(), true)));
        assert_eq!(check(r#"{"missed":7}"#), Err((400, "missed".into(), false)));
        assert_eq!(check(r#"{"other":1}"#), Err((400, "other".into(), false)));
    }
}
