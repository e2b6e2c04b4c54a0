//! Merges what the partitions of a list gave into one run of candidates.

use pombo_aws::events::{EventPosition, EventRow};
use pombo_domain::delivery::DeliveryKey;

/// What stands at a place in a list, which never changes.
pub(crate) trait Placed {
    /// What the list is sorted by.
    type Place: Ord;

    /// Where it stands.
    fn place(&self) -> Self::Place;
}

/// As the table sorts it: by time, event and endpoint.
impl Placed for DeliveryKey {
    type Place = String;

    fn place(&self) -> String {
        self.list_key()
    }
}

impl Placed for EventRow {
    type Place = EventPosition;

    fn place(&self) -> EventPosition {
        self.position.clone()
    }
}

/// What one partition gave.
#[derive(Debug, Clone)]
pub(crate) struct Part<T> {
    /// What stands behind the cursor, newest first.
    pub(crate) rows: Vec<T>,
    /// Whether there is no more behind that.
    pub(crate) exhausted: bool,
}

impl<T> Part<T> {
    /// What a partition gave that was asked for at most so much.
    pub(crate) const fn of(rows: Vec<T>, asked: usize) -> Self {
        Self { exhausted: rows.len() < asked, rows }
    }
}

/// The candidates for a page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidates<T> {
    /// They.
    pub(crate) rows: Vec<T>,
    /// Whether there may be more behind them.
    pub(crate) more: bool,
}

/// The newest at most `limit` of all parts, each once. Behind the last of a part that has more, nothing is taken from any
/// other: the part may have something newer.
pub(crate) fn merge<T: Placed>(parts: Vec<Part<T>>, limit: usize) -> Candidates<T> {
    let known_to = parts.iter().filter(|part| !part.exhausted).filter_map(|part| part.rows.last()).map(T::place).max();
    let mut more = known_to.is_some();
    let mut rows: Vec<_> = parts.into_iter().flat_map(|part| part.rows).map(|row| (row.place(), row)).collect();
    rows.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    rows.dedup_by(|(a, _), (b, _)| a == b);
    if let Some(known_to) = known_to {
        rows.retain(|(place, _)| *place >= known_to);
    }
    more |= rows.len() > limit;
    rows.truncate(limit);
    Candidates { rows: rows.into_iter().map(|(_, row)| row).collect(), more }
}

#[cfg(test)]
mod tests {
    use pombo_domain::time::Timestamp;

    use super::*;

    fn key(time: i64) -> DeliveryKey {
        DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(time),
            event_id: "e".parse().unwrap(),
        }
    }

    fn part(times: &[i64], exhausted: bool) -> Part<DeliveryKey> {
        Part { rows: times.iter().map(|time| key(*time)).collect(), exhausted }
    }

    fn merged(parts: Vec<Part<DeliveryKey>>, limit: usize) -> (Vec<i64>, bool) {
        let page = merge(parts, limit);
        (page.rows.iter().map(|key| key.accepted_at.as_seconds()).collect(), page.more)
    }

    #[test]
    fn keys_come_newest_first_and_once() {
        let parts = vec![part(&[9, 5, 1], true), part(&[8, 5], true), part(&[], true)];
        assert_eq!(merged(parts, 10), (vec![9, 8, 5, 1], false));
    }

    #[test]
    fn a_full_page_says_that_there_is_more() {
        let parts = vec![part(&[9, 5], true), part(&[8, 4], true)];
        assert_eq!(merged(parts.clone(), 3), (vec![9, 8, 5], true));
        assert_eq!(merged(parts, 4), (vec![9, 8, 5, 4], false));
    }

    #[test]
    fn nothing_is_taken_behind_a_part_that_has_more() {
        let parts = vec![part(&[9, 7], false), part(&[8, 6, 2], true), part(&[3, 1], false)];
        assert_eq!(merged(parts, 10), (vec![9, 8, 7], true));
    }

    #[test]
    fn nothing_at_all_is_the_end() {
        assert_eq!(merged(vec![part(&[], true), part(&[], true)], 5), (vec![], false));
    }

    #[test]
    fn events_of_one_moment_stand_in_the_order_of_the_index() {
        let row = |id: &str| EventRow {
            position: EventPosition { accepted_at: Timestamp::from_seconds(1), id: id.parse().unwrap() },
            event_type: "a".parse().unwrap(),
            deliveries: Some(1),
            expires_at: 9,
        };
        let ids = ["Z", "a", "a-", "a0", "aa", "b"];
        let key = |row: &EventRow| format!("{}#{}", row.position.accepted_at, row.position.id);
        let parts = ids.iter().map(|id| Part { rows: vec![row(id)], exhausted: true }).collect();
        let keys: Vec<_> = merge(parts, 9).rows.iter().map(key).collect();
        assert!(keys.len() == ids.len() && keys.is_sorted_by(|a, b| a > b), "{keys:?}");
    }
}
