//! A standard queue of SQS whose messages have groups: a fair queue.
//!
//! Messages are given out oldest first, which SQS does only roughly. A group that uses too much of the consumers is noisy:
//! its messages wait until no quiet group has any. Of several noisy groups, the one with the fewest messages in flight comes
//! first. A group is quiet again when its backlog is gone and it is below the thresholds. In AWS a group whose app sends nothing
//! for five minutes is quiet again, too; that is left out.

use std::collections::{BTreeMap, VecDeque};

use crate::agenda::{Micros, SECOND, seconds};

/// How far back a group's "recent share" of the processing time goes. The time is a guess, because AWS does not name it.
const RECENT: Micros = 60 * SECOND;

/// When a group is noisy.
#[derive(Debug, Clone, Copy)]
pub struct Noisy {
    /// The share of the messages in flight, or of the processing time, that it exceeds.
    pub share: f64,
    /// How many of its messages are in flight at least, for the share of those to count.
    pub in_flight: f64,
}

/// A message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// The message's number.
    pub message: u32,
    /// The message's group.
    pub group: u32,
    /// Since when it can be received.
    pub since: Micros,
}

#[derive(Debug, Clone, Default)]
struct Group {
    in_flight: u32,
    spent: Spent,
}

/// Processing time: of this minute and of the one before, which counts for as much of it as is within the last minute.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    minute: Micros,
    this: f64,
    before: f64,
}

impl Spent {
    fn at(self, now: Micros) -> Self {
        match now / RECENT - self.minute {
            0 => self,
            1 => Self { minute: now / RECENT, this: 0.0, before: self.this },
            _ => Self { minute: now / RECENT, ..Self::default() },
        }
    }

    fn by(self, now: Micros) -> f64 {
        let Self { this, before, .. } = self.at(now);
        this + before * (1.0 - (now % RECENT) as f64 / RECENT as f64)
    }

    fn add(&mut self, more: f64, now: Micros) {
        *self = self.at(now);
        self.this += more;
    }
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
    of_noisy: BTreeMap<u32, VecDeque<Waiting>>,
    groups: Vec<Group>,
    in_flight: u32,
    quota: u32,
    spent: Spent,
    noisy: Option<Noisy>,
}

impl Queue {
    /// An empty queue, for messages of `groups` groups. `quota` messages may be in flight. Without `noisy`, groups do not matter.
    pub fn new(groups: usize, quota: f64, noisy: Option<Noisy>) -> Self {
        Self {
            waiting: VecDeque::new(),
            of_noisy: BTreeMap::new(),
            groups: vec![Group::default(); groups],
            in_flight: 0,
            quota: quota as u32,
            spent: Spent::default(),
            noisy,
        }
    }

    /// Makes a message visible.
    pub fn add(&mut self, message: u32, group: u32, now: Micros) {
        self.waiting.push_back(Waiting { message, group, since: now });
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.of_noisy.values().map(VecDeque::len).sum::<usize>()
    }

    /// Whether a receive would give a message.
    pub fn has_any(&self) -> bool {
        self.in_flight < self.quota && !(self.waiting.is_empty() && self.of_noisy.is_empty())
    }

    /// Messages that are neither deleted nor visible again.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Receives at most `most` messages, which are in flight until [`Queue::landed`].
    pub fn receive(&mut self, most: usize, now: Micros) -> Vec<Waiting> {
        let mut batch = Vec::with_capacity(most);
        while batch.len() < most && self.in_flight < self.quota {
            let Some(next) = self.next_of_quiet(now).or_else(|| self.next_of_noisy()) else { break };
            self.groups[next.group as usize].in_flight += 1;
            self.in_flight += 1;
            batch.push(next);
        }
        batch
    }

    /// A message that was received at a time is deleted or visible again.
    pub fn landed(&mut self, group: u32, received: Micros, now: Micros) {
        let time = seconds(now - received);
        let of_group = &mut self.groups[group as usize];
        of_group.in_flight -= 1;
        of_group.spent.add(time, now);
        self.in_flight -= 1;
        self.spent.add(time, now);
    }

    fn next_of_quiet(&mut self, now: Micros) -> Option<Waiting> {
        while let Some(next) = self.waiting.pop_front() {
            if !self.is_noisy(next.group, now) {
                return Some(next);
            }
            self.of_noisy.entry(next.group).or_default().push_back(next);
        }
        None
    }

