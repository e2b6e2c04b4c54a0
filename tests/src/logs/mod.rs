//! What a stack's functions write to their logs.
//!
//! When the scenarios have run, every line of every function is held to [`rules`]: those of a stack that ends with its test
//! before that, and those of the others at the end of the run.

mod rules;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use local::Emulator;
use serde_json::{Value, json};

use crate::stack::Stack;

/// The functions, by the names of their log groups in the template without `LogGroup`.
const FUNCTIONS: [&str; 5] = ["Ingest", "Dispatch", "Jobs", "Replay", "Endpoints"];

/// The logs of a stack whose lines are still to be looked at.
struct Logs {
    stack: String,
    emulator: Weak<Emulator>,
    /// The functions with the names of their log groups.
    groups: Vec<(&'static str, String)>,
}

static UNCHECKED: Mutex<Vec<Logs>> = Mutex::new(Vec::new());

/// What is wrong with the lines that were looked at, with the stack and the function.
static BROKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers that a stack writes logs.
pub(crate) fn remember(stack: &Stack) {
    let Some(emulator) = stack.local.emulator() else { return };
    let group = |function| (function, stack.log_group(function).to_owned());
    let logs = Logs {
        stack: stack.local.name.clone(),
        emulator: Arc::downgrade(emulator),
        groups: FUNCTIONS.map(group).into(),
    };
    UNCHECKED.lock().unwrap_or_else(PoisonError::into_inner).push(logs);
}

/// Looks at the lines of a stack that ends.
pub(crate) async fn check(stack: &Stack) {
    check_all(|logs| logs.stack == stack.local.name).await;
}

/// Looks at the lines of all stacks that still run; gives what is wrong with those and with all that were looked at before.
pub(crate) async fn check_rest() -> Vec<String> {
    check_all(|_| true).await;
    BROKEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn check_all(wanted: impl Fn(&Logs) -> bool) {
    for logs in take(wanted) {
        // An emulator that was stopped after a failure has its logs no longer.
        let Some(emulator) = logs.emulator.upgrade().filter(|emulator| emulator.is_running()) else { continue };
        for (function, group) in &logs.groups {
            let lines = all_lines(&emulator.url(), group).await;
            let broken = rules::broken(function, lines.iter().map(String::as_str));
            let broken = broken.map(|what| format!("{}, {function}: {what}", logs.stack));
            BROKEN.lock().unwrap_or_else(PoisonError::into_inner).extend(broken);
        }
    }
}

fn take(wanted: impl Fn(&Logs) -> bool) -> Vec<Logs> {
    let mut unchecked = UNCHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    unchecked.extract_if(.., |logs| wanted(logs)).collect()
}

/// Forgets the logs of a stack that is thrown away.
pub(crate) fn forget(stack: &Stack) {
    UNCHECKED.lock().unwrap_or_else(PoisonError::into_inner).retain(|logs| logs.stack != stack.local.name);
}

impl Stack {
    fn log_group(&self, function: &str) -> &str {
        self.resource(&format!("{function}LogGroup"))
    }

    /// Everything that was logged so far: by each function, and by the emulator itself.
    pub async fn log(&self) -> String {
        let emulator = self.local.emulator().unwrap();
        let file = std::fs::read(emulator.log()).unwrap();
        let mut log = String::from_utf8_lossy(&file).into_owned();
        for function in FUNCTIONS {
            for line in all_lines(&emulator.url(), self.log_group(function)).await {
                log.push_str(&line);
                log.push('\n');
            }
        }
        log
    }

    /// The lines that a function itself wrote, without those of the emulator. The function is given by the name of its log group
    /// without `LogGroup`.
    pub async fn lines_of(&self, function: &str) -> Vec<String> {
        let url = self.local.emulator().unwrap().url();
        let mut lines = all_lines(&url, self.log_group(function)).await;
        lines.retain(|line| !rules::is_of_the_platform(line));
        lines
    }

    /// The lines of a log group, given by its name in the template. The emulator has those of an invocation when that has
    /// ended, or with the next one.
    pub async fn log_lines(&self, log_group: &str) -> Vec<String> {
        self.log_lines_since(log_group, UNIX_EPOCH).await
    }

    /// As [`Stack::log_lines`], but only what was logged from a time on.
    pub async fn log_lines_since(&self, log_group: &str, since: SystemTime) -> Vec<String> {
        let since = since.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let request = json!({"logGroupName": self.resource(log_group), "startTime": since});
        let answer = self.ask_emulator("logs", FILTER, &request).await;
        let lines = answer["events"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        lines.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Calls a service for which there is no client here: one is too much to build for a call or two.
    pub async fn ask_emulator(&self, service: &str, target: &str, request: &Value) -> Value {
        ask(&self.local.emulator().unwrap().url(), service, target, request).await
    }
}

/// The operation that gives the lines of a log group.
const FILTER: &str = "Logs_20140328.FilterLogEvents";

/// All lines of a log group, however many: the emulator gives no more than so many at a time, the oldest first. Those of the
/// last millisecond come again with the next.
async fn all_lines(url: &str, group: &str) -> Vec<String> {
    let mut since = 0;
    let mut lines = Vec::new();
    loop {
        let answer = ask(url, "logs", FILTER, &json!({"logGroupName": group, "startTime": since})).await;
        let events = answer["events"].as_array().unwrap_or_else(|| panic!("{answer}"));
        lines.extend(events.iter().map(|event| event["message"].as_str().unwrap().to_owned()));
        let last = events.last().map_or(0, |event| event["timestamp"].as_i64().unwrap());
        if events.len() < 10_000 {
            return lines;
        }
        assert!(last > since, "{group}: too much in one millisecond");
        since = last;
    }
}

async fn ask(url: &str, service: &str, target: &str, request: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let authorization = format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
    let request = client
        .post(url)
        .header("x-amz-target", target)
        .header("authorization", authorization)
        .header("content-type", "application/x-amz-json-1.1")
        .body(request.to_string());
    serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
}
