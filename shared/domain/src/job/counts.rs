//! What a job has done, in numbers that add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The work that a job has done so far. `matched` is `queued`, `held` and all `skipped` together once the job has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Deliveries that were chosen.
    pub matched: u64,
    /// Deliveries whose message was queued.
    pub queued: u64,
    /// Deliveries that wait in their new round for their endpoint's circuit to close.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
    /// Deliveries that were left alone, by reason.
    #[serde(default)]
    pub skipped: BTreeMap<RowResult, u64>,
}

impl Counts {
    /// Counts one delivery.
    pub fn add(&mut self, result: RowResult) {
        self.matched += 1;
        match result {
            RowResult::Queued | RowResult::Probe => self.queued += 1,
            RowResult::Held => self.held += 1,
            reason => *self.skipped.entry(reason).or_default() += 1,
        }
    }
}

/// What became of one delivery of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowResult {
    /// Its message was queued.
    Queued,
    /// The delivery's message was queued at once, as the probe of its endpoint's open circuit.
    Probe,
    /// The endpoint's circuit is open: the delivery is sent when the circuit closes.
    Held,
    /// The delivery is being sent at this moment, or counts as being sent because the window of its first attempt is open.
    InFlight,
    /// It changed since the page was made: another replay was faster, or it is no longer held.
    Changed,
    /// There is no such delivery, or it has expired.
    NotFound,
    /// Its endpoint is paused: a replay would only be held.
    EndpointPaused,
    /// Its endpoint was deleted: a replay would only be cancelled.
    EndpointDeleted,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut counts = Counts::default();
        for result in [
            RowResult::Queued,
            RowResult::InFlight,
            RowResult::Queued,
            RowResult::NotFound,
            RowResult::InFlight,
            RowResult::Held,
            RowResult::Probe,
        ] {
            counts.add(result);
        }
        assert_eq!((counts.matched, counts.queued, counts.held), (7, 3, 1));
        assert_eq!(counts.matched, counts.queued + counts.held + counts.skipped.values().sum::<u64>());
    }
}
