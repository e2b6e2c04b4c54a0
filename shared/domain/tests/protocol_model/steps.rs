//! Everything that can happen next: what the processes do, in the order in which the code does it, and what may befall them.

use std::collections::BTreeSet;

use pombo_domain::delivery::{Status, Step, Verdict};

use crate::rules::{Asks, Facts, First, Made, Token, Window, Write, judged, says_redelivered, written};
use crate::state::{Budget, Door, Ingest, Kind, Message, Point, State, Worker};

/// The driver's rules, each of which can be left out.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    /// A message whose step is recorded makes sure of the next one.
    pub ensures: bool,
    /// A message is acknowledged after its work, so that it comes again when a process dies.
    pub acknowledges_last: bool,
    /// What a message finds under another's live claim.
    pub on_live_claim: OnLiveClaim,
    /// A claim is refused on a settled record.
    pub claims_check_settled: bool,
    /// A failure is refused on a settled record.
    pub failures_check_settled: bool,
    /// A failure is refused on a record whose step is not behind.
    pub failures_check_step: bool,
    /// A success is recorded whatever the round.
    pub successes_of_any_round: bool,
    /// An outcome that cannot be recorded is queued.
    pub queues_outcomes: bool,
    /// A probe takes none of the delivery's attempts.
    pub probes_are_free: bool,
    /// A dead process's claim tells the next one that its request may have been made.
    pub dead_claims_tell: bool,
    /// A leg that runs again sends again.
    pub repeats_a_leg: bool,
    /// The drain looks after what is held.
    pub drains: bool,
    /// The sweep queues what is overdue.
    pub sweeps: bool,
    /// The rules of first attempts without a claim.
    pub first: FirstRules,
}

/// The rules of first attempts that are made without a claim, each of which can be left out.
#[derive(Debug, Clone, Copy)]
pub struct FirstRules {
    /// Only an invocation that ends before the window closes makes an attempt without a claim.
    pub window_covers: bool,
    /// The mark is valid for one receive.
    pub second_receives_claim: bool,
    /// A second receive says that the attempt may have been made before.
    pub second_receives_tell: bool,
    /// A client's repeat of the post has no mark.
    pub repeats_have_no_mark: bool,
    /// A client's repeat waits until the window has closed, and so does a message that ingest sends again after an answer was
    /// lost.
    pub repeats_wait: bool,
    /// Both of these messages say that the attempt may have been made before.
    pub repeats_tell: bool,
    /// A message that ingest sends again after an answer was lost has no mark.
    pub lost_have_no_mark: bool,
    /// A message that may be queued does not count as refused.
    pub lost_are_not_refused: bool,
    /// A delivery without a record cannot be cancelled before the window has closed.
    pub young_are_not_cancelled: bool,
    /// A delivery without a record cannot be replayed before the window has closed.
    pub young_are_not_replayed: bool,
    /// A replay of a delivery without a record says that the attempt may have been made before.
    pub replays_tell: bool,
    /// A queued outcome carries what a new record needs.
    pub outcomes_begin: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLiveClaim {
    Wait,
    Drop,
    Claim,
}

pub const REAL: Driver = Driver {
    ensures: true,
    acknowledges_last: true,
    on_live_claim: OnLiveClaim::Wait,
    claims_check_settled: true,
    failures_check_settled: true,
    failures_check_step: true,
    successes_of_any_round: true,
    queues_outcomes: true,
    probes_are_free: true,
    dead_claims_tell: true,
    repeats_a_leg: true,
    drains: true,
    sweeps: true,
    first: FirstRules {
        window_covers: true,
        second_receives_claim: true,
        second_receives_tell: true,
        repeats_have_no_mark: true,
        repeats_wait: true,
        repeats_tell: true,
        lost_have_no_mark: true,
        lost_are_not_refused: true,
        young_are_not_cancelled: true,
        young_are_not_replayed: true,
        replays_tell: true,
        outcomes_begin: true,
    },
};

/// What happened between two states, as far as the properties ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Other,
    /// A request was made for the attempt.
    Request {
        step: Step,
        unclaimed: bool,
    },
    /// An outcome was settled.
    Settled(Made),
    /// An operator opened the next round.
    Replay,
}

/// A state that may follow.
#[derive(Debug)]
pub struct Next {
    pub what: What,
    /// Whether the system does it by itself: no misfortune, no order, and nothing that another delivery does.
    pub is_progress: bool,
    pub state: State,
}

