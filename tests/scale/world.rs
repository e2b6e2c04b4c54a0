//! The simulated stack: its parts, and the loop that lets one thing happen after another.

use std::collections::VecDeque;
use std::ops::Range;

use pombo_domain::delivery::Status;
use pombo_domain::health::{Health, Open};
use pombo_domain::ids::EventId;
use pombo_domain::rate_limit::{PerSecond, RateLimit, Slots};
use pombo_domain::time::Timestamp;

use crate::agenda::{Agenda, Micros, SECOND, micros, stamp};
use crate::bucket::Bucket;
use crate::dispatch::{Batch, Task};
use crate::jobs::Job;
use crate::limits::QUEUE_IN_FLIGHT;
use crate::mapping::{Account, Mapping};
use crate::message::{Asks, Held, Message};
use crate::queue::Queue;
use crate::random::Random;
use crate::scheduler::Scheduler;
use crate::setup::{Endpoints, Setup, Trouble};
use crate::slab::Slab;
use crate::stats::{Run, Stats};
use crate::tables::{Delivery, Rows, Table};

/// How long before the beginning a circuit opened that was open then.
const OPEN_SINCE: u64 = 6 * 3600;

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Which kind it is of.
    pub kind: usize,
    /// Its health, as the code stores it.
    pub health: Health,
    /// Its held deliveries, oldest first.
    pub held: VecDeque<Held>,
    /// Its rate limit.
    pub limit: Option<RateLimit>,
    /// The slots that are reserved under the limit.
    pub slots: Option<Slots>,
    /// Reads of its item.
    pub reads: Bucket,
}

/// An event of the simulation.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// An app posts an event for a kind of endpoints.
    Post(usize),
    /// An app posts an event again that was refused; after how many seconds.
    PostAgain(usize, u32),
    /// Ingest has stored an event.
    Accepted(usize),
    /// A message can be received.
    Visible(u32),
    /// A schedule wants to fire and send its message.
    Fire(u32),
    /// A message is visible again that was received at a time.
    Returns(u32, Micros),
    /// A message in a batch comes to its next step.
    Step(u32),
    /// An invocation of dispatch ends.
    BatchEnds(u32),
    /// A leg of a job begins: the job, and which of its messages asked for it.
    Leg(u32, u32),
    /// A row of a page is written: the job, which run of the page, the row, and how often it was tried.
    Row(u32, u32, u32, u32),
    /// A second has passed.
    Second,
}

/// The stack.
#[derive(Debug)]
pub struct World {
    pub setup: Setup,
    pub now: Micros,
    pub agenda: Agenda<Event>,
    pub random: Random,
    pub queue: Queue,
    pub mapping: Mapping,
    pub account: Option<Account>,
    pub table: Table,
    pub scheduler: Scheduler,
    pub endpoints: Vec<Endpoint>,
    pub kinds: Vec<Range<usize>>,
    pub messages: Slab<Message>,
    pub tasks: Slab<Task>,
    pub batches: Slab<Batch>,
    /// The drain of each endpoint, then a replay.
    pub jobs: Vec<Job>,
    /// When the next delivery may be released, where the whole stack has a pace.
    pub next_release: Micros,
    pub stats: Run,
    /// An event, for rules that want one.
    pub an_event: EventId,
    deliveries: u64,
    all_held: u64,
}

/// Runs a simulation to its end, as often as the setup says.
pub fn run(setup: Setup) -> Stats {
    let one = |number| run_once(Setup { seed: setup.seed + number, ..setup.clone() });
    Stats::of((0..setup.runs).map(one).collect())
}

fn run_once(setup: Setup) -> Run {
    let mut world = World::new(setup);
    world.begin();
    let end = micros(world.setup.end);
    while let Some((now, event)) = world.agenda.next()
        && now <= end
    {
        world.now = now;
        world.happens(event);
    }
    world.stats
}

