//! A setting that cannot be meant ends the function when it starts, with a line in the log that says which and why: an error
//! that is there at every level.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Starts the function with everything set, and this besides; gives what it says before it ends.
fn last_words(name: &str, value: &str) -> String {
    let names = [
        "DELIVERIES_DLQ_URL",
        "DELIVERIES_QUEUE_ARN",
        "DELIVERIES_QUEUE_URL",
        "DELIVERIES_TABLE",
        "ENDPOINTS_TABLE",
        "EVENTS_TABLE",
        "JOBS_QUEUE_URL",
        "JOBS_TABLE",
        "ROUTING_TABLE",
        "SCHEDULER_ROLE_ARN",
        "SCHEDULE_GROUP",
        "STACK_NAME",
    ];
    let numbers =
        ["CIRCUIT_FAILURES", "CIRCUIT_SECONDS", "MAX_ENDPOINT_TIMEOUT_SECONDS", "PROBE_SECONDS", "RETENTION_DAYS"];
    let clock = [
        ("DISPATCH_TIMEOUT_SECONDS", "17"),
        ("DELIVERIES_VISIBILITY_SECONDS", "18"),
        ("FIRST_ATTEMPT_WINDOW_SECONDS", "64"),
        ("CLAIM_FIRST_ATTEMPTS", "false"),
    ];
    let ended = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .env_clear()
        .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
        .envs(names.map(|name| (name, "x")))
        .envs(numbers.map(|name| (name, "9")))
        .envs(clock)
        .envs([("ALLOW_LOOPBACK", "false"), ("INGEST_URL", "https://ingest.example.com/")])
        .envs([("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("AWS_LAMBDA_LOG_FORMAT", "JSON")])
        .env(name, value)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    let line: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&line["level"], line["timestamp"].is_string()), (&"ERROR".into(), true), "{line}");
    line["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_setting_of_the_address_policy_that_cannot_be_meant_is_named() {
    for (name, value, why) in [
        ("ALLOWED_CIDRS", "10.1.0.0/33", "not a network"),
        ("ALLOWED_CIDRS", "10.1.0.0/16,10.2.3.4/16", "10.2.0.0/16"),
        ("ALLOWED_CIDRS", "127.0.0.0/8", "no list opens"),
        ("INGEST_HOSTS", "events.example.com,a b", "neither a URL nor a host"),
        ("INGEST_URL", "", "is not set"),
        ("ALLOW_LOOPBACK", "perhaps", "wrong kind"),
    ] {
        let words = last_words(name, value);
        assert!(words.contains(name) && words.contains(why), "{name}={value}: {words}");
    }
}

#[test]
fn a_setting_of_first_attempts_that_cannot_be_meant_is_named() {
    for (name, value, why) in [
        ("FIRST_ATTEMPT_WINDOW_SECONDS", "", "is not set"),
        ("FIRST_ATTEMPT_WINDOW_SECONDS", "3m", "wrong kind"),
        ("CLAIM_FIRST_ATTEMPTS", "", "is not set"),
        ("CLAIM_FIRST_ATTEMPTS", "yes", "wrong kind"),
    ] {
        let words = last_words(name, value);
        assert!(words.contains(name) && words.contains(why), "{name}={value}: {words}");
    }
}

#[test]
fn times_that_do_not_go_together_are_named_with_both_numbers() {
    for (name, value, why) in [
        ("DISPATCH_TIMEOUT_SECONDS", "16", "is 16, and must be at least 17: MAX_ENDPOINT_TIMEOUT_SECONDS (9), and 8"),
        (
            "MAX_ENDPOINT_TIMEOUT_SECONDS",
            "10",
            "is 17, and must be at least 18: MAX_ENDPOINT_TIMEOUT_SECONDS (10), and 8",
        ),
        ("DELIVERIES_VISIBILITY_SECONDS", "17", "is 17, and must be above DISPATCH_TIMEOUT_SECONDS (17)"),
        ("DISPATCH_TIMEOUT_SECONDS", "", "is not set"),
    ] {
        let words = last_words(name, value);
        assert!(words.contains(name) && words.contains(why), "{name}={value}: {words}");
    }
}
