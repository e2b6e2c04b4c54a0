//! The code's own functions, over what of a record and of an endpoint's health they look at. Each is asked once for the same
//! thing: there are a few thousand such things, and millions of states.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use pombo_domain::delivery::{
    DeliveryKey, Head, NewDelivery, Record, Settling, Status, Step, Verdict, settling, verdict,
};
use pombo_domain::endpoint::Endpoint;
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::{Change, Failure, Health, HealthRules, Open};
use pombo_domain::hops::Hops;
use pombo_domain::ids::{EndpointId, EventId};
use pombo_domain::job::{Job, JobKey, JobKind, Row, RowPlan, Seen};
use pombo_domain::message::{DeliveryMessage, EventPart, QueuedOutcome};
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::{Decision, Jitter, Next, RetryPolicy, Route, decide};
use pombo_domain::time::Timestamp;

/// A process's name. One that nothing refers to any more is used again: probes go on for ever, and the states must not.
pub type Token = u8;

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LIVE: Timestamp = Timestamp::from_millis(2_000);
const ENDED: Timestamp = Timestamp::from_millis(0);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// A circuit that opens with the second failure.
const CIRCUIT: HealthRules = HealthRules { failures: 2, opens_after: Duration::ZERO, ..HealthRules::DEFAULT };

static EVENT: LazyLock<EventId> = LazyLock::new(|| "e".parse().unwrap());
static KEY: LazyLock<DeliveryKey> = LazyLock::new(|| DeliveryKey {
    endpoint_id: EndpointId::generate([1; 10]),
    accepted_at: NOW,
    event_id: EVENT.clone(),
});
static NEW: LazyLock<NewDelivery> = LazyLock::new(|| NewDelivery {
    tenant: "t".parse().unwrap(),
    event_type: "a".parse().unwrap(),
    expires_at: i64::MAX,
});
/// How long first attempts may go without a claim.
const WINDOW: FirstAttemptWindow = FirstAttemptWindow::new(Duration::from_secs(180));
/// An endpoint without a rate limit, and an endpoint with a rate limit.
static ENDPOINTS: LazyLock<[Endpoint; 2]> = LazyLock::new(|| {
    let mut json = serde_json::json!({
        "endpoint_id": KEY.endpoint_id, "tenant": "t", "name": "", "url": "https://example.com/", "event_types": ["*"],
        "headers": {}, "retry_policy": "standard", "timeout_seconds": 15, "secrets": [], "status": "active", "version": 1,
        "created_at": NOW, "updated_at": NOW,
    });
    let unlimited = serde_json::from_value(json.clone()).unwrap();
    json["rate_limit"] = serde_json::json!({"per_second": 1.0, "since": 1});
    [unlimited, serde_json::from_value(json).unwrap()]
});
/// Two attempts a round.
static POLICY: LazyLock<RetryPolicy> = LazyLock::new(|| RetryPolicy::custom(vec![1.0], MONTH).unwrap());

/// How many attempts a round has.
pub fn attempts() -> u32 {
    POLICY.attempts()
}

/// What of a record the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    pub status: Status,
    pub step: Step,
    /// The process that holds the claim, and whether that has not ended.
    pub claim: Option<(Token, bool)>,
}

impl Facts {
    pub fn live_claim(self) -> Option<Token> {
        self.claim.filter(|(_, live)| *live).map(|(token, _)| token)
    }
}

/// What is done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Write {
    Claim(Token),
    Hold(Token),
    Cancel,
    /// A wait for a slot of the rate limit is written down.
    Wait(Token),
    /// The sweep finds it overdue.
    Sweep,
    Outcome(Made),
    /// By a job: a replay, the first message of a delivery that has no outcome, and a drain.
    Replay,
    /// A replay that finds the circuit open.
    ReplayHeld,
    First {
        /// Whether the record that the message begins says that an attempt may have been made before.
        tells: bool,
    },
    Release,
}

/// An attempt that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Made {
    pub by: Token,
    pub step: Step,
    pub success: bool,
    pub probe: bool,
    /// Whether the attempt was made without a claim, so that there may be no record.
    pub unclaimed: bool,
}

/// The time since the event was accepted, as far as first attempts without a claim depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// The window covers an invocation that begins now.
    Open,
    /// An invocation that begins now may still run when the window closes.
    Ending,
    Closed,
}