impl World {
    fn new(setup: Setup) -> Self {
        let shrink = setup.shrink;
        let mut endpoints = Vec::new();
        let mut kinds = Vec::new();
        for (kind, of) in setup.endpoints.iter().enumerate() {
            let first = endpoints.len();
            endpoints.extend((0..shrink.endpoints(of.count)).map(|_| endpoint(kind, of, &setup)));
            kinds.push(first..endpoints.len());
        }
        let refuses = |times: Option<(f64, f64)>| times.map(|(from, until)| (micros(from), micros(until)));
        let noisy = setup.code.fair.then(|| shrink.noisy());
        Self {
            now: 0,
            agenda: Agenda::new(),
            random: Random::seeded(setup.seed),
            queue: Queue::new(endpoints.len(), QUEUE_IN_FLIGHT / shrink.by, noisy),
            mapping: Mapping::new(setup.places, setup.warm, shrink.by),
            account: setup.account.map(Account::new),
            table: Table::new(setup.code.tables, shrink, endpoints.len(), refuses(setup.table_refuses)),
            scheduler: Scheduler::new(shrink.by, refuses(setup.scheduler_refuses)),
            jobs: (0..endpoints.len()).map(|endpoint| Job::drain(endpoint as u32)).collect(),
            stats: Run::new(shrink.by, kinds.len()),
            endpoints,
            kinds,
            messages: Slab::new(),
            tasks: Slab::new(),
            batches: Slab::new(),
            next_release: 0,
            an_event: EventId::generate([0; 16]),
            deliveries: 0,
            all_held: 0,
            setup,
        }
    }

    /// Notes the first events, and fills what is held.
    fn begin(&mut self) {
        self.agenda.note(0, Event::Second);
        for kind in 0..self.kinds.len() {
            self.post_later(kind);
            let held = self.setup.endpoints[kind].held;
            for endpoint in self.kinds[kind].clone().filter(|_| held > 0) {
                for _ in 0..held {
                    let delivery = self.new_delivery(endpoint as u32);
                    self.endpoints[endpoint].held.push_back(Held { delivery, attempt: 1, rows: None });
                }
                self.all_held += held as u64;
                let turn = self.random.share() * self.setup.code.health.probe_every.as_secs_f64();
                self.leg_in(endpoint as u32, micros(turn));
            }
        }
        if let Some(replay) = self.setup.replay {
            let job = Job::replay(replay);
            self.jobs.push(job);
            self.leg_in(self.jobs.len() as u32 - 1, 0);
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Post(kind) => {
                self.post_later(kind);
                self.post(kind, 0);
            }
            Event::PostAgain(kind, waited) => self.post(kind, waited),
            Event::Accepted(kind) => {
                if let Some(account) = &mut self.account {
                    account.end();
                }
                self.accepted(kind);
            }
            Event::Visible(message) => self.visible(message),
            Event::Fire(message) => {
                let at = self.scheduler.invoked(self.now);
                self.stats.latest_schedule = self.stats.latest_schedule.max(at - self.now);
                self.agenda.note(at, Event::Visible(message));
            }
            Event::Returns(message, received) => self.returns(message, received),
            Event::Step(task) => self.step(task),
            Event::BatchEnds(batch) => self.batch_ends(batch),
            Event::Leg(job, asked) => self.leg(job, asked),
            Event::Row(job, run, row, tries) => self.row(job, run, row, tries),
            Event::Second => {
                self.mapping.second(self.queue.len() > 0);
                self.invoke();
                self.stats.second(self.queue.len(), self.queue.in_flight(), self.all_held, self.now);
                self.agenda.note(self.now + SECOND, Event::Second);
            }
        }
    }

    /// Notes when the next event of a kind is posted.
    fn post_later(&mut self, kind: usize) {
        let Endpoints { events_a_second, fan_out, .. } = self.setup.endpoints[kind];
        let rate = if fan_out { events_a_second } else { events_a_second / self.setup.shrink.by };
        if rate > 0.0 {
            let gap = self.random.gap(rate);
            self.agenda.note(self.now + micros(gap), Event::Post(kind));
        }
    }

