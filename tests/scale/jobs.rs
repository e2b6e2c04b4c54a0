//! The jobs function: drains that probe and release, and a replay.
//!
//! A leg that finds an open circuit orders a probe. Otherwise it changes the rows of a page, several at a time, and sends
//! their messages when all are changed. If a row cannot be written, the leg fails, and its message comes again after the
//! visibility timeout; rows that were changed before are not changed again. The jobs function's own concurrency is not bounded.

use std::time::Duration;

use pombo_domain::delivery::Status;
use pombo_domain::job::LARGEST_PAGE;
use pombo_domain::pace::{
    RELEASE_PAGE_TIME, REPLAY_PAGE_TIME, REPLAY_SPACING, ROWS_AT_ONCE, next_look, release_spacing, rows_in_page,
};
use pombo_domain::retry::{Next, Route};
use pombo_domain::schedule::{Carrier, carrier};

use crate::agenda::{Micros, SECOND, micros, of, stamp};
use crate::dispatch::wait_before_try;
use crate::limits::SDK_TRIES;
use crate::message::{Asks, Held, Message};
use crate::setup::{Releases, Replay};
use crate::tables::{Delivery, Rows};
use crate::template;
use crate::world::{Event, World};

/// Number of the oldest held deliveries among which the probes take turns.
const TAKING_TURNS: usize = 8;

/// A job.
#[derive(Debug)]
pub struct Job {
    work: Work,
    /// The message that asks for its next leg; all others are spares.
    asked: u32,
    leg: usize,
    page: Vec<PageRow>,
    /// Which run of the page is under way.
    run: u32,
    next_row: usize,
    writers: usize,
    began: Micros,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Drain(u32),
    Replay(Replay),
}

#[derive(Debug, Clone, Copy)]
struct PageRow {
    held: Held,
    /// When it was changed, and its rows in the indexes since then.
    changed: Option<(Micros, Rows)>,
}

impl Job {
    /// The drain of an endpoint.
    pub const fn drain(endpoint: u32) -> Self {
        Self::of(Work::Drain(endpoint))
    }

    /// A replay.
    pub const fn replay(replay: Replay) -> Self {
        Self::of(Work::Replay(replay))
    }

    const fn of(work: Work) -> Self {
        Self { work, asked: 0, leg: 0, page: Vec::new(), run: 0, next_row: 0, writers: 0, began: 0 }
    }
}

impl World {
    /// Asks for the next leg of a job, after a delay.
    pub fn leg_in(&mut self, job: u32, delay: Micros) {
        let asked = &mut self.jobs[job as usize].asked;
        *asked += 1;
        self.agenda.note(self.now + delay, Event::Leg(job, *asked));
    }

    /// A circuit has opened: a new drain takes over from one that is still under way.
    pub fn drain_begins(&mut self, endpoint: u32) {
        let job = &mut self.jobs[endpoint as usize];
        (job.run, job.writers) = (job.run + 1, 0);
        let page = std::mem::take(&mut job.page);
        let (changed, left): (Vec<_>, Vec<_>) = page.into_iter().partition(|row| row.changed.is_some());
        left.into_iter().rev().for_each(|row| self.endpoints[endpoint as usize].held.push_front(row.held));
        self.send_page(&changed, Duration::ZERO);
        self.leg_in(endpoint, of(self.setup.code.health.probe_every) + micros(self.setup.costs.pick_up));
    }

    /// A probe has succeeded: its delivery is held no longer.
    pub fn probe_succeeded(&mut self, delivery: Delivery) {
        let held = &mut self.endpoints[delivery.endpoint as usize].held;
        let place = held.iter().take(2 * TAKING_TURNS).position(|held| held.delivery.number == delivery.number);
        if let Some(place) = place {
            held.remove(place);
            self.held_no_longer(1);
        }
    }

    /// Runs a leg.
    pub fn leg(&mut self, number: u32, asked: u32) {
        let job = &mut self.jobs[number as usize];
        // While a page is worked on, the drain need not be woken.
        if job.asked != asked || job.writers > 0 {
            return;
        }
        job.leg += 1;
        job.began = self.now;
        let work = job.work;
        if !job.page.is_empty() {
            return self.work_page(number);
        }
        match work {
            Work::Drain(endpoint) if self.endpoints[endpoint as usize].health.open.is_some() => self.probe(endpoint),
            Work::Drain(endpoint) => self.release(endpoint),
            Work::Replay(replay) => {
                let spacing = self.spacing(work);
                let rows = rows_in_page(spacing, REPLAY_PAGE_TIME);
                let page = (0..rows).map(|_| self.failed_delivery(replay)).collect();
                self.jobs[number as usize].page = page;
                self.work_page(number);
            }
        }
    }

