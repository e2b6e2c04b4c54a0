//! What a refusal says: which rule, on what, and where the rule comes from.
//!
//! A refusal is read by the customer who registers an endpoint and by the operator who looks at an
//! attempt, so that it carries the offending part only: never the whole URL, whose user-info, path or
//! query may hold a secret.

use std::fmt;

use ::url::{ParseError, SyntaxViolation};

use super::domains::SpecialDomain;
use super::ranges::{GLOBAL_UNICAST, SpecialRange};

/// The longest endpoint URL, in bytes, as given and once normalised.
pub const MAX_URL_BYTES: usize = 2048;
/// Ports below this one belong to the operating system's services.
pub const LOWEST_UNPRIVILEGED_PORT: u16 = 1024;
/// The longest subject of a refusal, in bytes: an address of the longest name that there may be fits. What is no name at all
/// may be as long as the URL, and is cut.
const LONGEST_SUBJECT: usize = 310;

/// A rule of the address policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The text is longer than [`MAX_URL_BYTES`], as given or once normalised.
    TooLong,
    /// The text is not an absolute URL with a host, or the host is no name or address.
    Malformed(ParseError),
    /// Parsers differ about what the text means (a backslash, a control character, a missing slash),
    /// so that what one component checked another might not connect to.
    Ambiguous(SyntaxViolation),
    /// The scheme is not https.
    Scheme,
    /// A user name or password, or the place for one, precedes the host.
    UserInfo,
    /// The URL has a fragment. It would never be sent, so that a receiver that relies on it waits in
    /// vain, and it would make two spellings of one receiver.
    Fragment,
    /// The path has a segment `.` or `..`, plain or percent-encoded. Clients resolve such a segment before they send, so that
    /// the request would go to another path than the one that was given.
    DotSegments,
    /// The port is privileged and not 443: what listens there is mail, name and login services that a
    /// request could be made to speak to.
    Port,
    /// The URL leads to one of the stack's own: at the ingest URL, each delivery would be a new event.
    OwnUrl,
    /// The name ends in a dot: the same host as without, but a different name to certificates,
    /// connection pools and lists of names.
    TrailingDot,
    /// The name has a character or a length that host names do not have.
    MalformedName,
    /// The name has one label, and so means whatever the resolver's search list makes of it.
    SingleLabel,
    /// The name is in a domain that no public resolver answers for.
    SpecialDomain(&'static SpecialDomain),
    /// A name reserved for loopback has another address.
    LocalhostElsewhere,
    /// The name has no address.
    NoAddress,
    /// The address is in a row of the address table.
    SpecialRange(&'static SpecialRange),
    /// The IPv6 address is in no row, but outside of what is assigned to hosts at all.
    NotGlobalUnicast,
}

impl Rule {
    /// A kebab-case identifier for logs, metrics and API errors, stable across releases.
    pub fn id(self) -> &'static str {
        match self {
            Rule::TooLong => "too-long",
            Rule::Malformed(_) => "malformed",
            Rule::Ambiguous(_) => "ambiguous",
            Rule::Scheme => "scheme",
            Rule::UserInfo => "user-info",
            Rule::Fragment => "fragment",
            Rule::DotSegments => "dot-segments",
            Rule::Port => "port",
            Rule::OwnUrl => "own-url",
            Rule::TrailingDot => "trailing-dot",
            Rule::MalformedName => "malformed-name",
            Rule::SingleLabel => "single-label",
            Rule::SpecialDomain(domain) => domain.id,
            Rule::LocalhostElsewhere => "localhost-elsewhere",
            Rule::NoAddress => "no-address",
            Rule::SpecialRange(range) => range.id,
            Rule::NotGlobalUnicast => "not-global-unicast",
        }
    }

    /// The name of the rule; for an address or a domain, the registry entry's.
    pub fn name(self) -> &'static str {
        match self {
            Rule::TooLong => "URL length",
            Rule::Malformed(_) => "URL syntax",
            Rule::Ambiguous(_) => "Ambiguous URL",
            Rule::Scheme => "https only",
            Rule::UserInfo => "No user-info",
            Rule::Fragment => "No fragment",
            Rule::DotSegments => "No dot segments",
            Rule::Port => "System ports",
            Rule::OwnUrl => "No loops",
            Rule::TrailingDot => "Trailing dot",
            Rule::MalformedName => "Host name syntax",
            Rule::SingleLabel => "Dotless domains",
            Rule::SpecialDomain(domain) => domain.name,
            Rule::LocalhostElsewhere => "Localhost",
            Rule::NoAddress => "No address",
            Rule::SpecialRange(range) => range.name,
            Rule::NotGlobalUnicast => "Global unicast",
        }
    }

    /// The document that the rule is taken from.
    pub fn source(self) -> &'static str {
        match self {
            Rule::TooLong => "RFC 9110 §4.1",
            Rule::Malformed(_) | Rule::Ambiguous(_) => "WHATWG URL §4",
            Rule::Scheme => "RFC 9110 §4.2.2",
            Rule::UserInfo => "RFC 9110 §4.2.4",
            Rule::Fragment => "RFC 9110 §7.1",
            Rule::DotSegments => "RFC 3986 §6.2.2.3",
            Rule::Port => "RFC 6335 §6",
            Rule::OwnUrl => "RFC 8586 §1",
            Rule::TrailingDot => "RFC 1034 §3.1",
            Rule::MalformedName => "RFC 1123 §2.1",
            Rule::SingleLabel => "RFC 7085",
            Rule::SpecialDomain(domain) => domain.source,
            Rule::LocalhostElsewhere => "RFC 6761 §6.3",
            Rule::NoAddress => "RFC 2308 §2",
            Rule::SpecialRange(range) => range.source,
            Rule::NotGlobalUnicast => "RFC 3587 §3",
        }
    }
}

