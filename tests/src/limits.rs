//! What AWS takes, as a check on every request: the patterns and limits of Scheduler, SQS and DynamoDB that no emulator
//! enforces.
//!
//! Sources are the services' API references: `CreateSchedule`; `SendMessage` and `SendMessageBatch`; the DynamoDB
//! operations, and "Quotas in Amazon DynamoDB".

mod dynamodb;
mod scheduler;
mod sqs;

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value;

use crate::proxy::Call;

/// A rule that a request breaks: the code of the error that AWS would answer, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    code: &'static str,
    what: String,
}

impl Violation {
    fn new(code: &'static str, what: impl Into<String>) -> Self {
        Self { code, what: what.into() }
    }
}

/// Every rule that a request of this process's functions broke. It is kept, since the code may have another way when a call
/// is refused, and everything seem well.
static BROKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the rule that a request breaks, if any; gives the code of the error that AWS would answer.
pub(crate) fn judge(call: &Call) -> Result<(), &'static str> {
    check(call, SystemTime::now()).map_err(|Violation { code, what }| {
        let broken = format!("{}: {code}: {what}", call.operation);
        eprintln!("AWS would refuse {broken}");
        BROKEN.lock().unwrap_or_else(PoisonError::into_inner).push(broken);
        code
    })
}

/// Fails when any request so far was one that AWS refuses.
pub(crate) fn assert_kept() {
    let broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(broken.is_empty(), "AWS would refuse: {broken:#?}");
}

/// The first rule that a request breaks.
fn check(call: &Call, now: SystemTime) -> Result<(), Violation> {
    match call.operation.as_str() {
        "CreateSchedule" => scheduler::check(&call.body, now),
        "SendMessage"
        | "SendMessageBatch"
        | "ReceiveMessage"
        | "DeleteMessageBatch"
        | "ChangeMessageVisibilityBatch" => sqs::check(&call.operation, &call.body),
        _ => dynamodb::check(&call.operation, &call.body),
    }
}

/// Whether a text has between one character and `most`, all of them as `allowed` says.
fn is_name(text: &str, most: usize, allowed: impl Fn(char) -> bool) -> bool {
    (1..=most).contains(&text.chars().count()) && text.chars().all(allowed)
}

/// Whether a number that may be left out is in its range.
fn in_range(number: &Value, range: std::ops::RangeInclusive<i64>) -> bool {
    number.is_null() || number.as_i64().is_some_and(|number| range.contains(&number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proxy::read_call;

    #[test]
    fn a_request_that_aws_refuses_is_refused_and_fails_what_looks_afterwards() {
        let call = |delay| {
            let body = json!({"MessageBody": "x", "DelaySeconds": delay}).to_string();
            read_call("AmazonSQS.SendMessage", "/", body.as_bytes())
        };
        assert_eq!(judge(&call(900)), Ok(()));
        assert_kept();
        assert_eq!(judge(&call(901)), Err("InvalidParameterValue"));
        // Whatever came of it, and whatever is asked next.
        assert_eq!(judge(&call(900)), Ok(()));
        assert!(std::panic::catch_unwind(assert_kept).is_err());
        BROKEN.lock().unwrap().clear();
    }
}
