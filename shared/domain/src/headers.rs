//! The custom headers of an endpoint, the receiver's own API key among them: write-only.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::invalid::{Invalid, InvalidField};

/// What a reader sees in a value's place.
pub const MASK: &str = "********";

const MOST: usize = 20;
const LONGEST_NAME: usize = 128;
const LONGEST_VALUE: usize = 1024;
const LARGEST_SUM: usize = 8 * 1024;

/// Headers that the request itself, the connection or AWS owns (RFC 9110 §7.6.1 for the hop-by-hop ones).
const REFUSED: [&str; 15] = [
    "accept-encoding",
    "connection",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
const REFUSED_PREFIXES: [&str; 4] = ["content-", "pombo-", "webhook-", "x-amz"];

/// Whether a name in lower case is one of those.
fn is_refused(name: &str) -> bool {
    REFUSED.contains(&name) || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Validated custom headers, names in lower case. `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CustomHeaders(BTreeMap<String, String>);

impl CustomHeaders {
    /// Checks every header; the errors name each that breaks a rule as `headers.<name>`.
    pub fn new(headers: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<InvalidField>> {
        let (mut checked, mut errors) = (BTreeMap::new(), Vec::new());
        for (given, value) in headers {
            let name = given.to_ascii_lowercase();
            let right = check_name(&name).and_then(|()| check_folded(&name)).and_then(|()| check_value(&value));
            let right = right.and_then(|()| match checked.insert(name, value) {
                None => Ok(()),
                Some(_) => Err(Invalid::rule("must be given once: header names ignore case")),
            });
            errors.extend(right.err().map(|rule| rule.in_field(format!("headers.{given}"))));
        }
        let bytes = checked.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let whole = [
            (checked.len() > MOST).then(|| format!("must be at most {MOST} headers, not {}", checked.len())),
            (bytes > LARGEST_SUM).then(|| {
                format!("must be at most {LARGEST_SUM} bytes of names and values together; these are {bytes}")
            }),
        ];
        errors.extend(whole.into_iter().flatten().map(|rule| Invalid::from(rule).in_field("headers")));
        if errors.is_empty() { Ok(Self(checked)) } else { Err(errors) }
    }

    /// Names and values, for the request to the receiver and nothing else.
    pub fn reveal(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names with every value masked.
    #[must_use]
    pub fn masked(&self) -> BTreeMap<&str, &'static str> {
        self.0.keys().map(|name| (name.as_str(), MASK)).collect()
    }
}

impl fmt::Debug for CustomHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Reads stored headers. They were judged when they were given: a rule that was added since must not make an endpoint
/// unreadable. A header that could not be sent, or would change the request itself, is still refused.
impl<'de> Deserialize<'de> for CustomHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let headers: BTreeMap<String, String> = BTreeMap::deserialize(deserializer)?;
        for (name, value) in &headers {
            let right = check_name(name).and_then(|()| check_value(value));
            right.map_err(|rule| de::Error::custom(rule.in_field(format!("headers.{name}"))))?;
        }
        Ok(Self(headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()))
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let token = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        return Err(Invalid::rule("must have a header's name: 1 to 128 characters of RFC 9110's token"));
    }
    if is_refused(&name.to_ascii_lowercase()) {
        return Err(Invalid::rule(
            "must not be a header that the request itself sets: host, user-agent, content-*, pombo-*, webhook-*, x-amz* and hop-by-hop ones",
        ));
    }
    Ok(())
}

/// CGI, and what is modelled on it (WSGI, PHP, Rack), hand both `content-length` and `content_length` over as
/// `HTTP_CONTENT_LENGTH` or `CONTENT_LENGTH` (RFC 3875, section 4.1.18).
fn check_folded(name: &str) -> Result<(), Invalid> {
    let dashed = name.replace('_', "-");
    if dashed != name && is_refused(&dashed) {
        return Err(Invalid::from(format!(
            "must not be a name that some receivers take for {dashed}, which the request itself sets"
        )));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), Invalid> {
    if value == MASK {
        return Err(Invalid::rule("must be the value itself: ******** is what is shown in its place"));
    }
    let visible = value.bytes().all(|b| (0x20..=0x7e).contains(&b)) && value.trim() == value && !value.is_empty();
    if visible && value.len() <= LONGEST_VALUE {
        Ok(())
    } else {
        Err(Invalid::rule("must be 1 to 1,024 visible ASCII characters, with no space around them"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<CustomHeaders, Vec<InvalidField>> {
        CustomHeaders::new([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn ordinary_headers_are_accepted_in_lower_case() {
        let headers = one("X-API-Key", "a b~!").unwrap();
        assert_eq!(headers.reveal().collect::<Vec<_>>(), [("x-api-key", "a b~!")]);
        assert!(one("Authorization", "Bearer x").is_ok());
    }

    #[test]
    fn what_the_request_or_the_connection_owns_is_refused() {
        for name in [
            "host",
            "Host",
            "content-type",
            "Content-Length",
            "webhook-id",
            "WEBHOOK-signature",
            "pombo-hops",
            "Pombo-Anything",
            "user-agent",
            "connection",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "keep-alive",
            "proxy-authorization",
            "x-amz-date",
            "X-Amzn-Trace-Id",
            "",
            "a b",
            "a:b",
            "é",
            "a\n",
        ] {
            assert!(one(name, "x").is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_receivers_read_as_a_refused_one_is_refused_when_given_and_read_when_stored() {
        for name in [
            "Content_Length",
            "content_type",
            "Transfer_Encoding",
            "transfer_encoding",
            "webhook_id",
            "webhook-id_",
            "Webhook_Signature",
            "x_amz_target",
            "x-amz_date",
            "x_amzn-trace_id",
            "pombo_hops",
            "user_agent",
            "keep_alive",
            "proxy_authorization",
        ] {
            let errors = one(name, "x").unwrap_err();
            assert_eq!(errors[0].field, format!("headers.{name}"));
        }
        for name in ["x_api_key", "api_key", "my_host", "x-webhook_id", "_"] {
            assert!(one(name, "x").is_ok(), "{name}");
        }
        let stored = |json: &str| serde_json::from_str::<CustomHeaders>(json);
        let headers = stored(r#"{"content_length":"7","x_amz_target":"t"}"#).unwrap();
        assert_eq!(headers.reveal().collect::<Vec<_>>(), [("content_length", "7"), ("x_amz_target", "t")]);
        for wrong in [r#"{"content-length":"7"}"#, r#"{"Host":"x"}"#, r#"{"a b":"x"}"#, r#"{"a":"x\ny"}"#] {
            assert!(stored(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_visible_ascii_and_bounded() {
        for value in ["", " x", "x ", "a\nb", "a\r", "é", "\u{7f}", MASK, "x".repeat(1025).as_str()] {
            assert!(one("x-a", value).is_err(), "{value:?}");
        }
        let of = |headers: Vec<(String, String)>| CustomHeaders::new(headers).map_err(|errors| errors[0].to_string());
        let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), "x".to_owned())).collect();
        assert!(of(many(20)).is_ok());
        assert_eq!(of(many(21)).unwrap_err(), "headers: must be at most 20 headers, not 21");
        let large =
            |last: usize| (0..9).map(|n| (format!("x-{n}"), "x".repeat(if n < 8 { 1000 } else { last }))).collect();
        assert!(of(large(192 - 27)).is_ok());
        let error = of(large(192 - 26)).unwrap_err();
        assert_eq!(error, "headers: must be at most 8192 bytes of names and values together; these are 8193");
    }

    #[test]
    fn every_header_that_breaks_a_rule_is_named() {
        let given = [("X-A", "1"), ("host", "x"), ("x-b", ""), ("x-a", "2"), ("x-c", "3"), ("x-c", "3")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let errors = CustomHeaders::new(given).unwrap_err();
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["headers.host", "headers.x-b", "headers.x-a", "headers.x-c"]);
    }

    #[test]
    fn values_are_shown_nowhere() {
        let headers = one("x-api-key", "topsecret").unwrap();
        assert!(!format!("{headers:?}").contains("topsecret"));
        assert_eq!(headers.masked()["x-api-key"], MASK);
    }
}
