//! The protocol of a delivery, walked exhaustively with the code's own functions.
//!
//! One delivery, two attempts a round, two processes at a time, and a budget of misfortunes: crashes at every point,
//! messages that come twice or in any order, repeats by the client, outcomes that cannot be recorded, a replay, a first
//! message that a job sends, a cancellation, a pause, a circuit that opens. Every state that can be reached is visited. In
//! none may the delivery be lost (nothing left that would bring it to its end), a settled one be sent or un-settled by
//! anything but a replay, or a success be forgotten.
//!
//! A write replaces the revision that was read, so "read, decide, write" is one step here. A process is dead or alive; the
//! claim of a dead one ends at some later time, and its message comes again only after that: the visibility timeout is
//! longer than a claim.
//!
//! That the walk can find something is shown by walking drivers that leave a rule out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeSet, HashSet};

use pombo_domain::delivery::{DeliveryKey, Head, NewDelivery, Record, Status, Step, Verdict, verdict};
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::{Decision, Next, Route};
use pombo_domain::time::Timestamp;

const ATTEMPTS: u32 = 2;
const NOW: Timestamp = Timestamp::from_millis(1_000);
const LIVE: Timestamp = Timestamp::from_millis(2_000);
const ENDED: Timestamp = Timestamp::from_millis(0);
const NEXT: Next = Next { at: NOW, route: Route::Queue };

/// A process's name. One that nothing refers to any more is used again: probes go on for ever, and the states must not.
type Token = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    step: Step,
    kind: Kind,
    /// The process that held it when it died: it comes again after that one's claim has ended.
    hidden_by: Option<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    First,
    Plain,
    /// To tell whether the endpoint is back.
    Probe,
    /// An outcome that could not be recorded: of whom, whether it is a success, and whether it was a probe's.
    Outcome(Token, bool, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    token: Token,
    message: Message,
    at: Point,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Point {
    Claimed,
    Answered { by: Token, success: bool },
    Recorded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    duplicates: u8,
    repeats: u8,
    unrecorded: u8,
    replays: u8,
    firsts: u8,
    cancels: u8,
    pauses: u8,
    outages: u8,
}

/// What of a record the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Facts {
    status: Status,
    step: Step,
    claim: Option<(Token, bool)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    record: Option<Facts>,
    messages: Vec<Message>,
    workers: BTreeSet<Worker>,
    /// A job's leg that has changed the record and not yet queued its message.
    leg: Option<Step>,
    paused: bool,
    /// Whether the circuit is open.
    open: bool,
    budget: Budget,
}

/// The driver's rules, each of which can be left out.
#[derive(Debug, Clone, Copy)]
struct Driver {
    ensures_the_next_step: bool,
    repeats_a_leg: bool,
    checks_that_nothing_is_settled: bool,
}

const REAL: Driver = Driver { ensures_the_next_step: true, repeats_a_leg: true, checks_that_nothing_is_settled: true };

fn record_of(facts: Facts) -> Record {
    let key =
        DeliveryKey { endpoint_id: EndpointId::generate([1; 10]), accepted_at: NOW, event_id: "e".parse().unwrap() };
    let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 };
    let record = Record { status: facts.status, step: facts.step, ..Record::begin(key, new) };
    let record = Record { next: (facts.status == Status::Retrying).then_some(NEXT), ..record };
    match facts.claim {
        Some((token, live)) => record.claimed(&token.to_string(), if live { LIVE } else { ENDED }),
        None => record,
    }
}

fn facts_of(record: &Record) -> Facts {
    let claim = record.claim.as_ref().map(|claim| (claim.holder.parse().unwrap(), claim.until > NOW));
    Facts { status: record.status, step: record.step, claim }
}

const NEW: Facts = Facts { status: Status::Pending, step: Step { round: 0, attempt: 0 }, claim: None };

fn attempt(step: Step, success: bool, probe: bool) -> (Attempt, Decision) {
    let status_code = if success { 200 } else { 500 };
    let outcome = if success { Outcome::Succeeded { status_code } } else { Outcome::HttpStatus { status_code } };
    let decision = match (success, step.attempt < ATTEMPTS) {
        (true, _) => Decision::Succeeded,
        (false, _) if probe => Decision::StillHeld,
        (false, true) => Decision::Retry(NEXT),
        (false, false) => Decision::Failed,
    };
    let trigger = Trigger::First;
    (Attempt { step, started_at: NOW, duration_ms: 0, outcome, answer: None, redelivered: false, trigger }, decision)
}

impl State {
    fn first(budget: Budget) -> Self {
        let message = Message { step: Step::FIRST, kind: Kind::First, hidden_by: None };
        Self {
            record: None,
            messages: vec![message],
            workers: BTreeSet::new(),
            leg: None,
            paused: false,
            open: false,
            budget,
        }
    }