    /// An event is posted. If it was refused before, the app has waited for `waited` seconds.
    fn post(&mut self, kind: usize, waited: u32) {
        self.stats.counts.posts += u64::from(waited == 0);
        let Some(account) = &mut self.account else { return self.accepted(kind) };
        if account.begins(self.now) {
            self.agenda.note(self.now + micros(self.setup.costs.ingest), Event::Accepted(kind));
        } else {
            self.stats.counts.posts_refused += u64::from(waited == 0);
            let wait = (2 * waited).clamp(1, 64);
            self.agenda.note(self.now + Micros::from(wait) * SECOND, Event::PostAgain(kind, wait));
        }
    }

    /// An event is stored, and its messages are sent.
    fn accepted(&mut self, kind: usize) {
        let all = self.kinds[kind].clone();
        let chosen = if self.setup.endpoints[kind].fan_out {
            all
        } else {
            let one = all.start + self.random.below(all.len());
            one..one + 1
        };
        for endpoint in chosen {
            let delivery = self.new_delivery(endpoint as u32);
            let message = Message {
                delivery,
                asks: Asks::First,
                attempt: 1,
                receives: 0,
                not_before: None,
                rows: Rows::NONE,
                slot: None,
            };
            let message = self.messages.keep(message);
            self.queue.add(message, endpoint as u32, self.now);
        }
        self.invoke();
    }

    /// A delivery of an event that is accepted now.
    pub fn new_delivery(&mut self, endpoint: u32) -> Delivery {
        self.deliveries += 1;
        Delivery { endpoint, number: self.deliveries, accepted: self.now }
    }

    /// Sends a message, to be received after a delay.
    pub fn send(&mut self, message: Message, delay: Micros) {
        let message = self.messages.keep(Message { receives: 0, ..message });
        self.agenda.note(self.now + delay, Event::Visible(message));
    }

    fn visible(&mut self, message: u32) {
        self.queue.add(message, self.messages[message].delivery.endpoint, self.now);
        self.invoke();
    }

    /// Puts a delivery on hold that was written so.
    pub fn hold(&mut self, held: Held) {
        self.endpoints[held.delivery.endpoint as usize].held.push_back(held);
        self.all_held += 1;
        self.stats.counts.held += 1;
    }

    /// Counts deliveries that are held no longer.
    pub const fn held_no_longer(&mut self, count: u64) {
        self.all_held -= count;
    }

    /// The trouble of an endpoint at this time.
    pub fn trouble(&self, endpoint: u32) -> Option<Trouble> {
        let (trouble, from, until) = self.setup.endpoints[self.endpoints[endpoint as usize].kind].trouble?;
        (micros(from)..micros(until)).contains(&self.now).then_some(trouble)
    }

    /// The rows of a delivery that has this status, whose next attempt is due at a time.
    pub fn rows(&mut self, delivery: Delivery, status: Status, due: Option<Micros>) -> Rows {
        self.table.rows(delivery, status, due)
    }
}

fn endpoint(kind: usize, of: &Endpoints, setup: &Setup) -> Endpoint {
    let since = Timestamp::from_seconds(stamp(0).as_seconds() - OPEN_SINCE as i64);
    let health = if of.held > 0 {
        let failures = setup.code.health.failures;
        Health {
            failing_since: Some(since),
            failures,
            open: Some(Open::new(since, "drain", stamp(0))),
            ..Health::good()
        }
    } else {
        Health::good()
    };
    let limit = of.limit.map(|limit| RateLimit { per_second: PerSecond::new(limit).unwrap(), since: 1 });
    let reads = Bucket::new(setup.shrink.endpoint_reads());
    Endpoint { kind, health, held: VecDeque::new(), limit, slots: None, reads }
}
