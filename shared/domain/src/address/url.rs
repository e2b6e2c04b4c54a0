//! The URL of an endpoint.
//!
//! Two constructors, named for what they promise: [`EndpointUrl::parse`] for what a customer sends,
//! and [`EndpointUrl::from_stored`] for what was accepted before. There is no `Deserialize`, so that a
//! request's type cannot take in a URL past the policy by deriving it. A stored URL is judged again
//! before each attempt ([`EndpointUrl::judge`]), since the policy may have become stricter meanwhile.

use std::cell::Cell;
use std::fmt;

use ::url::{Host, ParseError, SyntaxViolation, Url};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AddressPolicy;
use super::domains::is_localhost;
use super::mask::mask_url;
use super::own::OwnServer;
use super::rule::{LOWEST_UNPRIVILEGED_PORT, MAX_URL_BYTES, Refusal, Rule};

const HTTPS_PORT: u16 = 443;

/// Where an endpoint receives its deliveries: an absolute URL, normalised as WHATWG URL says, so
/// that each host has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    /// Reads a URL as a customer gives it and judges it.
    ///
    /// # Errors
    /// The first rule that the text breaks. A name that may still turn out to be on the allow-list
    /// passes here and is judged with its addresses, by [`AddressPolicy::judge_resolved`].
    pub fn parse(text: &str, policy: &AddressPolicy) -> Result<Self, Refusal> {
        check_length(text, "")?;
        let (url, oddity) = read(text)?;
        match oddity {
            Some(SyntaxViolation::EmbeddedCredentials) => {
                return Err(Refusal::new(Rule::UserInfo, url.host_str().unwrap_or_default()));
            }
            Some(violation) => return Err(Refusal::new(Rule::Ambiguous(violation), "the URL")),
            None => {}
        }
        let endpoint = EndpointUrl(url);
        endpoint.judge(policy)?;
        // The parser has resolved them: the customer would find another URL registered than the one that was given.
        if has_dot_segment(text) {
            return Err(Refusal::new(Rule::DotSegments, "the URL"));
        }
        Ok(endpoint)
    }

    /// Reads a URL that [`EndpointUrl::parse`] accepted earlier, without judging it.
    ///
    /// # Errors
    /// [`Rule::Malformed`] if the text is no URL with a host.
    pub fn from_stored(text: &str) -> Result<Self, Refusal> {
        let url = Url::parse(text).map_err(malformed)?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(malformed(ParseError::EmptyHost));
        }
        Ok(EndpointUrl(url))
    }

    /// [`EndpointUrl::from_stored`] for a field of a stored item:
    /// `#[serde(deserialize_with = "EndpointUrl::deserialize_stored")]`.
    ///
    /// # Errors
    /// As `from_stored`, as the deserializer's error.
    pub fn deserialize_stored<'de, D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let text = String::deserialize(source)?;
        EndpointUrl::from_stored(&text).map_err(serde::de::Error::custom)
    }

    /// Applies every rule that needs no resolver. A literal address is judged here and nowhere else:
    /// an HTTP client connects to it without asking a resolver.
    ///
    /// # Errors
    /// The first rule that the URL breaks.
    pub fn judge(&self, policy: &AddressPolicy) -> Result<(), Refusal> {
        check_length(self.as_str(), " when percent-encoded")?;
        let to_loopback = policy.loopback && self.is_loopback();
        let scheme = self.0.scheme();
        if scheme != "https" && !(scheme == "http" && to_loopback) {
            return Err(Refusal::new(Rule::Scheme, scheme));
        }
        let Some(host) = self.0.host() else {
            return Err(malformed(ParseError::EmptyHost));
        };
        if !self.0.username().is_empty() || self.0.password().is_some() {
            return Err(Refusal::new(Rule::UserInfo, host));
        }
        if self.0.fragment().is_some() {
            return Err(Refusal::new(Rule::Fragment, "the URL"));
        }
        let port = self.port();
        if port != HTTPS_PORT && port < LOWEST_UNPRIVILEGED_PORT && !to_loopback {
            return Err(Refusal::new(Rule::Port, port));
        }
        for own in &policy.own {
            self.judge_own(own)?;
        }
        policy.judge_host(&host)
    }

    /// Refuses a URL that leads to a server of the stack itself.
    ///
    /// # Errors
    /// [`Rule::OwnUrl`].
    pub fn judge_own(&self, own: &OwnServer) -> Result<(), Refusal> {
        match self.0.host() {
            Some(host) if own.is_at(&host, self.port()) => Err(Refusal::new(Rule::OwnUrl, host)),
            _ => Ok(()),
        }
    }

    /// The URL as stored, shown and connected to.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL up to its query, which may hold a token: `https://example.com/hook` of
    /// `https://example.com/hook?token=x`.
    pub fn without_query(&self) -> &str {
        &self.0[..::url::Position::AfterPath]
    }

    /// The URL as somebody sees it who does not manage endpoints: see [`mask_url`].
    pub fn masked(&self) -> String {
        mask_url(self.as_str())
    }

    /// The URL that takes the place of a deleted endpoint's: `https://deleted.invalid/`. No name below `invalid` exists
    /// (RFC 2606, section 2).
    pub fn blanked(&self) -> Self {
        let mut url = self.0.clone();
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        // A URL with a host takes another host, and no port.
        let _ = url.set_host(Some("deleted.invalid"));
        let _ = url.set_port(None);
        Self(url)
    }

    /// The URL for an HTTP client.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host as it stands in the URL, an IPv6 literal with its brackets.
    pub fn host(&self) -> &str {
        // Both constructors made sure that there is one.
        self.0.host_str().unwrap_or_default()
    }

    /// Whether requests to both URLs go to the same scheme, host and port.
    pub fn is_at_the_server_of(&self, other: &EndpointUrl) -> bool {
        self.0.origin() == other.0.origin()
    }

    /// The port that is connected to.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => is_localhost(name),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, target: S) -> Result<S::Ok, S::Error> {
        target.serialize_str(self.as_str())
    }
}

/// The URL and the first oddity in its spelling that matters. Characters that merely get
/// percent-encoded do not.
fn read(text: &str) -> Result<(Url, Option<SyntaxViolation>), Refusal> {
    let oddity = Cell::new(None);
    let note = |violation| {
        let harmless = matches!(violation, SyntaxViolation::NonUrlCodePoint | SyntaxViolation::PercentDecode);
        if !harmless && oddity.get().is_none() {
            oddity.set(Some(violation));
        }
    };
    let url = Url::options().syntax_violation_callback(Some(&note)).parse(text);
    Ok((url.map_err(malformed)?, oddity.get()))
}

/// Whether a segment of the path is `.` or `..`, in any of the spellings that parsers resolve. The text is a URL with an
/// authority, so that its path begins at the third slash.
fn has_dot_segment(text: &str) -> bool {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let mut segments = before_query.split('/').skip(3).map(|segment| segment.to_ascii_lowercase().replace("%2e", "."));
    segments.any(|segment| segment == "." || segment == "..")
}

fn check_length(text: &str, form: &str) -> Result<(), Refusal> {
    if text.len() > MAX_URL_BYTES {
        return Err(Refusal::new(Rule::TooLong, format_args!("a URL of {} bytes{form}", text.len())));
    }
    Ok(())
}

fn malformed(error: ParseError) -> Refusal {
    Refusal::new(Rule::Malformed(error), "the URL")
}
