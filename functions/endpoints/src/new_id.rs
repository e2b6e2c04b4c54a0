//! The ids of new endpoints: in the order in which a tenant's endpoints were registered.
//!
//! A list of endpoints goes on behind an id, and must do so when that endpoint was deleted between two pages. So ids tell
//! the order: the first 48 bits are the time in milliseconds, moved past every endpoint that the tenant has (clocks of two
//! machines differ), the other 32 are random. The routing record, which grows at its end, is thus sorted by id.

use pombo_domain::ids::EndpointId;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::time::Timestamp;

const LARGEST_TIME: u64 = (1 << 48) - 1;

/// Where an id stands: the number that its 16 characters of base32 write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u128);

impl Place {
    /// Of an endpoint.
    pub fn of(id: &EndpointId) -> Self {
        let digit = |byte: u8| u128::from(if byte.is_ascii_digit() { byte - b'2' + 26 } else { byte - b'a' });
        Self(id.suffix().bytes().fold(0, |number, byte| (number << 5) | digit(byte)))
    }

    fn time(self) -> u64 {
        (self.0 >> 32) as u64
    }
}

/// An id behind those of all endpoints in the record.
pub fn next(record: &RoutingRecord, now: Timestamp, random: [u8; 4]) -> EndpointId {
    let last = record.routes.iter().map(|route| Place::of(&route.endpoint_id).time()).max();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    let time = last.map_or(now, |last| now.max(last + 1)).min(LARGEST_TIME);
    let mut unique = [0; 10];
    unique[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    unique[6..].copy_from_slice(&random);
    EndpointId::generate(unique)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{self, NOW};

    fn record(ids: Vec<EndpointId>) -> RoutingRecord {
        let route = samples::endpoint().route();
        let routes = ids.into_iter().map(|endpoint_id| pombo_domain::routing::Route { endpoint_id, ..route.clone() });
        RoutingRecord { routes: routes.collect(), ..RoutingRecord::empty("acme".parse().unwrap()) }
    }

    #[test]
    fn a_place_orders_as_the_bytes_do() {
        let bytes = [[0; 10], [0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0], [200; 10], [255; 10]];
        let places = bytes.map(|bytes| Place::of(&EndpointId::generate(bytes)));
        assert!(places.is_sorted() && places[0] == Place(0) && places[4] == Place((1 << 80) - 1), "{places:?}");
    }

    #[test]
    fn ids_of_one_moment_are_in_the_order_of_their_making() {
        let mut ids = Vec::new();
        for random in [9, 3, 7, 0, 255] {
            ids.push(next(&record(ids.clone()), NOW, [random; 4]));
        }
        assert!(ids.iter().map(Place::of).is_sorted(), "{ids:?}");
    }

    #[test]
    fn a_clock_that_is_behind_or_an_id_at_the_end_does_no_harm() {
        let ahead = next(&record(vec![]), NOW.plus(std::time::Duration::from_secs(3600)), [0; 4]);
        assert!(Place::of(&next(&record(vec![ahead.clone()]), NOW, [0; 4])) > Place::of(&ahead));
        let end = EndpointId::generate([255; 10]);
        assert_eq!(Place::of(&next(&record(vec![end]), NOW, [5; 4])).time(), LARGEST_TIME);
    }
}
