//! Chance, from a seed: what happens to a thing follows from what it is and how often it has been, and not from when it
//! comes, so that the same seed means the same storm as far as the threads allow.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

use pombo_tests::harness::seed;

/// The chances of a run.
pub struct Dice {
    seed: u64,
    thrown: Mutex<HashMap<u64, u32>>,
}

impl Dice {
    /// With the seed in `POMBO_SEED`, or any.
    pub fn seeded() -> Self {
        let seed = seed();
        println!("POMBO_SEED={seed}");
        Self { seed, thrown: Mutex::default() }
    }

    /// A number from 0 to 1 for `what`, the same each time.
    pub fn of(&self, what: impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from 0 to 1 for `what` this time; another the next time.
    pub fn next(&self, what: impl Hash) -> f64 {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        let times = *self.thrown.lock().unwrap().entry(hasher.finish()).and_modify(|times| *times += 1).or_default();
        self.of((hasher.finish(), times))
    }
}
