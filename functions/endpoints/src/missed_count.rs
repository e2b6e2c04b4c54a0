//! How much an endpoint missed while it was paused: what a caller is told who resumes it without asking for that.

use futures::future::try_join_all;
use pombo_aws::AwsError;
use pombo_aws::events::{EventRow, EventWindow, EventsTable};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event::EVENT_SHARDS;
use pombo_domain::job::Selection;
use pombo_domain::time::Timestamp;
use serde::Serialize;
use serde_json::json;

/// The number of events of each shard that are looked at.
const LOOK: usize = 250;

/// The events that were posted while an endpoint was paused, and that it subscribes to.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct MissedCount {
    /// How many were found.
    count: usize,
    /// Whether there may be more.
    more: bool,
    /// Since when.
    since: Timestamp,
}

/// Counts what the endpoint missed. The list of events is late by moments, and a few that were posted in the second of the
/// pause may have reached the endpoint; a replay knows which.
pub async fn count(
    events: &EventsTable,
    endpoint: &Endpoint,
    since: Timestamp,
    now: Timestamp,
) -> Result<MissedCount, AwsError> {
    let window = EventWindow { since: Some(since), until: Some(now), after: None, limit: LOOK, oldest_first: true };
    let shards = (0..EVENT_SHARDS).map(|shard| events.rows_by_time(&endpoint.tenant, shard, &window));
    Ok(MissedCount::of(&try_join_all(shards).await?, endpoint, since, now))
}

impl MissedCount {
    fn of(shards: &[Vec<EventRow>], endpoint: &Endpoint, since: Timestamp, now: Timestamp) -> Self {
        let selection = Selection::missed(endpoint.id.clone(), since, now);
        let missed = |row: &&EventRow| {
            row.expires_at > now.as_seconds() && selection.may_want(&row.event_type, &endpoint.event_types)
        };
        let count = shards.iter().flatten().filter(missed).count();
        Self { count, more: shards.iter().any(|rows| rows.len() >= LOOK), since }
    }

    /// The call that sends the missed events; `None` when no event was missed.
    pub fn hint(&self, endpoint: &Endpoint) -> Option<String> {
        if self.count == 0 && !self.more {
            return None;
        }
        let order = json!({"filter": {"endpoint_id": endpoint.id, "since": self.since}, "include": ["missing"]});
        Some(format!(
            "What was posted while the endpoint was paused is not sent. To send it: POST /v1/replays on the replay URL, \
             {order}. With {{\"missed\": \"replay\"}} a resume does that itself."
        ))
    }
}

#[cfg(test)]
mod tests {
    use pombo_aws::events::EventPosition;

    use super::*;
    use crate::samples::{self, NOW};

    fn row(event_type: &str, expires_at: i64) -> EventRow {
        let position = EventPosition { accepted_at: NOW, id: "e".parse().unwrap() };
        EventRow { position, event_type: event_type.parse().unwrap(), deliveries: Some(0), expires_at }
    }

    #[test]
    fn what_matches_and_lives_is_counted_up_to_a_bound() {
        let (endpoint, later) = (samples::endpoint(), NOW.as_seconds() + 10);
        let shards = [
            vec![row("student.created", later), row("course.started", later)],
            vec![row("student.left", later), row("student.left", NOW.as_seconds())],
        ];
        let counted = MissedCount::of(&shards, &endpoint, NOW, NOW);
        assert_eq!(counted, MissedCount { count: 2, more: false, since: NOW });
        let full = [vec![row("course.started", later); LOOK], vec![]];
        assert_eq!(MissedCount::of(&full, &endpoint, NOW, NOW), MissedCount { count: 0, more: true, since: NOW });
    }

    #[test]
    fn a_hint_holds_the_order_that_sends_what_was_missed() {
        let endpoint = samples::endpoint();
        let missed = |count, more| MissedCount { count, more, since: NOW };
        assert_eq!(missed(0, false).hint(&endpoint), None);
        for some in [missed(2, false), missed(0, true)] {
            let hint = some.hint(&endpoint).unwrap();
            let order = &hint[hint.find('{').unwrap()..=hint.find("]}").unwrap() + 1];
            let order: serde_json::Value = serde_json::from_str(order).unwrap();
            assert_eq!(order["filter"], json!({"endpoint_id": endpoint.id, "since": NOW}), "{hint}");
            assert_eq!(order["include"], json!(["missing"]), "{hint}");
        }
    }
}
