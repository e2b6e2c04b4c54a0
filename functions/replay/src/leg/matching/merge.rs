//! Merges what the partitions of a list gave, oldest first.

use pombo_domain::delivery::DeliveryKey;

/// What one partition gave.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// Its keys behind the position, oldest first.
    pub(super) keys: Vec<DeliveryKey>,
    /// Whether there are no more behind them.
    pub(super) exhausted: bool,
}

/// The oldest at most `limit` keys of all parts, each once, and whether there may be more behind them. Behind the last key
/// of a part that has more, nothing is taken from any other: the part may have something older.
pub(super) fn merge(parts: Vec<Part>, limit: usize) -> (Vec<DeliveryKey>, bool) {
    let position = DeliveryKey::list_key;
    let known_to = parts.iter().filter(|part| !part.exhausted).filter_map(|part| part.keys.last()).map(position).min();
    let mut keys: Vec<_> = parts.into_iter().flat_map(|part| part.keys).map(|key| (position(&key), key)).collect();
    keys.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    keys.dedup();
    if let Some(known_to) = &known_to {
        keys.retain(|(position, _)| position <= known_to);
    }
    let more = known_to.is_some() || keys.len() > limit;
    keys.truncate(limit);
    (keys.into_iter().map(|(_, key)| key).collect(), more)
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

    fn part(times: &[i64], exhausted: bool) -> Part {
        Part { keys: times.iter().map(|time| key(*time)).collect(), exhausted }
    }

    fn merged(parts: Vec<Part>, limit: usize) -> (Vec<i64>, bool) {
        let (keys, more) = merge(parts, limit);
        (keys.iter().map(|key| key.accepted_at.as_seconds()).collect(), more)
    }

    #[test]
    fn keys_come_oldest_first_and_once_and_never_from_behind_a_part_that_has_more() {
        let parts = vec![part(&[1, 5, 9], true), part(&[5, 8], true), part(&[], true)];
        assert_eq!(merged(parts.clone(), 10), (vec![1, 5, 8, 9], false));
        assert_eq!(merged(parts, 3), (vec![1, 5, 8], true));
        let parts = vec![part(&[1, 3], false), part(&[2, 4, 8], true), part(&[7, 9], false)];
        assert_eq!(merged(parts, 10), (vec![1, 2, 3], true));
        assert_eq!(merged(vec![part(&[], true)], 5), (vec![], false));
    }

    proptest! {
        /// A walk in windows sees everything once, in order, however the keys are spread and however few are asked for.
        #[test]
        fn a_walk_sees_everything_once(
            times in prop::collection::btree_set(0i64..400, 0..120), parts in 1usize..17, limit in 1usize..40, asked in 1usize..10,
        ) {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let of = |part: usize| {
                    let keys: Vec<_> = times.iter().copied()
                        .filter(|time| *time as usize % parts == part && after.is_none_or(|after| *time > after))
                        .take(asked).collect();
                    super::tests::part(&keys, keys.len() < asked)
                };
                let (keys, more) = merged((0..parts).map(of).collect(), limit);
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
