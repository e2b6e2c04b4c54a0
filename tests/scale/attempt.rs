//! An attempt: what dispatch does with a message, from its receive to its end, step by step.
//!
//! The code under test decides what follows: whether an attempt is claimed, what an outcome leads to, what carries the
//! next attempt, and what the endpoint's health becomes. The order of the calls is that of
//! `functions/dispatch/src/deliver.rs`. A record is not kept: in the simulation no message comes twice, so its verdict is known.

use pombo_domain::delivery::{Status, Step as DeliveryStep};
use pombo_domain::health::{Change, Failure, ProbeStart};
use pombo_domain::outcome::Outcome;
use pombo_domain::pace::RECORD_AGAIN;
use pombo_domain::rate_limit::{Reserve, Slot, Wait, reserve};
use pombo_domain::retry::{Decision, Jitter, Next, RetryPolicy, Route, decide};
use pombo_domain::schedule::{Carrier, carrier, fallback_delay};
use pombo_domain::time::Timestamp;

use crate::agenda::{Micros, SECOND, at, micros, of, stamp};
use crate::dispatch::{End, Step, Task};
use crate::message::{Asks, Held, Message};
use crate::scheduler::Scheduler;
use crate::setup::{Tables, Trouble};
use crate::tables::Rows;
use crate::template;
use crate::world::{Event, World};

impl World {
    /// Sends a copy of a message, to be received at a time, and is done with it.
    fn put_back(&mut self, task: u32, message: Message, until: Micros) {
        let Carrier::Queue(delay) = carrier(Next { at: stamp(until), route: Route::Queue }, stamp(self.now)) else {
            unreachable!("nothing here waits for longer than a queue can");
        };
        let asks = if matches!(message.asks, Asks::First) { Asks::Attempt } else { message.asks };
        self.send(Message { asks, not_before: Some(until), ..message }, Micros::from(delay) * SECOND);
        self.finish(task, End::Deleted, self.setup.costs.drop);
    }

    /// A message was received: its first step.
    pub fn begin_task(&mut self, task: u32) {
        let message = self.messages[self.tasks[task].message];
        if let Some(until) = message.not_before.filter(|until| *until > self.now) {
            return self.put_back(task, message, until);
        }
        let is_open = self.endpoints[message.delivery.endpoint as usize].health.open.is_some();
        match (message.asks, is_open) {
            (Asks::Record(decision), _) => {
                self.tasks[task].after = self.rows_after(message, decision);
                self.next_step(task, Step::Record(decision), 0.0);
            }
            (Asks::Probe(ordered_at), true) if self.begins_probe(task, ordered_at) => {
                self.next_step(task, Step::Claim, self.setup.costs.before);
            }
            (Asks::Probe(_), _) => self.finish(task, End::Deleted, self.setup.costs.drop),
            (Asks::First | Asks::Attempt | Asks::Released, true) => {
                self.tasks[task].after = self.rows(message.delivery, Status::Held, None);
                self.tasks[task].step = Step::Hold;
                self.try_hold(task);
            }
            (Asks::First | Asks::Attempt | Asks::Released, false) => {
                let step = if self.is_spared_claim(message) { Step::Send } else { Step::Claim };
                self.next_step(task, step, self.setup.costs.before);
            }
        }
    }

    /// Whether the attempt is made without a claim: see `FirstAttemptWindow::spares_claim`. The circuit is closed.
    fn is_spared_claim(&self, message: Message) -> bool {
        let ends_at = stamp(self.now + micros(template::DISPATCH_TIMEOUT));
        let is_first = matches!(message.asks, Asks::First) && message.receives == 1;
        let has_limit = self.endpoints[message.delivery.endpoint as usize].limit.is_some();
        let is_covered = self.setup.code.window.covers(stamp(message.delivery.accepted), ends_at);
        is_first && !has_limit && is_covered && !self.setup.code.claims_first
    }

    fn begins_probe(&mut self, task: u32, ordered_at: Timestamp) -> bool {
        let message = self.messages[self.tasks[task].message];
        let now = stamp(self.now);
        let until = stamp(self.now + micros(template::DISPATCH_TIMEOUT));
        let health = &mut self.endpoints[message.delivery.endpoint as usize].health;
        if !self.setup.code.one_probe {
            return true;
        }
        match health.probe_begun(ordered_at, "this one", until, now) {
            ProbeStart::Write(next) => {
                *health = *next;
                true
            }
            ProbeStart::Begun => true,
            ProbeStart::Refused(_) => false,
        }
    }

