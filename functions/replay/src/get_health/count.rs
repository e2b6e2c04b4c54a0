//! Counts what a list holds, without what has expired.
//!
//! DynamoDB deletes an expired item when it comes to it, within days; until then the item is still on its list, and the list
//! does not say when an item expires. Reading the record of every row would tell, and cost more than it is worth. The events
//! of a list expire in the order in which they were accepted as long as the retention stays the same, so records are read
//! from the oldest row on, until a look finds none that has expired. After the retention was lowered, rows of before may
//! live longer than younger ones; so all rows that are older than the retention are looked at.

use std::collections::HashMap;
use std::time::Duration;

use pombo_aws::AwsError;
use pombo_aws::deliveries::{DeliveriesTable, List, Window};
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::time::Timestamp;
use serde::Serialize;

/// The most rows that are counted.
pub(super) const MAX_COUNTED: usize = 1000;
/// The number of rows whose records the first look reads; each look reads twice as many as the one before.
const FIRST_LOOK: usize = 25;

/// A count with a bound: with `more`, there are more than `count`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    count: usize,
    more: bool,
}

impl Count {
    /// The sum of several.
    pub(super) fn of(parts: &[usize]) -> Self {
        let sum: usize = parts.iter().sum();
        Self { count: sum.min(MAX_COUNTED), more: sum > MAX_COUNTED }
    }
}

/// The number of deliveries on a list that have not expired, up to one more than the most that are counted.
pub(super) async fn count(
    deliveries: &DeliveriesTable,
    list: &List,
    retention: Duration,
    now: Timestamp,
) -> Result<usize, AwsError> {
    let rows = deliveries.list(list, &Window::newest(MAX_COUNTED + 1)).await?;
    let mut unexpired = Unexpired::new(rows, retention, now);
    while let Some(doubtful) = unexpired.doubtful() {
        let expiries = deliveries.expiries(&doubtful).await?;
        unexpired.judge(&doubtful, &expiries);
    }
    Ok(unexpired.count())
}

/// The rows of a list while the expired ones are sorted out, from the oldest on.
#[derive(Debug)]
struct Unexpired {
    /// The rows that were not looked at, newest first.
    rest: Vec<DeliveryKey>,
    /// How many of those that were looked at have not expired.
    live: usize,
    look: usize,
    /// Whether the last look found none that has expired.
    found_none: bool,
    now: Timestamp,
    retention: Duration,
}

impl Unexpired {
    fn new(newest_first: Vec<DeliveryKey>, retention: Duration, now: Timestamp) -> Self {
        Self { rest: newest_first, live: 0, look: FIRST_LOOK, found_none: false, now, retention }
    }

    /// The rows to look at next, taken out of the rest; none when the rest has not expired.
    fn doubtful(&mut self) -> Option<Vec<DeliveryKey>> {
        let oldest = self.rest.last()?;
        if self.found_none && oldest.accepted_at > self.now.minus(self.retention) {
            return None;
        }
        let doubtful = self.rest.split_off(self.rest.len().saturating_sub(self.look));
        self.look *= 2;
        Some(doubtful)
    }

    /// Takes in when they expire; what is gone is not there to be counted.
    fn judge(&mut self, looked_at: &[DeliveryKey], expiries: &HashMap<DeliveryKey, i64>) {
        let lives =
            |key: &&DeliveryKey| expiries.get(*key).is_some_and(|expires_at| *expires_at > self.now.as_seconds());
        let live = looked_at.iter().filter(lives).count();
        self.found_none = live == looked_at.len();
        self.live += live;
    }

    fn count(&self) -> usize {
        self.rest.len() + self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const NOW: Timestamp = Timestamp::from_seconds(1000 * DAY);

    /// A row of an event accepted so many seconds ago, and kept for so many seconds.
    type Kept = (i64, i64);

    /// Counts rows, oldest first, and says how many records were read.
    fn counted(rows: &[Kept], retention: i64) -> (usize, usize) {
        let key = |place: usize, ago: i64| DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(NOW.as_seconds() - ago),
            event_id: format!("e{place}").parse().unwrap(),
        };
        let rows: Vec<_> = rows.iter().enumerate().map(|(place, (ago, kept))| (key(place, *ago), kept - ago)).collect();
        let expiries: HashMap<_, _> = rows.iter().map(|(key, left)| (key.clone(), NOW.as_seconds() + left)).collect();
        let newest_first = rows.into_iter().rev().map(|(key, _)| key).collect();
        let mut unexpired = Unexpired::new(newest_first, Duration::from_secs(retention as u64), NOW);
        let mut read = 0;
        while let Some(doubtful) = unexpired.doubtful() {
            read += doubtful.len();
            unexpired.judge(&doubtful, &expiries);
        }
        (unexpired.count(), read)
    }

    #[test]
    fn what_has_expired_is_not_counted_however_much_of_it_there_is() {
        assert_eq!(counted(&[], 30 * DAY), (0, 0));
        for expired in [0usize, 1, 24, 25, 26, 300, 1001] {
            let old = (0..expired).map(|place| (40 * DAY - place as i64, 30 * DAY));
            let young = (0..1001 - expired).map(|place| (2 * DAY - place as i64, 30 * DAY));
            let rows: Vec<_> = old.chain(young).collect();
            assert_eq!(counted(&rows, 30 * DAY).0, 1001 - expired, "{expired} expired");
        }
        assert_eq!(counted(&[(30 * DAY, 30 * DAY)], 30 * DAY).0, 0, "at its second it has expired");
        let young: Vec<_> = (0..1001).map(|place| (2 * DAY - place, 30 * DAY)).collect();
        assert_eq!(counted(&young, 30 * DAY).1, FIRST_LOOK, "where nothing has expired one look is enough");
    }

    #[test]
    fn after_a_change_of_the_retention_each_row_counts_by_its_own() {
        // Raised from 10 to 30 days, eight days ago: those of before have expired, though younger than 30 days.
        let raised = [(12 * DAY, 10 * DAY), (11 * DAY, 10 * DAY), (8 * DAY, 30 * DAY), (DAY, 30 * DAY)];
        assert_eq!(counted(&raised, 30 * DAY).0, 2);
        // Lowered from 30 to 10 days, twelve days ago: those of before live longer than the first of after.
        let old = (0..30).map(|place| (20 * DAY - place, 30 * DAY));
        let between = (0..30).map(|place| (11 * DAY - place, 10 * DAY));
        let young = (0..30).map(|place| (DAY - place, 10 * DAY));
        let lowered: Vec<_> = old.chain(between).chain(young).collect();
        assert_eq!(counted(&lowered, 10 * DAY).0, 60);
    }

    #[test]
    fn a_count_ends_at_a_thousand_and_says_so() {
        for (parts, count, more) in [
            (vec![0], 0, false),
            (vec![1000], 1000, false),
            (vec![1001], 1000, true),
            (vec![600, 400], 1000, false),
            (vec![600, 401], 1000, true),
            (vec![3, 1001], 1000, true),
        ] {
            assert_eq!(Count::of(&parts), Count { count, more }, "{parts:?}");
        }
    }
}
