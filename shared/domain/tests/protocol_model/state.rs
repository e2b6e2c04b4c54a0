//! What there is at one moment: the record, the messages, the processes, the endpoint.

use std::collections::BTreeSet;

use pombo_domain::delivery::{Status, Step};

use crate::rules::{Facts, First, Made, Token, Trouble, Window};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    pub step: Step,
    pub kind: Kind,
    /// The process that held it when it died: it comes again after that one's claim has ended.
    pub hidden_by: Option<Token>,
}

impl Message {
    /// The message after it was received.
    pub fn received(mut self) -> Self {
        if let Kind::First(first) = &mut self.kind {
            first.received = true;
        }
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    First(First),
    Plain,
    /// To tell whether the endpoint is back; stale once an attempt was begun after it was ordered.
    Probe {
        stale: bool,
    },
    /// An outcome that could not be recorded.
    Outcome(Made),
}

impl Kind {
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Probe { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    pub token: Token,
    pub message: Message,
    /// Whether the worker's attempt is made without a claim.
    pub unclaimed: bool,
    pub at: Point,
}

/// What a process has done last; it may die at each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    Begun {
        redelivered: bool,
    },
    Answered(Made),
    /// It recorded an outcome, or found one recorded, and the step after this one is to be sent.
    Recorded {
        step: Step,
        notes: Option<bool>,
    },
    /// What is left is to note the attempt's success or failure in the endpoint's health.
    Notes {
        success: bool,
    },
}

/// Where the endpoint's door stands, as its owner has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    Open,
    Paused,
    Deleted,
}

/// The rest of ingest's work for the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ingest {
    /// The event is stored, and the message is to be sent: with the mark, or without it because an earlier answer was lost.
    Sends {
        marked: bool,
    },
    /// SQS refused the message each time. The event says so, and the client was told to repeat the post.
    Refused,
    /// SQS refused the message each time, and then the client repeated the post.
    Repeated,
    /// Nobody knows whether the message is queued. The client was told to repeat the post.
    Unsure,
    Done,
}

/// How often each misfortune and each order may still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Processes that die.
    pub crashes: u8,
    /// Messages that come twice.
    pub duplicates: u8,
    /// Posts of the event that the client repeats.
    pub repeats: u8,
    /// Sends of ingest that are refused, or whose answer is lost.
    pub unsent: u8,
    /// Outcomes that cannot be recorded.
    pub unrecorded: u8,
    /// Replays.
    pub replays: u8,
    /// First messages that a job sends.
    pub firsts: u8,
    pub cancels: u8,
    pub pauses: u8,
    pub deletes: u8,
    /// Failures of other deliveries to the endpoint. Only with some of these is its health noted.
    pub outages: u8,
    pub noted: bool,
    /// Waits for a slot of the rate limit.
    pub waits: u8,
    /// Whether the endpoint has a rate limit.
    pub limited: bool,
    /// Messages that never come. Only with some of these does the sweep look for what is overdue: without them nothing
    /// may need it.
    pub lost: u8,
    pub swept: bool,
}

pub const NONE: Budget = Budget {
    crashes: 0,
    duplicates: 0,
    repeats: 0,
    unsent: 0,
    unrecorded: 0,
    replays: 0,
    firsts: 0,
    cancels: 0,
    pauses: 0,
    deletes: 0,
    outages: 0,
    noted: false,
    waits: 0,
    limited: false,
    lost: 0,
    swept: false,
};

impl Budget {
    /// The same with so many more of each misfortune that it has.
    pub fn and_more(mut self, more: u8) -> Self {
        for left in [
            &mut self.crashes,
            &mut self.duplicates,
            &mut self.repeats,
            &mut self.unsent,
            &mut self.unrecorded,
            &mut self.replays,
            &mut self.firsts,
            &mut self.cancels,
            &mut self.pauses,
            &mut self.outages,
            &mut self.waits,
            &mut self.lost,
        ] {
            *left += if *left > 0 { more } else { 0 };
        }
        self
    }
}

