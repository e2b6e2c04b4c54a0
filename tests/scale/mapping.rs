//! How Lambda takes batches from the queue: the pollers of the event source mapping, and the account's concurrency.

use crate::agenda::Micros;
use crate::bucket::Bucket;
use crate::limits::{POLLERS_A_MINUTE, POLLERS_AT_FIRST, POLLERS_AT_MOST, REQUESTS_PER_CONCURRENCY};

/// The mapping of the Deliveries queue to dispatch. A free place takes at once what there is, one message to ten; the
/// pollers of AWS gather a little more.
#[derive(Debug)]
pub struct Mapping {
    places: f64,
    most: f64,
    more_a_second: f64,
    busy: u32,
}

impl Mapping {
    /// A mapping that may have `most` batches under way, of a stack that is shrunk by `by`. A mapping that is `warm` begins with that
    /// number of places, and one that was idle with those that AWS gives at first.
    pub fn new(most: f64, warm: Option<f64>, by: f64) -> Self {
        let most = most.min(POLLERS_AT_MOST) / by;
        let places = warm.unwrap_or(POLLERS_AT_FIRST) / by;
        Self { places: places.min(most), most, more_a_second: POLLERS_A_MINUTE / 60.0 / by, busy: 0 }
    }

    /// A second has passed: with messages waiting, there are more places.
    pub fn second(&mut self, is_waiting: bool) {
        if is_waiting {
            self.places = (self.places + self.more_a_second).min(self.most);
        }
    }

    /// Whether another batch may begin.
    pub fn has_place(&self) -> bool {
        f64::from(self.busy + 1) <= self.places
    }

    /// A batch begins.
    pub const fn begin(&mut self) {
        self.busy += 1;
    }

    /// A batch has ended.
    pub const fn end(&mut self) {
        self.busy -= 1;
    }

    /// Batches under way.
    pub const fn busy(&self) -> u32 {
        self.busy
    }
}

/// The concurrency of a small account, which ingest and dispatch share.
#[derive(Debug)]
pub struct Account {
    concurrency: u32,
    busy: u32,
    requests: Bucket,
}

impl Account {
    /// An account that may have `concurrency` invocations at a time.
    pub fn new(concurrency: f64) -> Self {
        let requests = Bucket::new(concurrency * REQUESTS_PER_CONCURRENCY);
        Self { concurrency: concurrency as u32, busy: 0, requests }
    }

    /// Begins an invocation, unless Lambda refuses it.
    pub fn begins(&mut self, now: Micros) -> bool {
        let begins = self.busy < self.concurrency && self.requests.takes(1.0, now);
        self.busy += u32::from(begins);
        begins
    }

    /// An invocation has ended.
    pub const fn end(&mut self) {
        self.busy -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agenda::SECOND;

    fn places(mapping: &mut Mapping) -> u32 {
        while mapping.has_place() {
            mapping.begin();
        }
        mapping.busy()
    }

    #[test]
    fn a_mapping_begins_with_five_batches_and_gets_three_hundred_more_a_minute_while_messages_wait() {
        let mut mapping = Mapping::new(1000.0, None, 1.0);
        assert_eq!(places(&mut mapping), 5);
        (0..60).for_each(|_| mapping.second(true));
        assert_eq!(places(&mut mapping), 305);
        (0..60).for_each(|_| mapping.second(false));
        assert_eq!(places(&mut mapping), 305);
        (0..600).for_each(|_| mapping.second(true));
        assert_eq!(places(&mut mapping), 1000);
    }

    #[test]
    fn no_mapping_has_more_than_1250_batches_and_one_that_is_warm_begins_with_all() {
        assert_eq!(places(&mut Mapping::new(9000.0, Some(9000.0), 1.0)), 1250);
        assert_eq!(places(&mut Mapping::new(200.0, Some(200.0), 10.0)), 20);
    }

    #[test]
    fn an_account_refuses_what_is_above_its_concurrency_or_ten_times_as_many_requests_a_second() {
        let mut account = Account::new(10.0);
        assert_eq!((0..20).filter(|_| account.begins(0)).count(), 10);
        let begun = (0..200)
            .filter(|_| {
                account.end();
                account.begins(0) || {
                    account.busy += 1;
                    false
                }
            })
            .count();
        assert_eq!(begun, 90, "a hundred a second");
        account.end();
        assert!(account.begins(SECOND));
    }
}
