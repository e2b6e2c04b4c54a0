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
const REFUSED_PREFIXES: [&str; 3] = ["content-", "webhook-", "x-amz"];

/// Validated custom headers, names in lower case. `Debug` shows the names alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CustomHeaders(BTreeMap<String, String>);

impl CustomHeaders {
    /// Checks every header; the error names the first that breaks a rule as `headers.<name>`.
    pub fn new(headers: BTreeMap<String, String>) -> Result<Self, InvalidField> {
        if headers.len() > MOST {
            return Err(Invalid::rule("must be at most 20 headers").in_field("headers"));
        }
        let mut checked = BTreeMap::new();
        for (name, value) in headers {
            let field = format!("headers.{name}");
            let name = name.to_ascii_lowercase();
            check_name(&name).and_then(|()| check_value(&value)).map_err(|rule| rule.in_field(&field))?;
            if checked.insert(name, value).is_some() {
                return Err(Invalid::rule("must be given once: header names ignore case").in_field(field));
            }
        }
        if checked.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > LARGEST_SUM {
            return Err(Invalid::rule("must be at most 8 KiB together").in_field("headers"));
        }
        Ok(Self(checked))
    }

    /// Names and values, for the request to the receiver and nothing else.
    pub fn reveal(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
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

impl<'de> Deserialize<'de> for CustomHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(BTreeMap::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let token = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if !token {
        return Err(Invalid::rule("must have a header's name: 1 to 128 characters of RFC 9110's token"));
    }
    if REFUSED.contains(&name) || REFUSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Invalid::rule(
            "must not be a header that the request itself sets: host, user-agent, content-*, webhook-*, x-amz* and hop-by-hop ones",
        ));
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

    fn one(name: &str, value: &str) -> Result<CustomHeaders, InvalidField> {
        CustomHeaders::new([(name.to_owned(), value.to_owned())].into())
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
    fn values_are_visible_ascii_and_bounded() {
        for value in ["", " x", "x ", "a\nb", "a\r", "é", "\u{7f}", MASK, "x".repeat(1025).as_str()] {
            assert!(one("x-a", value).is_err(), "{value:?}");
        }
        let many = (0..21).map(|n| (format!("x-{n}"), "x".into())).collect();
        assert_eq!(CustomHeaders::new(many).unwrap_err().field, "headers");
        let large = (0..9).map(|n| (format!("x-{n}"), "x".repeat(1000))).collect();
        assert_eq!(CustomHeaders::new(large).unwrap_err().field, "headers");
        let twice = [("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())].into();
        assert_eq!(CustomHeaders::new(twice).unwrap_err().field, "headers.x-a");
    }

    #[test]
    fn values_are_shown_nowhere() {
        let headers = one("x-api-key", "topsecret").unwrap();
        assert!(!format!("{headers:?}").contains("topsecret"));
        assert_eq!(headers.masked()["x-api-key"], MASK);
    }
}
