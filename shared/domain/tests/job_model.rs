//! A replay by filter, walked exhaustively with the code's own functions.
//!
//! Three deliveries in pages of two, two runs of a leg at a time, and a budget of misfortunes: runs that die at every point,
//! legs whose message comes twice, wakes, another replay, a success that comes late, an order to stop. Every state that can be
//! reached is visited. In none may a delivery get a second round from the job, or a round that is never sent; the job
//! always comes to its end, without the sweep's help; and its counts say what it did.
//!
//! The job's write and each delivery's replace the revision that was read, so "read, decide, write" of a delivery is one step
//! here. The job is read once in a run; its write fails when another run was faster.
//!
//! That the walk can find something is shown by walking drivers that leave a rule out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::ids::EndpointId;
use pombo_domain::job::{
    Arrival, Ask, Asked, Counts, Filter, Include, Job, JobKey, JobKind, JobStatus, LegVerdict, Look, Ordered, Row,
    RowPlan, RowResult, Scope, Seen, Selection,
};
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;

const DELIVERIES: usize = 3;
const PAGE: usize = 2;
const NOW: Timestamp = Timestamp::from_seconds(10_000);
const ORDERED: Ordered = Ordered { at: NOW, settle: Duration::ZERO };

/// Who opened the round that a delivery is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum By {
    Nobody,
    Us,
    Another,
}

/// What of a delivery's record the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Facts {
    status: Status,
    step: Step,
    by: By,
}

/// What of the job changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Stored {
    rev: u64,
    leg: u32,
    status: Ended,
    stopping: bool,
    /// So many deliveries were looked at.
    looked_at: usize,
    page: Option<Vec<(usize, u32)>>,
    matched: u64,
    queued: u64,
    skipped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Ended {
    No,
    Done,
    Cancelled,
}

/// A message that asks for a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    /// The leg; 0 is a wake.
    asks: u32,
    /// Whether its run has brought the job to the leg that it is at. More of its id is never asked for.
    has_brought: bool,
}

/// The ids of the message whose run has brought the job to its leg, and of the others.
const IT: &str = "it";
const OTHERS: &str = "others";

impl Message {
    const fn of(leg: u32) -> Self {
        Self { asks: leg, has_brought: false }
    }

    const fn ask(self) -> Ask<'static> {
        let what = if self.asks == 0 { Asked::Wake } else { Asked::Leg(self.asks) };
        Ask { what, message: if self.has_brought { IT } else { OTHERS } }
    }
}

/// A run of a leg.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Run {
    message: Message,
    /// The job as it knows it.
    job: Stored,
    at: Point,
    /// What became of the rows so far: queued or not, and whether there is something to send.
    rows: Vec<(bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Point {
    Decides,
    Works,
    Sends,
    MovesOn,
    QueuesNext,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Budget {
    crashes: u8,
    duplicates: u8,
    others: u8,
    late: u8,
    stops: u8,
    wakes: u8,
}

const NONE: Budget = Budget { crashes: 0, duplicates: 0, others: 0, late: 0, stops: 0, wakes: 0 };

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    job: Stored,
    records: [Facts; DELIVERIES],
    /// How often the job opened a round of each.
    opened: [u8; DELIVERIES],
    /// Whether the message for that round was sent.
    sent: [bool; DELIVERIES],
    messages: Vec<Message>,
    runs: BTreeSet<Run>,
    budget: Budget,
}

/// The driver's rules, each of which can be left out.
#[derive(Debug, Clone, Copy)]
struct Driver {
    stores_its_page_first: bool,
    sends_again_what_an_earlier_run_opened: bool,
    writes_the_job_on_condition: bool,
    queues_again_a_leg_that_it_brought_the_job_to: bool,
}

const REAL: Driver = Driver {
    stores_its_page_first: true,
    sends_again_what_an_earlier_run_opened: true,
    writes_the_job_on_condition: true,
    queues_again_a_leg_that_it_brought_the_job_to: true,
};

fn key(place: usize) -> DeliveryKey {
    DeliveryKey {
        endpoint_id: EndpointId::generate([1; 10]),
        accepted_at: Timestamp::from_seconds(1 + place as i64),
        event_id: format!("e{place}").parse().unwrap(),
    }
}

fn job_id() -> String {
    JobKey::generate(None, NOW, [1; 10]).to_string()
}

fn record_of(place: usize, facts: Facts) -> Record {
    let new = NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: i64::MAX };
    let next = (facts.status == Status::Retrying).then_some(Next { at: NOW, route: Route::Queue });
    let job = match facts.by {
        By::Nobody => None,
        By::Us => Some(job_id()),
        By::Another => Some("another".to_owned()),
    };
    Record { status: facts.status, step: facts.step, next, job, ..Record::begin(key(place), new) }
}