/// Every state that may follow.
pub fn successors(state: &State, driver: Driver) -> Vec<Next> {
    let mut steps = Steps { driver, all: Vec::new() };
    steps.claims_end(state);
    steps.time_passes(state);
    steps.ingest(state);
    for message in state.messages.iter().copied().collect::<BTreeSet<_>>() {
        steps.take(state, message);
    }
    for worker in &state.workers {
        steps.work(state, *worker);
    }
    steps.jobs(state);
    steps.orders(state);
    steps.misfortunes(state);
    steps.all
}

struct Steps {
    driver: Driver,
    all: Vec<Next>,
}

impl Steps {
    fn progress(&mut self, state: State) {
        self.all.push(Next { what: What::Other, is_progress: true, state });
    }

    fn befalls(&mut self, what: What, state: State) {
        self.all.push(Next { what, is_progress: false, state });
    }

    fn claims_end(&mut self, state: &State) {
        if let Some(facts) = state.record
            && let Some(token) = facts.live_claim()
            && !state.is_live(token)
        {
            let record = Some(Facts { claim: Some((token, false)), ..facts });
            self.progress(State { record, ..state.clone() });
        }
    }

    /// The window closes when no attempt without a claim is under way.
    fn time_passes(&mut self, state: &State) {
        let window = match state.window {
            Window::Open => Window::Ending,
            Window::Ending
                if self.driver.first.window_covers && state.workers.iter().any(|worker| worker.unclaimed) =>
            {
                return;
            }
            Window::Ending => Window::Closed,
            Window::Closed => return,
        };
        self.progress(State { window, ..state.clone() });
    }

    /// Ingest sends the first message, or the client does what a `503` asks for.
    fn ingest(&mut self, state: &State) {
        let rules = self.driver.first;
        let sent = |first| {
            let mut next = State { ingest: Ingest::Done, ..state.clone() };
            next.send(Step::FIRST, Kind::First(first));
            next
        };
        match state.ingest {
            Ingest::Sends { marked } => {
                let first = if marked { First::MARKED } else { self.repeat() };
                self.progress(sent(first));
                let lost = Ingest::Sends { marked: marked && !rules.lost_have_no_mark };
                let given_up = if marked || !rules.lost_are_not_refused { Ingest::Refused } else { Ingest::Unsure };
                for mut next in [sent(first), state.clone()] {
                    next.ingest = lost;
                    self.spend(&next, |b| &mut b.unsent, |_| {});
                }
                // Storing the list of refused endpoints may also fail.
                for ingest in [given_up, Ingest::Unsure] {
                    self.spend(state, |b| &mut b.unsent, |next| next.ingest = ingest);
                }
            }
            Ingest::Refused => {
                self.progress(State { ingest: Ingest::Repeated, ..sent(self.client_repeat(Ingest::Refused)) });
            }
            Ingest::Unsure => self.progress(sent(self.client_repeat(Ingest::Unsure))),
            Ingest::Repeated | Ingest::Done => {}
        }
    }

    /// A message that is sent although a message with the mark may be on its way.
    fn repeat(&self) -> First {
        let rules = self.driver.first;
        First { repeat: rules.repeats_tell, delayed: rules.repeats_wait, ..First::REPEAT }
    }

    /// The message that is sent when the client repeats the post. The message goes at once if the event says that SQS refused
    /// the first one.
    fn client_repeat(&self, ingest: Ingest) -> First {
        let was_refused = matches!(ingest, Ingest::Refused | Ingest::Repeated);
        let first = if was_refused { First::PLAIN } else { self.repeat() };
        First { marked: !self.driver.first.repeats_have_no_mark, ..first }
    }