    fn next_of_noisy(&mut self) -> Option<Waiting> {
        let group = *self.of_noisy.keys().min_by_key(|group| self.groups[**group as usize].in_flight)?;
        let waiting = self.of_noisy.get_mut(&group)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.of_noisy.remove(&group);
        }
        next
    }

    fn is_noisy(&self, group: u32, now: Micros) -> bool {
        let Some(noisy) = self.noisy else { return false };
        if self.of_noisy.contains_key(&group) {
            return true;
        }
        let of_group = &self.groups[group as usize];
        let in_flight = f64::from(of_group.in_flight);
        let is_many = in_flight >= noisy.in_flight && in_flight > noisy.share * f64::from(self.in_flight);
        is_many || of_group.spent.by(now) > noisy.share * self.spent.by(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: Noisy = Noisy { share: 0.1, in_flight: 30.0 };

    /// A queue in which group 0 has `many` messages, and groups 1 to 9 one message each behind them.
    fn filled(noisy: Option<Noisy>, quota: f64, many: u32) -> Queue {
        let mut queue = Queue::new(10, quota, noisy);
        for message in 0..many {
            queue.add(message, 0, 0);
        }
        for group in 1..10 {
            queue.add(many + group, group, 0);
        }
        queue
    }

    fn groups(batch: &[Waiting]) -> Vec<u32> {
        batch.iter().map(|next| next.group).collect()
    }

    #[test]
    fn no_more_is_given_out_than_may_be_in_flight() {
        let mut queue = filled(None, 15.0, 30);
        assert_eq!((queue.receive(10, 0).len(), queue.receive(10, 0).len()), (10, 5));
        assert!(queue.receive(10, 0).is_empty() && !queue.has_any());
        queue.landed(0, 0, SECOND);
        assert_eq!(queue.receive(10, SECOND).len(), 1);
        assert_eq!((queue.len(), queue.in_flight()), (23, 15));
    }

    #[test]
    fn a_group_with_a_tenth_and_thirty_in_flight_waits_for_the_others() {
        let mut queue = filled(Some(NOISY), 1e6, 100);
        // The first thirty are given out, then it counts as noisy.
        assert_eq!(groups(&queue.receive(35, 0)), [vec![0; 30], (1..6).collect()].concat());
        assert_eq!(groups(&queue.receive(6, 0)), [6, 7, 8, 9, 0, 0]);
        let mut plain = filled(None, 1e6, 100);
        assert!(plain.receive(100, 0).iter().all(|next| next.group == 0), "without groups, the oldest come first");
    }

    /// Lets a message of each group be processed: `of_first` seconds for the first group, and five for each of the others.
    fn process(queue: &mut Queue, of_first: u64, until: Micros) {
        (0..21).for_each(|group| queue.add(0, group, 0));
        queue.receive(21, until);
        (0..21).for_each(|group| queue.landed(group, until - SECOND * if group == 0 { of_first } else { 5 }, until));
    }

    #[test]
    fn a_group_with_a_tenth_of_the_processing_time_waits_for_the_others_until_that_is_long_ago() {
        let mut queue = Queue::new(21, 1e6, Some(NOISY));
        // 15 of 115 seconds, and much later 1 of 101.
        for (of_first, seconds, expected) in [(15, 100, [1, 0]), (1, 900, [0, 1])] {
            process(&mut queue, of_first, seconds * SECOND);
            queue.add(0, 0, 0);
            queue.add(0, 1, 0);
            let batch = queue.receive(2, seconds * SECOND);
            assert_eq!(groups(&batch), expected, "at {seconds} s");
            batch.iter().for_each(|next| queue.landed(next.group, seconds * SECOND, seconds * SECOND));
        }
    }

    #[test]
    fn of_two_noisy_groups_the_one_with_fewer_in_flight_comes_first() {
        let mut queue = Queue::new(2, 1e6, Some(NOISY));
        for message in 0..60 {
            queue.add(message, 0, 0);
        }
        queue.receive(40, 0);
        for message in 60..140 {
            queue.add(message, 1, 0);
        }
        let batch = groups(&queue.receive(31, 0));
        assert_eq!(batch.iter().filter(|group| **group == 1).count(), 31, "30 as a quiet group, one as the smaller");
    }
}