fn facts_of(record: &Record) -> Facts {
    let by = match &record.job {
        None => By::Nobody,
        Some(job) if *job == job_id() => By::Us,
        Some(_) => By::Another,
    };
    Facts { status: record.status, step: record.step, by }
}

fn job_of(stored: &Stored) -> Job {
    let look = if stored.looked_at == DELIVERIES { Look::Over } else { Look::First };
    let filter =
        Filter { scope: Scope::Stack, event_type: None, since: Timestamp::from_seconds(0), until: Filter::OPEN };
    let include = BTreeSet::from([Include::Failed]);
    let selection = Selection { look, ..Selection::new(filter, include, None, ORDERED).unwrap() };
    let mut counts = Counts { matched: stored.matched, queued: stored.queued, ..Counts::default() };
    counts.skipped.insert(RowResult::Changed, stored.skipped);
    let row = |(place, round): &(usize, u32)| Row { delivery: key(*place), round: *round, first: false };
    Job {
        leg: stored.leg,
        arrival: (stored.leg > 1).then(|| Arrival { leg: stored.leg, message: IT.to_owned(), paced: false }),
        status: match stored.status {
            Ended::No => JobStatus::Running,
            Ended::Done => JobStatus::Done,
            Ended::Cancelled => JobStatus::Cancelled,
        },
        stopping: stored.stopping,
        page: stored.page.as_ref().map(|page| page.iter().map(row).collect()),
        counts,
        rev: stored.rev,
        ..Job::new(
            JobKey::generate(None, NOW, [1; 10]),
            JobKind::ReplayMatching(selection),
            NOW,
            Duration::from_secs(9),
        )
    }
}

fn stored_of(job: &Job, looked_at: usize) -> Stored {
    let place = |row: &Row| (0..DELIVERIES).find(|place| key(*place) == row.delivery).unwrap();
    Stored {
        rev: job.rev,
        leg: job.leg,
        status: match job.status {
            JobStatus::Running => Ended::No,
            JobStatus::Done => Ended::Done,
            JobStatus::Cancelled => Ended::Cancelled,
        },
        stopping: job.stopping,
        looked_at,
        page: job.page.as_ref().map(|page| page.iter().map(|row| (place(row), row.round)).collect()),
        matched: job.counts.matched,
        queued: job.counts.queued,
        skipped: job.counts.skipped.values().sum(),
    }
}

impl State {
    fn first(budget: Budget) -> Self {
        let job = Stored {
            rev: 0,
            leg: 1,
            status: Ended::No,
            stopping: false,
            looked_at: 0,
            page: None,
            matched: 0,
            queued: 0,
            skipped: 0,
        };
        let failed = Facts { status: Status::Failed, step: Step { round: 0, attempt: 2 }, by: By::Nobody };
        Self {
            job,
            records: [failed; DELIVERIES],
            opened: [0; DELIVERIES],
            sent: [false; DELIVERIES],
            messages: vec![Message::of(1)],
            runs: BTreeSet::new(),
            budget,
        }
    }

    fn queue(&mut self, message: Message) {
        self.messages.push(message);
        self.messages.sort_unstable();
    }

    /// The run of this message has brought the job to its next leg, and no other has.
    fn brought_by(&mut self, message: &mut Message) {
        let forget = |message: Message| Message { has_brought: false, ..message };
        self.messages = self.messages.iter().copied().map(forget).collect();
        self.messages.sort_unstable();
        self.runs = self.runs.iter().map(|run| Run { message: forget(run.message), ..run.clone() }).collect();
        message.has_brought = true;
    }

    /// Writes the job in the place of the one that the run knows; false when another run was faster.
    fn put(&mut self, run: &Run, job: Stored, driver: Driver) -> bool {
        let ours = run.job.rev == self.job.rev || !driver.writes_the_job_on_condition;
        if ours {
            self.job = Stored { rev: self.job.rev + 1, ..job };
        }
        ours
    }
}

