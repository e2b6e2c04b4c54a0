//! The payloads of a function with a URL, read in a way that lets none of them fail an invocation.
//!
//! Lambda's runtime reads a payload before the function sees it. A payload that it cannot read fails the invocation: the
//! caller gets a 502 and an alarm counts an error. Nobody needs a key to send a strange header, so nothing that a caller
//! sends may have this effect. Therefore [`Payload`] takes whatever comes, headers are plain texts that are judged here,
//! and what is refused is refused with an answer.

use std::collections::BTreeMap;

use pombo_domain::invalid::InvalidField;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::request::Request;

/// A request as a Function URL hands it over: the members that Pombo reads.
/// <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads>
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlEvent {
    pub(crate) raw_path: String,
    #[serde(default)]
    pub(crate) raw_query_string: Option<String>,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    pub(crate) request_context: RequestContext,
    pub(crate) body: Option<String>,
    pub(crate) is_base64_encoded: bool,
}

/// What Lambda itself says of a request.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RequestContext {
    pub(crate) http: Http,
    authorizer: Option<Authorizer>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Http {
    pub(crate) method: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Authorizer {
    iam: Option<Iam>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    user_arn: Option<String>,
}

/// Members that only a request has. A payload with one of them is never taken for a direct invocation.
const REQUEST_MEMBERS: [&str; 5] = ["requestContext", "rawPath", "rawQueryString", "headers", "isBase64Encoded"];

impl UrlEvent {
    /// The headers, names in lower case.
    ///
    /// # Errors
    /// 400 that names every header that is none: with a name that is no token, or a control character in its value.
    /// RFC 9110, sections 5.1 and 5.5.
    pub(crate) fn take_headers(&mut self) -> Result<BTreeMap<String, String>, Problem> {
        let headers = self.headers.take().unwrap_or_default();
        let errors: Vec<_> = headers.iter().filter_map(|(name, value)| wrong_header(name, value)).collect();
        if errors.is_empty() {
            Ok(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
        } else {
            let count = errors.len();
            Err(Problem::fields(errors, count))
        }
    }

    /// The ARN of the caller whose signature Lambda has verified, if there is one.
    pub(crate) fn take_arn(&mut self) -> Option<String> {
        let iam = self.request_context.authorizer.take()?.iam?;
        iam.user_arn.filter(|arn| !arn.is_empty())
    }
}

/// The fault of a header, if it has one. Bytes above 0x7f are let through: they stand for themselves in old clients.
fn wrong_header(name: &str, value: &str) -> Option<InvalidField> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let rule = if name.is_empty() || !name.bytes().all(is_token) {
        "is not the name of a header"
    } else if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        "must not hold a control character. Leave it out, or encode it"
    } else {
        return None;
    };
    Some(InvalidField { field: name.to_owned(), rule: rule.to_owned() })
}

/// Any payload: a `T`, or whatever else was sent. Reading one never fails.
#[derive(Debug, Clone)]
pub struct Payload<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Payload<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The reason is dropped: it may quote a key.
        Ok(Self(T::deserialize(deserializer).ok()))
    }
}

impl Payload<UrlEvent> {
    /// The request, for a function that is invoked by its URL alone. The body is not copied.
    ///
    /// # Errors
    /// 400 for everything that is no request.
    pub fn into_request(self) -> Result<Request, Problem> {
        self.0.ok_or_else(no_request).and_then(Request::from_url)
    }
}

/// Where an invocation came from.
#[derive(Debug)]
pub enum Source<'p> {
    /// The URL: the request, or its refusal.
    Url(Result<Box<Request>, Problem>),
    /// Not the URL: somebody whom IAM lets invoke the function. This is the payload.
    Direct(&'p str),
}

impl Payload<Box<RawValue>> {
    /// Where the payload came from. Lambda writes `requestContext` next to what a caller sends over the URL, so that a
    /// caller there can neither leave it out nor hide it. What cannot be told for certain counts as sent over the URL.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        let Some(payload) = self.0.as_deref().map(RawValue::get) else { return Source::Url(Err(no_request())) };
        if !payload.trim_start().starts_with('{') {
            return Source::Direct(payload);
        }
        match serde_json::from_str::<BTreeMap<String, &RawValue>>(payload) {
            Ok(members) if !REQUEST_MEMBERS.iter().any(|name| members.contains_key(*name)) => Source::Direct(payload),
            _ => {
                let event = serde_json::from_str(payload).map_err(|_| no_request());
                Source::Url(event.and_then(Request::from_url).map(Box::new))
            }
        }
    }
}

