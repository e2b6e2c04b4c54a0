//! Requests as a Function URL hands them over.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_domain::invalid::Invalid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::promises;

/// The methods that Pombo serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET, and HEAD, which differs only in what the caller reads.
    Get,
    /// POST.
    Post,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS: a browser asks before a cross-origin call.
    Options,
    /// Any other.
    Other,
}

impl Method {
    /// The method's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "This method on",
        }
    }
}

/// Who signed a request to a URL with the auth type `AWS_IAM`; Lambda has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IamIdentity {
    /// The ARN of the user or role session.
    pub arn: String,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// The path, without a slash at the end.
    pub path: String,
    /// Query parameters, decoded; of repeated ones the last.
    pub query: BTreeMap<String, String>,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Who signed it, if it is signed.
    pub identity: Option<IamIdentity>,
}

impl Request {
    /// From what Lambda hands over.
    pub fn from_url(event: LambdaFunctionUrlRequest) -> Result<Self, Problem> {
        let context = event.request_context;
        let method = match context.http.method.as_deref().unwrap_or_default() {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        promises::check(method, |name| event.headers.contains_key(name))?;
        let body = match (event.body, event.is_base64_encoded) {
            (None, _) => Vec::new(),
            (Some(body), false) => body.into_bytes(),
            (Some(body), true) => {
                STANDARD.decode(body).map_err(|_| Problem::new(400, "The body is not the base64 it says it is."))?
            }
        };
        let headers = event
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_ascii_lowercase(), value.to_str().ok()?.to_owned())));
        let query = url::form_urlencoded::parse(event.raw_query_string.as_deref().unwrap_or_default().as_bytes());
        let identity = context
            .authorizer
            .and_then(|authorizer| authorizer.iam)
            .map(|iam| IamIdentity { arn: iam.user_arn.unwrap_or_default() });
        let path = event.raw_path.unwrap_or_default();
        Ok(Self {
            method,
            path: path.trim_end_matches('/').to_owned(),
            query: query.into_owned().collect(),
            headers: headers.collect(),
            body,
            identity,
        })
    }

    /// The parts of the path behind `/v1`, for a route to match; none when the path is not below it.
    #[must_use]
    pub fn segments(&self) -> Vec<&str> {
        self.path.strip_prefix("/v1/").map(|path| path.split('/').collect()).unwrap_or_default()
    }

    /// 404 for this request's path.
    #[must_use]
    pub fn no_route(&self) -> Problem {
        Problem::no_route(self.method.as_str(), &self.path)
    }

    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body of a call whose fields all have defaults: it may be left out.
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.trim_ascii().is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// The body, a JSON object. The problem names the field at fault.
    pub fn json<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Problem> {
        let media_type = self.header("content-type").unwrap_or("application/json");
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(Problem::new(415, "The body must be application/json."));
        }
        let text = std::str::from_utf8(&self.body).map_err(|_| Problem::new(400, "The body is not UTF-8."))?;
        // Serde would take an array for a structure's fields in their order.
        if text.trim_start().starts_with('[') {
            return Err(Problem::invalid("body", "must be an object"));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let error = error.into_inner();
            if error.is_syntax() || error.is_eof() {
                Problem::new(400, format!("The body is not JSON: {error}."))
            } else {
                let (field, rule) = field_and_rule(&path, &error.to_string());
                Problem::invalid(&field, rule)
            }
        })?;
        deserializer.end().map_err(|error| Problem::new(400, format!("The body is not JSON: {error}.")))?;
        Ok(value)
    }

    /// A query parameter as a value of the domain.
    pub fn query<T: FromStr<Err = Invalid>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.query.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|invalid: Invalid| Problem::field(invalid.in_field(name)))
    }

    /// The `limit` of a list: 1 to 100, 50 unless given.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.query.get("limit") {
            None => Ok(50),
            Some(text) => match text.parse() {
                Ok(limit @ 1..=100) => Ok(limit),
                _ => Err(Problem::invalid("limit", "must be a number from 1 to 100")),
            },
        }
    }

    /// Refuses query parameters other than these: a misspelled filter must not select everything.
    pub fn only_query(&self, known: &[&str]) -> Result<(), Problem> {
        match self.query.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if known.is_empty() => Err(Problem::invalid(name, "is not a parameter here; there are none")),
            Some(name) => {
                Err(Problem::invalid(name, format!("is not a parameter here; known are {}", known.join(", "))))
            }
            None => Ok(()),
        }
    }
}

/// Serde's words for a missing or an unknown field name it in the text; elsewhere the path does.
fn field_and_rule(path: &str, message: &str) -> (String, String) {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let below = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    let quoted = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
    if let Some(name) = quoted("missing field `") {
        return (below(name), "is required".to_owned());
    }
    if let Some(name) = quoted("unknown field `") {
        let known = message.split_once("expected ").map_or("", |(_, known)| known).replace('`', "");
        // The path already ends in an unknown field's name.
        let field = if path.rsplit('.').next() == Some(name) { path.to_owned() } else { below(name) };
        return (field, format!("is not a field here; expected {known}"));
    }
    let path = if path == "." { "body" } else { path };
    // What was found there is the caller's own, a secret perhaps. What was expected is the rule.
    let found = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant `"];
    let expected = message.rsplit_once(", expected ").filter(|_| found.iter().any(|found| message.starts_with(found)));
    let rule = match expected {
        Some((_, expected)) if expected.starts_with("struct ") => "must be an object".to_owned(),
        Some((_, expected)) => format!("must be {}", expected.replace('`', "")),
        None => message.to_owned(),
    };
    (path.to_owned(), rule)
}