/// Every state that may follow, with whether it was a misfortune or an order rather than progress.
fn successors(state: &State, driver: Driver) -> Vec<(bool, State)> {
    let mut all = Vec::new();
    for message in state.messages.iter().copied().collect::<BTreeSet<_>>() {
        if state.runs.len() < 2 {
            let mut next = state.clone();
            next.messages.remove(next.messages.iter().position(|other| *other == message).unwrap());
            let run = Run { message, job: state.job.clone(), at: Point::Decides, rows: Vec::new() };
            // Two runs that stand at the same point do what one does, and then the other.
            if next.runs.insert(run) {
                all.push((false, next));
            }
        }
    }
    for run in &state.runs {
        all.push((false, go_on(state, run, driver)));
    }
    for place in 0..DELIVERIES {
        let facts = state.records[place];
        if facts.status == Status::Retrying && facts.by == By::Us && state.sent[place] {
            for status in [Status::Succeeded, Status::Failed] {
                let mut next = state.clone();
                next.records[place] = Facts { status, step: facts.step.next(), ..facts };
                all.push((false, next));
            }
        }
    }
    misfortunes(state, &mut all);
    all
}

/// The next step of a run.
fn go_on(state: &State, run: &Run, driver: Driver) -> State {
    let mut next = state.clone();
    next.runs.remove(run);
    let job = job_of(&run.job);
    match run.at {
        Point::Decides => match job.verdict(run.message.ask()) {
            LegVerdict::Ended | LegVerdict::Spare => {}
            LegVerdict::Passed { next: leg } => {
                if driver.queues_again_a_leg_that_it_brought_the_job_to {
                    next.queue(Message::of(leg));
                }
            }
            LegVerdict::Run if run.job.page.is_some() => {
                next.runs.insert(Run { at: Point::Works, rows: Vec::new(), ..run.clone() });
            }
            LegVerdict::Run => {
                let looked_at = (run.job.looked_at + PAGE).min(DELIVERIES);
                let wanted = (run.job.looked_at..looked_at).filter_map(|place| {
                    let record = record_of(place, state.records[place]);
                    let JobKind::ReplayMatching(selection) = &job.kind else { return None };
                    let row = Row { delivery: key(place), round: record.step.round, first: false };
                    selection.wants(&record, ORDERED, NOW).then_some(row)
                });
                let with_page = stored_of(&job.with_page(wanted.collect(), Duration::ZERO, NOW), looked_at);
                if driver.stores_its_page_first {
                    // It works the page that it has stored; else it goes on with what stands.
                    let at = if next.put(run, with_page, driver) { Point::Works } else { Point::Decides };
                    next.runs.insert(Run { job: next.job.clone(), at, ..run.clone() });
                } else {
                    next.runs.insert(Run { job: with_page, at: Point::Works, ..run.clone() });
                }
            }
        },
        Point::Works => {
            let page = job.page.clone().unwrap();
            let Some(row) = page.get(run.rows.len()) else {
                next.runs.insert(Run { at: Point::Sends, ..run.clone() });
                return next;
            };
            let place = (0..DELIVERIES).find(|place| key(*place) == row.delivery).unwrap();
            let record = record_of(place, state.records[place]);
            let seen = Seen { record: Some(&record), ..Seen::default() };
            let done = match job.plan(run.rows.len(), row, seen, NOW) {
                RowPlan::Skip(_) => (false, false),
                RowPlan::QueueAgain => {
                    (true, driver.sends_again_what_an_earlier_run_opened && record.status == Status::Retrying)
                }
                RowPlan::Write(written) => {
                    next.records[place] = facts_of(&written);
                    next.opened[place] += 1;
                    (true, true)
                }
            };
            let mut rows = run.rows.clone();
            rows.push(done);
            next.runs.insert(Run { rows, ..run.clone() });
        }
        Point::Sends => {
            for ((place, _), (_, sends)) in run.job.page.as_ref().unwrap().iter().zip(&run.rows) {
                next.sent[*place] |= sends;
            }
            next.runs.insert(Run { at: Point::MovesOn, ..run.clone() });
        }
        Point::MovesOn => {
            let result = |(queued, _): &(bool, bool)| if *queued { RowResult::Queued } else { RowResult::Changed };
            let moved = job.page_done(run.rows.iter().map(result), Duration::ZERO, NOW);
            let stored = next.put(run, stored_of(&moved, run.job.looked_at), driver);
            let (at, mut message) = (if stored { Point::QueuesNext } else { Point::Decides }, run.message);
            if stored {
                next.brought_by(&mut message);
            }
            next.runs.insert(Run { message, job: next.job.clone(), at, rows: Vec::new() });
        }
        Point::QueuesNext => {
            if run.job.status == Ended::No {
                next.queue(Message::of(run.job.leg));
            }
        }
    }
    next
}

