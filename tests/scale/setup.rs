//! The setup of a simulation: the stack, its load and its trouble.
//!
//! A large stack is shrunk, so that a run takes seconds: rates, concurrency and the quotas of the whole stack are divided by
//! [`Shrink::by`]; times, batches and retries stay as they are. Either there are fewer endpoints by this factor, each as
//! busy as before, or all endpoints stay, and the traffic of each and the quotas of its keys are divided by this factor.

use std::time::Duration;

use pombo_domain::endpoint::DEFAULT_TIMEOUT_SECONDS;
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::health::HealthRules;

use crate::limits::{CONCURRENCY, KEY_READS, KEY_WRITES, NOISY_IN_FLIGHT, NOISY_SHARE};
use crate::queue::Noisy;
use crate::template;

/// Batches of dispatch that an account of the usual size leaves room for: a tenth is left to the other functions.
pub const PLACES: f64 = 0.9 * CONCURRENCY;

/// How a stack is shrunk.
#[derive(Debug, Clone, Copy)]
pub struct Shrink {
    /// The factor.
    pub by: f64,
    /// Whether each endpoint is, rather than their number.
    pub each_endpoint: bool,
}

impl Shrink {
    /// A stack that is simulated whole.
    pub const NOT: Self = Self::to_fewer(1.0);

    /// Fewer endpoints, by this factor.
    pub const fn to_fewer(by: f64) -> Self {
        Self { by, each_endpoint: false }
    }

    /// Endpoints with less traffic and smaller quotas, by this factor.
    pub const fn each(by: f64) -> Self {
        Self { by, each_endpoint: true }
    }

    /// By how much what belongs to one endpoint is divided.
    const fn of_endpoint(self) -> f64 {
        if self.each_endpoint { self.by } else { 1.0 }
    }

    /// How many endpoints are simulated in the place of `count`.
    pub fn endpoints(self, count: f64) -> usize {
        (count * self.of_endpoint() / self.by).round() as usize
    }

    /// Write units a second of a key that belongs to one endpoint.
    pub fn endpoint_writes(self) -> f64 {
        KEY_WRITES / self.of_endpoint()
    }

    /// Read units a second of a key that belongs to one endpoint.
    pub fn endpoint_reads(self) -> f64 {
        KEY_READS / self.of_endpoint()
    }

    /// When an endpoint's messages make it noisy. If there are fewer endpoints, the share of each is larger, and the limit too.
    pub fn noisy(self) -> Noisy {
        let share = NOISY_SHARE * self.by / self.of_endpoint();
        Noisy { share, in_flight: NOISY_IN_FLIGHT / self.of_endpoint() }
    }
}

/// How receivers are in trouble.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// Receivers answer nothing: each attempt lasts as long as its deadline.
    Hangs,
    /// Receivers answer this share of requests with a 500, as quickly as the others.
    Fails(f64),
}

/// Endpoints that are alike.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// How many.
    pub count: f64,
    /// Events a second for all of them together. With [`Endpoints::fan_out`], each goes to all.
    pub events_a_second: f64,
    /// Whether each event goes to all of them.
    pub fan_out: bool,
    /// How long their receivers take to answer, in seconds, on average: from 20 % less to 20 % more.
    pub answer: f64,
    /// Their trouble, and from when to when, in seconds.
    pub trouble: Option<(Trouble, f64, f64)>,
    /// How many deliveries each has on hold at the beginning, behind a circuit that has been open for hours.
    pub held: usize,
    /// Their rate limit, in requests a second.
    pub limit: Option<f64>,
}

impl Endpoints {
    /// Healthy ones, whose receivers answer after 150 ms.
    pub const fn healthy(count: f64, events_a_second: f64) -> Self {
        Self { count, events_a_second, fan_out: false, answer: 0.150, trouble: None, held: 0, limit: None }
    }

    /// The same, with trouble.
    pub const fn with(self, trouble: Trouble, from: f64, until: f64) -> Self {
        Self { trouble: Some((trouble, from, until)), ..self }
    }
}

/// Which of DynamoDB's limits are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// None.
    Unlimited,
    /// Those of the partition keys and of the table, without indexes.
    Keys,
    /// Those of the indexes, too: a write that an index has no room for is refused.
    KeysAndIndexes,
}

/// How a drain releases what was held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Releases {
    /// As the code does it: row by row, with several writes at a time, each of which may be refused.
    RowByRow,
    /// All rows of a page at once, with at most this number of releases a second in the whole stack.
    PageByPage(f64),
}

