//! Errors as the caller sees them: RFC 9457 problem documents that name the field and the rule.
//!
//! What the log sees is another text: an AWS error goes to the log with its cause, and to the caller as a plain 503.

#[cfg(feature = "aws")]
use pombo_aws::AwsError;
use pombo_domain::hops::{HOPS_HEADER, LOOP_DETECTED, MAX_HOPS};
use pombo_domain::ids::TenantId;
use pombo_domain::invalid::InvalidField;
use pombo_domain::limits::LimitReached;
use pombo_domain::time::Timestamp;
use serde_json::json;

use crate::response::Response;

/// The most of a field's name or a path that an answer repeats, in bytes: it may be as long as a request, and stands there
/// twice.
const MOST_REPEATED: usize = 200;

/// Maximum length of the named mistakes of a request, in bytes: a list may be wrong a hundred times.
const MAX_ERRORS_BYTES: usize = 2000;

/// A refusal of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, in one sentence, with what to do.
    pub detail: String,
    /// The fields at fault.
    pub errors: Vec<InvalidField>,
    /// Seconds after which a repeat may succeed.
    pub retry_after: Option<u32>,
    /// The methods that the path has, of a 405.
    pub allow: Option<String>,
    /// What else the caller needs to know, as members of the document.
    pub extra: Vec<(&'static str, String)>,
}

impl Problem {
    /// A refusal with this status.
    #[must_use]
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None, extra: Vec::new() }
    }

    /// 400: a field breaks a rule.
    #[must_use]
    pub fn field(error: InvalidField) -> Self {
        Self::fields(vec![error], 1)
    }

    /// 400: fields break rules, `count` in all, of which these are named as far as [`MAX_ERRORS_BYTES`] lets them.
    #[must_use]
    pub fn fields(errors: Vec<InvalidField>, count: usize) -> Self {
        let mut errors: Vec<_> =
            errors.into_iter().map(|error| InvalidField { field: Self::shortened(&error.field), ..error }).collect();
        let Some(first) = errors.first() else { return Self::new(400, "A field breaks a rule.") };
        let first = first.to_string();
        let mut bytes = 0;
        let fitting = errors.iter().take_while(|error| {
            bytes += json!({"field": error.field, "rule": error.rule}).to_string().len();
            bytes <= MAX_ERRORS_BYTES
        });
        let named = fitting.count().max(1);
        errors.truncate(named);
        let detail = match count {
            0 | 1 => first,
            _ if named == count => format!("{first} ({count} mistakes in all: see errors)"),
            _ => format!("{first} ({count} mistakes in all: errors names the first {named})"),
        };
        Self { errors, ..Self::new(400, detail) }
    }

    /// 400: a field breaks a rule.
    #[must_use]
    pub fn invalid(field: &str, rule: impl Into<String>) -> Self {
        Self::field(InvalidField { field: field.to_owned(), rule: rule.into() })
    }

    /// 404 for a thing.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(404, format!("There is no such {what}."))
    }

    /// 404 for a thing that was looked for in one tenant.
    #[must_use]
    pub fn not_found_in(what: &str, tenant: &TenantId) -> Self {
        Self::new(404, format!("There is no such {what} in the tenant {tenant}."))
    }

    /// 409: another change came between; a repeat decides on what is there now.
    #[must_use]
    pub fn conflict() -> Self {
        Self::new(409, "Another change was made at the same time. Read it again and repeat.")
    }

    /// A limit of the stack is reached: 429 where there is room again at a known time, 409 where something has to end first.
    #[must_use]
    pub fn limit(reached: &LimitReached, now: Timestamp) -> Self {
        let Some(until) = reached.until() else { return Self::new(409, reached.to_string()) };
        let seconds = u32::try_from(now.until(until).as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        Self { retry_after: Some(seconds), ..Self::new(429, reached.to_string()) }
    }

    /// 503 with the time to wait.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(503, detail) }
    }

    /// The beginning of what a caller sent, as long as an answer may repeat it.
    pub(crate) fn shortened(text: &str) -> String {
        let end = text.floor_char_boundary(MOST_REPEATED);
        if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
    }

    const fn title(&self) -> &'static str {
        match self.status {
            400 => "Bad request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not found",
            405 => "Method not allowed",
            409 => "Conflict",
            413 => "Content too large",
            415 => "Unsupported media type",
            429 => "Too many requests",
            LOOP_DETECTED => "Loop detected",
            _ => "Service unavailable",
        }
    }
}

impl From<InvalidField> for Problem {
    fn from(error: InvalidField) -> Self {
        Self::field(error)
    }
}

