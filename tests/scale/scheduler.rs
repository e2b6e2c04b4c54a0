//! EventBridge Scheduler: its quotas, and how late its schedules fire.

use crate::agenda::{Micros, micros};
use crate::bucket::Bucket;
use crate::limits::{SCHEDULE_CREATES, SCHEDULE_INVOCATIONS, SCHEDULE_PRECISION_SECONDS};
use crate::random::Random;

/// The service, for one stack.
#[derive(Debug)]
pub struct Scheduler {
    creates: Bucket,
    between_two: f64,
    next_free: Micros,
    refuses: Option<(Micros, Micros)>,
    /// Calls that were refused.
    pub refused: u64,
}

impl Scheduler {
    /// For a stack that is shrunk by `by`; from when to when it refuses everything.
    pub fn new(by: f64, refuses: Option<(Micros, Micros)>) -> Self {
        let between_two = by / SCHEDULE_INVOCATIONS;
        Self { creates: Bucket::new(SCHEDULE_CREATES / by), between_two, next_free: 0, refuses, refused: 0 }
    }

    /// Makes a schedule, unless that is refused.
    pub fn makes(&mut self, now: Micros) -> bool {
        let refuses = self.refuses.is_some_and(|(from, until)| (from..until).contains(&now));
        let makes = !refuses && self.creates.takes(1.0, now);
        self.refused += u64::from(!makes);
        makes
    }

    /// The time at which a schedule fires that is made for a time, if the quota lets it.
    pub fn fires(at: Micros, random: &mut Random) -> Micros {
        at + micros(SCHEDULE_PRECISION_SECONDS * random.share())
    }

    /// When a schedule fires whose time is `now`: the quota may make it late. Schedules have to be asked for in the order of their
    /// times.
    pub fn invoked(&mut self, now: Micros) -> Micros {
        let at = now.max(self.next_free);
        self.next_free = at + micros(self.between_two);
        at
    }
}

#[test]
fn more_schedules_than_the_quota_fire_late() {
    let mut scheduler = Scheduler::new(1.0, None);
    let last = (0..5000).map(|_| scheduler.invoked(0)).last().unwrap();
    assert!((4_900_000..=5_000_000).contains(&last), "{last}");
    assert_eq!((0..9000).filter(|_| scheduler.makes(0)).count(), 5000);
}