    /// The first name that nothing refers to.
    fn fresh_token(&self) -> Token {
        let refers = |token| {
            let in_message = |message: &Message| {
                message.hidden_by == Some(token) || matches!(message.kind, Kind::Outcome(by, ..) if by == token)
            };
            self.is_live(token)
                || self.record.is_some_and(|facts| facts.claim.is_some_and(|(holder, _)| holder == token))
                || self.messages.iter().any(in_message)
                || self.workers.iter().any(|worker| {
                    in_message(&worker.message) || matches!(worker.at, Point::Answered { by, .. } if by == token)
                })
        };
        (1..).find(|token| !refers(*token)).unwrap()
    }

    fn is_live(&self, token: Token) -> bool {
        self.workers.iter().any(|worker| worker.token == token)
    }

    fn send(&mut self, step: Step, kind: Kind) {
        let message = Message { step, kind, hidden_by: None };
        // Two equal messages do what one and a duplicate do; duplicates have a budget of their own.
        if !self.messages.contains(&message) {
            self.messages.push(message);
            self.messages.sort();
        }
    }

    fn without(&self, message: Message) -> Self {
        let mut next = self.clone();
        let place = next.messages.iter().position(|other| *other == message).unwrap();
        next.messages.remove(place);
        next
    }

    /// Settles an outcome as the protocol's driver does; gives the state, and whether the next step is to be ensured.
    fn settle(&self, by: Token, step: Step, success: bool, probe: bool, driver: Driver) -> (Self, bool) {
        let mut next = self.clone();
        let Some(facts) = self.record else { return (next, false) };
        let mut seen = record_of(facts);
        if !driver.checks_that_nothing_is_settled {
            seen.status = Status::Pending;
        }
        let (attempt, decision) = attempt(step, success, probe);
        match seen.record_attempt(&by.to_string(), attempt, decision) {
            Some(record) => {
                next.record = Some(facts_of(&record));
                (next, matches!(decision, Decision::Retry(_)))
            }
            None => (next, facts.step == step && !facts.status.is_settled()),
        }
    }
}

/// Every state that may follow, with what was done, and whether it was a misfortune or an order rather than progress.
fn successors(state: &State, driver: Driver) -> Vec<(String, bool, State)> {
    let mut all = Vec::new();
    let mut progress = |what: String, next: State| all.push((what, false, next));

    if let Some(Facts { claim: Some((token, true)), .. }) = state.record
        && !state.is_live(token)
    {
        let mut next = state.clone();
        next.record.as_mut().unwrap().claim = Some((token, false));
        progress(format!("the claim of {token} ends"), next);
    }
    for message in state.messages.iter().copied().collect::<BTreeSet<_>>() {
        take(state, message, driver, &mut progress);
    }
    for worker in &state.workers {
        work(state, *worker, driver, &mut progress);
    }
    if let Some(step) = state.leg {
        let mut next = state.clone();
        next.leg = None;
        next.send(step, Kind::Plain);
        progress("the leg queues".into(), next);
    }
    // The drain runs whenever the endpoint is not paused. It probes while the circuit is open, and releases once it is not.
    if let (Some(facts), false, None) = (state.record, state.paused, state.leg)
        && facts.status == Status::Held
        && state.open
        && facts.claim.is_none_or(|(_, live)| !live)
    {
        let mut next = state.clone();
        next.send(facts.step.next(), Kind::Probe);
        progress("the drain probes".into(), next);
    }
    if state.open {
        // By this delivery's probe or another's, whoever writes it.
        progress("the circuit closes".into(), State { open: false, ..state.clone() });
    }
    if let (Some(facts), false, None) = (state.record, state.paused || state.open, state.leg)
        && facts.status == Status::Held
    {
        let mut next = state.clone();
        let released = record_of(facts).released("job", NOW);
        next.leg = Some(released.step.next());
        next.record = Some(facts_of(&released));
        progress("the drain releases".into(), next);
    }
    orders_and_misfortunes(state, driver, &mut all);
    all
}