#[cfg(test)]
mod tests {
    use pombo_domain::event_type::EventType;

    use super::*;

    fn request(body: &str) -> Request {
        Request {
            method: Method::Post,
            path: "/v1/events".into(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: body.as_bytes().to_vec(),
            identity: None,
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Body {
        r#type: EventType,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        number: u32,
    }

    #[test]
    fn a_wrong_body_is_refused_by_field_and_rule() {
        for (body, field) in [
            (r#"{}"#, "type"),
            (r#"{"type":1}"#, "type"),
            (r#"{"type":"a b"}"#, "type"),
            (r#"{"type":"a","extra":1}"#, "extra"),
            (r#"{"type":"a","inner":{}}"#, "inner.number"),
            (r#"{"type":"a","inner":{"number":"x"}}"#, "inner.number"),
            (r#"{"type":"a","inner":{"number":1,"more":2}}"#, "inner.more"),
            (r#"[]"#, "body"),
            (r#" ["a"]"#, "body"),
            (r#"["a",{"number":1}]"#, "body"),
            (r#""a""#, "body"),
        ] {
            let problem = request(body).json::<Body>().unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{body}: {problem:?}");
        }
        for body in ["", "{", "{\"type\":\"a\"} x", "nonsense"] {
            let problem = request(body).json::<Body>().unwrap_err();
            assert!(problem.status == 400 && problem.detail.contains("not JSON"), "{body}: {problem:?}");
        }
    }

    #[test]
    fn what_stands_in_a_wrong_place_is_not_repeated() {
        for (body, rule) in [
            (r#"{"type":"a","inner":"whsec_x, expected y"}"#, "must be an object"),
            (r#"{"type":"a","inner":{"number":"whsec_x"}}"#, "must be u32"),
            (r#"{"type":"a","inner":{"number":-1}}"#, "must be u32"),
            (r#"{"type":["whsec_x"]}"#, "must be a string"),
        ] {
            assert_eq!(request(body).json::<Body>().unwrap_err().errors[0].rule, rule, "{body}");
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum One {
            Of,
            Two,
        }
        let problem = request(r#"{"a":"whsec_x"}"#).json::<BTreeMap<String, One>>().unwrap_err();
        assert_eq!(problem.errors[0].rule, "must be of or two", "{:?} {:?}", One::Of, One::Two);
    }

    #[test]
    fn another_media_type_is_refused() {
        for (media_type, status) in
            [("text/plain", 415), ("application/json; charset=utf-8", 0), ("application/x+json", 0)]
        {
            let mut request = request(r#"{"type":"a"}"#);
            request.headers.insert("content-type".into(), media_type.into());
            assert_eq!(request.json::<Body>().map_or_else(|problem| problem.status, |_| 0), status, "{media_type}");
        }
    }

    #[test]
    fn a_header_that_asks_for_a_promise_is_seen_whatever_its_value() {
        for value in ["\"x\"", "*", ""] {
            let mut event = LambdaFunctionUrlRequest::default();
            event.request_context.http.method = Some("PATCH".to_owned());
            event.headers.insert("if-match", value.parse().unwrap());
            assert_eq!(Request::from_url(event).unwrap_err().errors[0].field, "if-match", "{value}");
        }
    }

    #[test]
    fn a_function_urls_event_is_read_whole() {
        let event: LambdaFunctionUrlRequest = serde_json::from_value(serde_json::json!({
            "version": "2.0", "rawPath": "/v1/events/", "rawQueryString": "a=1&b=%C3%A9+x&a=2",
            "headers": {"Authorization": "Bearer x"}, "isBase64Encoded": true, "body": "e30=",
            "requestContext": {
                "accountId": "1", "apiId": "u", "domainName": "u.lambda-url", "domainPrefix": "u", "requestId": "r",
                "routeKey": "$default", "stage": "$default", "time": "x", "timeEpoch": 1,
                "http": {"method": "POST", "path": "/v1/events", "protocol": "HTTP/1.1", "sourceIp": "::1"},
                "authorizer": {"iam": {"userArn": "arn:aws:iam::1:role/app"}},
            },
        }))
        .unwrap();
        let request = Request::from_url(event).unwrap();
        assert_eq!((request.method, request.segments()), (Method::Post, vec!["events"]));
        assert_eq!((request.query["a"].as_str(), request.query["b"].as_str()), ("2", "é x"));
        assert_eq!((request.header("authorization"), request.body.as_slice()), (Some("Bearer x"), b"{}".as_slice()));
        assert_eq!(request.identity.unwrap().arn, "arn:aws:iam::1:role/app");
    }

    #[test]
    fn a_body_of_defaults_may_be_left_out_but_not_be_wrong() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Defaults {
            number: Option<u32>,
        }
        let read = |body: &str| request(body).json_or_default::<Defaults>();
        for empty in ["", " \n", "{}"] {
            assert_eq!(read(empty).unwrap(), Defaults::default());
        }
        assert_eq!(read(r#"{"number":3}"#).unwrap().number, Some(3));
        assert_eq!(read(r#"{"numbr":3}"#).unwrap_err().errors[0].field, "numbr");
    }
}
