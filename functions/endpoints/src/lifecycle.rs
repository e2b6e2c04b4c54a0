//! Pause, resume and delete.
//!
//! A paused endpoint gets no new events, and what is on its way to it is held. Resuming and deleting begin a drain job,
//! which releases what is held: to be sent, or to be cancelled. Resuming may begin a second job beside it, which sends the
//! events that were posted meanwhile. Each call may be repeated: what is so already is not changed.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::headers::CustomHeaders;
use pombo_domain::health::PauseReason;
use pombo_domain::signature::Secrets;
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use pombo_requests::{Missed, nothing};
use pombo_web::{Caller, Problem, Request, Response};
use serde::Serialize;

use crate::App;
use crate::change::{Done, Wanted, change};
use crate::missed_count::{self, MissedCount};
use crate::view::EndpointView;

/// The answer to resume.
#[derive(Debug, Serialize)]
struct Resumed<'a> {
    #[serde(flatten)]
    endpoint: EndpointView<'a>,
    /// The replay of what was missed, to be followed on the replay URL; none when none was begun.
    replay_id: Option<String>,
    /// Count of the events that were posted during the pause and are not replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<MissedCount>,
    /// How to send that.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// `POST /v1/endpoints/{id}/pause`.
pub async fn pause(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    nothing(request)?;
    let done = change(app, caller, id, |endpoint, now| Ok(paused(endpoint, now))).await?;
    Ok(Response::json(200, &EndpointView::new(&done.endpoint, &done.health)))
}

/// `POST /v1/endpoints/{id}/resume`.
pub async fn resume(app: &App, caller: &Caller, id: &str, request: &Request) -> Result<Response, Problem> {
    let missed = Missed::read(request)?;
    let done = change(app, caller, id, |endpoint, _| Ok(resumed(endpoint, missed))).await?;
    let missed = missed_by(app, &done).await;
    let hint = missed.as_ref().and_then(|missed| missed.hint(&done.endpoint));
    let replay_id = done.replay.map(|key| key.to_string());
    let endpoint = EndpointView::new(&done.endpoint, &done.health);
    Ok(Response::json(200, &Resumed { endpoint, replay_id, missed, hint }))
}

/// Counts the events that the endpoint missed during the pause, if no replay sends them. The endpoint is resumed already, so
/// a count that fails is left out.
async fn missed_by(app: &App, done: &Done) -> Option<MissedCount> {
    let since = done.resumed_from.filter(|_| done.replay.is_none())?;
    match missed_count::count(&app.events, &done.endpoint, since, clock::now()).await {
        Ok(missed) => Some(missed),
        Err(error) => {
            tracing::warn!(%error, endpoint = %done.endpoint.id, "What the endpoint missed could not be counted.");
            None
        }
    }
}

/// `DELETE /v1/endpoints/{id}`.
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<Response, Problem> {
    let retention = app.rules.retention;
    let endpoint = change(app, caller, id, |endpoint, now| Ok(deleted(endpoint, retention, now))).await?.endpoint;
    tracing::info!(endpoint = %endpoint.id, tenant = %endpoint.tenant, "Endpoint {} deleted.", endpoint.id);
    Ok(Response::empty(204))
}

fn paused(endpoint: &Endpoint, now: Timestamp) -> Wanted {
    match endpoint.status {
        EndpointStatus::Active => Wanted::Change(Box::new(endpoint.paused(PauseReason::Requested, now))),
        EndpointStatus::Paused | EndpointStatus::Deleted => Wanted::Nothing,
    }
}

fn resumed(endpoint: &Endpoint, missed: Missed) -> Wanted {
    if endpoint.status != EndpointStatus::Paused {
        return Wanted::Nothing;
    }
    let paused_at = endpoint.paused_at();
    let active = Box::new(Endpoint { status: EndpointStatus::Active, pause: None, ..endpoint.clone() });
    match missed {
        Missed::Leave => Wanted::ChangeAndDrain(active),
        Missed::Replay => Wanted::ChangeAndCatchUp(active, paused_at),
    }
}

/// The tombstone tells dispatch, for as long as a delivery can live, that the endpoint is gone and not merely unknown.
fn deleted(endpoint: &Endpoint, retention: Duration, now: Timestamp) -> Wanted {
    Wanted::ChangeAndDrain(Box::new(Endpoint {
        status: EndpointStatus::Deleted,
        // Path and query of a URL are often all that its receiver asks a sender for.
        url: endpoint.url.blanked(),
        secrets: Secrets::none(),
        headers: CustomHeaders::default(),
        expires_at: Some(now.plus(retention).as_seconds()),
        // It may be secret, too.
        unknown: Unknown::none(),
        ..endpoint.clone()
    }))
}

#[cfg(test)]
mod tests {
    use pombo_domain::address::EndpointUrl;

    use super::*;
    use crate::samples::{self, NOW};

    fn with(status: EndpointStatus) -> Endpoint {
        Endpoint { status, ..samples::endpoint() }
    }

    #[test]
    fn pausing_and_resuming_change_the_status_alone_and_once() {
        let active = with(EndpointStatus::Active);
        let paused_one = active.paused(PauseReason::Requested, NOW);
        assert_eq!(paused(&active, NOW), Wanted::Change(Box::new(paused_one.clone())));
        assert_eq!(paused(&paused_one, NOW), Wanted::Nothing);
        assert_eq!(resumed(&paused_one, Missed::Leave), Wanted::ChangeAndDrain(Box::new(active.clone())));
        let catching_up = Wanted::ChangeAndCatchUp(Box::new(active.clone()), NOW);
        assert_eq!(resumed(&paused_one, Missed::Replay), catching_up, "since the pause");
        assert_eq!(resumed(&active, Missed::Leave), Wanted::Nothing);
        assert_eq!(resumed(&active, Missed::Replay), Wanted::Nothing, "a repeat replays nothing twice");
    }

    #[test]
    fn a_tombstone_keeps_no_url_and_no_secret_and_expires_with_the_last_delivery() {
        let retention = Duration::from_secs(86_400);
        let url = EndpointUrl::from_stored("https://example.com:8443/hook/token?t=1").unwrap();
        let endpoint = Endpoint { url, ..samples::endpoint() };
        let Wanted::ChangeAndDrain(tombstone) = deleted(&endpoint, retention, NOW) else { panic!() };
        assert_eq!((tombstone.status, tombstone.headers), (EndpointStatus::Deleted, CustomHeaders::default()));
        assert_eq!(tombstone.secrets.live(NOW).count(), 0);
        assert_eq!(tombstone.expires_at, Some(NOW.as_seconds() + 86_400));
        assert_eq!((tombstone.id, tombstone.url.as_str()), (endpoint.id, "https://deleted.invalid/"));
    }
}
