//! A setting that cannot be meant ends the function when it starts, with words that say which and why.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Starts the function with these times, and gives what it says before it ends.
fn last_words(timeout: &str, visibility: &str) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_jobs"))
        .env_clear()
        .envs([("JOBS_TIMEOUT_SECONDS", timeout), ("JOBS_VISIBILITY_SECONDS", visibility)])
        .envs([("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")])
        .output()
        .unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn times_that_do_not_go_together_are_named_with_both_numbers() {
    for (timeout, visibility, why) in [
        ("60", "60", "JOBS_VISIBILITY_SECONDS is 60, and must be above JOBS_TIMEOUT_SECONDS (60)"),
        ("300", "330", "JOBS_TIMEOUT_SECONDS is 300, and must be below 300"),
        ("60", "", "JOBS_VISIBILITY_SECONDS is not set"),
    ] {
        let words = last_words(timeout, visibility);
        assert!(words.contains(why), "{timeout}, {visibility}: {words}");
    }
}
