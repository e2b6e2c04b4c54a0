//! The protocol of a delivery, walked exhaustively with the code's own functions.
//!
//! The walk has one delivery, two attempts a round, two processes at a time, and a budget of misfortunes and orders.
//! Processes crash at every point. Messages come twice, late, in any order or never. The client repeats its post. Sends of
//! ingest are refused, or their answers are lost. Outcomes cannot be recorded. There are replays, first messages that a job
//! sends, cancellations, pauses and deletions. A circuit opens and probes are sent, and deliveries wait for a slot. Every
//! state that can be reached is visited, and in each the [properties](Property) hold.
//!
//! What a message may do, what an outcome makes of the record, what follows an attempt, what a job does with a delivery, and
//! when a circuit opens and closes is asked of the code ([`rules`]). The driver, which calls it and sends messages, is written
//! anew here ([`steps`]): its own calls are what `tests/` kills it between.
//!
//! A write replaces the revision that was read, so "read, decide, write" is one step here. A process is dead or alive; the
//! claim of a dead one ends at some later time, and its message comes again only after that: the visibility timeout is
//! longer than a claim.
//!
//! The first attempt of a message with the mark goes without a claim while the window is open. The window may close at any
//! time at which no such attempt is under way: its length ensures that none is. In the last part of the window, no such
//! attempt begins any more. SQS itself may hand out a message with the mark twice, both times as a first receive. This may
//! lead to two requests, even after the delivery has come to its end. The walk counts this exception separately, and finds no
//! other.
//!
//! That the walk can find something is shown by walking drivers that leave a rule out.
//!
//! `POMBO_MODEL_MORE=1` adds one of each misfortune to every budget, for a walk of many minutes in a release build.

#![allow(clippy::unwrap_used, clippy::panic)]

mod rules;
mod state;
mod steps;
mod walk;

use std::collections::BTreeSet;
use std::io::{Write as _, stderr};
use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use self::state::{Budget, NONE};
use self::steps::{Driver, FirstRules, OnLiveClaim, REAL};
use self::walk::{Property, Walk, walk};

/// Budgets that together try each misfortune with each other, in pairs and threes; all at once would be too many states.
const BUDGETS: [Budget; 13] = [
    Budget { crashes: 2, duplicates: 1, repeats: 1, replays: 1, ..NONE },
    Budget { crashes: 1, unrecorded: 1, replays: 1, repeats: 1, ..NONE },
    Budget { crashes: 1, pauses: 2, repeats: 1, replays: 1, ..NONE },
    Budget { duplicates: 1, unrecorded: 1, cancels: 1, pauses: 1, replays: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, outages: 1, noted: true, ..NONE },
    Budget { unrecorded: 1, outages: 1, noted: true, ..NONE },
    Budget { replays: 1, outages: 1, noted: true, ..NONE },
    Budget { crashes: 1, pauses: 1, outages: 1, noted: true, deletes: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, firsts: 1, replays: 1, ..NONE },
    Budget { crashes: 1, firsts: 1, cancels: 1, pauses: 1, repeats: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, waits: 1, limited: true, lost: 1, swept: true, ..NONE },
    Budget { unsent: 2, crashes: 1, repeats: 1, cancels: 1, ..NONE },
    Budget { unsent: 1, duplicates: 1, firsts: 1, unrecorded: 1, ..NONE },
];

/// The walks of the real driver, made once for all tests.
static WALKS: LazyLock<Vec<Walk>> = LazyLock::new(|| {
    let more = std::env::var("POMBO_MODEL_MORE").ok().map_or(0, |more| more.parse().unwrap());
    thread::scope(|scope| {
        let walks = BUDGETS.map(|budget| scope.spawn(move || said(budget.and_more(more))));
        walks.map(|walk| walk.join().unwrap()).into()
    })
});

/// Walks, and says how far, past the test's capture.
fn said(budget: Budget) -> Walk {
    let started = Instant::now();
    let walk = walk(REAL, budget);
    let line = format!("{} states in {:.1?} of {budget:?}\n", walk.states, started.elapsed());
    stderr().write_all(line.as_bytes()).unwrap();
    walk
}

fn holds(property: Property) {
    for (walk, budget) in WALKS.iter().zip(BUDGETS) {
        assert!(walk.states > 1_000, "{} states are no walk", walk.states);
        assert!(!walk.broken.contains_key(&property), "{property:?}, {budget:?}: {:?}", walk.broken[&property]);
    }
}

#[test]
fn a_delivery_is_never_lost() {
    holds(Property::NeverLost);
}

#[test]
fn there_are_never_more_attempts_than_the_policy_allows_in_a_round() {
    holds(Property::NoMoreAttempts);
}

#[test]
fn what_fails_has_had_all_its_attempts() {
    holds(Property::NoFewerAttempts);
}

#[test]
fn a_request_that_may_be_a_second_one_says_so() {
    holds(Property::RepeatsAreTold);
}

#[test]
fn a_settled_delivery_stays_settled_until_a_replay() {
    holds(Property::SettledStays);
}

#[test]
fn a_success_is_never_forgotten() {
    holds(Property::SuccessStays);
}

#[test]
fn a_step_never_goes_back() {
    holds(Property::StepsGoOn);
}

#[test]
fn only_a_message_with_the_mark_that_is_handed_out_twice_is_an_exception() {
    let excepted: BTreeSet<_> = WALKS.iter().flat_map(|walk| &walk.excepted).copied().collect();
    assert_eq!(excepted, BTreeSet::from([Property::NoMoreAttempts, Property::RepeatsAreTold, Property::SettledStays]));
}

