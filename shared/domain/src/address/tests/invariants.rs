//! What holds of the decision on any text, for the tests here and for the fuzz target in `tests/fuzz`, which shares this
//! file: whoever includes it has `address` in scope. What a public address is, is said apart from the policy's own table.

use std::net::IpAddr;
use std::sync::OnceLock;

use ::url::Host;
use ipnet::IpNet;

use super::*;

/// The entries of IANA's registries.
pub fn registry() -> &'static [IpNet] {
    static REGISTRY: OnceLock<Vec<IpNet>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let entries = include_str!("registry.csv").lines().skip(1);
        entries.map(|entry| entry.split(',').next().and_then(|net| net.parse().ok()).expect("a network")).collect()
    })
}

/// Whether an address is one that IANA gives to hosts of the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    let assigned = match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    };
    assigned && !registry().iter().any(|net| net.contains(&ip))
}

/// Judges a text as a URL, under the policy of production, that of a local stack, and one with lists, and panics where the
/// decision is not what it must be.
pub fn hold_for(text: &str) {
    let production =
        AddressPolicy::production().of_stack_at("https://own.lambda-url.eu-west-1.on.aws/").expect("a URL");
    let listing = production.clone().allowing("10.1.0.0/16,fd12:3456::/32").expect("networks");
    for (policy, is_open) in [
        (&production, &is_public as &dyn Fn(IpAddr) -> bool),
        (&listing, &|ip| is_public(ip) || listing.allowed.iter().any(|net| net.contains(&ip))),
        (&AddressPolicy::local(), &|ip| is_public(ip) || ip.is_loopback()),
    ] {
        match EndpointUrl::parse(text, policy) {
            Ok(url) => {
                accepted(&url, policy, is_open);
                same_path(text, &url);
            }
            Err(refusal) => readable(&refusal),
        }
    }
    if let Ok(stored) = EndpointUrl::from_stored(text) {
        assert!(!stored.host().is_empty(), "{text:?}");
        match stored.judge(&production) {
            Ok(()) => accepted(&stored, &production, &is_public),
            Err(refusal) => readable(&refusal),
        }
    }
    if let Err(refusal) = production.judge_resolved(text, &[IpAddr::from([8, 8, 8, 8])]) {
        readable(&refusal);
    }
}

fn accepted(url: &EndpointUrl, policy: &AddressPolicy, is_open: &dyn Fn(IpAddr) -> bool) {
    let text = url.as_str();
    assert!(text.len() <= MAX_URL_BYTES, "{text}");
    assert_eq!(EndpointUrl::parse(text, policy).as_ref(), Ok(url), "what was accepted reads back as it is");
    assert_eq!(EndpointUrl::from_stored(text).as_ref(), Ok(url), "{text}");
    let parts = url.as_url();
    assert!(parts.username().is_empty() && parts.password().is_none() && parts.fragment().is_none(), "{text}");
    let address = match parts.host().expect("a host") {
        Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
        Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
        Host::Domain(name) => {
            assert!(name.parse::<IpAddr>().is_err() && !name.starts_with(['.', '[']) && !name.ends_with('.'), "{text}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b)),
                "{text}"
            );
            assert!(policy.own.is_empty() || name != "own.lambda-url.eu-west-1.on.aws", "{text}");
            None
        }
    };
    assert!(address.is_none_or(is_open), "{text}");
    let is_localhost = |name: &str| name == "localhost" || name.ends_with(".localhost");
    let loopback = address.is_some_and(|ip| ip.is_loopback()) || parts.domain().is_some_and(is_localhost);
    assert!(policy.loopback || !loopback, "{text}");
    if !loopback {
        assert_eq!(parts.scheme(), "https");
        assert!(url.port() == 443 || url.port() >= 1024, "{text}");
    }
    let name = url.host();
    for ip in ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "fd00:ec2::254", "::ffff:8.8.8.8"] {
        let ip = ip.parse().expect("an address");
        let judged = policy.judge_resolved(name, &[IpAddr::from([8, 8, 8, 8]), ip]);
        assert!(address.is_some() || judged.is_err() || is_open(ip), "{text} at {ip}");
    }
}

/// The URL that is called has the path that was given: no segment of it was resolved away.
fn same_path(text: &str, url: &EndpointUrl) {
    let given = text.split(['?', '#']).next().unwrap_or_default().matches('/').count();
    let slashes = url.as_url().path().matches('/').count() + "//".len();
    assert_eq!(slashes, given.max(3), "{text} became {url}");
}

/// A refusal names its rule, and is a sentence to read, however long the text was.
fn readable(refusal: &Refusal) {
    assert!(!refusal.rule.id().is_empty() && !refusal.rule.source().is_empty());
    let text = refusal.to_string();
    assert!((1..=500).contains(&text.len()), "{text}");
}
