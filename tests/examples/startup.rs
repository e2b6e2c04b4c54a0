//! Measures size and start-up of the release binaries: from the start of the process to its first poll of the Runtime API.
//!
//! `cargo build --release`, `cargo build --release -p ingest --example nothing`, then
//! `cargo run -p tests --example startup -- target/release/examples/nothing target/release/ingest …`. Or, as they are deployed:
//! `sam build --parameter-overrides Architecture=x86_64`, `cargo lambda build --release --x86-64 -p ingest --example nothing`,
//! then `cargo run -p tests --example startup -- target/lambda/nothing/bootstrap
//! .aws-sam/build/IngestFunction/bootstrap …`, on a machine with such a processor.
//! The programs take turns, so that what the machine does meanwhile meets all of them alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 31;

/// What the functions read when they start; the values lead nowhere.
const SETTINGS: [&str; 19] = [
    "ROUTING_TABLE",
    "ENDPOINTS_TABLE",
    "EVENTS_TABLE",
    "DELIVERIES_TABLE",
    "API_KEYS_TABLE",
    "JOBS_TABLE",
    "DELIVERIES_QUEUE_URL",
    "DELIVERIES_QUEUE_ARN",
    "DELIVERIES_DLQ_URL",
    "JOBS_QUEUE_URL",
    "JOBS_DLQ_URL",
    "SCHEDULE_GROUP",
    "SCHEDULER_ROLE_ARN",
    "STACK_NAME",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
];
const NUMBERS: [(&str, &str); 30] = [
    ("FIRST_ATTEMPT_WINDOW_SECONDS", "180"),
    ("CLAIM_FIRST_ATTEMPTS", "false"),
    ("CREATE_ADMIN_KEY", "true"),
    ("MAX_KEYS_PER_TENANT", "200"),
    ("RETENTION_DAYS", "30"),
    ("MAX_ENDPOINT_TIMEOUT_SECONDS", "30"),
    ("OVERDUE_SECONDS", "900"),
    ("SETTLE_SECONDS", "120"),
    ("MAX_ENDPOINTS_PER_TENANT", "1000"),
    ("MAX_ENDPOINTS_PER_HOST", "100"),
    ("MAX_ENDPOINTS_REGISTERED_PER_DAY", "5000"),
    ("MAX_RUNNING_REPLAYS", "20"),
    ("KEY_EVENTS_PER_SECOND", "0"),
    ("KEY_EVENTS_BURST", "0"),
    ("DISPATCH_TIMEOUT_SECONDS", "65"),
    ("DELIVERIES_VISIBILITY_SECONDS", "95"),
    ("JOBS_TIMEOUT_SECONDS", "60"),
    ("JOBS_VISIBILITY_SECONDS", "90"),
    ("INGEST_AUTH", "NONE"),
    ("REPLAY_AUTH", "NONE"),
    ("ENDPOINTS_AUTH", "NONE"),
    ("ALLOW_LOOPBACK", "false"),
    ("INGEST_URL", "https://ingest.example.com/"),
    ("ENDPOINTS_URL", "https://endpoints.example.com/"),
    ("CIRCUIT_FAILURES", "5"),
    ("CIRCUIT_SECONDS", "20"),
    ("PROBE_SECONDS", "30"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "x"),
];

fn main() {
    let programs: Vec<String> = std::env::args().skip(1).collect();
    assert!(!programs.is_empty(), "name the programs to measure");
    let mut times = vec![Vec::new(); programs.len()];
    for _ in 0..ROUNDS {
        for (program, times) in programs.iter().zip(&mut times) {
            times.push(start(program));
        }
    }
    println!("| program | bytes | start to first poll, median of {ROUNDS} (min – max) |");
    println!("| --- | --: | --: |");
    for (program, mut times) in programs.iter().zip(times) {
        times.sort();
        let bytes = std::fs::metadata(program).unwrap().len();
        let name = program.rsplit('/').next().unwrap();
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        println!("| {name} | {bytes} | {} ({} – {}) |", ms(times[ROUNDS / 2]), ms(times[0]), ms(times[ROUNDS - 1]));
    }
}

/// Starts a program against a Runtime API that only listens; gives the time until the program asks it for work.
fn start(program: &str) -> Duration {
    let runtime_api = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(program);
    command.env_clear().env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr().unwrap().to_string());
    command.envs(SETTINGS.map(|name| (name, "x"))).envs(NUMBERS).stdout(Stdio::null()).stderr(Stdio::inherit());
    let started = Instant::now();
    let mut process = command.spawn().unwrap();
    let (mut connection, _) = runtime_api.accept().unwrap();
    let mut request = [0; 64];
    let read = connection.read(&mut request).unwrap();
    let time = started.elapsed();
    assert!(
        request[..read].starts_with(b"GET /2018-06-01/runtime/invocation/next"),
        "{program} asked for something else"
    );
    process.kill().unwrap();
    process.wait().unwrap();
    time
}