    /// A process takes a message.
    fn take(&mut self, state: &State, message: Message) {
        if let Some(token) = message.hidden_by {
            if state.record.and_then(Facts::live_claim) != Some(token) {
                let mut next = state.without(message);
                next.put_back(Message { hidden_by: None, ..message });
                self.progress(next);
            }
            return;
        }
        if state.workers.len() >= 2 {
            return;
        }
        let token = state.fresh_token();
        let mut taken = state.without(message);
        if let Kind::Outcome(made) = message.kind {
            taken.workers.insert(Worker { token, message, unclaimed: false, at: Point::Answered(made) });
            return self.progress(taken);
        }
        let mut message = message;
        if let Kind::First(first) = message.kind {
            if first.delayed && state.window.is_open() {
                return;
            }
            let first = self.taken(first);
            let window = if self.driver.first.window_covers { state.window } else { Window::Open };
            let takes = state.door == Door::Open && !state.trouble.open;
            if takes && first.spares_claim(window, state.budget.limited) {
                let at = Point::Begun { redelivered: false };
                taken.workers.insert(Worker { token, message, unclaimed: true, at });
                return self.progress(taken);
            }
            message.kind = Kind::First(first);
        }
        if message.kind.is_probe() && (state.door != Door::Open || !state.trouble.open) {
            return self.progress(taken);
        }
        let probe_is_stale = match message.kind {
            Kind::Probe { stale } => Some(stale),
            _ => None,
        };
        let asks =
            Asks { step: message.step, begins: matches!(message.kind, Kind::First(_)), holder: token, probe_is_stale };
        match (judged(state.record, asks), self.driver.on_live_claim) {
            (Verdict::Claim, _) | (Verdict::Wait { .. }, OnLiveClaim::Claim) => self.claim(taken, token, message),
            (Verdict::Wait { .. }, OnLiveClaim::Wait) => {} // It comes back as it is.
            (Verdict::Ensure, _) if self.driver.ensures => {
                let step = message.step;
                if state.is(Status::Retrying) {
                    let at = Point::Recorded { step, notes: None };
                    taken.workers.insert(Worker { token, message, unclaimed: false, at });
                }
                self.progress(taken);
            }
            (Verdict::Drop(_), _)
                if !self.driver.claims_check_settled
                    && state.record.is_some_and(|facts| facts.status.is_settled() && facts.step < message.step) =>
            {
                self.claim(taken, token, message);
            }
            _ => self.progress(taken),
        }
    }

    /// The message as it may be acted on.
    fn taken(&self, first: First) -> First {
        let rules = self.driver.first;
        let taken = if rules.second_receives_claim { first.taken() } else { First { received: false, ..first } };
        First { repeat: taken.repeat && (first.repeat || rules.second_receives_tell), ..taken }
    }

    fn claim(&mut self, taken: State, token: Token, message: Message) {
        let begun = match message.kind {
            Kind::First(first) => taken.record.or_else(|| Some(first.new_record())),
            _ => taken.record,
        };
        let taken = State { record: begun, ..taken };
        let redelivered = self.driver.dead_claims_tell && says_redelivered(taken.record, token);
        let goes = taken.door == Door::Open && (!taken.trouble.open || message.kind.is_probe());
        if goes && !message.kind.is_probe() && taken.budget.waits > 0 {
            let mut waits = taken.clone();
            waits.budget.waits -= 1;
            waits.record = written(taken.record, Write::Wait(token));
            waits.put_back(message);
            self.befalls(What::Other, waits);
        }
        let write = match taken.door {
            _ if goes => Write::Claim(token),
            Door::Deleted => Write::Cancel,
            Door::Open | Door::Paused => Write::Hold(token),
        };
        let mut next = State { record: written(taken.record, write), ..taken };
        if goes {
            next.workers.insert(Worker { token, message, unclaimed: false, at: Point::Begun { redelivered } });
        }
        self.progress(next);
    }

    /// A process goes on.
    fn work(&mut self, state: &State, worker: Worker) {
        let without = state.without_worker(&worker);
        let goes_on = |mut next: State, at| {
            next.workers.insert(Worker { at, ..worker });
            next
        };
        match worker.at {
            Point::Begun { redelivered } => {
                for success in [true, false] {
                    let (step, probe) = (worker.message.step, worker.message.kind.is_probe());
                    let made = Made { by: worker.token, step, success, probe, unclaimed: worker.unclaimed };
                    let mut next = goes_on(without.clone(), Point::Answered(made));
                    let requests = next.requests_of(step);
                    requests.made += u8::from(!probe);
                    requests.told |= redelivered;
                    let what = if probe { What::Other } else { What::Request { step, unclaimed: worker.unclaimed } };
                    self.all.push(Next { what, is_progress: true, state: next });
                }
            }
            Point::Answered(made) => {
                let is_own = made.by == worker.token;
                for (mut next, recorded) in self.settle(&without, made, is_own) {
                    let notes = (is_own && state.budget.noted).then_some(made.success);
                    match (recorded, notes) {
                        (Some(step), _) => next = goes_on(next, Point::Recorded { step, notes }),
                        (None, Some(success)) => next = goes_on(next, Point::Notes { success }),
                        (None, None) => {}
                    }
                    self.all.push(Next { what: What::Settled(made), is_progress: true, state: next });
                }
            }
            Point::Recorded { step, notes } => {
                let mut next = without;
                next.send(step.next(), Kind::Plain);
                self.progress(match notes {
                    Some(success) => goes_on(next, Point::Notes { success }),
                    None => next,
                });
            }
            Point::Notes { success } => {
                let trouble = without.trouble.noted(success).unwrap_or(without.trouble);
                self.progress(State { trouble, ..without });
            }
        }
    }

