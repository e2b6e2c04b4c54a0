//! Merges what the partitions of a list gave into one run of candidates.

use std::cmp::Reverse;

use pombo_aws::events::{EventPosition, EventRow};
use pombo_domain::delivery::DeliveryKey;

/// What stands at a place in a list, which never changes.
pub trait Placed {
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
pub struct Part<T> {
    /// What stands behind the position, in the order of the list.
    pub rows: Vec<T>,
    /// Whether there is no more behind that.
    pub exhausted: bool,
}

impl<T> Part<T> {
    /// What a partition gave that was asked for at most so much.
    pub const fn of(rows: Vec<T>, asked: usize) -> Self {
        Self { exhausted: rows.len() < asked, rows }
    }
}

/// What comes next in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates<T> {
    /// They, in the order of the list.
    pub rows: Vec<T>,
    /// Whether there may be more behind them.
    pub more: bool,
}

/// The newest at most `limit` of all parts, each once, newest first, as each part is.
pub fn merge<T: Placed>(parts: Vec<Part<T>>, limit: usize) -> Candidates<T> {
    merge_by(parts, limit, |row| Reverse(row.place()))
}

/// The oldest at most `limit` of all parts, each once, oldest first, as each part is.
pub fn merge_oldest_first<T: Placed>(parts: Vec<Part<T>>, limit: usize) -> Candidates<T> {
    merge_by(parts, limit, T::place)
}

/// Behind the last of a part that has more, nothing is taken from any other: the part may have something that comes before.
fn merge_by<T, P: Ord>(parts: Vec<Part<T>>, limit: usize, place: impl Fn(&T) -> P) -> Candidates<T> {
    let known_to = parts.iter().filter(|part| !part.exhausted).filter_map(|part| part.rows.last()).map(&place).min();
    let mut rows: Vec<_> = parts.into_iter().flat_map(|part| part.rows).map(|row| (place(&row), row)).collect();
    rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    rows.dedup_by(|(a, _), (b, _)| a == b);
    if let Some(known_to) = &known_to {
        rows.retain(|(place, _)| place <= known_to);
    }
    let more = known_to.is_some() || rows.len() > limit;
    rows.truncate(limit);
    Candidates { rows: rows.into_iter().map(|(_, row)| row).collect(), more }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pombo_domain::time::Timestamp;
    use proptest::prelude::*;

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

    fn times((rows, more): (Vec<DeliveryKey>, bool)) -> (Vec<i64>, bool) {
        (rows.iter().map(|key| key.accepted_at.as_seconds()).collect(), more)
    }

    fn merged(parts: Vec<Part<DeliveryKey>>, limit: usize) -> (Vec<i64>, bool) {
        let Candidates { rows, more } = merge(parts, limit);
        times((rows, more))
    }

    fn merged_oldest_first(parts: Vec<Part<DeliveryKey>>, limit: usize) -> (Vec<i64>, bool) {
        let Candidates { rows, more } = merge_oldest_first(parts, limit);
        times((rows, more))
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

    #[test]
    fn keys_come_oldest_first_and_once_and_never_from_behind_a_part_that_has_more() {
        let parts = vec![part(&[1, 5, 9], true), part(&[5, 8], true), part(&[], true)];
        assert_eq!(merged_oldest_first(parts.clone(), 10), (vec![1, 5, 8, 9], false));
        assert_eq!(merged_oldest_first(parts, 3), (vec![1, 5, 8], true));
        let parts = vec![part(&[1, 3], false), part(&[2, 4, 8], true), part(&[7, 9], false)];
        assert_eq!(merged_oldest_first(parts, 10), (vec![1, 2, 3], true));
        assert_eq!(merged_oldest_first(vec![part(&[], true)], 5), (vec![], false));
    }

    proptest! {
        /// A walk in windows sees everything once, in order, however the keys are spread and however few are asked for.
        #[test]
        fn a_walk_sees_everything_once(
            times in prop::collection::btree_set(0i64..400, 0..120), parts in 1usize..17, limit in 1usize..40, asked in 1usize..10,
        ) {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let of = |number: usize| {
                    let keys: Vec<_> = times.iter().copied()
                        .filter(|time| *time as usize % parts == number && after.is_none_or(|after| *time > after))
                        .take(asked).collect();
                    part(&keys, keys.len() < asked)
                };
                let (keys, more) = merged_oldest_first((0..parts).map(of).collect(), limit);
                prop_assert!(keys.len() <= limit && (!more || !keys.is_empty()), "a window that does not move on");
                seen.extend(&keys);
                after = keys.last().copied().or(after);
                if !more { break; }
            }
            prop_assert!(seen.is_sorted());
            prop_assert_eq!(seen.len(), times.len());
            prop_assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), times);
        }
    }
}
