//! The stack's own doors, where no endpoint may be.
//!
//! An endpoint at the ingest URL would make each delivery a new event and each event a new delivery, without end and at its
//! owner's cost. At the other two URLs it would have Pombo call itself, as whoever its headers make it. The name is compared as the URL has it, not by address: behind a Function URL's addresses are everybody's
//! functions. Another name that leads to the same server gets no further, since the server's certificate is not for it;
//! a name of the operator's own in front of it (a CDN's) has one, and has to be listed.

use std::fmt;
use std::str::FromStr;

use ::url::{Host, Url};

use super::setting::BadEntry;

/// A server that this stack is called at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnServer {
    host: Host,
    /// Without one, every port is meant.
    port: Option<u16>,
}

impl OwnServer {
    /// Whether a URL of this host and port leads here. Neither a dot at the end nor, with [`Host`], upper case makes
    /// another host.
    pub(super) fn is_at<S: AsRef<str>>(&self, host: &Host<S>, port: u16) -> bool {
        let same = match (&self.host, host) {
            (Host::Domain(own), Host::Domain(name)) => without_dot(name.as_ref()) == own,
            (Host::Ipv4(own), Host::Ipv4(ip)) => own == ip,
            (Host::Ipv6(own), Host::Ipv6(ip)) => own == ip,
            _ => false,
        };
        same && self.port.is_none_or(|own| own == port)
    }
}

/// From a URL, of which the path says nothing, or from `host` or `host:port`. The scheme's usual port stands for any.
impl FromStr for OwnServer {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let url = match text.contains("://") {
            true => Url::parse(text),
            false => Url::parse(&format!("https://{text}")),
        };
        let url = url.map_err(|_| BadEntry::NoHost(text.to_owned()))?;
        let host = match url.host().map(|host| host.to_owned()) {
            Some(Host::Domain(name)) if !without_dot(&name).is_empty() => Host::Domain(without_dot(&name).to_owned()),
            Some(Host::Domain(_)) | None => return Err(BadEntry::NoHost(text.to_owned())),
            Some(address) => address,
        };
        Ok(Self { host, port: url.port() })
    }
}

impl fmt::Display for OwnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
