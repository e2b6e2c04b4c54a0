//! IANA's registries, said once more and apart from the address table: `registry.csv` has every entry of the IPv4 and IPv6
//! special-purpose address registries, the multicast blocks, and the forms that registries have dropped. Should a row of the
//! table be wrong or missing, what is written here does not follow it.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;

use super::cases::OK;
use super::invariants::registry;
use super::*;

fn within(net: IpNet, bits: u128) -> IpAddr {
    match net {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()) | bits as u32 & u32::from(net.hostmask())).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()) | bits & u128::from(net.hostmask())).into(),
    }
}

#[test]
fn every_entry_of_the_registries_is_a_row_of_the_table_with_its_document() {
    let entries = include_str!("registry.csv").lines().skip(1);
    assert_eq!(entries.clone().count(), 54);
    for entry in entries {
        let fields: Vec<_> = entry.split(',').collect();
        let [net, _, source, ..] = fields[..] else { panic!("{entry}") };
        let net: IpNet = net.parse().unwrap();
        let row = SPECIAL_RANGES.iter().find(|row| row.net == net).unwrap_or_else(|| panic!("no row for {net}"));
        assert_eq!(row.source, source, "{net}");
        assert!(source.starts_with("RFC "), "{entry}");
    }
}

#[test]
fn both_ends_of_every_entry_are_refused_as_literal_and_as_answer() {
    let policy = AddressPolicy::production();
    for net in registry() {
        for ip in [within(*net, 0), within(*net, u128::MAX)] {
            assert_ne!(id_of(policy.judge_ip(ip)), OK, "{ip}");
            assert_ne!(id_of(policy.judge_resolved("hooks.example.com", &[ip])), OK, "{ip}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_address_of_any_entry_passes(net in select(registry()), bits in any::<u128>()) {
        let (ip, policy) = (within(net, bits), AddressPolicy::production());
        prop_assert!(policy.judge_ip(ip).is_err(), "{} of {}", ip, net);
        prop_assert!(policy.judge_resolved("hooks.example.com", &[ip]).is_err());
        let literal = if ip.is_ipv6() { format!("https://[{ip}]/") } else { format!("https://{ip}/") };
        prop_assert!(EndpointUrl::parse(&literal, &policy).is_err());
    }
}
