//! Time in the simulation, and the events to come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use pombo_domain::time::Timestamp;

/// Microseconds since the simulation began.
pub type Micros = u64;

/// A second.
pub const SECOND: Micros = 1_000_000;

/// When the simulation begins, by the clock of the code under test.
const BEGINS_MILLIS: i64 = 1_700_000_000_000;

/// Seconds as [`Micros`].
pub fn micros(seconds: f64) -> Micros {
    (seconds * SECOND as f64) as Micros
}

/// [`Micros`] as seconds.
pub fn seconds(time: Micros) -> f64 {
    time as f64 / SECOND as f64
}

/// A duration as [`Micros`].
pub fn of(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

/// The time as the code under test sees it.
pub fn stamp(time: Micros) -> Timestamp {
    Timestamp::from_millis(BEGINS_MILLIS + (time / 1000) as i64)
}

/// The time of the simulation at a time of the code under test; the beginning if that is earlier.
pub fn at(stamp: Timestamp) -> Micros {
    (stamp.as_millis() - BEGINS_MILLIS).max(0) as Micros * 1000
}

/// The events to come, by time. Events of the same time keep the order in which they were noted.
#[derive(Debug)]
pub struct Agenda<E> {
    entries: BinaryHeap<Reverse<Entry<E>>>,
    noted: u64,
}

#[derive(Debug)]
struct Entry<E> {
    time: Micros,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.number).cmp(&(other.time, other.number))
    }
}

impl<E> Agenda<E> {
    /// With nothing on it.
    pub fn new() -> Self {
        Self { entries: BinaryHeap::new(), noted: 0 }
    }

    /// Notes an event for a time.
    pub fn note(&mut self, time: Micros, event: E) {
        self.noted += 1;
        self.entries.push(Reverse(Entry { time, number: self.noted, event }));
    }

    /// Takes the next event.
    pub fn next(&mut self) -> Option<(Micros, E)> {
        self.entries.pop().map(|Reverse(entry)| (entry.time, entry.event))
    }
}

#[test]
fn what_is_noted_happens_by_time_and_then_in_its_order() {
    let mut agenda = Agenda::new();
    for (time, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
        agenda.note(time, event);
    }
    let order: String = std::iter::from_fn(|| agenda.next()).map(|(_, event)| event).collect();
    assert_eq!(order, "abcd");
}
