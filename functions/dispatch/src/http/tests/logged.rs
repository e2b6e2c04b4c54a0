//! What the log has of an attempt, written by what the function itself logs with.

use std::io;
use std::sync::{Arc, Mutex};

use pombo_aws::logs::{LogSettings, spans, subscriber};
use pombo_domain::delivery::{DeliveryKey, Step};
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::time::Timestamp;
use tracing::Subscriber;

use crate::attempt::log_attempt;

/// The most that a receiver may add to the line of an attempt that succeeded, in bytes.
pub const MAX_ADDED: usize = 600;

/// A log in memory, with room for a mebibyte from the beginning, so that writing to it takes no memory.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// An empty log, and what writes to it at this level, as JSON.
    pub fn at(level: &str) -> (Self, impl Subscriber + Send + Sync + use<>) {
        let log = Self(Arc::new(Mutex::new(Vec::with_capacity(1 << 20))));
        let writer = log.clone();
        (log, subscriber(LogSettings::new(Some(level), Some("JSON")), move || writer.clone()))
    }

    /// What was written since this was asked last.
    pub fn take(&self) -> String {
        let mut written = self.0.lock().unwrap();
        let text = String::from_utf8(written.clone()).unwrap();
        written.clear();
        text
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs a first attempt with this outcome. The ids are of the usual sizes.
pub fn log(outcome: &Outcome) {
    log_at(Step::FIRST, outcome);
}

fn log_at(step: Step, outcome: &Outcome) {
    let accepted_at = Timestamp::from_millis(1_764_288_000_000);
    let event_id = "evt_0123456789abcdefghijklmnop".parse().unwrap();
    let delivery = DeliveryKey { endpoint_id: EndpointId::generate([9; 10]), accepted_at, event_id };
    let attempt = Attempt {
        step,
        started_at: accepted_at,
        duration_ms: 1000,
        outcome: outcome.clone(),
        sent_to: None,
        answer: Some("what the receiver said".into()),
        redelivered: false,
        trigger: Trigger::First,
    };
    spans::delivery(&delivery, Some(attempt.step)).in_scope(|| log_attempt(&attempt, false));
}

/// The line of an attempt with this outcome.
pub fn line(outcome: &Outcome) -> String {
    let (lines, subscriber) = Log::at("DEBUG");
    tracing::subscriber::with_default(subscriber, || log(outcome));
    lines.take()
}

/// The size of the line of an attempt that succeeded.
pub fn normal_line() -> usize {
    line(&Outcome::Succeeded { status_code: 200 }).len()
}

#[test]
fn a_success_is_logged_in_one_line_with_its_ids() {
    let line = line(&Outcome::Succeeded { status_code: 200 });
    for part in ["Attempt made.", "evt_0123456789abcdefghijklmnop", "Succeeded { status_code: 200 }"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(!line.contains("what the receiver said"), "{line}");
}

#[test]
fn at_the_default_level_only_a_success_at_the_first_attempt_is_not_logged() {
    let second = Step::FIRST.next();
    let (succeeded, failed) = (Outcome::Succeeded { status_code: 204 }, Outcome::HttpStatus { status_code: 500 });
    for (step, outcome, logged) in
        [(Step::FIRST, &succeeded, 0), (Step::FIRST, &failed, 1), (second, &succeeded, 1), (second, &failed, 1)]
    {
        let (lines, subscriber) = Log::at("INFO");
        tracing::subscriber::with_default(subscriber, || log_at(step, outcome));
        assert_eq!(lines.take().lines().count(), logged, "{step} {outcome:?}");
    }
}