#[test]
fn each_rule_is_needed() {
    use Property::{NeverLost, NoFewerAttempts, NoMoreAttempts, RepeatsAreTold, SettledStays, StepsGoOn, SuccessStays};
    let dies = Budget { crashes: 1, ..NONE };
    let twice = Budget { duplicates: 1, ..NONE };
    let replayed = Budget { replays: 1, ..dies };
    let outage = Budget { outages: 2, noted: true, ..NONE };
    let mut found = BTreeSet::new();
    for (driver, budget, property) in [
        (Driver { ensures: false, ..REAL }, dies, NeverLost),
        (Driver { acknowledges_last: false, ..REAL }, dies, NeverLost),
        (Driver { on_live_claim: OnLiveClaim::Drop, ..REAL }, Budget { crashes: 1, ..outage }, NeverLost),
        (Driver { on_live_claim: OnLiveClaim::Claim, ..REAL }, twice, NoMoreAttempts),
        (Driver { claims_check_settled: false, ..REAL }, Budget { cancels: 1, ..NONE }, SettledStays),
        (Driver { failures_check_settled: false, ..REAL }, Budget { cancels: 1, ..NONE }, SettledStays),
        (Driver { failures_check_step: false, ..REAL }, Budget { cancels: 1, ..replayed }, StepsGoOn),
        (Driver { successes_of_any_round: false, ..REAL }, Budget { cancels: 1, ..replayed }, SuccessStays),
        (Driver { queues_outcomes: false, ..REAL }, Budget { unrecorded: 1, ..NONE }, NeverLost),
        (Driver { probes_are_free: false, ..REAL }, outage, NoFewerAttempts),
        (Driver { dead_claims_tell: false, ..REAL }, dies, RepeatsAreTold),
        (Driver { repeats_a_leg: false, ..REAL }, replayed, NeverLost),
        (Driver { drains: false, ..REAL }, outage, NeverLost),
        (Driver { sweeps: false, ..REAL }, Budget { lost: 1, swept: true, ..NONE }, NeverLost),
    ] {
        found.extend(broken_without(driver, budget, property));
    }
    let all = [NeverLost, NoMoreAttempts, NoFewerAttempts, RepeatsAreTold, SettledStays, SuccessStays, StepsGoOn];
    assert_eq!(found, BTreeSet::from(all), "each property is found broken by some driver");
}

/// The properties that a driver without one of the rules breaks, `property` among them. The real driver breaks nothing with
/// this budget.
fn broken_without(driver: Driver, budget: Budget, property: Property) -> impl Iterator<Item = Property> {
    let (broken, real) = (walk(driver, budget).broken, walk(REAL, budget).broken);
    assert!(broken.contains_key(&property), "{driver:?} keeps {property:?}: {:?}", broken.keys());
    assert!(real.is_empty(), "{real:?}");
    broken.into_keys()
}

#[test]
fn each_rule_of_first_attempts_is_needed() {
    use Property::{NeverLost, NoMoreAttempts, RepeatsAreTold, SettledStays};
    const REAL_FIRST: FirstRules = REAL.first;
    let dies = Budget { crashes: 1, ..NONE };
    let repeated = Budget { repeats: 1, ..NONE };
    let cancelled = Budget { cancels: 1, ..NONE };
    let replayed = Budget { firsts: 1, ..NONE };
    let unsent = Budget { unsent: 1, ..NONE };
    for (first, budget, property) in [
        (FirstRules { window_covers: false, ..REAL_FIRST }, repeated, NoMoreAttempts),
        (FirstRules { window_covers: false, ..REAL_FIRST }, cancelled, SettledStays),
        (FirstRules { second_receives_claim: false, ..REAL_FIRST }, dies, RepeatsAreTold),
        (FirstRules { second_receives_tell: false, ..REAL_FIRST }, dies, RepeatsAreTold),
        (FirstRules { repeats_have_no_mark: false, ..REAL_FIRST }, Budget { unsent: 1, ..repeated }, NoMoreAttempts),
        (FirstRules { repeats_wait: false, ..REAL_FIRST }, repeated, NoMoreAttempts),
        (FirstRules { repeats_wait: false, ..REAL_FIRST }, unsent, NoMoreAttempts),
        (FirstRules { repeats_tell: false, ..REAL_FIRST }, Budget { crashes: 1, ..repeated }, RepeatsAreTold),
        (FirstRules { lost_have_no_mark: false, ..REAL_FIRST }, unsent, NoMoreAttempts),
        (FirstRules { lost_are_not_refused: false, ..REAL_FIRST }, Budget { unsent: 2, ..NONE }, NoMoreAttempts),
        (FirstRules { young_are_not_cancelled: false, ..REAL_FIRST }, cancelled, SettledStays),
        (FirstRules { young_are_not_replayed: false, ..REAL_FIRST }, replayed, NoMoreAttempts),
        (FirstRules { replays_tell: false, ..REAL_FIRST }, Budget { crashes: 1, ..replayed }, RepeatsAreTold),
        (FirstRules { outcomes_begin: false, ..REAL_FIRST }, Budget { unrecorded: 1, ..NONE }, NeverLost),
    ] {
        _ = broken_without(Driver { first, ..REAL }, budget, property);
    }
}
