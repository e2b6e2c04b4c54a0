//! What must hold of every input.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::select;

use super::cases::urls;
use super::invariants::hold_for;
use super::*;

/// An address of some row of the table, anywhere in it.
fn special() -> impl Strategy<Value = IpAddr> {
    (select(SPECIAL_RANGES), any::<u128>()).prop_map(|(range, bits)| match range.net {
        IpNet::V4(net) => {
            let host = u32::from(net.hostmask());
            IpAddr::V4(Ipv4Addr::from(u32::from(net.network()) | (bits as u32 & host)))
        }
        IpNet::V6(net) => {
            let host = u128::from(net.hostmask());
            IpAddr::V6(Ipv6Addr::from(u128::from(net.network()) | (bits & host)))
        }
    })
}

/// A network that an operator might list, of any size and place.
fn network() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u32>(), 0u8..=32).prop_map(|(ip, n)| IpNet::new(Ipv4Addr::from(ip).into(), n));
    let v6 = (any::<u128>(), 0u8..=128).prop_map(|(ip, n)| IpNet::new(Ipv6Addr::from(ip).into(), n));
    prop_oneof![v4, v6].prop_map(Result::unwrap)
}

/// The spellings of an IPv4 address that URL parsers read.
fn spelling(ip: Ipv4Addr, form: u8) -> String {
    let [a, b, c, d] = ip.octets();
    let n = u32::from(ip);
    match form {
        0 => ip.to_string(),
        1 => n.to_string(),
        2 => format!("{n:#x}"),
        3 => format!("0{n:o}"),
        4 => format!("{a:#x}.{b:#X}.{c:#x}.{d:#x}"),
        5 => format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        6 => format!("{a}.{}", n & 0x00ff_ffff),
        7 => format!("{a}.{b}.{}", n & 0xffff),
        8 => ip.to_string().chars().map(|c| format!("%{:02x}", c as u32)).collect(),
        _ => ip.to_string().replace('.', "。") + ".",
    }
}

/// Text that gets far into a URL parser.
fn url_like() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        special().prop_map(|ip| if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }),
        "[a-zA-Z0-9.%_*:\\[\\]@-]{0,24}",
        "\\PC{0,12}",
    ];
    let scheme = select(&["https://", "http://", "https:", "https:\\\\", "file://", "", "data:"][..]);
    (scheme, host, "(:[0-9]{0,6})?", "\\PC{0,20}")
        .prop_map(|(scheme, host, port, rest)| format!("{scheme}{host}{port}/{rest}"))
}

/// Two cases of the tables, cut and joined somewhere, with something between.
fn spoilt_case() -> impl Strategy<Value = String> {
    let case = || {
        select(urls())
            .prop_flat_map(|url| (0..=url.len()).prop_map(move |at| (url.clone(), url.floor_char_boundary(at))))
    };
    (case(), "\\PC{0,3}|%[0-9a-f]{2}", case())
        .prop_map(|((one, end), between, (other, start))| format!("{}{between}{}", &one[..end], &other[start..]))
}

/// The addresses just before and just after a block.
fn neighbours(net: &IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => [u32::from(net.network()).checked_sub(1), u32::from(net.broadcast()).checked_add(1)]
            .into_iter()
            .flatten()
            .map(|n| IpAddr::V4(Ipv4Addr::from(n)))
            .collect(),
        IpNet::V6(net) => [u128::from(net.network()).checked_sub(1), u128::from(net.broadcast()).checked_add(1)]
            .into_iter()
            .flatten()
            .map(|n| IpAddr::V6(Ipv6Addr::from(n)))
            .collect(),
    }
}

#[test]
fn the_invariants_hold_for_every_case() {
    urls().iter().for_each(|url| hold_for(url));
}