    /// Writes that a delivery is on hold.
    pub fn try_hold(&mut self, task: u32) {
        let Task { message, after, .. } = self.tasks[task];
        let Message { delivery, attempt, rows, .. } = self.messages[message];
        let endpoint = &mut self.endpoints[delivery.endpoint as usize];
        // An endpoint whose circuit is open is read for each message.
        let is_read = self.setup.code.tables == Tables::Unlimited || endpoint.reads.takes(1.0, self.now);
        if is_read && self.table.write(delivery.endpoint, rows, after, self.now) {
            self.hold(Held { delivery, attempt, rows: Some(after) });
            self.finish(task, End::Deleted, self.setup.costs.hold);
        } else if !self.tries_again(task) {
            self.finish(task, End::Returned, 0.0);
        }
    }

    /// Claims an attempt, when it is its turn.
    pub fn claim(&mut self, task: u32) {
        let message = self.messages[self.tasks[task].message];
        if !matches!(message.asks, Asks::Probe(_)) && !self.is_its_turn(task, message) {
            return;
        }
        let message = self.messages[self.tasks[task].message];
        if self.table.write(message.delivery.endpoint, message.rows, message.rows, self.now) {
            self.request(task);
        } else if !self.tries_again(task) {
            self.finish(task, End::Returned, 0.0);
        }
    }

    /// Whether an endpoint's rate limit lets the message go now. Otherwise it waits, in the process or in the queue.
    fn is_its_turn(&mut self, task: u32, mut message: Message) -> bool {
        let endpoint = &mut self.endpoints[message.delivery.endpoint as usize];
        let Some(limit) = endpoint.limit else { return true };
        let now = stamp(self.now);
        let slot = message.slot.filter(|slot| slot.holds(&limit, now)).unwrap_or_else(|| {
            let (Reserve::First(slots) | Reserve::Behind(slots)) = reserve(endpoint.slots, &limit, now) else {
                unreachable!("the limit is never changed")
            };
            endpoint.slots = Some(slots);
            Slot::reserved(slots.next_micros, &limit, message.slot.as_ref())
        });
        message.slot = Some(slot);
        let number = self.tasks[task].message;
        self.messages[number] = message;
        match slot.wait(now) {
            Wait::Over => return true,
            Wait::Here(left) => self.agenda.note(self.now + of(left), Event::Step(task)),
            Wait::InQueue(until) => self.put_back(task, message, at(until)),
        }
        false
    }

    /// Makes the request.
    pub fn request(&mut self, task: u32) {
        let Message { delivery, asks, .. } = self.messages[self.tasks[task].message];
        let kind = self.endpoints[delivery.endpoint as usize].kind;
        let trouble = self.trouble(delivery.endpoint);
        let usual = self.setup.endpoints[kind].answer * (0.8 + 0.4 * self.random.share());
        let (took, is_success) = match trouble {
            Some(Trouble::Hangs) => (self.setup.deadline(), false),
            Some(Trouble::Fails(share)) => (usual, self.random.share() >= share),
            None => (usual, true),
        };
        self.stats.request(kind, self.now);
        self.stats.counts.hung += u64::from(matches!(trouble, Some(Trouble::Hangs)));
        self.stats.counts.probes += u64::from(matches!(asks, Asks::Probe(_)));
        self.next_step(task, Step::Answered { took: micros(took), is_success }, took);
    }

