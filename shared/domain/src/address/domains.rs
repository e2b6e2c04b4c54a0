//! The domain table: every domain that no public resolver answers for.
//!
//! The rows are what RFC 6761 and its successors register as special-use and for which a public resolver
//! has no answer, `.internal` which ICANN reserved for private use, and `.arpa`, which names
//! infrastructure. `example.com`, `.net` and `.org` are registered too but resolve like any other name,
//! and stay allowed. Suffixes that are private by habit only (`.lan`, `.corp`, `.home`) are left to the
//! address table: nobody reserved them.

/// A domain that no public resolver answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialDomain {
    /// Kebab-case identifier, stable across releases.
    pub id: &'static str,
    /// The domain; it and every name below it are refused.
    pub suffix: &'static str,
    /// What the domain is for.
    pub name: &'static str,
    /// The document that reserves it.
    pub source: &'static str,
}

const fn domain(id: &'static str, suffix: &'static str, name: &'static str, source: &'static str) -> SpecialDomain {
    SpecialDomain { id, suffix, name, source }
}

/// The loopback names. Unlike the other domains no allow-list opens them.
pub const LOCALHOST: SpecialDomain = domain("localhost-domain", "localhost", "Loopback names", "RFC 6761 §6.3");

/// All other special domains, a domain within another one first.
#[rustfmt::skip]
pub const SPECIAL_DOMAINS: &[SpecialDomain] = &[
    domain("internal-domain", "internal", "Private use", "ICANN Board resolution 2024.07.29.06"),
    domain("local-domain", "local", "Multicast DNS", "RFC 6762 §3"),
    domain("home-arpa-domain", "home.arpa", "Home networks", "RFC 8375"),
    domain("arpa-domain", "arpa", "Infrastructure", "RFC 3172"),
    domain("test-domain", "test", "Testing", "RFC 6761 §6.2"),
    domain("invalid-domain", "invalid", "Invalid names", "RFC 6761 §6.4"),
    domain("example-domain", "example", "Documentation", "RFC 6761 §6.5"),
    domain("onion-domain", "onion", "Tor", "RFC 7686"),
    domain("alt-domain", "alt", "Names outside the DNS", "RFC 9476"),
];

/// Whether `name` is `localhost` or below it.
pub fn is_localhost(name: &str) -> bool {
    is_within(name, LOCALHOST.suffix)
}

/// The row that a name is in.
pub fn special(name: &str) -> Option<&'static SpecialDomain> {
    SPECIAL_DOMAINS.iter().find(|special| is_within(name, special.suffix))
}

fn is_within(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
