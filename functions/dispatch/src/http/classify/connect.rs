//! Why no connection came about: the addresses that were tried, in words.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pombo_domain::outcome::Detail;

/// Maximum number of addresses that are named; an explanation has 200 bytes.
const MAX_NAMED: usize = 2;

/// The attempt to connect: where to, and for how long.
#[derive(Debug)]
pub struct Tried {
    /// The addresses that the host resolved to, or the literal address in the URL. Empty when the name did not resolve in time.
    pub addresses: Vec<IpAddr>,
    /// Whether the host is a name.
    pub is_name: bool,
    /// The URL's port.
    pub port: u16,
    /// How long a connection may take to open.
    pub limit: Duration,
}

impl Tried {
    /// The explanation where the time was over.
    #[must_use]
    pub fn too_slow(&self) -> Detail {
        let limit = match self.limit.as_secs() {
            1 => "1 second".to_owned(),
            seconds => format!("{seconds} seconds"),
        };
        if self.addresses.is_empty() {
            return Detail::new(format_args!("no connection within {limit}: the host's name did not resolve"));
        }
        Detail::new(format_args!("no connection to {}, port {}, within {limit}", self.named(), self.port))
    }

    /// The explanation of an error of TCP's.
    #[must_use]
    pub fn failed(&self, error: &io::Error) -> Detail {
        let (named, port) = (self.named(), self.port);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Detail::new(format_args!("{named} refused the connection: nobody listens on port {port}"))
            }
            // The kernel has no address of the family itself, no route, or a router says so.
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NotConnected => Detail::new(format_args!("no route to {named}{}", self.only_ipv6())),
            _ => Detail::new(format_args!("no connection to {named}, port {port}: {}", in_words(error))),
        }
    }

    fn only_ipv6(&self) -> &'static str {
        let only_ipv6 = !self.addresses.is_empty() && self.addresses.iter().all(IpAddr::is_ipv6);
        if self.is_name && only_ipv6 { ": the name has only IPv6 addresses" } else { "" }
    }

    /// The addresses with their families.
    fn named(&self) -> String {
        let family = |address: &IpAddr| if address.is_ipv6() { "IPv6" } else { "IPv4" };
        let named = |address: &IpAddr| format!("{address} ({})", family(address));
        let names: Vec<String> = self.addresses.iter().take(MAX_NAMED).map(named).collect();
        let more = match self.addresses.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        names.join(", ") + &more
    }
}

/// The system's text for an error, without the number that Rust adds. If a library made the error, its text may hold
/// anything, and the name of its kind is given.
#[must_use]
pub fn in_words(error: &io::Error) -> String {
    let text = match error.get_ref() {
        None => error.to_string(),
        Some(_) => error.kind().to_string(),
    };
    text.split_once(" (os error").map(|(words, _)| words.to_owned()).unwrap_or(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tried(addresses: &[&str]) -> Tried {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Tried { addresses, is_name: true, port: 8443, limit: Duration::from_secs(5) }
    }

    fn failed(addresses: &[&str], errno: i32) -> String {
        tried(addresses).failed(&io::Error::from_raw_os_error(errno)).to_string()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_address_that_was_tried_is_named_with_its_family() {
        const ENETUNREACH: i32 = 101;
        const EHOSTUNREACH: i32 = 113;
        const ECONNREFUSED: i32 = 111;
        const EACCES: i32 = 13;
        assert_eq!(failed(&["192.0.2.1"], ENETUNREACH), "no route to 192.0.2.1 (IPv4)");
        let only = "no route to 2001:db8::1 (IPv6): the name has only IPv6 addresses";
        assert_eq!(failed(&["2001:db8::1"], ENETUNREACH), only);
        assert_eq!(failed(&["2001:db8::1"], EHOSTUNREACH), only);
        assert_eq!(
            failed(&["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"], ENETUNREACH),
            "no route to 2001:db8::1 (IPv6), 192.0.2.1 (IPv4) and 2 more"
        );
        assert_eq!(
            failed(&["192.0.2.1"], ECONNREFUSED),
            "192.0.2.1 (IPv4) refused the connection: nobody listens on port 8443"
        );
        assert_eq!(failed(&["192.0.2.1"], EACCES), "no connection to 192.0.2.1 (IPv4), port 8443: Permission denied");
        let literal = Tried { is_name: false, ..tried(&["2001:db8::1"]) };
        assert_eq!(
            literal.failed(&io::Error::from_raw_os_error(ENETUNREACH)).as_str(),
            "no route to 2001:db8::1 (IPv6)"
        );
    }

    #[test]
    fn a_connection_that_takes_too_long_says_how_far_it_got() {
        let too_slow = |addresses: &[&str]| tried(addresses).too_slow().to_string();
        assert_eq!(too_slow(&["192.0.2.1"]), "no connection to 192.0.2.1 (IPv4), port 8443, within 5 seconds");
        assert_eq!(too_slow(&[]), "no connection within 5 seconds: the host's name did not resolve");
    }

    #[test]
    fn an_error_that_a_library_made_is_told_by_its_kind_alone() {
        assert_eq!(in_words(&io::Error::other("the receiver said x")), "other error");
        assert_eq!(in_words(&io::Error::from_raw_os_error(13)), "Permission denied");
    }

    #[test]
    fn the_longest_explanation_is_kept_whole() {
        let address = "2001:0db8:1111:2222:3333:4444:5555:6666";
        let tried = Tried { port: u16::MAX, ..tried(&[address; 200]) };
        for text in [tried.too_slow().to_string(), failed(&[address; 200], 101)] {
            assert!(!text.contains('…'), "{text}");
        }
    }
}
