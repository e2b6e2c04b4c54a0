//! Walks through the pages of a list in a model of the table, while deliveries come and change between any two queries.

use std::collections::{BTreeMap, BTreeSet};

use pombo_aws::deliveries::List;
use pombo_domain::delivery::{DeliveryKey, Listing, NewDelivery, Record, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_jobs::merge::{Part, merge};
use proptest::prelude::*;

use super::filter::{Filter, Scope, Statuses};
use super::page::Page;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const ALL: [Status; 6] =
    [Status::Pending, Status::Retrying, Status::Held, Status::Succeeded, Status::Failed, Status::Cancelled];

/// A table whose indexes follow at once: by position, each record with its places in the indexes.
#[derive(Debug, Clone, Default)]
struct Table(BTreeMap<String, (Record, Option<Listing>)>);

impl Table {
    fn put(&mut self, record: Record) {
        let listing = record.listing();
        self.0.insert(record.key.list_key(), (record, listing));
    }

    fn get(&self, position: &str) -> &Record {
        &self.0[position].0
    }

    /// One query, as the adapter makes it.
    fn list(&self, list: &List, after: Option<&DeliveryKey>, limit: usize) -> Vec<DeliveryKey> {
        let belongs = |(record, listing): &(Record, Option<Listing>)| match (list, listing) {
            (List::OfEndpoint(endpoint), _) => record.key.endpoint_id == *endpoint,
            (List::ByEndpoint(partition), Some(listing)) => listing.endpoint_status == *partition,
            (List::ByTenant(partition), Some(listing)) => listing.tenant_status == *partition,
            (List::ByStack(partition), Some(listing)) => listing.stack_status == *partition,
            _ => false,
        };
        // Behind every list key, without a cursor: a key begins with a digit.
        let after = after.map_or_else(|| "~".to_owned(), DeliveryKey::list_key);
        let newest_first = self.0.range(..after).rev();
        newest_first
            .map(|(_, row)| row)
            .filter(|row| belongs(row))
            .take(limit)
            .map(|(record, _)| record.key.clone())
            .collect()
    }
}

/// What happens in the table between two queries.
#[derive(Debug, Clone)]
enum Happening {
    /// A delivery begins: at this time, to this endpoint, in this status.
    Comes(u16, u8, usize),
    /// An old one changes: which, and to what.
    Changes(prop::sample::Index, usize),
}

fn record(time: u16, endpoint: u8, status: Status) -> Record {
    let key = DeliveryKey {
        endpoint_id: EndpointId::generate([endpoint % 3; 10]),
        accepted_at: Timestamp::from_seconds(1_600_000_000 + i64::from(time / 4)),
        event_id: format!("e{}", time % 4).parse().unwrap(),
    };
    let new = NewDelivery {
        tenant: if endpoint.is_multiple_of(2) { "a" } else { "b" }.parse().unwrap(),
        event_type: if time.is_multiple_of(5) { "a.b" } else { "x" }.parse().unwrap(),
        expires_at: NOW.as_seconds() + 1,
    };
    Record { status, ..Record::begin(key, new) }
}

/// The changes that the protocol knows between statuses that are listed.
fn may_follow(from: Status, to: Status) -> bool {
    from != to && (from == Status::Retrying || to == Status::Retrying || !Status::LISTED.contains(&from))
}

/// One walk, and what it must have shown: what was to be shown from its begin to its end.
struct Walk {
    table: Table,
    happenings: std::vec::IntoIter<Happening>,
    always: BTreeSet<String>,
    filter: Filter,
}

impl Walk {
    fn shows(&self, record: &Record) -> bool {
        let scope = match &self.filter.scope {
            Scope::Endpoint(endpoint) => record.key.endpoint_id == *endpoint,
            Scope::Tenant(tenant) => record.tenant == *tenant,
            Scope::Stack => true,
        };
        scope && self.filter.shows(record, NOW)
    }

    /// Lets the next thing happen. A delivery that changed on this page already waits for the next page: a round trip
    /// within the milliseconds of one page is beyond what the order of the queries can catch.
    fn happen(&mut self, changed: &mut BTreeSet<String>) {
        match self.happenings.next() {
            None => {}
            Some(Happening::Comes(time, endpoint, status)) => {
                let record = record(time, endpoint, ALL[status % ALL.len()]);
                if !self.table.0.contains_key(&record.key.list_key()) {
                    self.table.put(record);
                }
            }
            Some(Happening::Changes(which, to)) => {
                let positions: Vec<_> = self.table.0.keys().cloned().collect();
                if positions.is_empty() {
                    return;
                }
                let position = which.get(&positions).clone();
                let to = ALL[to % ALL.len()];
                let record = self.table.get(&position);
                if may_follow(record.status, to) && changed.insert(position.clone()) {
                    self.table.put(Record { status: to, ..record.clone() });
                    if !self.shows(self.table.get(&position)) {
                        self.always.remove(&position);
                    }
                }
            }
        }
    }

    fn run(&mut self, sizes: &Sizes) -> Vec<String> {
        let rows = self.table.0.iter();
        self.always = rows.filter(|(_, (record, _))| self.shows(record)).map(|(at, _)| at.clone()).collect();
        let (mut after, mut shown) = (None, Vec::new());
        loop {
            let mut page = Page::new(after, sizes.limit, sizes.most);
            while page.is_open() {
                let (mut parts, mut changed) = (Vec::new(), BTreeSet::new());
                for list in self.filter.stages().into_iter().flatten() {
                    parts.push(Part::of(self.table.list(&list, page.position(), sizes.asked), sizes.asked));
                    self.happen(&mut changed);
                }
                page.take(merge(parts, sizes.at_once), |key| {
                    let record = self.table.get(&key.list_key());
                    let place = self.shows(record).then(|| key.list_key());
                    (key, place)
                });
            }
            let page = page.filled();
            assert!(page.shown.len() <= sizes.limit);
            assert_eq!(page.cut, page.next.is_some() && page.shown.len() < sizes.limit);
            shown.extend(page.shown);
            if page.next.is_none() {
                return shown;
            }
            after = page.next;
        }
    }
}

/// The sizes of pages and looks.
#[derive(Debug, Clone)]
struct Sizes {
    limit: usize,
    at_once: usize,
    asked: usize,
    most: usize,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0u16..400, any::<u8>(), 0usize..6).prop_map(|(time, endpoint, to)| Happening::Comes(time, endpoint, to)),
        (any::<prop::sample::Index>(), 0usize..6).prop_map(|(which, to)| Happening::Changes(which, to)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let scope = prop_oneof![
        (0u8..3).prop_map(|endpoint| Scope::Endpoint(EndpointId::generate([endpoint; 10]))),
        Just(Scope::Tenant("a".parse().unwrap())),
        Just(Scope::Stack),
    ];
    let statuses = prop_oneof![2 => Just(Vec::new()), 2 => prop::sample::subsequence(Status::LISTED.to_vec(), 1..=4)];
    let statuses = statuses.prop_map(|statuses| Statuses(statuses.into_iter().collect()));
    let event_type = prop_oneof![2 => Just(None), 1 => Just(Some("a.*".parse().unwrap()))];
    let filter = |(scope, statuses, event_type)| Filter { scope, statuses, event_type, since: None, until: None };
    (scope, statuses, event_type).prop_map(filter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_walk_misses_nothing_and_repeats_nothing(
        start in prop::collection::vec((0u16..400, any::<u8>(), 0usize..6), 0..70),
        happenings in prop::collection::vec(happening(), 0..150),
        filter in filter(),
        limit in 1usize..30,
        at_once in 2usize..40,
        most in 4usize..90,
        few in prop::option::of(1usize..4),
    ) {
        let mut table = Table::default();
        start.into_iter().for_each(|(time, endpoint, status)| table.put(record(time, endpoint, ALL[status])));
        let mut walk = Walk { table, happenings: happenings.into_iter(), always: BTreeSet::new(), filter };
        // A partition that gives fewer keys than a page may need must not lead the merge astray.
        let asked = few.unwrap_or_else(|| walk.filter.keys_to_ask(at_once));
        let shown = walk.run(&Sizes { limit, at_once, asked, most });
        let once: BTreeSet<_> = shown.iter().cloned().collect();
        prop_assert_eq!(once.len(), shown.len(), "something came twice");
        prop_assert!(shown.is_sorted_by(|a, b| a > b), "newest first");
        let missed: Vec<_> = walk.always.difference(&once).collect();
        prop_assert!(missed.is_empty(), "missed {:?}", missed);
    }
}
