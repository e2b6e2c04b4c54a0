//! Merges what the partitions of a list gave into one page.

use pombo_domain::delivery::DeliveryKey;

/// What one partition gave.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its keys behind the cursor, newest first.
    pub(crate) keys: Vec<DeliveryKey>,
    /// Whether there are no more behind them.
    pub(crate) exhausted: bool,
}

/// The candidates of a page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidates {
    /// Their keys.
    pub(crate) keys: Vec<DeliveryKey>,
    /// Whether there may be more behind them.
    pub(crate) more: bool,
}

/// The newest at most `limit` keys of all parts, each once. Behind the last key of a part that has more, nothing is taken
/// from any other: the part may have something newer.
pub(crate) fn merge(parts: Vec<Part>, limit: usize) -> Candidates {
    let known_to = parts.iter().filter(|part| !part.exhausted).filter_map(|part| part.keys.last()).map(position).max();
    let mut more = known_to.is_some();
    let mut keys: Vec<_> = parts.into_iter().flat_map(|part| part.keys).map(|key| (position(&key), key)).collect();
    keys.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    keys.dedup();
    if let Some(known_to) = known_to {
        keys.retain(|(position, _)| *position >= known_to);
    }
    more |= keys.len() > limit;
    keys.truncate(limit);
    Candidates { keys: keys.into_iter().map(|(_, key)| key).collect(), more }
}

/// Where a delivery stands in every list: as the table sorts it.
fn position(key: &DeliveryKey) -> String {
    key.list_key()
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

    fn part(times: &[i64], exhausted: bool) -> Part {
        Part { keys: times.iter().map(|time| key(*time)).collect(), exhausted }
    }

    fn merged(parts: Vec<Part>, limit: usize) -> (Vec<i64>, bool) {
        let page = merge(parts, limit);
        (page.keys.iter().map(|key| key.accepted_at.as_seconds()).collect(), page.more)
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
}
