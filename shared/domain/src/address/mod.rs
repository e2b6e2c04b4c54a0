//! The address policy: which URLs, hosts and addresses are delivered to.
//!
//! Anyone who may register an endpoint makes this service send requests from inside its operator's
//! account. Without a policy that is a way to instance metadata, to the Lambda runtime's own API and to
//! whatever a private network trusts its members with. So only public addresses are delivered to,
//! and a private one only where the operator lists it.
//!
//! The policy is judged three times, by the same code: on the URL ([`EndpointUrl::parse`],
//! [`EndpointUrl::judge`]), on what its name resolves to at registration, and on what it resolves to
//! for each connection ([`AddressPolicy::judge_resolved`]). The caller connects to one of the very
//! addresses that were judged and looks nothing up again; that is what makes a name that changes its
//! answer harmless. One refused address refuses the name, since otherwise whoever answers for it
//! would choose by luck or by order which one is connected to.
//!
//! Everything here is pure and total: no clock, no resolver, no panic on any input. A [`Refusal`] names
//! its rule and what broke it.
//!
//! Out of reach of any such table: a NAT64 prefix that a network made up for itself out of global
//! addresses (RFC 6052 §2.2), and a public address that is routed to something private.

mod domains;
mod host;
mod mask;
mod own;
mod ranges;
mod rule;
mod setting;
mod url;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ::url::Host;
use ipnet::IpNet;

use crate::endpoint::SetBy;

pub use domains::{LOCALHOST, SPECIAL_DOMAINS, SpecialDomain};
pub use mask::{hidden_path, mask_url};
pub use own::OwnServer;
pub use ranges::{GLOBAL_UNICAST, SPECIAL_RANGES, SpecialRange};
pub use rule::{LOWEST_UNPRIVILEGED_PORT, MAX_URL_BYTES, Refusal, Rule};
pub use setting::BadEntry;
pub use url::EndpointUrl;

/// What an operator opens beyond the public internet, and what is closed because it is this stack. The default opens
/// nothing, and knows of no stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressPolicy {
    /// For the local stack only: 127.0.0.0/8, `::1` and localhost names, with http and any port.
    pub loopback: bool,
    /// Networks of the operator's own that receivers may be in. They open the rows of the address
    /// table that are [`SpecialRange::openable`] and no other, so that `0.0.0.0/0` still leaves
    /// loopback, link-local and metadata closed. A name all of whose addresses are in here may be any
    /// name but a localhost one.
    pub allowed: Vec<IpNet>,
    /// Where this stack takes events in: an endpoint there would be a loop.
    pub own: Vec<OwnServer>,
}

impl AddressPolicy {
    /// Public addresses only.
    pub fn production() -> Self {
        AddressPolicy::default()
    }

    /// Public addresses and this machine's loopback.
    pub fn local() -> Self {
        AddressPolicy { loopback: true, ..AddressPolicy::default() }
    }

    /// The part of the policy that holds for a URL, by who set it: the listed networks are open to the stack's URLs alone.
    #[must_use]
    pub fn for_url_set_by(&self, set_by: SetBy) -> Self {
        match set_by {
            SetBy::Stack => self.clone(),
            SetBy::Tenant => AddressPolicy { allowed: Vec::new(), ..self.clone() },
        }
    }

    /// Judges one address that is about to be connected to.
    ///
    /// # Errors
    /// The row of the address table that it is in, or [`Rule::NotGlobalUnicast`].
    pub fn judge_ip(&self, ip: IpAddr) -> Result<(), Refusal> {
        if self.loopback && ip.is_loopback() || self.is_listed(ip) {
            return Ok(());
        }
        closed_by(ip).map_or(Ok(()), |rule| Err(Refusal::new(rule, ip)))
    }

    /// Judges what a resolver answered for `host`, all of it. `host` is the name that was asked for; a
    /// literal in its place is judged as well.
    ///
    /// # Errors
    /// What is wrong with the name; [`Rule::NoAddress`] for an empty answer, which a caller may take
    /// for "not yet"; otherwise the first address that is refused.
    pub fn judge_resolved(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let host = Host::parse(host).map_err(|error| Refusal::new(Rule::Malformed(error), format_args!("{host:?}")))?;
        self.judge_host(&host)?;
        if addresses.is_empty() {
            return Err(Refusal::new(Rule::NoAddress, host));
        }
        if let Host::Domain(name) = &host {
            self.judge_name_with(name, addresses)?;
        }
        addresses
            .iter()
            .try_for_each(|&ip| self.judge_ip(ip).map_err(|refusal| refusal.resolved_from(&host.to_string())))
    }

    /// Judges a host as far as that goes without resolving it.
    fn judge_host<S: AsRef<str>>(&self, host: &Host<S>) -> Result<(), Refusal> {
        let name = match host {
            Host::Ipv4(ip) => return self.judge_ip(IpAddr::V4(*ip)),
            Host::Ipv6(ip) => return self.judge_ip(IpAddr::V6(*ip)),
            Host::Domain(name) => name.as_ref(),
        };
        host::check_spelling(name)?;
        if domains::is_localhost(name) {
            return match self.loopback {
                true => Ok(()),
                false => Err(Refusal::new(Rule::SpecialDomain(&LOCALHOST), name)),
            };
        }
        match self.allowed.is_empty() {
            true => host::check_domain(name),
            // Its addresses decide.
            false => Ok(()),
        }
    }

    /// The name rules that depend on what the name resolves to.
    fn judge_name_with(&self, name: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if domains::is_localhost(name) {
            // Plain http is let through to this name, so that it must stay on this machine.
            return match addresses.iter().find(|ip| !ip.is_loopback()) {
                Some(ip) => Err(Refusal::new(Rule::LocalhostElsewhere, ip).resolved_from(name)),
                None => Ok(()),
            };
        }
        match addresses.iter().all(|&ip| self.is_listed(ip)) {
            true => Ok(()),
            false => host::check_domain(name),
        }
    }

    /// Whether the allow-list has `ip` and may have it.
    fn is_listed(&self, ip: IpAddr) -> bool {
        let may_be = match closed_by(ip) {
            None => true,
            Some(Rule::SpecialRange(range)) => range.openable,
            Some(_) => false,
        };
        may_be && self.allowed.iter().any(|net| net.contains(&ip))
    }
}

/// The rule that closes an address to everyone who has not opened it; none for a public one.
fn closed_by(ip: IpAddr) -> Option<Rule> {
    match ranges::find(ip) {
        Some(range) => Some(Rule::SpecialRange(range)),
        None if ip.is_ipv6() && !GLOBAL_UNICAST.contains(&ip) => Some(Rule::NotGlobalUnicast),
        None => None,
    }
}
