//! The policy's tables and properties. A case is a spelling and the id of the rule that refuses it,
//! or [`OK`](cases::OK).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod invariants;
mod policies;
mod properties;
mod registry;
mod settings;
mod table;

use super::*;

fn id_of<T>(judged: Result<T, Refusal>) -> &'static str {
    judged.map_or_else(|refusal| refusal.rule.id(), |_| cases::OK)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no address"))
}

/// Runs a table to its end, so that one run shows every wrong row.
fn check<'a>(cases: &[(&'a str, &str)], judge: impl Fn(&'a str) -> &'static str) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|&(case, expected)| (case, expected, judge(case)))
        .filter(|(_, expected, got)| expected != got)
        .map(|(case, expected, got)| format!("{case:?}: expected {expected}, got {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn urls_are_judged_as_the_table_says() {
    check(cases::URLS, |text| id_of(EndpointUrl::parse(text, &AddressPolicy::production())));
}

#[test]
fn literal_hosts_are_judged_in_every_spelling() {
    check(cases::LITERAL_HOSTS, |host| {
        let url = format!("https://{host}/");
        id_of(EndpointUrl::parse(&url, &AddressPolicy::production()))
    });
}

#[test]
fn names_are_judged_as_the_table_says() {
    let production = AddressPolicy::production();
    check(cases::NAMES, |name| id_of(EndpointUrl::parse(&format!("https://{name}/"), &production)));
    check(cases::NAMES, |name| id_of(production.judge_resolved(name, &[ip("8.8.8.8")])));
}

#[test]
fn addresses_are_judged_as_the_table_says() {
    check(cases::ADDRESSES, |text| id_of(AddressPolicy::production().judge_ip(ip(text))));
}

#[test]
fn an_address_is_judged_alike_as_literal_and_as_answer() {
    let production = AddressPolicy::production();
    check(cases::ADDRESSES, |text| {
        let host = if ip(text).is_ipv6() { format!("[{text}]") } else { text.to_owned() };
        id_of(EndpointUrl::parse(&format!("https://{host}/hook"), &production))
    });
    check(cases::ADDRESSES, |text| id_of(production.judge_resolved("hooks.example.com", &[ip("8.8.8.8"), ip(text)])));
}

#[test]
fn a_url_is_bounded_as_given_and_as_normalised() {
    let policy = AddressPolicy::production();
    let start = "https://hooks.example.com/";
    let of_length = |n: usize| format!("{start}{}", "a".repeat(n - start.len()));
    // Each of these becomes six bytes.
    let grows = format!("{start}{}", "é".repeat(400));
    // Each of these goes away.
    let shrinks = format!("{start}{}", "./".repeat(1_100));

    assert_eq!(id_of(EndpointUrl::parse(&of_length(MAX_URL_BYTES), &policy)), cases::OK);
    assert_eq!(id_of(EndpointUrl::parse(&of_length(MAX_URL_BYTES + 1), &policy)), "too-long");
    assert_eq!(id_of(EndpointUrl::parse(&grows, &policy)), "too-long");
    assert_eq!(id_of(EndpointUrl::parse(&shrinks, &policy)), "too-long");
}

#[test]
fn names_are_bounded_as_the_dns_bounds_them() {
    let policy = AddressPolicy::production();
    let judge = |name: &str| id_of(EndpointUrl::parse(&format!("https://{name}/"), &policy));
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));

    assert_eq!(longest.len(), 253);
    assert_eq!(judge(&longest), cases::OK);
    assert_eq!(judge(&format!("{longest}b")), "malformed-name");
    assert_eq!(judge(&format!("a{label}.com")), "malformed-name");
}

#[test]
fn a_refusal_shows_an_address_of_the_longest_name_whole_and_of_what_is_too_long_the_beginning() {
    let policy = AddressPolicy::production();
    let longest = "abc.".repeat(62) + "defgh";
    let private = ip("fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    let refusal = policy.judge_resolved(&longest, &[private]).unwrap_err();
    assert_eq!((longest.len(), refusal.subject), (253, format!("{private} (an address of {longest})")));

    let host = "a.".repeat(900);
    let refusal = EndpointUrl::parse(&format!("https://{host}b/"), &policy).unwrap_err();
    let begin = refusal.subject.strip_suffix('…').expect("a sign that there is more");
    assert_eq!((refusal.rule.id(), begin), ("malformed-name", &host[..310]));
}

#[test]
fn the_tables_have_at_least_two_hundred_cases() {
    let cases = [cases::URLS, cases::LITERAL_HOSTS, cases::NAMES, cases::ADDRESSES];
    assert!(cases.iter().map(|table| table.len()).sum::<usize>() >= 200);
}