/// The requests that were made for an attempt, probes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Requests {
    pub of: Step,
    pub made: u8,
    /// How many more than one there may be: for each process that died between a request and its record, and each outcome
    /// that was queued.
    pub excused: u8,
    /// Whether a request, a probe's perhaps, said that another may have been made before it.
    pub told: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub record: Option<Facts>,
    pub messages: Vec<Message>,
    pub workers: BTreeSet<Worker>,
    /// A job's leg that has changed the record and not yet queued its message.
    pub leg: Option<Step>,
    pub door: Door,
    pub trouble: Trouble,
    pub window: Window,
    pub ingest: Ingest,
    /// How often SQS has handed out the message with the mark once more, as a first receive.
    pub doubled: u8,
    /// By step, of the record's round and later ones.
    pub requests: Vec<Requests>,
    pub budget: Budget,
}

impl State {
    pub fn first(budget: Budget) -> Self {
        // Ingest is part of the walk only if sends can fail.
        let marked = Message { step: Step::FIRST, kind: Kind::First(First::MARKED), hidden_by: None };
        let (messages, ingest) = match budget.unsent {
            0 => (vec![marked], Ingest::Done),
            _ => (Vec::new(), Ingest::Sends { marked: true }),
        };
        Self {
            record: None,
            messages,
            workers: BTreeSet::new(),
            leg: None,
            door: Door::Open,
            trouble: Trouble::NONE,
            window: Window::Open,
            ingest,
            doubled: 0,
            requests: Vec::new(),
            budget,
        }
    }

    pub fn is(&self, status: Status) -> bool {
        self.record.is_some_and(|facts| facts.status == status)
    }

    /// Whether the delivery has come to its end, or waits where an operator sees it for somebody to open the door.
    pub fn is_at_rest(&self) -> bool {
        self.record.is_some_and(|facts| facts.status.is_settled())
            || (self.is(Status::Held) && self.door == Door::Paused)
    }

    /// The first name that nothing refers to.
    pub fn fresh_token(&self) -> Token {
        let in_message = |message: &Message, token| {
            message.hidden_by == Some(token) || matches!(message.kind, Kind::Outcome(made) if made.by == token)
        };
        let refers = |token: &Token| {
            self.is_live(*token)
                || self.record.is_some_and(|facts| facts.claim.is_some_and(|(holder, _)| holder == *token))
                || self.messages.iter().any(|message| in_message(message, *token))
                || self.workers.iter().any(|worker| {
                    in_message(&worker.message, *token)
                        || matches!(worker.at, Point::Answered(made) if made.by == *token)
                })
        };
        (1..).find(|token| !refers(token)).unwrap()
    }

    pub fn is_live(&self, token: Token) -> bool {
        self.workers.iter().any(|worker| worker.token == token)
    }

    pub fn send(&mut self, step: Step, kind: Kind) {
        let message = Message { step, kind, hidden_by: None };
        // Two equal messages do what one and a duplicate do; duplicates have a budget of their own.
        if !self.messages.contains(&message) {
            self.put_back(message);
        }
    }

    /// SQS hands out a message once more. If the message has the mark, the mark is valid for both first receives. Only in
    /// this way may an attempt be made twice, or be made for a delivery that has come to its end.
    pub fn duplicate(&mut self, message: Message) {
        if matches!(message.kind, Kind::First(first) if first.marked && !first.received) {
            self.doubled += 1;
        }
        self.put_back(message);
    }

    pub fn put_back(&mut self, message: Message) {
        self.messages.push(message);
        self.messages.sort();
    }

    pub fn without(&self, message: Message) -> Self {
        let mut next = self.clone();
        let place = next.messages.iter().position(|other| *other == message).unwrap();
        next.messages.remove(place);
        next
    }

    pub fn without_worker(&self, worker: &Worker) -> Self {
        let mut next = self.clone();
        next.workers.remove(worker);
        next
    }

    /// An attempt begun later than their order makes probes pointless.
    pub fn probes_are_stale(&mut self) {
        let make_stale = |message: &mut Message| {
            if message.kind.is_probe() {
                message.kind = Kind::Probe { stale: true };
            }
        };
        self.messages.iter_mut().for_each(make_stale);
        self.messages.sort();
        self.messages.dedup();
    }

