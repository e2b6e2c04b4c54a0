//! A limit of so much a second.

use crate::agenda::{Micros, seconds};

/// What a limit leaves. It holds what comes in one second; larger bursts, which AWS allows at times, are left out.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    left: f64,
    at: Micros,
}

impl Bucket {
    /// A full one. It always holds two units at least, or what needs two would never go.
    pub fn new(per_second: f64) -> Self {
        Self { per_second, left: per_second.max(2.0), at: 0 }
    }

    /// Whether so much is left.
    pub fn has(&mut self, units: f64, now: Micros) -> bool {
        self.left = (self.left + seconds(now - self.at) * self.per_second).min(self.per_second.max(2.0));
        self.at = now;
        self.left >= units
    }

    /// Takes what is left, as [`Bucket::has`] said.
    pub fn take(&mut self, units: f64) {
        self.left -= units;
    }

    /// Takes so much, if it is left.
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
