//! Jobs as the API shows them.

use std::collections::BTreeSet;

use pombo_domain::ids::EndpointId;
use pombo_domain::job::{Counts, Filter, Include, Job, JobKind, JobStatus, Selection, StopReason};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::time::Timestamp;
use serde::Serialize;

/// A job: a replay, or the drain of an endpoint.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayView {
    id: String,
    kind: &'static str,
    status: JobStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_reason: Option<StopReason>,
    /// It is told to stop, and does so after the page that it is at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopping: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_id: Option<EndpointId>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    selection: Option<SelectionView>,
    counts: Counts,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// What a replay by filter is about, and how far it has come.
#[derive(Debug, Serialize)]
pub(crate) struct SelectionView {
    filter: Filter,
    include: BTreeSet<Include>,
    rate_per_second: Option<PerSecond>,
    progress: Progress,
}

/// How far a replay by filter has come.
#[derive(Debug, Serialize)]
struct Progress {
    /// Of events accepted before this time, everything was looked at.
    at: Timestamp,
}

impl ReplayView {
    /// From its job.
    pub(crate) fn of(job: Job) -> Self {
        let id = job.key().to_string();
        let (kind, endpoint_id, selection) = match job.kind {
            JobKind::Replay => ("replay", None, None),
            JobKind::ReplayMatching(selection) => ("replay", None, Some(SelectionView::of(selection))),
            JobKind::Drain { endpoint_id } => ("drain", Some(endpoint_id), None),
        };
        Self {
            id,
            kind,
            status: job.status,
            stop_reason: job.stop_reason,
            stopping: job.stopping && job.status == JobStatus::Running,
            endpoint_id,
            selection,
            counts: job.counts,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}

impl SelectionView {
    /// From a selection.
    pub(crate) fn of(selection: Selection) -> Self {
        let progress = Progress { at: selection.reached() };
        let Selection { filter, include, rate_per_second, .. } = selection;
        Self { filter, include, rate_per_second, progress }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::job::{JobKey, RowResult, Scope};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn job(kind: JobKind) -> Job {
        Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, Duration::from_secs(9))
    }

    #[test]
    fn a_replay_by_filter_shows_what_it_is_about_how_far_it_is_and_why_it_ended() {
        let selection = Selection {
            filter: Filter {
                scope: Scope::Tenant("acme".parse().unwrap()),
                event_type: Some("student.*".parse().unwrap()),
                since: NOW,
                until: NOW.plus(Duration::from_secs(60)),
            },
            include: BTreeSet::from([Include::Failed, Include::Held]),
            rate_per_second: Some(PerSecond::new(10.0).unwrap()),
            after: None,
            look: pombo_domain::job::Look::First,
        };
        let counted = job(JobKind::ReplayMatching(selection)).leg_done(
            [RowResult::Queued, RowResult::InFlight, RowResult::Queued],
            Duration::ZERO,
            NOW,
        );
        insta::assert_json_snapshot!(ReplayView::of(counted.stopped(StopReason::Requested, NOW)), @r#"
        {
          "id": "Ki8yMDIzLTExLTE0VDIyOjEzOjIwLjAwMFojYWVhcWNhaWJhZWFxY2FpYg",
          "kind": "replay",
          "status": "cancelled",
          "stop_reason": "requested",
          "filter": {
            "tenant": "acme",
            "type": "student.*",
            "since": "2023-11-14T22:13:20.000Z",
            "until": "2023-11-14T22:14:20.000Z"
          },
          "include": [
            "failed",
            "held"
          ],
          "rate_per_second": 10,
          "progress": {
            "at": "2023-11-14T22:13:20.000Z"
          },
          "counts": {
            "matched": 3,
            "queued": 2,
            "skipped": {
              "in_flight": 1
            }
          },
          "created_at": "2023-11-14T22:13:20.000Z",
          "updated_at": "2023-11-14T22:13:20.000Z"
        }
        "#);
    }

    #[test]
    fn a_drain_names_its_endpoint_and_a_replay_of_chosen_ones_no_filter() {
        let endpoint_id: EndpointId = "ep_aaaaaaaaaaaaaaaa".parse().unwrap();
        let drain = serde_json::to_value(ReplayView::of(job(JobKind::Drain { endpoint_id }))).unwrap();
        assert_eq!((&drain["kind"], &drain["endpoint_id"]), (&"drain".into(), &"ep_aaaaaaaaaaaaaaaa".into()));
        let chosen = serde_json::to_value(ReplayView::of(job(JobKind::Replay))).unwrap();
        assert!(chosen["filter"].is_null() && chosen["stopping"].is_null(), "{chosen}");
    }
}