impl Window {
    /// Whether a delivery without a record counts as being sent.
    pub fn is_open(self) -> bool {
        let now = match self {
            Self::Open => NOW,
            Self::Ending => WINDOW.closes_at(NOW).minus(Duration::from_millis(1)),
            Self::Closed => WINDOW.closes_at(NOW),
        };
        !WINDOW.left(NOW, now).is_zero()
    }

    /// When an invocation that begins now ends.
    fn invocation_ends(self) -> Timestamp {
        if self == Self::Open { NOW } else { WINDOW.closes_at(NOW) }
    }
}

/// A delivery's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct First {
    /// Whether the message has the mark: its attempt may be made without a claim.
    pub marked: bool,
    /// Whether the message says that an attempt may have been made for a message with the mark.
    pub repeat: bool,
    /// Whether the message was received before.
    pub received: bool,
    /// Whether the queue gives out the message only when the window has closed.
    pub delayed: bool,
}

impl First {
    pub const MARKED: Self = Self { marked: true, repeat: false, received: false, delayed: false };
    pub const PLAIN: Self = Self { marked: false, ..Self::MARKED };
    pub const REPEAT: Self = Self { repeat: true, delayed: true, ..Self::PLAIN };

    fn message(self) -> DeliveryMessage {
        let event = EventPart { new: NEW.clone(), endpoint_version: None, body: None, hops: Hops::NONE };
        let mut message = DeliveryMessage::first(KEY.clone(), event);
        (message.first, message.repeat) = (self.marked, self.repeat);
        message
    }

    /// The message as it may be acted on when it is received.
    pub fn taken(self) -> Self {
        let message = self.message().received(Some(1 + u32::from(self.received)));
        Self { marked: message.first, repeat: message.repeat, received: false, ..self }
    }

    /// Whether the attempt may be made without a claim.
    pub fn spares_claim(self, window: Window, limited: bool) -> bool {
        WINDOW.spares_claim(&self.message(), &ENDPOINTS[usize::from(limited)], window.invocation_ends())
    }

    /// The record that the delivery begins with.
    pub fn new_record(self) -> Facts {
        facts_of(&self.message().new_record().unwrap())
    }
}

/// What of a message decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asks {
    pub step: Step,
    pub begins: bool,
    pub holder: Token,
    /// For a probe, whether an attempt was begun since it was ordered.
    pub probe_is_stale: Option<bool>,
}

/// What was asked of a record, and the answer.
type Answers<Q, A> = RefCell<HashMap<(Option<Facts>, Q), A>>;

thread_local! {
    static WRITTEN: Answers<Write, Option<Facts>> = RefCell::default();
    static JUDGED: Answers<Asks, Verdict> = RefCell::default();
}

/// The record after a write; `None` when the rules refuse it. Without a record a new one is begun.
pub fn written(facts: Option<Facts>, write: Write) -> Option<Facts> {
    WRITTEN.with_borrow_mut(|known| *known.entry((facts, write)).or_insert_with(|| write_anew(facts, write)))
}

/// What a message may do.
pub fn judged(facts: Option<Facts>, asks: Asks) -> Verdict {
    JUDGED.with_borrow_mut(|known| {
        *known.entry((facts, asks)).or_insert_with(|| {
            let holder = asks.holder.to_string();
            // Every attempt that is recorded began at `ENDED`.
            let ordered = |stale| if stale { ENDED } else { NOW };
            let probe = asks.probe_is_stale.map(ordered);
            let head = Head { step: asks.step, begins: asks.begins, holder: &holder, probe, has_slot: false };
            verdict(facts.map(record_of).as_ref(), head, NOW)
        })
    })
}

/// Whether an attempt of `holder` says that another process may have made it before.
pub fn says_redelivered(facts: Option<Facts>, holder: Token) -> bool {
    facts.is_some_and(|facts| record_of(facts).was_abandoned(&holder.to_string()))
}

