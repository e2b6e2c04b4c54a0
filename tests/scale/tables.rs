//! The Deliveries table of DynamoDB with its indexes: what a write costs, and whether their partitions have room for it.
//!
//! A record's rows in the indexes are those that the code itself gives ([`Record::listing`]), so the number of their partitions
//! is the code's. A row costs a unit when it comes and one when it goes. A write that the partition of an index has no room
//! for is refused as a whole ("Understanding Global Secondary Index (GSI) write throttling and back pressure in DynamoDB").

use std::collections::HashMap;

use pombo_domain::delivery::{DeliveryKey, Listing, NewDelivery, Record, Status};
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::retry::{Next, Route};

use crate::agenda::{Micros, stamp};
use crate::bucket::Bucket;
use crate::limits::{KEY_WRITES, TABLE_WRITES};
use crate::setup::{Shrink, Tables};

/// How many indexes the table has.
const INDEXES: usize = 4;

/// The places of a record in the indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rows {
    partitions: [Option<u32>; INDEXES],
    /// The sort key of the timers; the others sort by the delivery's key, which never changes.
    due_at: Option<i64>,
}

impl Rows {
    /// The rows of a delivery that is not listed: none.
    pub const NONE: Self = Self { partitions: [None; INDEXES], due_at: None };
}

/// A delivery, as far as its key goes.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// The endpoint. Each endpoint has a tenant of its own.
    pub endpoint: u32,
    /// The delivery's number.
    pub number: u64,
    /// When its event was accepted.
    pub accepted: Micros,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    limits: Tables,
    shrink: Shrink,
    whole: Bucket,
    of_endpoint: Vec<Bucket>,
    of_index: Vec<Bucket>,
    names: HashMap<(usize, String), u32>,
    refuses: Option<(Micros, Micros)>,
    /// Writes that were refused.
    pub refused: u64,
    /// Units that were written, those of indexes included.
    pub units: u64,
}

impl Table {
    /// An empty table for the deliveries of `endpoints` endpoints. It refuses everything within the times of `refuses`.
    pub fn new(limits: Tables, shrink: Shrink, endpoints: usize, refuses: Option<(Micros, Micros)>) -> Self {
        Self {
            limits,
            shrink,
            whole: Bucket::new(TABLE_WRITES / shrink.by),
            of_endpoint: vec![Bucket::new(shrink.endpoint_writes()); endpoints],
            of_index: Vec::new(),
            names: HashMap::new(),
            refuses,
            refused: 0,
            units: 0,
        }
    }

    /// The rows of a delivery with this status, whose next attempt is due at a time.
    pub fn rows(&mut self, delivery: Delivery, status: Status, due: Option<Micros>) -> Rows {
        if self.limits != Tables::KeysAndIndexes {
            return Rows::NONE;
        }
        let next = due.map(|due| Next { at: stamp(due), route: Route::Queue });
        let listing = Record { status, next, ..begun(delivery) }.listing();
        listing.map_or(Rows::NONE, |listing| self.partitions(listing))
    }

    fn partitions(&mut self, listing: Listing) -> Rows {
        let Listing { endpoint_status, tenant_status, stack_status, list_key: _, due_shard, due_at } = listing;
        // Each tenant has one endpoint.
        let own = self.shrink.endpoint_writes();
        let shared = KEY_WRITES / self.shrink.by;
        let indexes = [
            (Some(endpoint_status), own),
            (Some(tenant_status), own),
            (Some(stack_status), shared),
            (due_shard, shared),
        ];
        let mut rows = Rows { partitions: [None; INDEXES], due_at };
        for (index, (name, writes)) in indexes.into_iter().enumerate() {
            rows.partitions[index] = name.map(|name| {
                let Self { names, of_index, .. } = self;
                *names.entry((index, name)).or_insert_with(|| {
                    of_index.push(Bucket::new(writes));
                    of_index.len() as u32 - 1
                })
            });
        }
        rows
    }

    /// Writes an endpoint's record of one unit, whose rows change; whether the table took it.
    pub fn write(&mut self, endpoint: u32, old: Rows, new: Rows, now: Micros) -> bool {
        let is_refused = self.refuses.is_some_and(|(from, until)| (from..until).contains(&now));
        if is_refused || (self.limits != Tables::Unlimited && !self.has_room(endpoint, old, new, now)) {
            self.refused += 1;
            return false;
        }
        true
    }

