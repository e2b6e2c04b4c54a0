//! What must be true of each line of a function's log.
//!
//! Lambda keeps or drops a line by its own level and time: "Log-level filtering" in the Developer Guide. A line that is no JSON
//! object with both counts as one of level INFO. So each line must be kept where the log is set to the line's own level, or an
//! operator who sets it to ERROR sees no error. And each line that is about a delivery or a request says about which.

use std::collections::BTreeSet;

use pombo_domain::time::Timestamp;
use serde_json::{Map, Value};

/// Lambda's levels, from the lowest on.
const LEVELS: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// Lines that are about no request: the function did not start.
const WITHOUT_REQUEST: [&str; 1] = ["The function cannot work."];

/// The text of a line about a message that no delivery can be read from.
const UNREADABLE: &str = "A message cannot be read; it goes to the dead-letter queue.";

/// Beginnings of lines that are about neither a call of a URL nor a message of a queue.
const NEITHER_CALL_NOR_MESSAGE: [&str; 5] = [
    "A request that cannot be read was refused.",
    "A payload is neither",
    "A direct invocation was refused.",
    "API key ",
    "Request payload deserialization",
];

/// The part of the runtime that logs an invocation that failed.
const AROUND_REQUEST: &str = "lambda_runtime::layers::panic";

/// The calls that anybody can make.
const OPEN: [&str; 2] = ["GET /", "GET /v1/endpoints/{id}/keys.json"];

/// What is wrong with the lines of a function's log, one text for each line that breaks a rule.
pub(super) fn broken<'a>(
    function: &'a str,
    lines: impl Iterator<Item = &'a str> + Clone + 'a,
) -> impl Iterator<Item = String> + 'a {
    let text = |line: &Map<String, Value>, name| line.get(name).and_then(Value::as_str).map(str::to_owned);
    let read = lines.clone().filter_map(|line| serde_json::from_str::<Map<_, _>>(line).ok());
    let unreadable = read.filter(|line| text(line, "message").is_some_and(|message| message == UNREADABLE));
    let unreadable: BTreeSet<_> = unreadable.filter_map(|line| text(&line, "message_id")).collect();
    lines.filter(|line| !is_of_the_platform(line)).filter_map(move |line| {
        let what = judge(function, line, &unreadable).err()?;
        Some(format!("{what}: {line}"))
    })
}

/// Whether the emulator wrote the line, as Lambda itself would.
pub(super) fn is_of_the_platform(line: &str) -> bool {
    ["START RequestId: ", "END RequestId: ", "REPORT RequestId: "].iter().any(|begin| line.starts_with(begin))
}

/// Whether Lambda keeps the line where the log is set to this level.
fn is_kept(line: &str, set: &str) -> bool {
    let number = |level: &str| LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level));
    let line: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let has_time = line.get("timestamp").and_then(Value::as_str).is_some_and(|time| time.parse::<Timestamp>().is_ok());
    let level = line.get("level").and_then(Value::as_str).and_then(number).filter(|_| has_time);
    level.or_else(|| number("INFO")) >= number(set)
}

