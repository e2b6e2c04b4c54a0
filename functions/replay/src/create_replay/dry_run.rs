//! What a replay would do, without doing it.
//!
//! It looks where the job would look, for as long as an answer may take and no further than a thousand deliveries: beyond
//! that the count is a lower bound, and says so.

use std::time::{Duration, Instant};

use pombo_aws::clock;
use pombo_domain::delivery::Record;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::job::{Look, Ordered, Selection};
use pombo_jobs::{Invocation, gather};
use pombo_web::{Caller, Problem, Response};
use serde::Serialize;

use super::cost::Cost;
use super::matching::left_out;
use crate::held;
use crate::replay_view::SelectionView;
use crate::settings::App;
use crate::view::DeliveryView;

/// So many deliveries are counted.
const MOST_COUNTED: usize = 1000;
/// So many of them are shown.
const MOST_SHOWN: usize = 10;
/// For so long it looks.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Serialize)]
struct Answer {
    dry_run: bool,
    #[serde(flatten)]
    selection: SelectionView,
    matched: Matched,
    samples: Vec<DeliveryView>,
    cost: Cost,
    /// Says which deliveries would be left out because they are too new.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

/// How many deliveries match.
#[derive(Debug, PartialEq, Serialize)]
struct Matched {
    /// So many were found.
    count: usize,
    /// How many of these deliveries count as being sent, because the window of their first attempt is open. The replay would
    /// leave them alone.
    #[serde(skip_serializing_if = "is_zero")]
    in_flight: usize,
    /// Whether there may be more.
    more: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Answers with what the replay would do.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    selection: Selection,
    endpoint: Option<&Endpoint>,
    ordered: Ordered,
    invocation: &Invocation,
) -> Result<Response, Problem> {
    let (begun, patience) = (Instant::now(), PATIENCE.min(invocation.until_answer() / 2));
    let (mut count, mut in_flight, mut new, mut samples) = (0, 0, 0, Vec::new());
    let mut rest = selection.clone();
    // The last look is for what is still to come.
    while rest.look == Look::First && count < MOST_COUNTED && begun.elapsed() < patience {
        let mut found = gather(&app.clients, &rest, endpoint, ordered, MOST_COUNTED - count).await?;
        for row in &found.rows {
            count += 1;
            let being_sent_until = found.known.being_sent_until(&row.delivery, app.clients.window, clock::now());
            if being_sent_until.is_some() {
                in_flight += 1;
            } else {
                new += usize::from(found.known.new.contains_key(&row.delivery));
            }
            if samples.len() < MOST_SHOWN {
                let begin = || Some(Record::begin(row.delivery.clone(), found.known.new.remove(&row.delivery)?));
                let record = found.known.records.remove(&row.delivery);
                let sample = |record| DeliveryView::of(record, caller).being_sent_until(being_sent_until);
                samples.extend(record.or_else(begin).map(sample));
            }
        }
        rest = found.selection;
    }
    held::name_causes(app, &mut samples).await;
    let matched = Matched { count, in_flight, more: rest.look == Look::First };
    let left_out = left_out(&selection, ordered, app.clients.window);
    let (selection, cost) = (SelectionView::of(selection), Cost::of(count - in_flight, new));
    Ok(Response::json(200, &Answer { dry_run: true, selection, matched, samples, cost, left_out }))
}