fn write_anew(facts: Option<Facts>, write: Write) -> Option<Facts> {
    let record = facts.map_or_else(|| Record::begin(KEY.clone(), NEW.clone()), record_of);
    let written = match write {
        Write::Claim(token) => record.claimed(&token.to_string(), LIVE),
        Write::Hold(token) => record.held(&token.to_string()),
        Write::Cancel => record.cancelled(),
        Write::Wait(token) => record.due_at(&token.to_string(), Next { at: NOW, route: Route::Queue }),
        Write::Sweep => record.due_at("sweep", Next { at: NOW, route: Route::Queue }),
        Write::Outcome(made) => {
            let (attempt, decision) = attempt(made);
            let outcome = QueuedOutcome { holder: made.by.to_string(), attempt, decision };
            let new = made.unclaimed.then_some(&*NEW);
            match settling(facts.map(record_of).as_ref(), &KEY, new, &outcome, NOW) {
                Settling::Write(record) => *record,
                Settling::Superseded | Settling::Gone => return None,
            }
        }
        Write::Replay => by_job(facts, JobKind::Replay, None, false)?,
        Write::ReplayHeld => by_job(facts, JobKind::Replay, None, true)?,
        Write::First { tells } => by_job(facts, JobKind::Replay, Some(tells), false)?,
        Write::Release => by_job(facts, JobKind::Drain { endpoint_id: KEY.endpoint_id.clone() }, None, false)?,
    };
    Some(facts_of(&written))
}

/// `first` is given if a job is to send the delivery's first message. The value says whether the event was sent to the
/// endpoint when the event came in.
fn by_job(facts: Option<Facts>, kind: JobKind, first: Option<bool>, is_open: bool) -> Option<Record> {
    let job = Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, MONTH);
    let round = facts.map_or(0, |facts| facts.step.round);
    let row = Row { delivery: KEY.clone(), round, first: first.is_some() };
    let fanned_out = first == Some(true);
    let record = facts.map(record_of);
    let seen = Seen { record: record.as_ref(), new: Some(&NEW), fanned_out, is_open, ..Seen::default() };
    match job.plan(0, &row, seen, NOW) {
        RowPlan::Write(record) => Some(*record),
        RowPlan::QueueAgain | RowPlan::Skip(_) => None,
    }
}

fn attempt(made: Made) -> (Attempt, Decision) {
    let status_code = if made.success { 200 } else { 500 };
    let outcome = if made.success { Outcome::Succeeded { status_code } } else { Outcome::HttpStatus { status_code } };
    let decision = decide(&POLICY, made.step, &outcome, NOW, None, Jitter::NONE);
    let decision = if made.probe { decision.of_probe(&outcome) } else { decision };
    let attempt = Attempt {
        step: made.step,
        started_at: NOW,
        duration_ms: 0,
        outcome,
        answer: None,
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    (attempt, decision)
}

fn record_of(facts: Facts) -> Record {
    let past = Made { by: 0, step: facts.step, success: false, probe: false, unclaimed: false };
    let record = Record {
        status: facts.status,
        step: facts.step,
        next: (facts.status == Status::Retrying).then_some(Next { at: NOW, route: Route::Queue }),
        attempts: vec![Attempt { started_at: ENDED, ..attempt(past).0 }],
        ..Record::begin(KEY.clone(), NEW.clone())
    };
    match facts.claim {
        Some((token, live)) => record.claimed(&token.to_string(), if live { LIVE } else { ENDED }),
        None => record,
    }
}

fn facts_of(record: &Record) -> Facts {
    // A claim that was never made is held by nobody, which is 0.
    let claim = record.claim.as_ref().map(|claim| (claim.holder.parse().unwrap_or(0), claim.until > NOW));
    Facts { status: record.status, step: record.step, claim }
}

/// What of an endpoint's health the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Trouble {
    pub failures: u32,
    pub open: bool,
}

impl Trouble {
    pub const NONE: Self = Self { failures: 0, open: false };

    /// After an attempt; `None` when that says nothing new.
    pub fn noted(self, success: bool) -> Option<Self> {
        let health = self.health();
        let failure = Failure { at: NOW, event_id: &EVENT, gone: false, probe: None };
        let change = if success { health.succeeded(NOW) } else { health.failed(failure, "drain", &CIRCUIT) };
        change.map(|(Change::Mark(next) | Change::Open(next) | Change::Close(next))| Self::of(&next))
    }

    /// After the drain found nothing to probe with.
    pub fn closed_unproven(self) -> Self {
        Self::of(&self.health().closed_unproven(NOW))
    }

    fn health(self) -> Health {
        Health {
            failing_since: (self.failures > 0).then_some(ENDED),
            failures: self.failures,
            open: self.open.then(|| Open::new(ENDED, "drain", NOW)),
            ..Health::good()
        }
    }

    fn of(health: &Health) -> Self {
        Self { failures: health.failures, open: health.open.is_some() }
    }
}
