//! From what an event uses to dollars.

use pombo_aws::prices::assumed::{
    DISPATCH_SECONDS, ENDPOINTS_PER_PROCESS, FULL_BATCH, FULL_DISPATCH_SECONDS, INGEST_SECONDS, MEMORY_GB,
};
use pombo_aws::prices::{
    GROUPED_REQUEST, LAMBDA_GB_SECOND, LAMBDA_REQUEST, LOG_INGESTION, LOG_STORAGE, Price, QUEUE_REQUEST, READ_UNIT,
    SCHEDULE, WRITE_UNIT,
};

use super::run::{Run, Used};
use super::units;

/// Bytes of a payload that one request to a queue pays for.
pub const REQUEST_BYTES: f64 = 65_536.0;
/// Seconds for which a process of dispatch remembers an endpoint, and one of ingest a key.
const ENDPOINT_SECONDS: f64 = 10.0;
const KEY_SECONDS: f64 = 30.0;
pub const GIB: f64 = 1_073_741_824.0;

/// How many deliveries there are at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Each invocation of dispatch gets one delivery, and nothing is remembered.
    Thin,
    /// Each gets a full batch.
    Busy,
}

/// A line of a bill.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// What is paid for.
    pub what: &'static str,
    /// How much of it an event takes.
    pub quantity: f64,
    /// Its price.
    pub price: Price,
}

/// The bill for one event.
#[derive(Debug, Clone)]
pub struct Bill(pub Vec<Line>);

impl Bill {
    /// For an event to one endpoint whose deliveries use `used`.
    pub fn of(run: &Run, used: &Used, traffic: Traffic) -> Self {
        let event: f64 = run.bodies.iter().map(|body| units::units(run.event_overhead + body.1) as f64).sum();
        let event = event / run.bodies.len() as f64;
        let mut lines = vec![
            line("Write units: the event's item", event, WRITE_UNIT),
            line("Write units: the event's row in the list of events", run.event_index_writes, WRITE_UNIT),
        ];
        lines.extend(Self::of_delivery(run, used, traffic).0);
        let key = match traffic {
            Traffic::Thin => run.key_reads,
            Traffic::Busy => run.key_reads * INGEST_SECONDS / KEY_SECONDS,
        };
        lines.extend([
            line("Read units: the tenant's routes", run.ingest_reads, READ_UNIT),
            line("Read units: the API key", key, READ_UNIT),
            line("Queue requests: ingest sends", run.ingest_sends * chunks(run.message_bytes), QUEUE_REQUEST),
            line("Queue requests: surcharge for groups", run.ingest_sends * chunks(run.message_bytes), GROUPED_REQUEST),
            line("Lambda: requests to ingest", 1.0, LAMBDA_REQUEST),
            line("Lambda: GB-seconds of ingest", MEMORY_GB * INGEST_SECONDS, LAMBDA_GB_SECOND),
        ]);
        Self(lines).merged()
    }

    /// Only what follows once a delivery is queued: what another endpoint adds, without its share of ingest's request to the
    /// queue.
    pub fn of_delivery(run: &Run, used: &Used, traffic: Traffic) -> Self {
        let (batch, seconds) = match traffic {
            Traffic::Thin => (1.0, DISPATCH_SECONDS),
            Traffic::Busy => (FULL_BATCH, FULL_DISPATCH_SECONDS),
        };
        let attempts = used.all_attempts();
        let endpoint = match traffic {
            Traffic::Thin => run.endpoint_reads,
            Traffic::Busy => run.endpoint_reads * ENDPOINTS_PER_PROCESS / (ENDPOINT_SECONDS / seconds * batch),
        };
        let received = (chunks(batch * run.message_bytes) + used.retries) / batch;
        let requests = received + attempts / batch + used.retries;
        Self(vec![
            line("Write units: the delivery's item", used.item_writes, WRITE_UNIT),
            line("Write units: the delivery's rows in lists of failures and timers", used.index_writes, WRITE_UNIT),
            line("Write units: the endpoint's health", used.health_writes, WRITE_UNIT),
            line("Read units: the endpoint and its health", endpoint * attempts, READ_UNIT),
            line("Read units: the delivery and its event, for a retry", used.reads, READ_UNIT),
            line("Queue requests: Lambda receives and deletes, retries are sent", requests, QUEUE_REQUEST),
            line("Queue requests: surcharge for groups", requests, GROUPED_REQUEST),
            line("Lambda: requests to dispatch", attempts / batch, LAMBDA_REQUEST),
            line("Lambda: GB-seconds of dispatch", MEMORY_GB * seconds * attempts / batch, LAMBDA_GB_SECOND),
            line("Scheduler: retries", used.retries, SCHEDULE),
            line("Logs: GB written", used.log_bytes / GIB, LOG_INGESTION),
            line("Logs: GB kept for a month", used.log_bytes / GIB, LOG_STORAGE),
        ])
    }

    /// Lines of the same thing as one.
    fn merged(self) -> Self {
        let mut merged: Vec<Line> = Vec::new();
        for line in self.0 {
            match merged.iter_mut().find(|other| other.what == line.what) {
                Some(other) => other.quantity += line.quantity,
                None => merged.push(line),
            }
        }
        Self(merged)
    }

    /// The sum for one event.
    pub fn dollars(&self) -> f64 {
        self.0.iter().map(|line| line.quantity * line.price.each()).sum()
    }

    /// The quantity of a line.
    pub fn quantity(&self, what: &str) -> f64 {
        self.0.iter().find(|line| line.what == what).map_or(0.0, |line| line.quantity)
    }
}

const fn line(what: &'static str, quantity: f64, price: Price) -> Line {
    Line { what, quantity, price }
}

/// Requests that a payload is paid for as.
pub fn chunks(bytes: f64) -> f64 {
    (bytes / REQUEST_BYTES).ceil().max(1.0)
}