/// The rule as a predicate: what is said of the subject.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, source) = (self.name(), self.source());
        match self {
            Rule::TooLong => write!(f, "is longer than {MAX_URL_BYTES} bytes"),
            Rule::Malformed(ParseError::RelativeUrlWithoutBase) => {
                write!(f, "has no scheme: it must begin with https://")
            }
            Rule::Malformed(error) => write!(f, "cannot be read: {error}"),
            Rule::Ambiguous(violation) => {
                write!(f, "would be read differently by different parsers: {violation}")
            }
            Rule::Scheme => write!(f, "is another scheme: the URL must begin with https:// ({source})"),
            Rule::UserInfo => {
                write!(f, "must not be preceded by a user name or password: use `headers.authorization` ({source})")
            }
            Rule::Fragment => write!(f, "has a fragment, which is never sent ({source})"),
            Rule::DotSegments => {
                write!(f, "has `.` or `..` as a segment of its path: write the path that it leads to ({source})")
            }
            Rule::Port => write!(f, "is neither port 443 nor at least {LOWEST_UNPRIVILEGED_PORT} ({name}, {source})"),
            Rule::OwnUrl => {
                write!(f, "is this stack itself: each delivery would come back as a call of Pombo ({name}, {source})")
            }
            Rule::TrailingDot => write!(f, "ends in a dot ({source})"),
            Rule::MalformedName => write!(f, "is not a host name ({source})"),
            Rule::SingleLabel => write!(f, "has no dot ({name}, {source})"),
            Rule::SpecialDomain(domain) => {
                write!(f, "is in the domain {} ({name}, {source})", domain.suffix)
            }
            Rule::LocalhostElsewhere => {
                write!(f, "is not the loopback address that this name must have ({source})")
            }
            Rule::NoAddress => write!(f, "has no address"),
            Rule::SpecialRange(range) => write!(f, "is in {} ({name}, {source})", range.net),
            Rule::NotGlobalUnicast => {
                write!(f, "is outside {GLOBAL_UNICAST} ({name}, {source})")
            }
        }
    }
}

/// Why a URL, a host or an address is not delivered to.
///
/// Its text is one sentence for the reader: `10.0.0.1 is in 10.0.0.0/8 (Private use, RFC 1918)`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} {rule}")]
pub struct Refusal {
    /// The rule that was broken.
    pub rule: Rule,
    /// What broke it: an address, a host, a port, a scheme. Never more of the URL than that, and no more of it than 310
    /// bytes.
    pub subject: String,
    /// The name that resolved to the address, where an address broke the rule and was not in the URL itself.
    pub resolved_from: Option<String>,
}

impl Refusal {
    pub(super) fn new(rule: Rule, subject: impl fmt::Display) -> Self {
        let mut subject = subject.to_string();
        if subject.len() > LONGEST_SUBJECT {
            subject.truncate(subject.floor_char_boundary(LONGEST_SUBJECT));
            subject.push('…');
        }
        Refusal { rule, subject, resolved_from: None }
    }

    /// The same refusal of an address, saying which name it was an address of.
    pub(super) fn resolved_from(self, host: &str) -> Self {
        let resolved_from = Some(host.to_owned());
        Refusal { resolved_from, ..Refusal::new(self.rule, format_args!("{} (an address of {host})", self.subject)) }
    }

    /// The same for a reader who must not learn what names resolve to here: a resolver inside of a private network knows
    /// names and addresses that others must not learn.
    #[must_use]
    pub fn without_address(&self) -> String {
        match &self.resolved_from {
            Some(host) => format!("{host} has an address that is not public"),
            None => self.to_string(),
        }
    }
}