fn judge(function: &str, line: &str, unreadable: &BTreeSet<String>) -> Result<(), String> {
    let fields: Map<String, Value> = serde_json::from_str(line).map_err(|error| format!("no JSON object ({error})"))?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let level = text("level").ok_or("no level")?;
    if !LEVELS.contains(&level) || !is_kept(line, level) || text("timestamp").is_none() {
        return Err(format!("dropped where the log is set to {level}"));
    }
    if let Some(twice) = fields.keys().find(|name| line.matches(&format!("\"{name}\":")).count() != 1) {
        return Err(format!("{twice} is there twice"));
    }
    let required = |names: &[&str]| match names.iter().find(|name| !fields.contains_key(**name)) {
        Some(name) => Err(format!("no {name}")),
        None => Ok(()),
    };
    // Lines that make metrics count, and those of libraries are about connections.
    match text("target") {
        Some(target) if target.starts_with(AROUND_REQUEST) => return required(&["requestId"]),
        None if !fields.contains_key("_aws") => {}
        _ => return Ok(()),
    }
    let message = text("message").ok_or("no message")?;
    if WITHOUT_REQUEST.contains(&message) {
        return Ok(());
    }
    required(&["requestId"])?;
    if fields.contains_key("delivery") {
        required(&["endpoint", "event"])?;
    }
    if NEITHER_CALL_NOR_MESSAGE.iter().any(|begin| message.starts_with(begin)) && !fields.contains_key("route") {
        return Ok(());
    }
    match (function, text("message_id")) {
        ("Dispatch", Some(id)) if unreadable.contains(id) => Ok(()),
        ("Dispatch", _) => required(&["message_id", "delivery", "endpoint", "event", "step"]),
        ("Jobs", _) => required(&["message_id"]),
        (_, Some(_)) => Ok(()),
        (_, None) => {
            required(&["method", "path"])?;
            let is_answer = message == "Request answered." && fields["status"].as_u64().is_some_and(|code| code < 300);
            let is_open = text("route").is_some_and(|route| OPEN.contains(&route));
            let has_caller = ["key", "caller", "endpoint"].iter().any(|name| fields.contains_key(*name));
            if is_answer && !is_open && !has_caller { Err("nobody made the call".to_owned()) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = r#""timestamp":"2026-01-31T09:30:00.050Z""#;
    const DELIVERY: &str =
        r#""requestId":"r","message_id":"m","delivery":"d","endpoint":"ep","event":"e","step":"0.1""#;

    /// What is wrong with the one line of a function's log.
    fn wrong(function: &str, line: &str) -> Option<String> {
        let broken: Vec<_> = broken(function, [line].into_iter()).collect();
        broken.first().map(|what| what.strip_suffix(&format!(": {line}")).unwrap().to_owned())
    }

    #[test]
    fn lambda_drops_an_error_without_a_time_where_the_log_is_set_to_warn_or_error() {
        let with_time = format!(r#"{{{TIME},"level":"ERROR"}}"#);
        for (line, kept) in [
            (with_time.as_str(), [true; 4]),
            (r#"{"level":"ERROR"}"#, [true, true, false, false]),
            (r#"{"level":"ERROR","timestamp":"yesterday"}"#, [true, true, false, false]),
            (r#"{"level":"ERROR","timestamp":1769851800050}"#, [true, true, false, false]),
            ("thread 'main' panicked at src/main.rs:1:1", [true, true, false, false]),
            (r#"["a"]"#, [true, true, false, false]),
            (&with_time.replace("ERROR", "WARN"), [true, true, true, false]),
            (&with_time.replace("ERROR", "debug"), [true, false, false, false]),
            (&with_time.replace("ERROR", "loud"), [true, true, false, false]),
        ] {
            assert_eq!(["DEBUG", "INFO", "WARN", "ERROR"].map(|set| is_kept(line, set)), kept, "{line}");
        }
    }

    #[test]
    fn a_line_in_order_breaks_no_rule() {
        for (function, fields) in [
            ("Dispatch", format!(r#""level":"INFO","message":"Attempt made.",{DELIVERY}"#)),
            ("Dispatch", format!(r#""level":"ERROR","message":"{UNREADABLE}","requestId":"r","message_id":"m""#)),
            ("Dispatch", r#""level":"ERROR","message":"The function cannot work.""#.to_owned()),
            ("Dispatch", r#""level":"DEBUG","message":"connected","target":"hyper_util::x""#.to_owned()),
            ("Dispatch", r#""level":"ERROR","_aws":{},"Stack":"s""#.to_owned()),
            ("Jobs", r#""level":"INFO","message":"Sweep ended.","requestId":"r","message_id":"m""#.to_owned()),
            (
                "Ingest",
                r#""level":"INFO","message":"Request answered.","requestId":"r","method":"GET","path":"/","status":404"#.to_owned(),
            ),
        ] {
            assert_eq!(wrong(function, &format!("{{{TIME},{fields}}}")), None, "{fields}");
        }
        assert_eq!(wrong("Ingest", "REPORT RequestId: 1\tDuration: 1 ms"), None);
    }

    #[test]
    fn each_rule_that_a_line_breaks_is_named() {
        let attempt = format!(r#"{{{TIME},"level":"INFO","message":"Attempt made.",{DELIVERY}}}"#);
        let answer = |fields: &str| format!(r#"{{{TIME},"level":"INFO","message":"Request answered.",{fields}}}"#);
        for (function, line, what) in [
            ("Dispatch", "thread 'main' panicked".to_owned(), "no JSON object (expected ident at line 1 column 2)"),
            ("Dispatch", format!("{{{TIME}}}"), "no level"),
            ("Dispatch", r#"{"level":"ERROR","message":"x"}"#.to_owned(), "dropped where the log is set to ERROR"),
            ("Dispatch", r#"{"level":"DEBUG","message":"x"}"#.to_owned(), "dropped where the log is set to DEBUG"),
            ("Dispatch", attempt.replace("\"requestId\"", "\"request\""), "no requestId"),
            (
                "Endpoints",
                format!(r#"{{{TIME},"level":"ERROR","message":"x","target":"{AROUND_REQUEST}"}}"#),
                "no requestId",
            ),
            ("Dispatch", attempt.replace("\"event\":\"e\",", ""), "no event"),
            ("Dispatch", attempt.replace(",\"step\":\"0.1\"", ""), "no step"),
            ("Dispatch", attempt.replace("\"delivery\":\"d\",", ""), "no delivery"),
            ("Replay", attempt.replace("\"event\":\"e\",", ""), "no event"),
            ("Dispatch", attempt.replace('}', ",\"requestId\":\"r\"}"), "requestId is there twice"),
            ("Replay", answer(r#""requestId":"r""#), "no method"),
            ("Jobs", format!(r#"{{{TIME},"level":"INFO","message":"Sweep ended.","requestId":"r"}}"#), "no message_id"),
            (
                "Replay",
                answer(r#""requestId":"r","method":"GET","path":"/v1/events","status":200"#),
                "nobody made the call",
            ),
        ] {
            assert_eq!(wrong(function, &line).as_deref(), Some(what), "{line}");
        }
    }
}
