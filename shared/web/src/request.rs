//! Requests as a Function URL hands them over.

use std::collections::BTreeMap;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_domain::cursor::Paged;
use pombo_domain::invalid::Invalid;

use crate::payload::UrlEvent;
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
    /// Query parameters, decoded, each with all of its values in the order of the URL.
    pub query: BTreeMap<String, Vec<String>>,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Who signed it, if it is signed.
    pub identity: Option<IamIdentity>,
}

impl Request {
    /// From what Lambda hands over.
    pub(crate) fn from_url(mut event: UrlEvent) -> Result<Self, Problem> {
        let method = match event.request_context.http.method.as_str() {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        let headers = event.take_headers()?;
        promises::check(method, |name| headers.contains_key(name))?;
        let identity = event.take_arn().map(|arn| IamIdentity { arn });
        let body = match (event.body, event.is_base64_encoded) {
            (None, _) => Vec::new(),
            (Some(body), false) => body.into_bytes(),
            (Some(body), true) => {
                STANDARD.decode(body).map_err(|_| Problem::new(400, "The body is not the base64 it says it is."))?
            }
        };
        let mut query = BTreeMap::<String, Vec<String>>::new();
        let text = event.raw_query_string.unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            query.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        let path = event.raw_path.trim_end_matches('/').to_owned();
        Ok(Self { method, path, query, headers, body, identity })
    }

    /// A header's value, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A query parameter as text: the first, where [`Request::only_query`] has not refused a second one.
    #[must_use]
    pub fn query_text(&self, name: &str) -> Option<&str> {
        self.query.get(name)?.first().map(String::as_str)
    }

    /// A query parameter as a value of the domain.
    pub fn query<T: FromStr<Err = Invalid>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.query_text(name).map(|text| parameter(name, text)).transpose()
    }

    /// All values of a query parameter that may be repeated.
    pub fn query_all<T: FromStr<Err = Invalid>>(&self, name: &str) -> Result<Vec<T>, Problem> {
        self.query.get(name).into_iter().flatten().map(|text| parameter(name, text)).collect()
    }

    /// The `limit` of a list: 1 to 100, 50 unless given.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.query_text("limit") {
            None => Ok(50),
            Some(text) => match text.parse() {
                Ok(limit @ 1..=100) => Ok(limit),
                _ => Err(Problem::invalid("limit", "must be a number from 1 to 100")),
            },
        }
    }

    /// The place in `list` behind which the page begins; `None` for the first page, which has no `cursor`.
    pub fn page<L: Paged>(&self, list: &L) -> Result<Option<L::Place>, Problem> {
        let Some(cursor) = self.query_text("cursor") else { return Ok(None) };
        list.place(cursor).map(Some).map_err(|rule| Problem::field(rule.in_field("cursor")))
    }

    /// Refuses query parameters other than these, since a misspelled filter must not select everything, and those that are
    /// given twice, since one of the two values would be ignored.
    pub fn only_query(&self, known: &[&str]) -> Result<(), Problem> {
        self.only_query_with_several(known, &[])
    }

    /// The same, but the parameters in `several` may be given more than once: `?status=failed&status=held`.
    pub fn only_query_with_several(&self, known: &[&str], several: &[&str]) -> Result<(), Problem> {
        for (name, values) in &self.query {
            let name = name.as_str();
            if !known.contains(&name) {
                let rule = match known {
                    [] => "is not a parameter here; there are none".to_owned(),
                    known => format!("is not a parameter here; known are {}", known.join(", ")),
                };
                return Err(Problem::invalid(name, rule));
            }
            if values.len() > 1 && !several.contains(&name) {
                return Err(Problem::invalid(name, "must be given once"));
            }
        }
        Ok(())
    }
}

/// Reads the value of a query parameter.
fn parameter<T: FromStr<Err = Invalid>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|invalid: Invalid| {
        // A bare plus stands for a space: `since=2026-11-28T01:30:00+02:00` arrives as "2026-11-28T01:30:00 02:00".
        let plus_was_meant = text.contains(' ') && text.replace(' ', "+").parse::<T>().is_ok();
        let rule = if plus_was_meant {
            Invalid::from(format!("{invalid}; in a URL a + stands for a space, write it as %2B"))
        } else {
            invalid
        };
        Problem::field(rule.in_field(name))
    })
}

