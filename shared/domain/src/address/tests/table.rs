//! What must hold of the address table itself.

use std::collections::HashMap;

use super::*;

#[test]
fn a_row_is_a_block_and_is_there_once() {
    for (i, range) in SPECIAL_RANGES.iter().enumerate() {
        assert_eq!(range.net, range.net.trunc(), "{} has host bits", range.net);
        assert!(SPECIAL_RANGES[..i].iter().all(|other| other.net != range.net), "{}", range.net);
        assert!(!range.name.is_empty() && !range.source.is_empty(), "{}", range.net);
    }
}

#[test]
fn an_id_is_kebab_case_and_of_one_kind() {
    let kebab = |id: &str| {
        !id.starts_with('-')
            && !id.ends_with('-')
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let mut openable = HashMap::new();
    for range in SPECIAL_RANGES {
        assert!(kebab(range.id), "{}", range.id);
        let family = (range.id, range.net.addr().is_ipv6());
        assert_eq!(*openable.entry(family).or_insert(range.openable), range.openable, "{}", range.id);
    }
    assert!(SPECIAL_DOMAINS.iter().all(|domain| kebab(domain.id)));
}

#[test]
fn no_row_within_a_closed_one_is_openable() {
    for inner in SPECIAL_RANGES.iter().filter(|range| range.openable) {
        for outer in SPECIAL_RANGES.iter().filter(|range| !range.openable) {
            assert!(!outer.net.contains(&inner.net), "{} in {}", inner.net, outer.net);
        }
    }
}

#[test]
fn both_ends_of_each_row_are_refused_and_a_list_of_everything_opens_the_openable() {
    let production = AddressPolicy::production();
    let everything = production.clone().allowing("0.0.0.0/0, ::/0").unwrap();
    for range in SPECIAL_RANGES {
        for ip in [range.net.network(), range.net.broadcast()] {
            assert!(production.judge_ip(ip).is_err(), "{ip}");
        }
        assert_eq!(everything.judge_ip(range.net.broadcast()).is_ok(), range.openable, "{}", range.net);
    }
}

#[test]
fn each_row_has_a_case_that_no_other_row_answers() {
    for range in SPECIAL_RANGES {
        let found =
            super::cases::ADDRESSES.iter().any(|&(text, id)| ranges::find(ip(text)) == Some(range) && id == range.id);
        assert!(found, "no case for {}", range.net);
    }
}