/// The differences between today's code and the code of the review.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    /// Whether each first attempt is claimed. Otherwise it is not, within the window.
    pub claims_first: bool,
    /// How long first attempts may go without a claim.
    pub window: FirstAttemptWindow,
    /// Whether at most one probe is under way at an endpoint, and a circuit that closes wakes its drain.
    pub one_probe: bool,
    /// The limits of DynamoDB.
    pub tables: Tables,
    /// How a drain releases.
    pub releases: Releases,
    /// Whether SQS prefers quiet groups.
    pub fair: bool,
    /// When a circuit opens, and how often it is probed.
    pub health: HealthRules,
}

impl Code {
    /// Today's code.
    pub const TODAY: Self = Self {
        claims_first: false,
        window: FirstAttemptWindow::new(Duration::from_secs(template::WINDOW)),
        one_probe: true,
        tables: Tables::KeysAndIndexes,
        releases: Releases::RowByRow,
        fair: true,
        health: HealthRules::DEFAULT,
    };

    /// The code that an earlier review computed and simulated, with the simplifications of its simulation: DynamoDB has no limits,
    /// groups do not matter, and each probe that is ordered is made.
    pub const REVIEWED: Self = Self {
        claims_first: true,
        one_probe: false,
        tables: Tables::Unlimited,
        releases: Releases::PageByPage(f64::INFINITY),
        fair: false,
        ..Self::TODAY
    };
}

/// The time that our own work takes, in seconds. Nobody has measured these times in AWS.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// From the receive of a message to its claim, or to its request.
    pub before: f64,
    /// From the answer to the write of its outcome.
    pub after: f64,
    /// To put a delivery on hold.
    pub hold: f64,
    /// To drop a message, or to put it back.
    pub drop: f64,
    /// An invocation, in addition to its slowest message.
    pub batch: f64,
    /// Ingest, for a post.
    pub ingest: f64,
    /// From a message in the Jobs queue to its leg.
    pub pick_up: f64,
    /// A leg that releases or replays a full page.
    pub leg: f64,
    /// A leg that probes, or finds nothing.
    pub short_leg: f64,
}

impl Costs {
    /// The assumptions, the same as of `docs/cost.md` where that has them.
    pub const ASSUMED: Self = Self {
        before: 0.020,
        after: 0.030,
        hold: 0.030,
        drop: 0.010,
        batch: 0.005,
        ingest: 0.030,
        pick_up: 0.300,
        leg: 1.500,
        short_leg: 0.300,
    };

    /// Those of an earlier review: a drain looks again as soon as its pause is over.
    pub const REVIEWED: Self = Self { pick_up: 0.0, short_leg: 0.0, ..Self::ASSUMED };
}

/// A replay by filter that runs from the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    /// Of which endpoints, by their place in [`Setup::endpoints`].
    pub of: usize,
    /// Whether it is of one endpoint.
    pub one_endpoint: bool,
}

/// Everything that is simulated.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How the stack is shrunk.
    pub shrink: Shrink,
    /// How long the simulation runs, in seconds.
    pub end: f64,
    /// How many batches dispatch may have under way: `DispatchMaximumConcurrency`, or what the account leaves.
    pub places: f64,
    /// With how many the mapping begins; `None` for a queue that was idle.
    pub warm: Option<f64>,
    /// The concurrency of a small account that ingest and dispatch share. Without it, ingest always has room.
    pub account: Option<f64>,
    /// The endpoints.
    pub endpoints: Vec<Endpoints>,
    /// The code.
    pub code: Code,
    /// The time that our own work takes.
    pub costs: Costs,
    /// From when to when Scheduler refuses to make schedules.
    pub scheduler_refuses: Option<(f64, f64)>,
    /// From when to when the Deliveries table refuses writes.
    pub table_refuses: Option<(f64, f64)>,
    /// A replay.
    pub replay: Option<Replay>,
    /// How long a received message stays away, in seconds.
    pub visibility: f64,
    /// Seed of chance in the first run.
    pub seed: u64,
    /// How many runs, each with another seed, are taken together: more than one where chance decides much.
    pub runs: u64,
}

impl Setup {
    /// A stack with the template's numbers, warm, as the code is today.
    pub fn new(shrink: Shrink, end: f64, places: f64, endpoints: Vec<Endpoints>) -> Self {
        Self {
            shrink,
            end,
            places,
            warm: Some(places),
            account: None,
            endpoints,
            code: Code::TODAY,
            costs: Costs::ASSUMED,
            scheduler_refuses: None,
            table_refuses: None,
            replay: None,
            visibility: template::VISIBILITY,
            seed: 1,
            runs: 1,
        }
    }

    /// How long an attempt may last, in seconds.
    pub const fn deadline(&self) -> f64 {
        DEFAULT_TIMEOUT_SECONDS as f64
    }
}
