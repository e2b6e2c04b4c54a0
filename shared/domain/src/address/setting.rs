//! The policy as an operator sets it: lists, with commas between their entries.
//!
//! An entry that means nothing is an error when a function starts, never skipped: whoever lists a network and gets no
//! deliveries there, or lists their own host and gets a loop, would have to find out why.

use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

use super::rule::{Refusal, Rule};
use super::{AddressPolicy, GLOBAL_UNICAST, SPECIAL_RANGES};

/// An entry of a list that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadEntry {
    /// It is not a network.
    #[error("has {0:?}, which is not a network as 10.1.0.0/16 or fd12:3456::/32 are")]
    NoNetwork(String),
    /// It is an address in a network, with the network's length.
    #[error("has {0:?}, which is not where a network begins: is {1} meant?")]
    WithinNetwork(String, IpNet),
    /// All of it stays closed, so that listing it would have no effect.
    #[error("has a network that no list opens: {0}")]
    Closed(Refusal),
    /// It is no host.
    #[error("has {0:?}, which is neither a URL nor a host")]
    NoHost(String),
}

impl AddressPolicy {
    /// The policy with these networks of the operator's own.
    ///
    /// # Errors
    /// The first entry of the list that is wrong.
    pub fn allowing(self, networks: &str) -> Result<Self, BadEntry> {
        let allowed = entries(networks).map(network).collect::<Result<_, _>>()?;
        Ok(Self { allowed, ..self })
    }

    /// The policy of a stack that is called at these servers: URLs, or hosts with or without a port.
    ///
    /// # Errors
    /// The first entry of the list that is wrong.
    pub fn of_stack_at(self, servers: &str) -> Result<Self, BadEntry> {
        let own = entries(servers).map(FromStr::from_str).collect::<Result<_, _>>()?;
        Ok(Self { own, ..self })
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn network(entry: &str) -> Result<IpNet, BadEntry> {
    let net: IpNet = entry.parse().map_err(|_| BadEntry::NoNetwork(entry.to_owned()))?;
    if net != net.trunc() {
        return Err(BadEntry::WithinNetwork(entry.to_owned(), net.trunc()));
    }
    match closed_whole(&net) {
        Some(rule) => Err(BadEntry::Closed(Refusal::new(rule, net))),
        None => Ok(net),
    }
}

/// Why none of the network's addresses can be opened, if so.
fn closed_whole(net: &IpNet) -> Option<Rule> {
    if let Some(row) = SPECIAL_RANGES.iter().find(|row| !row.openable && row.net.contains(net)) {
        return Some(Rule::SpecialRange(row));
    }
    let meets = |other: &IpNet| other.contains(net) || net.contains(other);
    let has_hosts = meets(&GLOBAL_UNICAST) || SPECIAL_RANGES.iter().any(|row| row.openable && meets(&row.net));
    (matches!(net, IpNet::V6(_)) && !has_hosts).then_some(Rule::NotGlobalUnicast)
}