fn take(state: &State, message: Message, driver: Driver, progress: &mut impl FnMut(String, State)) {
    if let Some(token) = message.hidden_by {
        let claimed = state.record.is_some_and(|facts| facts.claim == Some((token, true)));
        if !claimed {
            let mut next = state.without(message);
            next.messages.push(Message { hidden_by: None, ..message });
            next.messages.sort();
            progress(format!("{:?} comes again", message.step), next);
        }
        return;
    }
    if state.workers.len() >= 2 {
        return;
    }
    let token = state.fresh_token();
    let mut taken = state.without(message);
    let mut claim = |taken: &State, at| {
        let mut next = taken.clone();
        next.workers.insert(Worker { token, message, at });
        progress(format!("{token} takes {} {:?}", message.step, message.kind), next);
    };
    if let Kind::Outcome(by, success, _) = message.kind {
        claim(&taken, Point::Answered { by, success });
        return;
    }
    let is_probe = message.kind == Kind::Probe;
    if is_probe && (state.paused || !state.open) {
        progress("the probe is dropped".into(), taken);
        return;
    }
    let record = state.record.map(record_of);
    let holder = token.to_string();
    let head = Head { step: message.step, begins: message.kind == Kind::First, holder: &holder, probe: None };
    match verdict(record.as_ref(), head, NOW) {
        Verdict::Claim => {
            let base = record.unwrap_or_else(|| record_of(NEW));
            let paused = state.paused || (state.open && !is_probe);
            let changed = if paused { base.held() } else { base.claimed(&holder, LIVE) };
            taken.record = Some(facts_of(&changed));
            if paused {
                progress("held".into(), taken);
            } else {
                claim(&taken, Point::Claimed);
            }
        }
        Verdict::Wait { .. } => {} // It comes back as it is.
        Verdict::Ensure if driver.ensures_the_next_step => {
            let record = record.unwrap();
            if record.status == Status::Retrying {
                taken.send(record.step.next(), Kind::Plain);
            }
            progress("ensured".into(), taken);
        }
        verdict => progress(format!("{} dropped: {verdict:?}", message.step), taken),
    }
}

fn work(state: &State, worker: Worker, driver: Driver, progress: &mut impl FnMut(String, State)) {
    let (token, step) = (worker.token, worker.message.step);
    let mut without = state.clone();
    without.workers.remove(&worker);
    let mut go_on = |from: &State, at, what: &str| {
        let mut next = from.clone();
        next.workers.insert(Worker { at, ..worker });
        progress(format!("{token}: {what} {step}"), next);
    };
    match worker.at {
        Point::Claimed => {
            go_on(&without, Point::Answered { by: token, success: true }, "sent, 200");
            go_on(&without, Point::Answered { by: token, success: false }, "sent, 500");
        }
        Point::Answered { by, success } => {
            let probe = matches!(worker.message.kind, Kind::Probe | Kind::Outcome(_, _, true));
            let (next, ensure) = without.settle(by, step, success, probe, driver);
            if ensure {
                go_on(&next, Point::Recorded, "recorded");
            } else {
                progress(format!("{token}: settled {step}"), next);
            }
        }
        Point::Recorded => {
            without.send(step.next(), Kind::Plain);
            progress(format!("{token}: next after {step}"), without);
        }
    }
}

fn orders_and_misfortunes(state: &State, driver: Driver, all: &mut Vec<(String, bool, State)>) {
    let mut add = |what: &str, spend: fn(&mut Budget) -> &mut u8, change: &dyn Fn(&mut State)| {
        let mut next = state.clone();
        let left = spend(&mut next.budget);
        if *left > 0 {
            *left -= 1;
            change(&mut next);
            all.push((what.to_owned(), true, next));
        }
    };
    for worker in &state.workers {
        add(&format!("{} dies at {:?}", worker.token, worker.at), |b| &mut b.crashes, &|next| {
            next.workers.remove(worker);
            next.messages.push(Message { hidden_by: Some(worker.token), ..worker.message });
            next.messages.sort();
        });
        if let Point::Answered { by, success } = worker.at {
            add("the outcome is queued", |b| &mut b.unrecorded, &|next| {
                next.workers.remove(worker);
                let probe = matches!(worker.message.kind, Kind::Probe | Kind::Outcome(_, _, true));
                next.send(worker.message.step, Kind::Outcome(by, success, probe));
            });
        }
    }
    for message in state.messages.iter().filter(|message| message.hidden_by.is_none()) {
        add("a message comes twice", |b| &mut b.duplicates, &|next| {
            next.messages.push(*message);
            next.messages.sort();
        });
    }
    add("the client repeats", |b| &mut b.repeats, &|next| next.send(Step::FIRST, Kind::First));
    if let Some(facts) = state.record {
        if facts.claim.is_none_or(|(_, live)| !live) && state.leg.is_none() {
            add("a replay", |b| &mut b.replays, &|next| {
                let opened = record_of(facts).round_opened("job", NOW);
                next.leg = Some(opened.step.next());
                next.record = Some(facts_of(&opened));
            });
        }
        if facts.status == Status::Pending && facts.claim.is_none_or(|(_, live)| !live) && state.leg.is_none() {
            add("its first message is ordered again", |b| &mut b.firsts, &|next| {
                let released = record_of(facts).released("job", NOW);
                next.leg = Some(released.step.next());
                next.record = Some(facts_of(&released));
            });
        }
        if !facts.status.is_settled() {
            add("a cancellation", |b| &mut b.cancels, &|next| {
                next.record = Some(facts_of(&record_of(facts).cancelled()))
            });
        }
    }
    if state.record.is_none() && state.leg.is_none() {
        // Whether it was fanned out and its message is on its way, or it was missing.
        add("its first message is ordered", |b| &mut b.firsts, &|next| {
            let begun = record_of(NEW).released("job", NOW);
            next.leg = Some(begun.step.next());
            next.record = Some(facts_of(&begun));
        });
    }
    if state.leg.is_some() {
        add("the leg dies", |b| &mut b.crashes, &|next| {
            if !driver.repeats_a_leg {
                next.leg = None;
            }
        });
    }
    if !state.open {
        add("the circuit opens", |b| &mut b.outages, &|next| next.open = true);
    }
    if state.paused {
        let mut next = state.clone();
        next.paused = false;
        all.push(("resumed".into(), false, next));
    } else {
        add("paused", |b| &mut b.pauses, &|next| next.paused = true);
    }
}

