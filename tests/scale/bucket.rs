//! A limit of units a second.

use crate::agenda::{Micros, seconds};

/// The units that a limit leaves. A bucket holds the units of one second. AWS allows larger bursts at times; they are left out.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    left: f64,
    at: Micros,
}

impl Bucket {
    /// A full bucket. Each holds two units at least, or a write that needs two would never be made.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second.max(2.0), at: 0 }
    }

    /// Whether these units are left.
    pub fn has(&mut self, units: f64, now: Micros) -> bool {
        self.left = (self.left + seconds(now - self.at) * self.per_second).min(self.per_second.max(2.0));
        self.at = now;
        self.left >= units
    }

    /// Takes units that are left, as [`Bucket::has`] said.
    pub fn take(&mut self, units: f64) {
        self.left -= units;
    }

    /// Takes these units, if they are left.
    pub fn takes(&mut self, units: f64, now: Micros) -> bool {
        let has = self.has(units, now);
        if has {
            self.take(units);
        }
        has
    }
}

#[test]
fn a_bucket_gives_a_seconds_worth_at_once_and_then_its_rate() {
    use crate::agenda::SECOND;
    let mut bucket = Bucket::new(1000.0);
    let taken = |bucket: &mut Bucket, now| (0..5000).filter(|_| bucket.takes(1.0, now)).count();
    assert_eq!(taken(&mut bucket, 0), 1000);
    assert_eq!(taken(&mut bucket, SECOND / 10), 100);
    assert_eq!(taken(&mut bucket, 100 * SECOND), 1000);
}
