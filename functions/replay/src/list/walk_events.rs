//! Walks through the pages of a list of events in a model of the index, while events come in between any two queries.

use std::collections::BTreeSet;

use pombo_aws::events::{EventPosition, EventRow};
use pombo_domain::delivery::shard_of;
use pombo_domain::event::EVENT_SHARDS;
use pombo_domain::time::Timestamp;
use pombo_jobs::merge::{Part, merge};
use proptest::prelude::*;

use super::events::EventFilter;
use super::page::Page;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// Three of four events are of a type; one in seven has expired, and still lies there.
fn row(time: u16) -> EventRow {
    let id = format!("e{time}").parse().unwrap();
    EventRow {
        position: EventPosition { accepted_at: Timestamp::from_seconds(i64::from(time / 4)), id },
        event_type: if time.is_multiple_of(4) { "x" } else { "a.b" }.parse().unwrap(),
        deliveries: Some(1),
        expires_at: if time.is_multiple_of(7) { NOW.as_seconds() } else { NOW.as_seconds() + 1 },
    }
}

fn shard_of_event(time: u16) -> usize {
    shard_of(&format!("e{time}"), EVENT_SHARDS).into()
}

/// One query, as the adapter makes it.
fn query(table: &[BTreeSet<u16>], shard: u8, after: Option<&EventPosition>, limit: usize) -> Vec<EventRow> {
    let rows = table[usize::from(shard)].iter().map(|time| row(*time));
    let mut rows: Vec<_> = rows.filter(|row| after.is_none_or(|after| row.position < *after)).collect();
    rows.sort_by(|a, b| b.position.cmp(&a.position));
    rows.truncate(limit);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_walk_misses_nothing_and_repeats_nothing(
        start in prop::collection::btree_set(0u16..600, 0..120),
        coming in prop::collection::vec(0u16..600, 0..200),
        by_type in any::<bool>(),
        limit in 1usize..30,
        at_once in 2usize..60,
        most in 4usize..90,
        few in prop::option::of(1usize..4),
    ) {
        let event_type = by_type.then(|| "a.*".parse().unwrap());
        let filter = EventFilter { tenant: "t".parse().unwrap(), event_type, since: None, until: None };
        let asked = few.unwrap_or_else(|| EventFilter::rows_to_ask(at_once));
        let shows = |row: &EventRow| filter.shows(row, NOW);
        let always: BTreeSet<_> = start.iter().map(|time| row(*time)).filter(shows).map(|row| row.position).collect();
        let mut table = vec![BTreeSet::new(); EVENT_SHARDS.into()];
        for time in start {
            table[shard_of_event(time)].insert(time);
        }
        let mut coming = coming.into_iter();
        let (mut after, mut shown) = (None, Vec::new());
        loop {
            let mut page = Page::new(after, limit, most);
            while page.is_open() {
                let mut parts = Vec::new();
                for shard in 0..EVENT_SHARDS {
                    parts.push(Part::of(query(&table, shard, page.position(), asked), asked));
                    if let Some(time) = coming.next() {
                        table[shard_of_event(time)].insert(time);
                    }
                }
                page.take(merge(parts, at_once), |row| (row.position.clone(), shows(&row).then_some(row.position)));
            }
            let page = page.filled();
            prop_assert!(page.shown.len() <= limit);
            shown.extend(page.shown);
            match page.next {
                None => break,
                next => after = next,
            }
        }
        let once: BTreeSet<_> = shown.iter().cloned().collect();
        prop_assert_eq!(once.len(), shown.len(), "something came twice");
        prop_assert!(shown.is_sorted_by(|a, b| a > b), "newest first");
        prop_assert!(always.is_subset(&once), "missed {:?}", always.difference(&once).collect::<Vec<_>>());
    }
}