    /// A delivery that failed some time ago, to be replayed.
    fn failed_delivery(&mut self, replay: Replay) -> PageRow {
        let all = self.kinds[replay.of].clone();
        let endpoint = if replay.one_endpoint { all.start } else { all.start + self.random.below(all.len()) };
        let delivery = self.new_delivery(endpoint as u32);
        let rows = self.rows(delivery, Status::Failed, None);
        PageRow { held: Held { delivery, attempt: 1, rows: Some(rows) }, changed: None }
    }

    /// The drain's turn at an open circuit.
    fn probe(&mut self, endpoint: u32) {
        let (code, costs, now) = (self.setup.code, self.setup.costs, stamp(self.now));
        let turn = self.jobs[endpoint as usize].leg;
        let of_endpoint = &mut self.endpoints[endpoint as usize];
        let candidates = of_endpoint.held.len().min(TAKING_TURNS);
        let every = of(code.health.probe_every) + micros(costs.short_leg + costs.pick_up);
        if candidates == 0 {
            let since = of_endpoint.health.open.as_ref().map_or(now, |open| open.since);
            if since.until(now).as_secs() >= template::SETTLE {
                of_endpoint.health = of_endpoint.health.closed_unproven(now);
                return self.leg_in(endpoint, micros(costs.short_leg + costs.pick_up));
            }
            return self.leg_in(endpoint, every);
        }
        let Held { delivery, attempt, rows } = of_endpoint.held[turn % candidates];
        let next = of_endpoint.health.probed_next_at(now.plus(code.health.probe_every));
        let ordered = next.probe_ordered(now, &code.health);
        let ordered_at = match ordered {
            Some((health, ordered_at)) if code.one_probe => {
                of_endpoint.health = health;
                Some(ordered_at)
            }
            _ => (!code.one_probe).then_some(now),
        };
        if let Some(ordered_at) = ordered_at {
            let rows = rows.unwrap_or_else(|| self.rows(delivery, Status::Held, None));
            let asks = Asks::Probe(ordered_at);
            self.send(Message { delivery, asks, attempt, receives: 0, not_before: None, rows, slot: None }, 0);
        }
        self.leg_in(endpoint, every);
    }

    fn spacing(&self, work: Work) -> Duration {
        match work {
            Work::Drain(endpoint) => release_spacing(self.endpoints[endpoint as usize].limit.as_ref()),
            Work::Replay(replay) if replay.one_endpoint => {
                release_spacing(self.endpoints[self.kinds[replay.of].start].limit.as_ref())
            }
            Work::Replay(_) => REPLAY_SPACING,
        }
    }

    /// Makes the next page of what an endpoint holds.
    fn release(&mut self, endpoint: u32) {
        let spacing = self.spacing(Work::Drain(endpoint));
        let costs = self.setup.costs;
        let of_endpoint = &mut self.endpoints[endpoint as usize];
        let count = rows_in_page(spacing, RELEASE_PAGE_TIME).min(of_endpoint.held.len());
        if count == 0 {
            let now = stamp(self.now);
            let opened_at = of_endpoint.health.closed_at.unwrap_or(now);
            if let Some(pause) = next_look(opened_at, now, Duration::from_secs(template::SETTLE)) {
                self.leg_in(endpoint, of(pause) + micros(costs.short_leg + costs.pick_up));
            }
            return;
        }
        let page: Vec<_> = of_endpoint.held.drain(..count).map(|held| PageRow { held, changed: None }).collect();
        match self.setup.code.releases {
            Releases::RowByRow => {
                self.jobs[endpoint as usize].page = page;
                self.work_page(endpoint);
            }
            Releases::PageByPage(a_second) => self.release_at_once(endpoint, &page, spacing, a_second),
        }
    }

