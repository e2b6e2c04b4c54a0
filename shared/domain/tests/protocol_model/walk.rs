//! Visits every state that can be reached, and says which properties do not hold there.
//!
//! Of a state that was visited, a hash of 64 bits is kept: that one of ten million states is overlooked because another has
//! its hash has a chance of three in a million.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};

use pombo_domain::delivery::{Status, Step};

use crate::rules::attempts;
use crate::state::{Budget, State};
use crate::steps::{Driver, Next, What, successors};

/// What holds of every delivery, whatever befalls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// From every state the system brings the delivery to its end by itself, or to where an operator sees it held.
    NeverLost,
    /// One request for each attempt of the policy, and one more for each process that died between a request and its
    /// record and for each outcome that was queued; and no attempt beyond the policy's.
    NoMoreAttempts,
    /// What fails has had all its attempts. Probes are none of them.
    NoFewerAttempts,
    /// A second request for an attempt says that it may be one, unless a probe between them has said so.
    RepeatsAreTold,
    /// Nothing but a replay un-settles a delivery, and none that is settled is claimed. A success may still come.
    SettledStays,
    /// A success that is recorded stays until a replay; one that reaches the record is recorded.
    SuccessStays,
    /// The step of a record never goes back.
    StepsGoOn,
}

/// What a walk found.
#[derive(Debug)]
pub struct Walk {
    pub states: usize,
    /// The properties that do not hold, each with a shortest way to where it does not.
    pub broken: BTreeMap<Property, Way>,
    /// The properties that do not hold where SQS has handed out a message with the mark twice, both times as a first receive.
    pub excepted: BTreeSet<Property>,
}

/// The states on the way to a fault.
pub struct Way(Vec<State>);

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|state| {
            writeln!(
                f,
                "\n  {:?}\n    {:?}\n    {:?} {:?} leg {:?} {:?}",
                state.record, state.messages, state.workers, state.door, state.leg, state.trouble
            )
        })
    }
}

/// Walks everything that the budget allows.
pub fn walk(driver: Driver, budget: Budget) -> Walk {
    let (first, marks_repeats) = (State::first(budget), !driver.first.repeats_have_no_mark);
    let mut seen = Seen::default();
    let (mut broken, mut excepted) = (BTreeMap::new(), BTreeSet::new());
    seen.visit(&first, None);
    let mut open = VecDeque::from([(0, first)]);
    while let Some((from, state)) = open.pop_front() {
        for mut next in successors(&state, driver) {
            next.state = next.state.canonical(marks_repeats);
            let (to, is_new) = seen.visit(&next.state, Some(from));
            if next.is_progress {
                seen.progress.push((from, to));
            }
            for (property, is_excepted) in broken_by(&state, &next) {
                if is_excepted {
                    excepted.insert(property);
                } else {
                    broken.entry(property).or_insert(to);
                }
            }
            if is_new {
                open.push_back((to, next.state));
            }
        }
    }
    if let Some(lost) = seen.first_lost() {
        broken.insert(Property::NeverLost, lost);
    }
    let broken = broken.into_iter().map(|(property, to)| (property, seen.way(driver, budget, to))).collect();
    Walk { states: seen.known.len(), broken, excepted }
}

/// The properties that the step from one state to the next breaks. Each has a flag for the one exception: a request for a
/// message with the mark that SQS has handed out twice, both times as a first receive.
fn broken_by(before: &State, next: &Next) -> Vec<(Property, bool)> {
    let mut broken = Vec::new();
    let after = &next.state;
    if let What::Request { step, unclaimed } = next.what {
        let requests = after.requests.iter().find(|requests| requests.of == step).unwrap();
        let is_repeat = requests.made > 1;
        let more = requests.made.saturating_sub(1 + requests.excused);
        if more > 0 {
            broken.push((Property::NoMoreAttempts, step == Step::FIRST && more <= after.doubled));
        }
        let is_excepted = step == Step::FIRST && after.doubled > 0;
        if is_repeat && !requests.told {
            broken.push((Property::RepeatsAreTold, is_excepted));
        }
        if unclaimed && before.record.is_some_and(|facts| facts.status.is_settled()) {
            broken.push((Property::SettledStays, is_excepted));
        }
    }
    let mut holds = |property, holds: bool| {
        if !holds {
            broken.push((property, false));
        }
    };
    if let What::Settled(made) = next.what {
        holds(Property::SuccessStays, !made.success || after.is(Status::Succeeded));
    }
    let Some(new) = after.record else { return broken };
    holds(Property::NoMoreAttempts, new.step.attempt <= attempts());
    let Some(old) = before.record else { return broken };
    if new.status == Status::Failed && old.status != Status::Failed {
        let of_round = after.requests.iter().filter(|requests| requests.of.round == new.step.round);
        holds(Property::NoFewerAttempts, of_round.filter(|requests| requests.made > 0).count() as u32 == attempts());
    }
    holds(Property::StepsGoOn, new.step >= old.step);
    if next.what != What::Replay {
        holds(Property::SuccessStays, old.status != Status::Succeeded || new.status == Status::Succeeded);
        let stays = new.status == old.status || new.status == Status::Succeeded;
        let is_claimed = new.claim != old.claim && new.live_claim().is_some();
        holds(Property::SettledStays, !old.status.is_settled() || (stays && !is_claimed));
    }
    broken
}

/// The states that were visited, by number.
#[derive(Debug, Default)]
struct Seen {
    known: HashMap<u64, u32>,
    /// From where each was reached first.
    parents: Vec<u32>,
    at_rest: Vec<bool>,
    /// The steps that the system takes by itself.
    progress: Vec<(u32, u32)>,
}

impl Seen {
    /// The number of a state, and whether it is new.
    fn visit(&mut self, state: &State, from: Option<u32>) -> (u32, bool) {
        let number = u32::try_from(self.parents.len()).unwrap();
        match self.known.entry(hash(state)) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(place) => {
                place.insert(number);
                self.parents.push(from.unwrap_or_default());
                self.at_rest.push(state.is_at_rest());
                (number, true)
            }
        }
    }

    /// A state from which the system does not bring the delivery to rest.
    fn first_lost(&self) -> Option<u32> {
        let mut into = self.progress.clone();
        into.sort_unstable_by_key(|(_, to)| *to);
        let mut saved = self.at_rest.clone();
        let mut open: Vec<u32> = (0..).zip(&saved).filter(|(_, at_rest)| **at_rest).map(|(number, _)| number).collect();
        while let Some(to) = open.pop() {
            let begin = into.partition_point(|(_, other)| *other < to);
            for (from, _) in into[begin..].iter().take_while(|(_, other)| *other == to) {
                if !std::mem::replace(&mut saved[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        (0..).zip(saved).find(|(_, saved)| !saved).map(|(number, _)| number)
    }

    /// Goes to a state once more.
    fn way(&self, driver: Driver, budget: Budget, to: u32) -> Way {
        let mut numbers = vec![to];
        while let Some(number) = numbers.last().copied().filter(|number| *number > 0) {
            numbers.push(self.parents[number as usize]);
        }
        let mut way = vec![State::first(budget)];
        for number in numbers.iter().rev().skip(1) {
            let next = successors(way.last().unwrap(), driver);
            let mut states = next.into_iter().map(|next| next.state.canonical(!driver.first.repeats_have_no_mark));
            way.push(states.find(|state| self.known[&hash(state)] == *number).unwrap());
        }
        Way(way)
    }
}

fn hash(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