fn no_request() -> Problem {
    Problem::new(
        400,
        "The payload is no request as a Function URL hands it over: a member is missing, or is not of its type.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Method;

    /// Reads a payload as Lambda's runtime does.
    fn payload<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Payload<T> {
        Payload::deserialize(&mut serde_json::Deserializer::from_slice(bytes)).expect("any payload is read")
    }

    /// How each function reads it: by its URL alone, and next to direct invocations.
    fn statuses(bytes: &[u8]) -> [Option<u16>; 2] {
        let alone = payload::<UrlEvent>(bytes).into_request().err();
        let beside = match payload::<Box<RawValue>>(bytes).source() {
            Source::Url(request) => request.err(),
            Source::Direct(_) => panic!("{} is taken for a direct invocation", String::from_utf8_lossy(bytes)),
        };
        [alone, beside].map(|problem| problem.map(|problem| problem.status))
    }

    fn with_headers(headers: &str) -> String {
        format!(
            r#"{{"rawPath":"/","headers":{headers},"requestContext":{{"http":{{"method":"GET"}}}},"isBase64Encoded":false}}"#
        )
    }

    #[test]
    fn a_control_character_in_a_header_is_refused_with_the_headers_name() {
        for byte in (0..=0x1f).chain([0x7f]).filter(|byte| *byte != b'\t') {
            let value = json!({"host": "h", "x-a": format!("a{}b", char::from(byte))}).to_string();
            let problem = payload::<UrlEvent>(with_headers(&value).as_bytes()).into_request().unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, "x-a"), "{byte:#x}");
            assert_eq!(statuses(with_headers(&value).as_bytes()), [Some(400); 2], "{byte:#x}");
        }
        for name in ["", "a b", "a:", "é", "a\u{1}"] {
            let value = json!({name: "v"}).to_string();
            assert_eq!(statuses(with_headers(&value).as_bytes()), [Some(400); 2], "{name:?}");
        }
    }

    #[test]
    fn other_odd_headers_are_read_as_they_are() {
        for value in ["", "a\tb", "é", "\u{80}\u{ff}", "\u{fffd}", " a "] {
            let payload_text = with_headers(&json!({"X-A": value}).to_string());
            let request = payload::<UrlEvent>(payload_text.as_bytes()).into_request().unwrap();
            assert_eq!(request.header("x-a"), Some(value));
        }
        assert_eq!(statuses(with_headers("null").as_bytes()), [None; 2]);
    }

    #[test]
    fn what_is_no_request_is_answered_400() {
        let deep = format!(r#"{{"rawPath":"/","headers":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for wrong in [
            b"".as_slice(),
            b"not JSON",
            b"{",
            b"\xff\xfe",
            b"{\"rawPath\":\"\xff\"}",
            br#"{"requestContext": 7}"#,
            br#"{"requestContext": {}}"#,
            br#"{"requestContext": {}, "requestContext": {}}"#,
            br#"{"rawPath":"/","headers":{},"isBase64Encoded":false}"#,
            br#"{"rawPath":7,"requestContext":{"http":{"method":"GET"}},"isBase64Encoded":false}"#,
            br#"{"rawPath":"/","requestContext":{"http":{"method":"GET"}},"isBase64Encoded":"false"}"#,
            br#"{"rawPath":"/","requestContext":{"http":{"method":"POST"}},"body":"?","isBase64Encoded":true}"#,
            br#"{"rawPath":"\ud800","requestContext":{"http":{"method":"GET"}},"isBase64Encoded":false}"#,
            br#"{"\ud800":0,"rawPath":"/","requestContext":{"http":{"method":"GET"}},"isBase64Encoded":"x"}"#,
            with_headers(r#"{"x":"\ud800"}"#).as_bytes(),
            with_headers(r#"{"x":["a"]}"#).as_bytes(),
            with_headers("[]").as_bytes(),
            deep.as_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&wrong[..wrong.len().min(100)]);
            assert_eq!(statuses(wrong), [Some(400); 2], "{shown}");
        }
    }

    #[test]
    fn only_what_cannot_have_come_over_the_url_is_direct() {
        let direct = |text: &str| matches!(payload::<Box<RawValue>>(text.as_bytes()).source(), Source::Direct(_));
        for text in [r#"{"create_admin_key":{"name":"x"}}"#, r#"{"Records":[]}"#, "{}", "[]", "7", r#""x""#, " [{}]"] {
            assert!(direct(text), "{text}");
        }
        let order = r#""create_admin_key":{"name":"x"}"#;
        for text in [
            &format!(r#"{{{order},"requestContext":null}}"#),
            &format!(r#"{{"requestContext":{{}},{order}}}"#),
            &format!(r#"{{{order},"request\u0043ontext":{{}}}}"#),
            &format!(r#"{{{order},"\ud800":0,"requestContext":{{}}}}"#),
            &format!(r#"{{{order},"headers":{{}}}}"#),
            &format!(r#"{{{order},"rawPath":"/"}}"#),
            &with_headers("{}").replace('}', &format!("}},{order}")),
            &format!("\n {}", with_headers("{}")),
        ] {
            assert!(!direct(text), "{text}");
        }
    }

    #[test]
    fn a_caller_is_signed_when_lambda_names_an_arn() {
        for (authorizer, arn) in [
            (r#"{"iam":{"userArn":"arn:aws:iam::1:role/app"}}"#, Some("arn:aws:iam::1:role/app")),
            (r#"{"iam":{"userArn":""}}"#, None),
            (r#"{"iam":{}}"#, None),
            (r#"{"iam":null}"#, None),
            (r#"{}"#, None),
            ("null", None),
        ] {
            let text = with_headers("{}").replace(r#""http""#, &format!(r#""authorizer":{authorizer},"http""#));
            let request = payload::<UrlEvent>(text.as_bytes()).into_request().unwrap();
            assert_eq!(request.method, Method::Get);
            assert_eq!(request.identity.map(|identity| identity.arn).as_deref(), arn, "{authorizer}");
        }
    }
}
