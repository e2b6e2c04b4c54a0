//! What the local stack, an allow-list and a resolver's answer change, and how a refusal reads.

use super::cases::OK;
use super::*;

fn allowing(nets: &[&str]) -> AddressPolicy {
    let allowed = nets.iter().map(|net| net.parse().expect("a network")).collect();
    AddressPolicy { allowed, ..AddressPolicy::production() }
}

fn ips(list: &str) -> Vec<IpAddr> {
    list.split_whitespace().map(ip).collect()
}

#[test]
fn the_local_stack_opens_loopback_and_nothing_else() {
    #[rustfmt::skip]
    let cases = [
        ("http://127.0.0.1:8080/", OK),
        ("http://127.0.0.1/", OK),
        ("http://127.9.9.9:1/", OK),
        ("https://127.0.0.1:22/", OK),
        ("http://[::1]:8080/", OK),
        ("http://localhost:8080/", OK),
        ("http://receiver.localhost:80/", OK),
        ("https://hooks.example.com/", OK),
        ("http://hooks.example.com/", "scheme"),
        ("http://8.8.8.8/", "scheme"),
        ("http://10.0.0.1:8080/", "scheme"),
        ("http://0.0.0.0:8080/", "scheme"),
        ("http://[::ffff:127.0.0.1]:8080/", "scheme"),
        ("http://localhost.example.com/", "scheme"),
        ("http://localhost.:8080/", "scheme"),
        ("ftp://localhost:8080/", "scheme"),
        ("https://hooks.example.com:22/", "port"),
        ("http://user@127.0.0.1:8080/", "user-info"),
        ("http://127.0.0.1:8080/#part", "fragment"),
        ("https://localhost.:8080/", "trailing-dot"),
        ("https://0.0.0.0:8080/", "this-host"),
        ("https://10.0.0.1/", "private-use"),
        ("https://169.254.169.254/", "cloud-metadata"),
        ("https://[::ffff:127.0.0.1]/", "ipv4-mapped"),
        ("https://printer.local/", "local-domain"),
        ("https://receiver/", "single-label"),
    ];
    check(&cases, |text| id_of(EndpointUrl::parse(text, &AddressPolicy::local())));
}

#[test]
fn an_allow_list_opens_what_it_lists_of_private_ranges_and_no_more() {
    let policy = allowing(&["10.1.0.0/16", "192.168.7.7/32", "fd12:3456::/32"]);
    #[rustfmt::skip]
    let cases = [
        ("https://10.1.0.0/", OK),
        ("https://10.1.255.255/", OK),
        ("https://0x0a010203/", OK),
        ("https://192.168.7.7/", OK),
        ("https://[fd12:3456::9]/", OK),
        ("https://8.8.8.8/", OK),
        ("https://10.0.255.255/", "private-use"),
        ("https://10.2.0.0/", "private-use"),
        ("https://192.168.7.8/", "private-use"),
        ("https://[fd12:3457::9]/", "unique-local"),
        ("https://[::ffff:10.1.0.1]/", "ipv4-mapped"),
        ("https://[64:ff9b::10.1.0.1]/", "nat64"),
        ("http://10.1.0.1/", "scheme"),
        ("https://10.1.0.1:22/", "port"),
        ("https://u@10.1.0.1/", "user-info"),
        ("https://127.0.0.1/", "loopback"),
        ("https://localhost/", "localhost-domain"),
    ];
    check(&cases, |text| id_of(EndpointUrl::parse(text, &policy)));
}