    fn release_at_once(&mut self, endpoint: u32, page: &[PageRow], spacing: Duration, a_second: f64) {
        let between_two = micros(self.setup.shrink.by / a_second);
        let mut until = self.now;
        for (place, row) in page.iter().enumerate() {
            let mut due = self.now + of(spacing) * place as Micros;
            if between_two > 0 {
                due = due.max(self.next_release);
                self.next_release = due + between_two;
                until = self.next_release;
            }
            let Held { delivery, attempt, .. } = row.held;
            let message = Message::released(delivery, attempt, Rows::NONE);
            self.send(message, due - self.now);
            self.stats.last_release = self.stats.last_release.max(due);
        }
        self.stats.counts.released += page.len() as u64;
        self.held_no_longer(page.len() as u64);
        let pause = of(spacing) * page.len() as Micros + micros(self.setup.costs.leg);
        self.leg_in(endpoint, until - self.now + pause);
    }

    /// Begins to change the rows of a job's page that are not changed yet.
    fn work_page(&mut self, number: u32) {
        let job = &mut self.jobs[number as usize];
        job.run += 1;
        job.next_row = 0;
        job.writers = ROWS_AT_ONCE;
        let run = job.run;
        for _ in 0..ROWS_AT_ONCE {
            self.next_row(number, run);
        }
    }

    /// A writer takes its next row; the last one that finds none ends the page.
    fn next_row(&mut self, number: u32, run: u32) {
        let row_takes = micros(self.setup.costs.leg * ROWS_AT_ONCE as f64 / LARGEST_PAGE as f64);
        let job = &mut self.jobs[number as usize];
        while job.page.get(job.next_row).is_some_and(|row| row.changed.is_some()) {
            job.next_row += 1;
        }
        if job.next_row < job.page.len() {
            self.agenda.note(self.now + row_takes, Event::Row(number, run, job.next_row as u32, 0));
            job.next_row += 1;
            return;
        }
        job.writers -= 1;
        if job.writers == 0 {
            self.page_done(number);
        }
    }

    /// Changes a row.
    pub fn row(&mut self, number: u32, run: u32, place: u32, tries: u32) {
        let job = &self.jobs[number as usize];
        if job.run != run {
            return;
        }
        let began = job.began;
        let PageRow { held, .. } = job.page[place as usize];
        let spacing = self.spacing(job.work);
        let due = self.now + of(spacing) * Micros::from(place);
        let old = held.rows.unwrap_or_else(|| self.rows(held.delivery, Status::Held, None));
        self.jobs[number as usize].page[place as usize].held.rows = Some(old);
        let new = self.rows(held.delivery, Status::Retrying, Some(due));
        if self.table.write(held.delivery.endpoint, old, new, self.now) {
            self.jobs[number as usize].page[place as usize].changed = Some((self.now, new));
            self.held_no_longer(u64::from(matches!(self.jobs[number as usize].work, Work::Drain(_))));
            return self.next_row(number, run);
        }
        if f64::from(tries + 1) < SDK_TRIES {
            let wait = wait_before_try(tries + 1, self.random.share());
            return self.agenda.note(self.now + wait, Event::Row(number, run, place, tries + 1));
        }
        // The leg fails as a whole.
        let job = &mut self.jobs[number as usize];
        (job.run, job.writers) = (run + 1, 0);
        self.leg_in(number, (began + micros(template::JOBS_VISIBILITY)).saturating_sub(self.now));
    }

    fn page_done(&mut self, number: u32) {
        let page = std::mem::take(&mut self.jobs[number as usize].page);
        let spacing = self.spacing(self.jobs[number as usize].work);
        self.send_page(&page, spacing);
        let takes = spacing * page.len() as u32;
        // A queue delays by whole seconds.
        let pause = Micros::from(takes.as_millis().div_ceil(1000) as u32) * SECOND;
        self.leg_in(number, pause + micros(self.setup.costs.pick_up));
    }

    /// Sends the messages of changed rows, each for its time.
    fn send_page(&mut self, page: &[PageRow], spacing: Duration) {
        for (place, row) in page.iter().enumerate() {
            let Some((changed, rows)) = row.changed else { continue };
            let due = changed + of(spacing) * place as Micros;
            let next = Next { at: stamp(due), route: Route::Queue };
            let Carrier::Queue(delay) = carrier(next, stamp(self.now)) else {
                unreachable!("a page is sent within the time that a queue can delay")
            };
            let Held { delivery, attempt, .. } = row.held;
            self.send(Message::released(delivery, attempt, rows), Micros::from(delay) * SECOND);
            self.stats.last_release = self.stats.last_release.max(self.now);
        }
        self.stats.counts.released += page.len() as u64;
    }
}