#[cfg(feature = "aws")]
impl From<AwsError> for Problem {
    fn from(error: AwsError) -> Self {
        tracing::error!(%error, "An AWS call failed.");
        Self::unavailable(match error {
            AwsError::Contention { .. } => "Other calls changed the same thing each time. Repeat the request.",
            AwsError::Unreadable { .. } => "Pombo cannot read something that it has stored. The log says what.",
            _ => "A service that Pombo needs did not answer. Repeat the request.",
        })
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let mut body = json!({
            "type": "about:blank",
            "title": problem.title(),
            "status": problem.status,
            "detail": problem.detail,
        });
        if !problem.errors.is_empty() {
            let errors: Vec<_> =
                problem.errors.iter().map(|error| json!({"field": error.field, "rule": error.rule})).collect();
            body["errors"] = errors.into();
        }
        for (name, value) in problem.extra {
            body[name] = value.into();
        }
        let mut response = Self::json(problem.status, &body).with_header("content-type", "application/problem+json");
        if let Some(seconds) = problem.retry_after {
            response = response.with_header("retry-after", seconds.to_string());
        }
        if let Some(allow) = problem.allow {
            response = response.with_header("allow", allow);
        }
        if problem.status == 401 {
            response = response.with_header("www-authenticate", "Bearer");
        }
        if problem.status == LOOP_DETECTED {
            // Tells this refusal from the 508 of web hosts that are out of resources.
            response = response.with_header(HOPS_HEADER, MAX_HOPS.to_string());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "aws")]
    #[test]
    fn trouble_with_aws_says_whether_a_repeat_helps_and_nothing_of_what_is_stored() {
        let operation = || "dynamodb:PutItem Endpoints".to_owned();
        for (error, detail) in [
            (AwsError::Contention { operation: operation(), what: "the record" }, "Other calls changed the same thing"),
            (AwsError::Unreadable { operation: operation(), message: "rev".into() }, "Pombo cannot read something"),
            (AwsError::Overload { operation: operation() }, "A service that Pombo needs did not answer"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.status, problem.retry_after), (503, Some(1)), "{detail}");
            assert!(problem.detail.starts_with(detail), "{}", problem.detail);
        }
    }

    #[test]
    fn a_problem_names_field_and_rule() {
        let response = Response::from(Problem::invalid("type", "must be a name"));
        assert_eq!(response.status, 400);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            response.body,
            r#"{"detail":"type: must be a name","errors":[{"field":"type","rule":"must be a name"}],"status":400,"title":"Bad request","type":"about:blank"}"#
        );
    }

    #[test]
    fn every_field_at_fault_is_in_the_errors_and_the_first_in_the_detail() {
        let wrong = |field: &str| InvalidField { field: field.to_owned(), rule: "must be a name".to_owned() };
        let problem = Problem::fields(vec![wrong("type"), wrong("id")], 2);
        assert_eq!(
            (problem.status, problem.detail.as_str()),
            (400, "type: must be a name (2 mistakes in all: see errors)")
        );
        assert_eq!(problem.errors, [wrong("type"), wrong("id")]);
        assert_eq!(Problem::fields(vec![wrong("type")], 1), Problem::field(wrong("type")));
        assert_eq!(Problem::fields(Vec::new(), 0).status, 400);
    }

    #[test]
    fn of_too_many_mistakes_the_first_are_named_and_all_counted() {
        let wrong = |field: String| InvalidField { field, rule: "must be a name".to_owned() };
        let problem = Problem::fields((0..200).map(|n| wrong(format!("types[{n}]"))).collect(), 300);
        let named = problem.errors.len();
        assert!((20..60).contains(&named), "{named}");
        assert!(problem.detail.ends_with(&format!("(300 mistakes in all: errors names the first {named})")));
        // A control character is six bytes in JSON.
        let worst = Problem::fields((0..20).map(|_| wrong("\u{1}".repeat(1000))).collect(), 20);
        assert!(Response::from(worst).body.len() < 4096);
    }

    #[test]
    fn of_a_long_name_the_beginning_is_repeated() {
        let problem = Problem::invalid(&"é".repeat(1_000_000), "is not a field here");
        assert!(problem.detail.contains("éé…") && Response::from(problem).body.len() < 1000);
    }

    #[test]
    fn what_can_be_repeated_says_when() {
        let response = Response::from(Problem::unavailable("x"));
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    }

    #[test]
    fn a_limit_is_a_conflict_unless_time_alone_makes_room() {
        let (tenant, now): (TenantId, _) = ("acme".parse().unwrap(), Timestamp::from_seconds(1000));
        let until = Timestamp::from_millis(1_089_001);
        for (reached, status, retry_after) in [
            (LimitReached::Endpoints { tenant: tenant.clone(), in_use: 5, limit: 5 }, 409, None),
            (LimitReached::Replays { owner: "*".into(), in_use: 5, limit: 5 }, 409, None),
            (LimitReached::Registered { tenant, in_use: 5, limit: 5, until }, 429, Some(90)),
        ] {
            let problem = Problem::limit(&reached, now);
            assert_eq!(
                (problem.status, problem.retry_after, problem.detail),
                (status, retry_after, reached.to_string())
            );
        }
    }

    #[test]
    fn a_loop_is_refused_in_the_way_that_dispatch_knows() {
        let response = Response::from(Problem::new(LOOP_DETECTED, "x"));
        assert!(pombo_domain::hops::Hops::is_refusal(response.status, response.header(HOPS_HEADER)), "{response:?}");
        assert!(response.body.contains(r#""title":"Loop detected""#), "{}", response.body);
    }

    #[test]
    fn a_wrong_method_is_answered_with_the_right_ones() {
        let problem = Problem { allow: Some("GET, POST".into()), ..Problem::new(405, "x") };
        let response = Response::from(problem);
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, POST")));
    }
}
