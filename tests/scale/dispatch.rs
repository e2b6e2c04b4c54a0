//! Dispatch's invocations: they take batches, make the steps of each message, and end with the slowest of them.

use pombo_domain::retry::{Decision, Next};

use crate::agenda::{Micros, micros};
use crate::limits::SDK_TRIES;
use crate::tables::Rows;
use crate::template;
use crate::world::{Event, World};

/// An invocation.
#[derive(Debug, Default)]
pub struct Batch {
    /// Messages that are not done with.
    left: usize,
    /// When the last message was done with.
    until: Micros,
    began: Micros,
    done: Vec<(u32, End)>,
}

/// A message in an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// The message.
    pub message: u32,
    /// The message's next step.
    pub step: Step,
    /// The record's rows after that.
    pub after: Rows,
    batch: u32,
    tries: u32,
}

/// The next step of a message.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Put the delivery on hold.
    Hold,
    /// Claim the attempt.
    Claim,
    /// Make the request.
    Send,
    /// Decide what follows: the request is over.
    Answered {
        /// How long it took.
        took: Micros,
        /// Whether the receiver has taken the event.
        is_success: bool,
    },
    /// Record the outcome, with what follows.
    Record(Decision),
    /// Put the next attempt on its way.
    Carry(Next),
}

/// The end of a message, when its invocation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Deleted.
    Deleted,
    /// Left to come again after the visibility timeout.
    Returned,
}

impl World {
    /// Begins as many invocations as there is room and work for.
    pub fn invoke(&mut self) {
        while self.mapping.has_place() && self.queue.has_any() {
            if self.account.as_mut().is_some_and(|account| !account.begins(self.now)) {
                return;
            }
            let messages = self.queue.receive(template::BATCH, self.now);
            self.mapping.begin();
            self.stats.counts.invocations += 1;
            self.stats.counts.messages += messages.len() as u64;
            let batch = Batch { left: messages.len(), began: self.now, until: self.now, done: Vec::new() };
            let batch = self.batches.keep(batch);
            for waiting in messages {
                self.messages[waiting.message].receives += 1;
                let task = Task { message: waiting.message, batch, step: Step::Send, tries: 0, after: Rows::NONE };
                let task = self.tasks.keep(task);
                self.begin_task(task);
            }
        }
    }

    /// An invocation has ended.
    pub fn batch_ends(&mut self, batch: u32) {
        let Batch { began, done, .. } = std::mem::take(&mut self.batches[batch]);
        for (message, end) in done {
            let again = began + micros(self.setup.visibility);
            let group = self.messages[message].delivery.endpoint;
            match end {
                // In flight until the visibility timeout is over.
                End::Returned if again > self.now => self.agenda.note(again, Event::Returns(message, began)),
                End::Returned => self.returns(message, began),
                End::Deleted => {
                    self.queue.landed(group, began, self.now);
                    self.messages.free(message);
                }
            }
        }
        self.batches.free(batch);
        self.mapping.end();
        if let Some(account) = &mut self.account {
            account.end();
        }
        self.invoke();
    }

    /// A message is visible again that was received at a time.
    pub fn returns(&mut self, message: u32, received: Micros) {
        let group = self.messages[message].delivery.endpoint;
        self.queue.landed(group, received, self.now);
        self.queue.add(message, group, self.now);
        self.invoke();
    }

    /// The next step of a message.
    pub fn step(&mut self, task: u32) {
        match self.tasks[task].step {
            Step::Hold => self.try_hold(task),
            Step::Claim => self.claim(task),
            Step::Send => self.request(task),
            Step::Answered { took, is_success } => self.answered(task, took, is_success),
            Step::Record(decision) => self.record(task, decision),
            Step::Carry(next) => self.carry(task, next),
        }
    }

    /// Lets a message come to its next step, `after` seconds from now.
    pub fn next_step(&mut self, task: u32, step: Step, after: f64) {
        let of = &mut self.tasks[task];
        (of.step, of.tries) = (step, 0);
        self.agenda.note(self.now + micros(after), Event::Step(task));
    }

    /// Whether a call that was refused is tried again, as the SDK does it; if so, the step is noted.
    pub fn tries_again(&mut self, task: u32) -> bool {
        let tries = &mut self.tasks[task].tries;
        *tries += 1;
        if f64::from(*tries) >= SDK_TRIES {
            return false;
        }
        let wait = wait_before_try(*tries, self.random.share());
        self.agenda.note(self.now + wait, Event::Step(task));
        true
    }

    /// A message is done with, `after` seconds from now.
    pub fn finish(&mut self, task: u32, end: End, after: f64) {
        let Task { message, batch, .. } = self.tasks[task];
        self.tasks.free(task);
        let end = match end {
            End::Returned if self.messages[message].receives >= template::RECEIVES => {
                self.stats.counts.dead += 1;
                End::Deleted
            }
            End::Returned => {
                self.stats.counts.returned += 1;
                End::Returned
            }
            End::Deleted => End::Deleted,
        };
        let costs = self.setup.costs;
        let until = self.now + micros(after);
        let of = &mut self.batches[batch];
        of.left -= 1;
        of.until = of.until.max(until);
        of.done.push((message, end));
        if of.left == 0 {
            let ends = of.until.max(of.began + micros(costs.drop)) + micros(costs.batch);
            self.agenda.note(ends, Event::BatchEnds(batch));
        }
    }
}

/// How long the SDK waits before it repeats a call that has been tried `tries` times: up to 1 second, then up to 2.
pub fn wait_before_try(tries: u32, share: f64) -> Micros {
    micros(share * f64::from(1u32 << (tries - 1)))
}
