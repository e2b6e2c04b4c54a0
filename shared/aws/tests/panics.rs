//! A panic is a line of the log like any other, and says nothing that must not be logged. Each runs in a process of its own,
//! since its log is set once in a process.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::process::{Command, Output};

use pombo_aws::logs;
use serde_json::Value;

/// The test that is run in a process of its own.
const IN_A_PROCESS: &str = "panics_in_a_process_of_its_own";

/// What a process says that panics in the way that is named.
fn panicked(how: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", IN_A_PROCESS, "--nocapture", "--test-threads=1"])
        .envs([("PANIC", how), ("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")])
        // The standard hook adds the stack.
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap()
}

#[test]
fn a_panic_is_logged_once_as_an_error_with_its_place_and_the_ids_of_its_work() {
    for (how, text) in [("literal", Some("a literal")), ("value", None), ("unwrap", None), ("other", None)] {
        let output = panicked(how);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{how}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(!stdout.contains("secret"), "{stdout}");
        let lines: Vec<_> = stdout.lines().filter_map(|line| line.find('{').map(|at| &line[at..])).collect();
        let [line] = lines[..] else { panic!("{how}: {stdout}") };
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["level"], &line["message_id"]), (&"ERROR".into(), &"m-1".into()), "{line}");
        assert_eq!(line.get("panic").and_then(Value::as_str), text, "{line}");
        assert!(line["location"].as_str().unwrap().contains("tests/panics.rs:"), "{line}");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}

#[test]
#[ignore = "is started by the test above"]
fn panics_in_a_process_of_its_own() {
    logs::init();
    let how = std::env::var("PANIC").unwrap();
    let work = move || logs::spans::message("m-1").in_scope(|| panic_like(&how));
    // Without a thread of its own, the test would fail, and its harness say so.
    assert!(std::thread::spawn(work).join().is_err());
}

fn panic_like(how: &str) {
    let value = format!("secret {how}");
    match how {
        "literal" => panic!("a literal"),
        "value" => panic!("a {value}"),
        "unwrap" => fails(value).unwrap(),
        _ => std::panic::panic_any(value),
    }
}

fn fails(value: String) -> Result<(), String> {
    Err(value)
}