#[test]
fn an_allow_list_of_everything_leaves_the_dangerous_closed() {
    let policy = allowing(&["0.0.0.0/0", "::/0", "169.254.169.254/32", "127.0.0.1/32", "::1/128"]);
    #[rustfmt::skip]
    let cases = [
        ("10.0.0.1", OK),
        ("172.16.0.1", OK),
        ("192.168.0.1", OK),
        ("100.64.0.1", OK),
        ("198.18.0.1", OK),
        ("fd00::1", OK),
        ("0.0.0.0", "this-host"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("169.254.100.1", "lambda-runtime"),
        ("169.254.169.254", "cloud-metadata"),
        ("168.63.129.16", "cloud-metadata"),
        ("100.100.100.200", "cloud-metadata"),
        ("192.0.0.192", "cloud-metadata"),
        ("fd00:ec2::254", "cloud-metadata"),
        ("fd20:ce::254", "cloud-metadata"),
        ("::127.0.0.1", "ipv4-compatible"),
        ("::ffff:127.0.0.1", "ipv4-mapped"),
        ("64:ff9b::7f00:1", "nat64"),
        ("64:ff9b:1::7f00:1", "nat64-local-use"),
        ("2002:7f00:1::", "6to4"),
        ("2001::1", "teredo"),
        ("fec0::1", "site-local"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "limited-broadcast"),
        ("203.0.113.1", "documentation"),
        ("4000::1", "not-global-unicast"),
    ];
    check(&cases, |text| id_of(policy.judge_ip(ip(text))));
}

#[test]
fn every_address_that_a_name_has_must_be_open() {
    #[rustfmt::skip]
    let cases = [
        ("8.8.8.8", OK),
        ("8.8.8.8 2606:4700:4700::1111", OK),
        ("", "no-address"),
        ("10.0.0.1", "private-use"),
        ("8.8.8.8 10.0.0.1", "private-use"),
        ("10.0.0.1 8.8.8.8", "private-use"),
        ("8.8.8.8 1.1.1.1 2606:4700:4700::1111 ::1", "loopback"),
        ("8.8.8.8 ::ffff:8.8.8.8", "ipv4-mapped"),
    ];
    let policy = AddressPolicy::production();
    check(&cases, |list| id_of(policy.judge_resolved("hooks.example.com", &ips(list))));
}

#[test]
fn a_name_all_of_whose_addresses_are_listed_may_be_any_but_localhost() {
    let policy = allowing(&["10.1.0.0/16", "20.0.0.0/16"]);
    #[rustfmt::skip]
    let cases = [
        ("orders.internal", "10.1.0.1", OK),
        ("orders.internal", "10.1.0.1 10.1.0.2", OK),
        ("orders", "10.1.0.1", OK),
        ("orders.local", "20.0.0.1", OK),
        ("orders.test", "10.1.0.1", OK),
        ("orders.example.com", "10.1.0.1 8.8.8.8", OK),
        ("orders.example.com", "10.1.0.1 10.2.0.1", "private-use"),
        ("orders.internal", "10.1.0.1 8.8.8.8", "internal-domain"),
        ("orders.internal", "8.8.8.8", "internal-domain"),
        ("orders.internal", "10.2.0.1", "internal-domain"),
        ("metadata.google.internal", "169.254.169.254", "internal-domain"),
        ("orders", "10.1.0.1 127.0.0.1", "single-label"),
        ("orders.internal.", "10.1.0.1", "trailing-dot"),
        ("orders..internal", "10.1.0.1", "malformed-name"),
        ("orders.internal", "", "no-address"),
        ("localhost", "10.1.0.1", "localhost-domain"),
        ("a.localhost", "127.0.0.1", "localhost-domain"),
    ];
    for (host, list, expected) in cases {
        assert_eq!(id_of(policy.judge_resolved(host, &ips(list))), expected, "{host} at {list}");
    }
}

#[test]
fn a_name_that_might_be_listed_waits_for_its_addresses() {
    let policy = allowing(&["10.1.0.0/16"]);
    for url in ["https://orders.internal/", "https://orders/", "https://orders.local:8443/"] {
        assert_eq!(id_of(EndpointUrl::parse(url, &policy)), OK, "{url}");
    }
    for url in ["https://localhost/", "https://orders.internal./", "https://a..b/"] {
        assert_ne!(id_of(EndpointUrl::parse(url, &policy)), OK, "{url}");
    }
}

#[test]
fn a_localhost_name_must_be_at_loopback_in_the_local_stack_too() {
    let policy = AddressPolicy { loopback: true, ..allowing(&["10.0.0.0/8"]) };
    #[rustfmt::skip]
    let cases = [
        ("127.0.0.1", OK),
        ("127.0.0.1 ::1", OK),
        ("", "no-address"),
        ("10.0.0.1", "localhost-elsewhere"),
        ("127.0.0.1 8.8.8.8", "localhost-elsewhere"),
        ("::ffff:127.0.0.1", "localhost-elsewhere"),
    ];
    check(&cases, |list| id_of(policy.judge_resolved("Localhost", &ips(list))));
}

#[test]
fn a_literal_in_place_of_a_name_is_judged_as_well() {
    #[rustfmt::skip]
    let cases = [
        ("8.8.8.8", OK),
        ("[2606:4700:4700::1111]", OK),
        ("0x7f.1", "loopback"),
        ("[::1]", "loopback"),
        ("::1", "malformed"),
        ("", "malformed"),
        ("a/b", "malformed"),
    ];
    let policy = AddressPolicy::production();
    check(&cases, |host| id_of(policy.judge_resolved(host, &[ip("8.8.8.8")])));
}

#[test]
fn a_stored_url_is_read_back_and_judged_by_the_policy_of_today() {
    #[derive(serde::Deserialize)]
    struct Item {
        #[serde(deserialize_with = "EndpointUrl::deserialize_stored")]
        url: EndpointUrl,
    }
    let local = EndpointUrl::parse("http://localhost:8080/hook", &AddressPolicy::local()).unwrap();
    let stored = serde_json::json!({ "url": local });
    let read: Item = serde_json::from_value(stored).unwrap();

    assert_eq!(read.url, local);
    assert_eq!(id_of(read.url.judge(&AddressPolicy::local())), OK);
    assert_eq!(id_of(read.url.judge(&AddressPolicy::production())), "scheme");
    for text in ["", "hooks.example.com", "data:text/plain,hello", "file:///etc/passwd"] {
        assert_eq!(id_of(EndpointUrl::from_stored(text)), "malformed", "{text}");
    }
    for (text, expected) in [("https://u:p@example.com/", "user-info"), ("https://10.0.0.1/", "private-use")] {
        let stored = EndpointUrl::from_stored(text).unwrap();
        assert_eq!(id_of(stored.judge(&AddressPolicy::production())), expected);
    }
}

#[test]
fn the_parts_of_a_url_are_those_that_are_connected_to() {
    let parse = |text| EndpointUrl::parse(text, &AddressPolicy::production()).unwrap();
    let plain = parse("HTTPS://Hooks.Example.com:443/a?b");
    let other = parse("https://[2606:4700:4700:0::1111]:8443");

    assert_eq!(plain.without_query(), "https://hooks.example.com/a");
    assert_eq!(other.without_query(), other.as_str());
    assert_eq!(
        (plain.as_str(), plain.host(), plain.port()),
        ("https://hooks.example.com/a?b", "hooks.example.com", 443)
    );
    assert_eq!(
        (other.to_string().as_str(), other.host(), other.port()),
        ("https://[2606:4700:4700::1111]:8443/", "[2606:4700:4700::1111]", 8443)
    );
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let policy = AddressPolicy::production();
    let long = format!("https://example.com/{}", "a".repeat(2048));
    #[rustfmt::skip]
    let urls = [
        ("https://10.0.0.1/", "10.0.0.1 is in 10.0.0.0/8 (Private use, RFC 1918)"),
        ("https://2130706433/", "127.0.0.1 is in 127.0.0.0/8 (Loopback, RFC 1122 §3.2.1.3)"),
        ("https://[::ffff:7f00:1]/", "::ffff:127.0.0.1 is in ::ffff:0.0.0.0/96 (IPv4-mapped, RFC 4291)"),
        ("https://168.63.129.16/", "168.63.129.16 is in 168.63.129.16/32 (WireServer, Azure)"),
        ("https://[4000::1]/", "4000::1 is outside 2000::/3 (Global unicast, RFC 3587 §3)"),
        ("http://example.com/", "http is not https (RFC 9110 §4.2.2)"),
        ("https://u:secret@example.com/", "example.com must not be preceded by user-info (RFC 9110 §4.2.4)"),
        ("https://example.com:25/", "25 is neither port 443 nor at least 1024 (System ports, RFC 6335 §6)"),
        ("https://example.com/#secret", "the URL has a fragment, which is never sent (RFC 9110 §7.1)"),
        ("https://db.internal/", "db.internal is in the domain internal (Private use, ICANN Board resolution 2024.07.29.06)"),
        ("https://intranet/", "intranet has no dot (Dotless domains, RFC 7085)"),
        ("https://example.com./", "example.com. ends in a dot (RFC 1034 §3.1)"),
        ("https://a..b/", "a..b is not a host name (RFC 1123 §2.1)"),
        ("https://1.2.3.4.5/", "the URL cannot be read: invalid IPv4 address"),
        (r"https://example.com\", "the URL would be read differently by different parsers: backslash"),
        (&long, "a URL of 2068 bytes is longer than 2048 bytes"),
    ];
    for (url, text) in urls {
        assert_eq!(EndpointUrl::parse(url, &policy).unwrap_err().to_string(), text);
    }
    #[rustfmt::skip]
    let answers = [
        ("8.8.8.8 10.0.0.1", "10.0.0.1 (an address of hooks.example.com) is in 10.0.0.0/8 (Private use, RFC 1918)"),
        ("", "hooks.example.com has no address"),
    ];
    for (list, text) in answers {
        let refusal = policy.judge_resolved("hooks.example.com", &ips(list)).unwrap_err();
        assert_eq!(refusal.to_string(), text);
    }
    let elsewhere = AddressPolicy::local().judge_resolved("localhost", &ips("8.8.8.8")).unwrap_err();
    assert_eq!(
        elsewhere.to_string(),
        "8.8.8.8 (an address of localhost) is not the loopback address that this name must have (RFC 6761 §6.3)"
    );
}