#[test]
fn just_outside_a_row_passes_exactly_where_no_other_row_is() {
    let policy = AddressPolicy::production();
    let mut passed = 0;
    for range in SPECIAL_RANGES {
        for ip in neighbours(&range.net) {
            let in_a_row = SPECIAL_RANGES.iter().any(|other| other.net.contains(&ip));
            let assigned = match ip {
                IpAddr::V4(_) => true,
                IpAddr::V6(ip) => ip.segments()[0] >> 13 == 1,
            };
            assert_eq!(policy.judge_ip(ip).is_ok(), !in_a_row && assigned, "{ip} beside {}", range.net);
            passed += usize::from(policy.judge_ip(ip).is_ok());
        }
    }
    // Most rows border on the public internet; a policy that refuses all would not get here.
    assert!(passed > 40, "{passed}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_special_address_passes(ip in special()) {
        let policy = AddressPolicy::production();
        let refusal = policy.judge_ip(ip).unwrap_err();
        match refusal.rule {
            Rule::SpecialRange(range) => prop_assert!(range.net.contains(&ip)),
            rule => prop_assert!(false, "{ip}: {rule:?}"),
        }
        prop_assert!(policy.judge_resolved("hooks.example.com", &[ip]).is_err());
    }

    #[test]
    fn no_special_address_passes_as_a_literal_in_any_spelling(ip in special(), form in 0u8..10) {
        let host = match ip {
            IpAddr::V4(ip) => spelling(ip, form),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let parsed = EndpointUrl::parse(&format!("https://{host}/"), &AddressPolicy::production());
        let refused_as = parsed.map(|_| ()).map_err(|refusal| refusal.rule);
        prop_assert_eq!(refused_as, AddressPolicy::production().judge_ip(ip).map_err(|r| r.rule));
    }

    #[test]
    fn no_special_ipv4_address_passes_inside_an_ipv6_one(ip in special(), tail in any::<u64>()) {
        if let IpAddr::V4(ip) = ip {
            let n = u128::from(u32::from(ip));
            let tail = u128::from(tail);
            let forms = [
                n,
                0xffff << 32 | n,
                0xffff << 48 | n,
                0x0064_ff9b << 96 | n,
                0x0064_ff9b_0001 << 80 | n,
                0x2002 << 112 | n << 80 | tail,
                0x2001_0000 << 96 | n << 64 | tail,
                0x2001_0000 << 96 | tail << 32 | (!n & 0xffff_ffff),
            ];
            for form in forms {
                let ip = IpAddr::V6(Ipv6Addr::from(form));
                prop_assert!(AddressPolicy::production().judge_ip(ip).is_err(), "{}", ip);
            }
        }
    }

    #[test]
    fn no_ipv6_address_outside_of_global_unicast_passes(bits in any::<u128>()) {
        let ip = IpAddr::V6(Ipv6Addr::from(bits));
        if bits >> 125 != 1 {
            prop_assert!(AddressPolicy::production().judge_ip(ip).is_err());
        }
    }

    #[test]
    fn an_ipv4_address_in_no_row_passes(bits in any::<u32>()) {
        let ip = IpAddr::V4(Ipv4Addr::from(bits));
        let in_a_row = SPECIAL_RANGES.iter().any(|range| range.net.contains(&ip));
        prop_assert_eq!(AddressPolicy::production().judge_ip(ip).is_ok(), !in_a_row);
    }

    #[test]
    fn an_allow_list_opens_only_openable_rows_within_it(ip in special(), net in network(), own in any::<bool>()) {
        let net = if own { IpNet::from(ip) } else { net };
        let policy = AddressPolicy { allowed: vec![net], ..AddressPolicy::production() };
        if policy.judge_ip(ip).is_ok() {
            prop_assert!(net.contains(&ip));
            prop_assert!(SPECIAL_RANGES.iter().all(|row| row.openable || !row.net.contains(&ip)));
        }
    }

    #[test]
    fn one_refused_address_among_many_refuses_the_name(
        ip in special(), before in 0usize..4, after in 0usize..4,
    ) {
        let public = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
        let mut answer = vec![public; before];
        answer.push(ip);
        answer.extend(vec![public; after]);
        prop_assert!(AddressPolicy::production().judge_resolved("hooks.example.com", &answer).is_err());
    }

    #[test]
    fn the_invariants_hold_for_any_text(text in prop_oneof![any::<String>(), url_like(), spoilt_case()]) {
        hold_for(&text);
    }
}
