//! The sandboxes: processes of a function, with the environment that the template gives them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command};

/// The environment of both functions. An older version ignores the settings that it does not know.
const SETTINGS: [(&str, &str); 35] = [
    ("API_KEYS_TABLE", "ApiKeys"),
    ("DELIVERIES_TABLE", "Deliveries"),
    ("ENDPOINTS_TABLE", "Endpoints"),
    ("EVENTS_TABLE", "Events"),
    ("JOBS_TABLE", "Jobs"),
    ("ROUTING_TABLE", "Routing"),
    ("DELIVERIES_QUEUE_ARN", "arn:aws:sqs:us-east-1:000000000000:deliveries"),
    ("STACK_NAME", "bench"),
    ("SCHEDULE_GROUP", "bench"),
    ("SCHEDULER_ROLE_ARN", "arn:aws:iam::000000000000:role/bench"),
    ("RETENTION_DAYS", "30"),
    ("FIRST_ATTEMPT_WINDOW_SECONDS", "180"),
    ("INGEST_AUTH", "NONE"),
    ("KEY_EVENTS_PER_SECOND", "0"),
    ("KEY_EVENTS_BURST", "0"),
    ("CIRCUIT_FAILURES", "5"),
    ("CIRCUIT_SECONDS", "20"),
    ("PROBE_SECONDS", "30"),
    ("MAX_ENDPOINT_TIMEOUT_SECONDS", "30"),
    ("DISPATCH_TIMEOUT_SECONDS", "65"),
    ("DELIVERIES_VISIBILITY_SECONDS", "95"),
    ("ALLOW_LOOPBACK", "true"),
    ("INGEST_URL", "https://ingest.example.com/"),
    ("OWN_URLS", "https://ops.example.com/,https://endpoints.example.com/"),
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "bench"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
    ("AWS_LAMBDA_LOG_LEVEL", "INFO"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
];

/// The length of a session token, which is a signed header of each call.
const TOKEN_BYTES: usize = 800;

/// The servers that a function's sandboxes talk to, and the one setting that varies.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// The Runtime API.
    pub runtime_api: SocketAddr,
    /// DynamoDB and SQS.
    pub aws: SocketAddr,
    /// Whether dispatch claims first attempts.
    pub claim: bool,
}

/// The sandboxes of a function. Dropping them ends them.
pub struct Sandboxes(Vec<Child>);

impl Sandboxes {
    /// Starts `count` sandboxes of `function`, whose binary is below `directory`.
    pub fn start(directory: &Path, function: &str, count: usize, stack: &Stack) -> anyhow::Result<Self> {
        let aws = stack.aws;
        let program = program(directory, function)?;
        let start = || {
            let mut command = Command::new(&program);
            command.env_clear().envs(SETTINGS).env("AWS_SESSION_TOKEN", "t".repeat(TOKEN_BYTES));
            command.env("AWS_LAMBDA_RUNTIME_API", stack.runtime_api.to_string());
            command.env("CLAIM_FIRST_ATTEMPTS", stack.claim.to_string());
            command.env("AWS_ENDPOINT_URL", format!("http://{aws}"));
            for (name, queue) in [
                ("DELIVERIES_QUEUE_URL", "deliveries"),
                ("DELIVERIES_DLQ_URL", "dead-letters"),
                ("JOBS_QUEUE_URL", "jobs"),
            ] {
                command.env(name, format!("http://{aws}/000000000000/{queue}"));
            }
            command.stdin(Stdio::null()).kill_on_drop(true);
            command.spawn().with_context(|| format!("{} does not start", program.display()))
        };
        (0..count).map(|_| start()).collect::<anyhow::Result<_>>().map(Self)
    }

    /// The processor time that the sandboxes have used so far, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for child in &self.0 {
            let process = child.id().context("a sandbox has ended")?;
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                // A thread may end in the meantime. The functions do their work in a thread that does not end.
                let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
                let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
                sum += Duration::from_nanos(nanoseconds.context("schedstat cannot be read")?);
            }
        }
        Ok(sum)
    }
}

/// The path of a function's binary, as Cargo or SAM names it.
fn program(directory: &Path, function: &str) -> anyhow::Result<PathBuf> {
    let capital = function[..1].to_uppercase() + &function[1..];
    let places = [directory.join(function), directory.join(format!("{capital}Function/bootstrap"))];
    let missing = || format!("{} has no binary of {function}", directory.display());
    places.into_iter().find(|place| place.is_file()).with_context(missing)
}