fn misfortunes(state: &State, all: &mut Vec<(bool, State)>) {
    let mut add = |spend: fn(&mut Budget) -> &mut u8, change: &dyn Fn(&mut State)| {
        let mut next = state.clone();
        let left = spend(&mut next.budget);
        if *left > 0 {
            *left -= 1;
            change(&mut next);
            all.push((true, next));
        }
    };
    for run in &state.runs {
        // Its message comes again.
        add(|budget| &mut budget.crashes, &|next| {
            next.runs.remove(run);
            next.queue(run.message);
        });
    }
    for message in state.messages.iter().copied().collect::<BTreeSet<_>>() {
        add(|budget| &mut budget.duplicates, &|next| next.queue(message));
    }
    add(|budget| &mut budget.wakes, &|next| next.queue(Message::of(0)));
    for place in 0..DELIVERIES {
        let facts = state.records[place];
        add(|budget| &mut budget.others, &|next| {
            next.records[place] = facts_of(&record_of(place, facts).round_opened("another", NOW));
        });
        if facts.status != Status::Succeeded {
            add(|budget| &mut budget.late, &|next| {
                next.records[place] = Facts { status: Status::Succeeded, ..facts };
            });
        }
    }
    if state.job.status == Ended::No && !state.job.stopping {
        add(|budget| &mut budget.stops, &|next| {
            let stopped = stored_of(&job_of(&next.job).stop_requested(NOW), next.job.looked_at);
            next.job = Stored { rev: next.job.rev + 1, ..stopped };
        });
    }
}

/// What is wrong with the state in which everything has come to rest.
fn wrong_end(state: &State, all: Budget) -> Option<&'static str> {
    let (job, spent) = (&state.job, state.budget);
    let alone = spent.others == all.others;
    let opened: u64 = state.opened.iter().map(|times| u64::from(*times)).sum();
    match job.status {
        Ended::No => Some("the job did not end"),
        Ended::Cancelled if spent.stops == all.stops => Some("the job was stopped by nobody"),
        _ if job.matched != job.queued + job.skipped => Some("the counts do not add up"),
        // A round that another replay took over, before its message was sent, counts as changed.
        _ if job.queued > opened || (alone && job.queued != opened) => Some("the counts are not what was done"),
        Ended::Done if alone && spent.late == all.late && state.opened != [1; DELIVERIES] => {
            Some("a delivery was left out")
        }
        _ => None,
    }
}

/// Visits every state; gives how many there are, and the faults found.
fn walk(driver: Driver, budget: Budget) -> (usize, BTreeSet<&'static str>) {
    let first = State::first(budget);
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    let mut faults = BTreeSet::new();
    while let Some(state) = open.pop() {
        let next = successors(&state, driver);
        if next.iter().all(|(order, _)| *order) {
            faults.extend(wrong_end(&state, budget));
            let lost = (0..DELIVERIES).any(|place| {
                let facts = state.records[place];
                facts.status == Status::Retrying && facts.by == By::Us && !state.sent[place]
            });
            if lost {
                faults.insert("a round was opened and never sent");
            }
        }
        for (_, after) in next {
            if after.opened.iter().any(|times| *times > 1) {
                faults.insert("a delivery got two rounds");
            } else if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    (seen.len(), faults)
}

#[test]
fn wherever_a_leg_dies_each_delivery_gets_one_round_and_the_counts_add_up() {
    for budget in [
        Budget { crashes: 3, ..NONE },
        Budget { crashes: 1, duplicates: 1, ..NONE },
        Budget { crashes: 1, others: 1, late: 1, ..NONE },
        Budget { crashes: 1, stops: 1, ..NONE },
        Budget { duplicates: 1, others: 1, ..NONE },
        Budget { crashes: 1, wakes: 1, ..NONE },
        Budget { duplicates: 1, wakes: 1, ..NONE },
    ] {
        let (states, faults) = walk(REAL, budget);
        println!("{budget:?}: {states} states");
        assert!(states > 1_000, "{states} states are no walk");
        assert!(faults.is_empty(), "{budget:?}: {faults:?}");
    }
}

#[test]
fn each_rule_of_the_leg_is_needed() {
    let (dies, twice) = (Budget { crashes: 1, ..NONE }, Budget { duplicates: 1, ..NONE });
    for (driver, budget, fault) in [
        (Driver { stores_its_page_first: false, ..REAL }, dies, "a round was opened and never sent"),
        (Driver { sends_again_what_an_earlier_run_opened: false, ..REAL }, dies, "a round was opened and never sent"),
        (Driver { writes_the_job_on_condition: false, ..REAL }, twice, "the counts are not what was done"),
        (Driver { queues_again_a_leg_that_it_brought_the_job_to: false, ..REAL }, dies, "the job did not end"),
    ] {
        let (_, faults) = walk(driver, budget);
        assert!(faults.contains(fault), "{driver:?}: {faults:?}");
    }
}