    pub fn requests_of(&mut self, step: Step) -> &mut Requests {
        let place = match self.requests.binary_search_by_key(&step, |requests| requests.of) {
            Ok(place) => place,
            Err(place) => {
                self.requests.insert(place, Requests { of: step, made: 0, excused: 0, told: false });
                place
            }
        };
        &mut self.requests[place]
    }

    /// The same state under the names by which all that do the same are known. A message that may come again may also be
    /// late, so it is as good as there. Of a dead process only its claim is left, unless an outcome of it is queued.
    ///
    /// `marks_repeats` says whether the driver gives the mark to the message of a client's repeat.
    pub fn canonical(mut self, marks_repeats: bool) -> Self {
        self.forget_first_attempts(marks_repeats);
        let claimed = self.record.and_then(Facts::live_claim);
        for message in &mut self.messages {
            message.hidden_by = message.hidden_by.filter(|token| Some(*token) == claimed);
            if let Kind::First(first) = &mut message.kind {
                first.delayed &= self.window != Window::Closed;
                first.received &= first.marked;
            }
        }
        let made_by = self.messages.iter().filter_map(|message| match message.kind {
            Kind::Outcome(made) => Some(made.by),
            _ => None,
        });
        let of_workers = self.workers.iter().flat_map(|worker| match worker.at {
            Point::Answered(made) => [worker.token, made.by],
            _ => [worker.token, worker.token],
        });
        let mut names: Vec<Token> = Vec::new();
        for token in claimed.into_iter().chain(of_workers).chain(made_by) {
            if !names.contains(&token) {
                names.push(token);
            }
        }
        // Nobody is 0.
        let name = |token: Token| names.iter().position(|known| *known == token).map_or(0, |place| place as Token + 1);
        if let Some(Facts { claim: Some((token, _)), .. }) = &mut self.record {
            *token = name(*token);
        }
        let rename = |mut message: Message| {
            message.hidden_by = message.hidden_by.map(name);
            if let Kind::Outcome(made) = &mut message.kind {
                made.by = name(made.by);
            }
            message
        };
        self.messages = self.messages.iter().copied().map(rename).collect();
        self.messages.sort();
        let rename = |worker: &Worker| {
            let at = match worker.at {
                Point::Answered(made) => Point::Answered(Made { by: name(made.by), ..made }),
                at => at,
            };
            Worker { token: name(worker.token), message: rename(worker.message), at, ..*worker }
        };
        self.workers = self.workers.iter().map(rename).collect();
        self
    }

    /// Forgets what no longer matters when no attempt without a claim is under way or can begin. If there is a record, the
    /// window then holds nothing back, and a delayed message is the same as a late one. For a recorded step, it only matters
    /// whether a request was made at all, because nobody makes another request.
    fn forget_first_attempts(&mut self, marks_repeats: bool) {
        let is_marked =
            |message: &Message| matches!(message.kind, Kind::First(first) if first.marked && !first.received);
        let may_send = matches!(self.ingest, Ingest::Sends { marked: true } | Ingest::Refused | Ingest::Unsure)
            || (marks_repeats && self.budget.repeats > 0);
        let is_under_way = self.workers.iter().any(|worker| worker.unclaimed || is_marked(&worker.message));
        let Some(record) = self.record else { return };
        if may_send || is_under_way || self.messages.iter().any(is_marked) {
            return;
        }
        self.window = Window::Closed;
        let requested: Vec<_> = self.workers.iter().map(|worker| worker.message.step).collect();
        for requests in &mut self.requests {
            if requests.of <= record.step && !requested.contains(&requests.of) {
                *requests = Requests { made: requests.made.min(1), excused: 0, told: false, ..*requests };
            }
        }
        if record.step >= Step::FIRST && !requested.contains(&Step::FIRST) {
            self.doubled = 0;
        }
    }

    /// Forgets the requests of rounds that are over.
    pub fn round_opened(&mut self) {
        let round = self.record.map_or(0, |facts| facts.step.round);
        self.requests.retain(|requests| requests.of.round >= round);
    }
}