    /// The request is over: decides what follows, and notes what it says of the endpoint.
    pub fn answered(&mut self, task: u32, took: Micros, is_success: bool) {
        let message = self.messages[self.tasks[task].message];
        let outcome = match is_success {
            true => Outcome::Succeeded { status_code: 200 },
            false if took >= micros(self.setup.deadline()) => Outcome::TimedOut,
            false => Outcome::HttpStatus { status_code: 500 },
        };
        let jitter = Jitter::from_random(self.random.bits() as u32);
        let step = DeliveryStep { round: 0, attempt: message.attempt };
        let mut decision = decide(&RetryPolicy::Standard, step, &outcome, stamp(self.now), None, jitter);
        if matches!(message.asks, Asks::Probe(_)) {
            decision = decision.of_probe(&outcome);
        }
        self.note_health(message, is_success);
        let after = self.setup.costs.after;
        if is_success {
            let kind = self.endpoints[message.delivery.endpoint as usize].kind;
            if message.attempt == 1 && matches!(message.asks, Asks::First | Asks::Attempt) {
                let delay = self.now + micros(after) - message.delivery.accepted;
                self.stats.delivered(kind, delay, self.now);
            }
        }
        self.tasks[task].after = self.rows_after(message, decision);
        self.next_step(task, Step::Record(decision), after);
    }

    /// The rows of a record after a decision.
    fn rows_after(&mut self, message: Message, decision: Decision) -> Rows {
        match decision {
            Decision::Succeeded => Rows::NONE,
            Decision::Retry(next) => self.rows(message.delivery, Status::Retrying, Some(at(next.at))),
            Decision::Failed => self.rows(message.delivery, Status::Failed, None),
            Decision::StillHeld => message.rows,
        }
    }

    fn note_health(&mut self, message: Message, is_success: bool) {
        let now = stamp(self.now);
        let (number, rules) = (message.delivery.endpoint, self.setup.code.health);
        let endpoint = &mut self.endpoints[number as usize];
        let probe = match message.asks {
            Asks::Probe(ordered_at) => Some(ordered_at),
            _ => None,
        };
        let change = if is_success {
            endpoint.health.succeeded(now)
        } else {
            let failure = Failure { at: now, event_id: &self.an_event, gone: false, probe };
            endpoint.health.failed(failure, "drain", &rules)
        };
        match change {
            None => {}
            Some(Change::Mark(next)) => endpoint.health = next,
            Some(Change::Open(next)) => {
                endpoint.health = next;
                self.stats.counts.opened += 1;
                self.drain_begins(number);
            }
            Some(Change::Close(next)) => {
                endpoint.health = next;
                if probe.is_some() {
                    self.probe_succeeded(message.delivery);
                }
                if self.setup.code.one_probe {
                    self.leg_in(number, micros(self.setup.costs.pick_up));
                }
            }
        }
    }

    /// Records an outcome, or queues it when that fails.
    pub fn record(&mut self, task: u32, decision: Decision) {
        let Task { message: number, after, .. } = self.tasks[task];
        let message = self.messages[number];
        if self.table.write(message.delivery.endpoint, message.rows, after, self.now) {
            self.stats.counts.recorded += 1;
            self.stats.counts.failed += u64::from(decision == Decision::Failed);
            match decision {
                Decision::Retry(next) => {
                    self.next_step(task, Step::Carry(next), 0.0);
                }
                _ => self.finish(task, End::Deleted, 0.0),
            }
        } else if !self.tries_again(task) {
            self.stats.counts.outcomes_queued += 1;
            let asks = Asks::Record(decision);
            self.send(Message { asks, not_before: None, slot: None, ..message }, of(RECORD_AGAIN));
            self.finish(task, End::Deleted, 0.0);
        }
    }

    /// Puts the next attempt on its way.
    pub fn carry(&mut self, task: u32, next: Next) {
        let Task { message: number, after, .. } = self.tasks[task];
        let message = self.messages[number];
        let due = at(next.at);
        let then = Message {
            asks: Asks::Attempt,
            attempt: message.attempt + 1,
            receives: 0,
            not_before: Some(due),
            rows: after,
            slot: None,
            ..message
        };
        let now = stamp(self.now);
        match carrier(next, now) {
            Carrier::Queue(delay) => self.send(then, Micros::from(delay) * SECOND),
            Carrier::Schedule(time) if self.scheduler.makes(self.now) => {
                let then = self.messages.keep(then);
                let fires = Scheduler::fires(at(time), &mut self.random);
                self.agenda.note(fires, Event::Fire(then));
            }
            Carrier::Schedule(_) if self.tries_again(task) => return,
            Carrier::Schedule(_) => self.send(then, Micros::from(fallback_delay(next.at, now)) * SECOND),
        }
        self.finish(task, End::Deleted, 0.0);
    }
}