    /// The states after an outcome is settled, each with the step whose next one is then to be sent.
    fn settle(&self, state: &State, made: Made, is_own: bool) -> Vec<(State, Option<Step>)> {
        let Some(record) = self.settled(state.record, made) else {
            // Superseded; what stands is ensured when it is the same step.
            let again = state.record.filter(|facts| facts.step == made.step && facts.status == Status::Retrying);
            return vec![(state.clone(), again.map(|facts| facts.step).filter(|_| self.driver.ensures))];
        };
        let next = State { record: Some(record), ..state.clone() };
        let step = (record.status == Status::Retrying).then_some(record.step);
        let mut stale = next.clone();
        stale.probes_are_stale();
        // An outcome that was queued may be of an attempt from before a probe's order, or after it.
        if is_own { vec![(stale, step)] } else { vec![(next, step), (stale, step)] }
    }

    fn settled(&self, record: Option<Facts>, made: Made) -> Option<Facts> {
        let Some(facts) = record else { return written(None, Write::Outcome(made)) };
        let mut judged_by = facts;
        if !self.driver.failures_check_settled && facts.status.is_settled() {
            judged_by.status = Status::Pending;
        }
        if !self.driver.failures_check_step && !facts.status.is_settled() && !made.success {
            judged_by.step = Step { attempt: 0, ..made.step };
        }
        if !self.driver.successes_of_any_round && made.success && made.step.round < facts.step.round {
            return None;
        }
        let made = Made { probe: made.probe && self.driver.probes_are_free, ..made };
        written(Some(judged_by), Write::Outcome(made))
    }

    /// The drain, a leg that was begun, and the sweep.
    fn jobs(&mut self, state: &State) {
        if let Some(step) = state.leg {
            let mut next = State { leg: None, ..state.clone() };
            next.send(step, Kind::Plain);
            return self.progress(next);
        }
        let Some(facts) = state.record else { return };
        let is_held = facts.status == Status::Held;
        if self.driver.drains && state.door == Door::Open && state.trouble.open {
            if !is_held {
                self.befalls(What::Other, State { trouble: state.trouble.closed_unproven(), ..state.clone() });
            } else if facts.live_claim().is_none() {
                let mut next = state.clone();
                next.send(facts.step.next(), Kind::Probe { stale: false });
                self.progress(next);
            }
        }
        let releases = state.door == Door::Deleted || (state.door == Door::Open && !state.trouble.open);
        if self.driver.drains && is_held && releases {
            self.leg(state, Write::Release, What::Other, true);
        }
        let is_overdue = facts.status == Status::Retrying && facts.live_claim().is_none();
        if self.driver.sweeps && state.budget.swept && is_overdue {
            let mut next = State { record: written(state.record, Write::Sweep), ..state.clone() };
            next.send(facts.step.next(), Kind::Plain);
            self.progress(next);
        }
    }

    /// A job changes the record, if it may, and has its message left to send.
    fn leg(&mut self, state: &State, write: Write, what: What, is_progress: bool) {
        if let Some(record) = written(state.record, write) {
            let mut state = State { record: Some(record), leg: Some(record.step.next()), ..state.clone() };
            state.round_opened();
            self.all.push(Next { what, is_progress, state });
        }
    }