    fn has_room(&mut self, endpoint: u32, old: Rows, new: Rows, now: Micros) -> bool {
        let mut changed = [0; 2 * INDEXES];
        let mut count = 0;
        for index in 0..INDEXES {
            let (before, after) = (old.partitions[index], new.partitions[index]);
            let stays = before == after && (index + 1 < INDEXES || old.due_at == new.due_at);
            for partition in [before, after].into_iter().flatten().filter(|_| !stays) {
                changed[count] = partition;
                count += 1;
            }
        }
        let changed = &changed[..count];
        let mut has = self.of_endpoint[endpoint as usize].has(1.0, now) & self.whole.has(1.0, now);
        for partition in changed {
            let units = changed.iter().filter(|other| *other == partition).count() as f64;
            has &= self.of_index[*partition as usize].has(units, now);
        }
        if has {
            self.of_endpoint[endpoint as usize].take(1.0);
            self.whole.take(1.0);
            changed.iter().for_each(|partition| self.of_index[*partition as usize].take(1.0));
            self.units += 1 + count as u64;
        }
        has
    }
}

/// The record that a delivery begins with.
fn begun(delivery: Delivery) -> Record {
    let key = DeliveryKey {
        endpoint_id: EndpointId::generate(wide(u64::from(delivery.endpoint))),
        accepted_at: stamp(delivery.accepted),
        event_id: EventId::generate(wide(delivery.number)),
    };
    let tenant = format!("t{}", delivery.endpoint).parse().unwrap();
    Record::begin(key, NewDelivery { tenant, event_type: "a".parse().unwrap(), expires_at: i64::MAX })
}

/// A number in more bytes.
fn wide<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agenda::SECOND;

    fn delivery(endpoint: u32, number: u64) -> Delivery {
        Delivery { endpoint, number, accepted: 0 }
    }

    fn table(limits: Tables) -> Table {
        Table::new(limits, Shrink::NOT, 100, None)
    }

    #[test]
    fn a_partition_key_takes_a_thousand_writes_a_second_and_the_others_are_unharmed() {
        let mut table = table(Tables::Keys);
        let mut taken =
            |endpoint, now| (0..3000).filter(|_| table.write(endpoint, Rows::NONE, Rows::NONE, now)).count();
        assert_eq!((taken(0, 0), taken(1, 0)), (1000, 1000));
        assert_eq!(taken(0, SECOND / 2), 500);
        assert_eq!(table.refused, 2000 + 2000 + 2500);
    }

    #[test]
    fn a_table_takes_forty_thousand_writes_a_second() {
        let mut table = table(Tables::Keys);
        let taken = (0..100_000).filter(|n| table.write(n % 100, Rows::NONE, Rows::NONE, 0)).count();
        assert_eq!(taken, 40_000);
    }

    #[test]
    fn what_an_index_has_no_room_for_is_refused_although_the_table_has_room() {
        let mut table = table(Tables::KeysAndIndexes);
        let taken = (0..40_000).filter(|number| {
            let delivery = delivery((number % 100) as u32, *number);
            let rows = table.rows(delivery, Status::Held, None);
            table.write(delivery.endpoint, Rows::NONE, rows, 0)
        });
        // Eight partitions of the list of the whole stack, among which deliveries are spread by chance.
        let taken = taken.count();
        assert!((7_500..=8_000).contains(&taken), "{taken}");
    }

    #[test]
    fn a_row_costs_a_unit_when_it_comes_and_one_when_it_goes() {
        let mut table = table(Tables::KeysAndIndexes);
        let one = delivery(0, 1);
        let held = table.rows(one, Status::Held, None);
        let retrying = table.rows(one, Status::Retrying, Some(SECOND));
        let later = table.rows(one, Status::Retrying, Some(2 * SECOND));
        for (old, new, units) in [
            (Rows::NONE, Rows::NONE, 1),
            (Rows::NONE, held, 4),
            (held, retrying, 8),
            (retrying, retrying, 1),
            (retrying, later, 3),
            (later, Rows::NONE, 5),
        ] {
            let before = table.units;
            assert!(table.write(0, old, new, 0));
            assert_eq!(table.units - before, units, "{old:?} {new:?}");
        }
    }
}
