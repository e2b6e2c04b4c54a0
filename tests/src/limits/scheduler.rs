//! One-shots.

use std::time::{Duration, SystemTime};

use pombo_domain::time::Timestamp;
use serde_json::Value;

use super::{Violation, in_range, is_name};

const LARGEST_INPUT: usize = 256 * 1024;
/// No delay of ours is longer: an answer's `Retry-After` counts up to a day, a policy's delay up to seven, and jitter adds a
/// tenth.
const FURTHEST: Duration = Duration::from_secs(8 * 86_400);
/// Scheduler is precise to a minute, and what it makes of a time that has passed is not documented. So no time of ours is less
/// than a minute ahead, but for what a call may take that is repeated, on a busy machine.
const SHORTEST_NOTICE: Duration = Duration::from_secs(50);

pub(super) fn check(request: &Value, now: SystemTime) -> Result<(), Violation> {
    let name = |field: &str| {
        let text = request[field].as_str().unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if is_name(text, 64, allowed) { Ok(()) } else { Err(invalid(format!("{field} is {text:?}"))) }
    };
    name("Name")?;
    name("GroupName")?;
    time(request["ScheduleExpression"].as_str().unwrap_or_default(), now)?;
    let window = &request["FlexibleTimeWindow"];
    if window["Mode"] != "OFF" {
        return Err(invalid(format!("FlexibleTimeWindow is {window}")));
    }
    let after = &request["ActionAfterCompletion"];
    if !["NONE", "DELETE"].iter().any(|action| after == action) && !after.is_null() {
        return Err(invalid(format!("ActionAfterCompletion is {after}")));
    }
    target(&request["Target"])
}

fn time(expression: &str, now: SystemTime) -> Result<(), Violation> {
    let pattern = "at(0000-00-00T00:00:00)";
    let same = |(is, pattern): (u8, u8)| if pattern == b'0' { is.is_ascii_digit() } else { is == pattern };
    let matches = expression.len() == pattern.len() && expression.bytes().zip(pattern.bytes()).all(same);
    let at = expression.strip_prefix("at(").and_then(|rest| rest.strip_suffix(')'));
    let at: Option<Timestamp> = at.filter(|_| matches).and_then(|at| format!("{at}.000Z").parse().ok());
    let Some(at) = at else { return Err(invalid(format!("ScheduleExpression is {expression:?}"))) };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_err(|_| invalid("the clock"))?;
    let at = Duration::from_secs(u64::try_from(at.as_seconds()).map_err(|_| invalid("the time is long ago"))?);
    if at < now + SHORTEST_NOTICE {
        return Err(invalid(format!("{expression} is less than a minute ahead")));
    }
    if at > now + FURTHEST {
        return Err(invalid(format!("{expression} is further than any delay of ours")));
    }
    Ok(())
}

fn target(target: &Value) -> Result<(), Violation> {
    let arn = target["Arn"].as_str().unwrap_or_default();
    if !arn.starts_with("arn:aws:sqs:") || arn.split(':').count() != 6 {
        return Err(invalid(format!("Target.Arn is {arn:?}")));
    }
    let role: Vec<_> = target["RoleArn"].as_str().unwrap_or_default().split(':').collect();
    let is_role = matches!(role[..], ["arn", "aws", "iam", "", account, name]
        if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) && name.starts_with("role/"));
    if !is_role {
        return Err(invalid(format!("Target.RoleArn is {}", target["RoleArn"])));
    }
    let input = target["Input"].as_str().unwrap_or_default();
    if input.is_empty() || input.len() > LARGEST_INPUT {
        return Err(invalid(format!("Target.Input has {} bytes", input.len())));
    }
    let retry = &target["RetryPolicy"];
    if !in_range(&retry["MaximumEventAgeInSeconds"], 60..=86_400) || !in_range(&retry["MaximumRetryAttempts"], 0..=185)
    {
        return Err(invalid(format!("Target.RetryPolicy is {retry}")));
    }
    Ok(())
}

fn invalid(what: impl Into<String>) -> Violation {
    Violation::new("ValidationException", what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Noon of 22 November 2026.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_348_800)
    }

    fn good() -> Value {
        json!({
            "Name": "Az09-_.", "GroupName": "pombo", "ScheduleExpression": "at(2026-11-22T12:01:00)",
            "FlexibleTimeWindow": {"Mode": "OFF"}, "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": "arn:aws:sqs:us-east-1:000000000000:queue", "RoleArn": "arn:aws:iam::000000000000:role/x",
                "Input": "{}", "RetryPolicy": {"MaximumEventAgeInSeconds": 3600},
            },
        })
    }

    #[test]
    fn what_aws_takes_passes() {
        assert_eq!(check(&good(), now()), Ok(()));
        let mut longest = good();
        longest["Name"] = "x".repeat(64).into();
        longest["Target"]["Input"] = "x".repeat(LARGEST_INPUT).into();
        longest["ScheduleExpression"] = "at(2026-11-22T12:00:50)".into();
        assert_eq!(check(&longest, now()), Ok(()));
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        let over = |length: usize| "x".repeat(length);
        for (place, value) in [
            ("/Name", json!("")),
            ("/Name", json!(over(65))),
            ("/Name", json!("a:b")),
            ("/Name", json!("ü")),
            ("/GroupName", json!("a/b")),
            ("/GroupName", Value::Null),
            ("/ScheduleExpression", json!("at(2026-11-22T12:01:00Z)")),
            ("/ScheduleExpression", json!("at(2026-11-22T12:01:00.5)")),
            ("/ScheduleExpression", json!("at(2026-11-22 12:01:00)")),
            ("/ScheduleExpression", json!("at(2026-11-31T12:01:00)")),
            ("/ScheduleExpression", json!("at(nonsense)")),
            ("/ScheduleExpression", json!("at(2026-11-22T11:59:59)")),
            ("/ScheduleExpression", json!("at(2026-11-22T12:00:49)")),
            ("/ScheduleExpression", json!("at(2027-11-22T12:01:00)")),
            ("/FlexibleTimeWindow", Value::Null),
            ("/FlexibleTimeWindow/Mode", json!("ON")),
            ("/ActionAfterCompletion", json!("KEEP")),
            ("/Target/Arn", json!("queue")),
            ("/Target/RoleArn", json!("arn:aws:iam::0:role/x")),
            ("/Target/RoleArn", Value::Null),
            ("/Target/Input", json!(over(LARGEST_INPUT + 1))),
            ("/Target/Input", Value::Null),
            ("/Target/RetryPolicy/MaximumEventAgeInSeconds", json!(59)),
            ("/Target/RetryPolicy/MaximumEventAgeInSeconds", json!(86_401)),
            ("/Target/RetryPolicy", json!({"MaximumRetryAttempts": 186})),
        ] {
            let mut request = good();
            *request.pointer_mut(place).unwrap() = value.clone();
            let code = check(&request, now()).err().map(|violation| violation.code);
            assert_eq!(code, Some("ValidationException"), "{place}: {value}");
        }
    }
}
