//! Requests as a Function URL hands them over.

use std::collections::BTreeMap;
use std::str::FromStr;

use aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_domain::invalid::Invalid;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