    /// What clients, operators and owners may ask for.
    fn orders(&mut self, state: &State) {
        let (rules, repeat) = (self.driver.first, self.client_repeat(state.ingest));
        self.spend(state, |b| &mut b.repeats, |next| next.send(Step::FIRST, Kind::First(repeat)));
        let is_young = state.record.is_none() && state.window.is_open();
        let is_settled = state.record.is_some_and(|facts| facts.status.is_settled());
        if !(is_settled || is_young && rules.young_are_not_cancelled) {
            self.spend(state, |b| &mut b.cancels, |next| next.record = written(next.record, Write::Cancel));
        }
        match state.door {
            Door::Open => self.spend(state, |b| &mut b.pauses, |next| next.door = Door::Paused),
            Door::Paused => self.befalls(What::Other, State { door: Door::Open, ..state.clone() }),
            Door::Deleted => {}
        }
        if state.door != Door::Deleted {
            self.spend(state, |b| &mut b.deletes, |next| next.door = Door::Deleted);
        }
        if state.leg.is_none() {
            if state.record.is_some() {
                self.order_job(state, |b| &mut b.replays, Write::Replay, What::Replay);
                self.order_replay_behind_circuit(state);
            }
            if !(is_young && rules.young_are_not_replayed) {
                self.order_job(state, |b| &mut b.firsts, Write::First { tells: rules.replays_tell }, What::Other);
            }
        }
    }

    fn order_job(&mut self, state: &State, left: fn(&mut Budget) -> &mut u8, write: Write, what: What) {
        let mut state = state.clone();
        if *left(&mut state.budget) > 0 {
            *left(&mut state.budget) -= 1;
            self.leg(&state, write, what, false);
        }
    }

    /// A replay that finds the circuit open holds the delivery in its new round. It sends the delivery as a probe, unless
    /// another one is under way or the process dies before it does.
    fn order_replay_behind_circuit(&mut self, state: &State) {
        let is_open = state.door == Door::Open && state.trouble.open && state.budget.replays > 0;
        let Some(record) = written(state.record, Write::ReplayHeld).filter(|_| is_open) else { return };
        let mut held = State { record: Some(record), ..state.clone() };
        held.budget.replays -= 1;
        held.round_opened();
        let mut probed = held.clone();
        probed.send(record.step.next(), Kind::Probe { stale: false });
        for state in [held, probed] {
            self.befalls(What::Replay, state);
        }
    }

    /// What may befall the processes, the messages and the endpoint.
    fn misfortunes(&mut self, state: &State) {
        let driver = self.driver;
        for worker in &state.workers {
            self.spend(
                state,
                |b| &mut b.crashes,
                |next| {
                    next.workers.remove(worker);
                    if let Point::Answered(made) = worker.at
                        && made.by == worker.token
                    {
                        next.requests_of(made.step).excused += 1;
                    }
                    if driver.acknowledges_last {
                        next.put_back(Message { hidden_by: Some(worker.token), ..worker.message }.received());
                    }
                },
            );
            if let Point::Answered(made) = worker.at {
                self.spend(
                    state,
                    |b| &mut b.unrecorded,
                    |next| {
                        next.workers.remove(worker);
                        if made.by == worker.token {
                            next.requests_of(made.step).excused += 1;
                            if next.budget.noted {
                                next.workers.insert(Worker { at: Point::Notes { success: made.success }, ..*worker });
                            }
                        }
                        if driver.queues_outcomes {
                            let unclaimed = made.unclaimed && driver.first.outcomes_begin;
                            next.send(made.step, Kind::Outcome(Made { unclaimed, ..made }));
                        }
                    },
                );
            }
        }
        for message in state.messages.iter().filter(|message| message.hidden_by.is_none()) {
            self.spend(state, |b| &mut b.duplicates, |next| next.duplicate(*message));
            if state.is(Status::Retrying) && message.kind == Kind::Plain {
                self.spend(
                    state,
                    |b| &mut b.lost,
                    |next| *next = State { budget: next.budget, ..state.without(*message) },
                );
            }
        }
        if state.leg.is_some() {
            self.spend(
                state,
                |b| &mut b.crashes,
                |next| {
                    if !driver.repeats_a_leg {
                        next.leg = None;
                    }
                },
            );
        }
        if let Some(trouble) = state.trouble.noted(false).filter(|_| state.door == Door::Open) {
            self.spend(state, |b| &mut b.outages, |next| next.trouble = trouble);
        }
        if let Some(trouble) = state.trouble.noted(true) {
            self.befalls(What::Other, State { trouble, ..state.clone() });
        }
    }

    fn spend(&mut self, state: &State, left: fn(&mut Budget) -> &mut u8, change: impl FnOnce(&mut State)) {
        let mut next = state.clone();
        if *left(&mut next.budget) > 0 {
            *left(&mut next.budget) -= 1;
            change(&mut next);
            self.befalls(What::Other, next);
        }
    }
}