/// What is wrong with a step from one state to the next.
fn wrong_step(what: &str, before: &State, after: &State) -> Option<String> {
    let (old, new) = (before.record?, after.record?);
    if new.step < old.step {
        return Some("a step went back".into());
    }
    if what.starts_with("a replay") {
        return None;
    }
    if old.status == Status::Succeeded && new.status != Status::Succeeded {
        return Some("a success was forgotten".into());
    }
    if old.status.is_settled() && !new.status.is_settled() {
        return Some("a settled delivery was un-settled".into());
    }
    let claimed = new.claim != old.claim && new.claim.is_some_and(|(_, live)| live);
    (old.status.is_settled() && claimed).then(|| "a settled delivery was claimed".into())
}

/// Visits every state; gives how many there are, and the faults found.
fn walk(driver: Driver, budget: Budget) -> (usize, BTreeSet<String>) {
    let first = State::first(budget);
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    let mut faults = BTreeSet::new();
    while let Some(state) = open.pop() {
        let next = successors(&state, driver);
        let stuck = next.iter().all(|(_, order, _)| *order);
        if stuck && !state.record.is_some_and(|facts| facts.status.is_settled()) {
            faults.insert("the delivery was lost".to_owned());
        }
        for (what, _, after) in next {
            faults.extend(wrong_step(&what, &state, &after));
            assert!(
                after.record.is_none_or(|facts| facts.step.attempt <= ATTEMPTS),
                "more attempts than the policy allows"
            );
            if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    (seen.len(), faults)
}

const NONE: Budget = Budget {
    crashes: 0,
    duplicates: 0,
    repeats: 0,
    unrecorded: 0,
    replays: 0,
    firsts: 0,
    cancels: 0,
    pauses: 0,
    outages: 0,
};

/// Budgets that together try each misfortune with each other, in pairs and threes; all at once would be too many states.
const BUDGETS: [Budget; 8] = [
    Budget { crashes: 2, duplicates: 1, repeats: 1, replays: 1, ..NONE },
    Budget { crashes: 1, unrecorded: 2, replays: 1, repeats: 1, ..NONE },
    Budget { crashes: 1, pauses: 2, repeats: 1, replays: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, unrecorded: 1, cancels: 1, pauses: 1, replays: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, replays: 1, outages: 1, ..NONE },
    Budget { crashes: 1, unrecorded: 1, repeats: 1, pauses: 1, outages: 1, ..NONE },
    Budget { crashes: 1, duplicates: 1, firsts: 1, replays: 1, ..NONE },
    Budget { crashes: 1, firsts: 1, cancels: 1, pauses: 1, repeats: 1, ..NONE },
];

#[test]
fn no_misfortune_loses_a_delivery_or_its_outcome() {
    for budget in BUDGETS {
        let (states, faults) = walk(REAL, budget);
        assert!(states > 1_000, "{states} states are no walk");
        assert!(faults.is_empty(), "{budget:?}: {faults:?}");
    }
}

#[test]
fn each_rule_is_needed() {
    let lost = "the delivery was lost";
    for (driver, budget, fault) in [
        (Driver { ensures_the_next_step: false, ..REAL }, BUDGETS[0], lost),
        (Driver { repeats_a_leg: false, ..REAL }, BUDGETS[0], lost),
        (Driver { checks_that_nothing_is_settled: false, ..REAL }, BUDGETS[3], "a settled delivery was un-settled"),
    ] {
        let (_, faults) = walk(driver, budget);
        assert!(faults.contains(fault), "{driver:?}: {faults:?}");
    }
}