#[cfg(test)]
mod tests {
    use pombo_domain::event_type::EventType;
    use pombo_domain::time::Timestamp;

    use super::*;

    #[test]
    fn a_header_that_asks_for_a_promise_is_seen_whatever_its_value() {
        for value in ["\"x\"", "*", ""] {
            let event = serde_json::from_value(serde_json::json!({
                "rawPath": "/", "headers": {"If-Match": value}, "isBase64Encoded": false,
                "requestContext": {"http": {"method": "PATCH"}},
            }));
            assert_eq!(Request::from_url(event.unwrap()).unwrap_err().errors[0].field, "if-match", "{value}");
        }
    }

    #[test]
    fn a_function_urls_event_is_read_whole() {
        let event: UrlEvent = serde_json::from_value(serde_json::json!({
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
        assert_eq!((request.method, request.path.as_str()), (Method::Post, "/v1/events"));
        assert_eq!(
            (&request.query["a"][..], request.query_text("b")),
            (&["1".to_owned(), "2".to_owned()][..], Some("é x"))
        );
        assert_eq!((request.header("authorization"), request.body.as_slice()), (Some("Bearer x"), b"{}".as_slice()));
        assert_eq!(request.identity.unwrap().arn, "arn:aws:iam::1:role/app");
    }

    /// A request with this query, as it stands in the URL.
    fn with_query(query: &str) -> Request {
        let mut parameters = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Request {
            method: Method::Get,
            path: "/v1/events".to_owned(),
            query: parameters,
            headers: BTreeMap::new(),
            body: Vec::new(),
            identity: None,
        }
    }

    #[test]
    fn a_parameter_is_known_and_given_once_unless_it_may_be_repeated() {
        for (query, expected) in [
            ("", None),
            ("limit=3&type=a", None),
            ("type=a&type=b", None),
            ("limit=3&limit=3", Some(("limit", "must be given once"))),
            ("limit=3&type=a&limit=4", Some(("limit", "must be given once"))),
            ("typ=a", Some(("typ", "is not a parameter here; known are limit, type"))),
        ] {
            let refused = with_query(query).only_query_with_several(&["limit", "type"], &["type"]).err();
            let named =
                refused.as_ref().map(|problem| (problem.errors[0].field.as_str(), problem.errors[0].rule.as_str()));
            assert_eq!(named, expected, "{query}");
        }
        let refused = with_query("type=a&type=b").only_query(&["type"]).unwrap_err();
        assert_eq!((refused.status, refused.errors[0].rule.as_str()), (400, "must be given once"));
        assert_eq!(
            with_query("a=1").only_query(&[]).unwrap_err().errors[0].rule,
            "is not a parameter here; there are none"
        );
    }

    #[test]
    fn all_values_of_a_repeated_parameter_are_read_and_each_is_checked() {
        let types = |query: &str| with_query(query).query_all::<EventType>("type");
        assert_eq!(types("type=a&type=b").unwrap(), ["a".parse().unwrap(), "b".parse().unwrap()]);
        assert_eq!(types("").unwrap(), []);
        assert_eq!(types("type=a&type=b%20c").unwrap_err().errors[0].field, "type");
    }

    #[test]
    fn a_bare_plus_in_a_time_is_explained_and_other_mistakes_are_not() {
        let time = |query: &str| {
            with_query(query).query::<Timestamp>("since").map_err(|problem| problem.errors[0].rule.clone())
        };
        assert!(time("since=2026-11-28T01:30:00%2B02:00").is_ok());
        assert!(time("since=2026-11-28T01:30:00+02:00").unwrap_err().contains("%2B"));
        for wrong in ["since=2026-11-28", "since=2026-11-28+01:30:00", "since=yesterday+noon"] {
            assert!(!time(wrong).unwrap_err().contains("%2B"), "{wrong}");
        }
    }
}
