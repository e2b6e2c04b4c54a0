//! What an operator may write into the stack's settings, and what it does.

use super::cases::OK;
use super::*;

fn stack_at(servers: &str) -> AddressPolicy {
    AddressPolicy::production().of_stack_at(servers).unwrap()
}

#[test]
fn an_endpoint_at_the_stack_s_own_url_is_refused_in_every_spelling() {
    let policy = stack_at("https://abc123.lambda-url.eu-west-1.on.aws/,events.example.com");
    #[rustfmt::skip]
    let cases = [
        ("https://abc123.lambda-url.eu-west-1.on.aws/v1/events", "own-url"),
        ("https://abc123.lambda-url.eu-west-1.on.aws", "own-url"),
        ("https://ABC123.Lambda-URL.eu-west-1.on.aws/v1/events", "own-url"),
        ("https://abc123.lambda-url.eu-west-1.on.aws./v1/events", "own-url"),
        ("https://abc123.lambda-url.eu-west-1.on.aws%2e/v1/events", "own-url"),
        ("https://abc123.lambda-url.eu-west-1.on.aws:443/v1/events", "own-url"),
        ("https://abc123.lambda-url.eu-west-1.on.aws:8443/v1/events", "own-url"),
        ("https://ａｂｃ123.lambda-url.eu-west-1.on.aws/", "own-url"),
        ("https://abc123%2elambda-url.eu-west-1.on.aws/?x#y", "fragment"),
        ("https://events.example.com/anything", "own-url"),
        ("https://other456.lambda-url.eu-west-1.on.aws/v1/events", OK),
        ("https://abc123.lambda-url.us-east-1.on.aws/v1/events", OK),
        ("https://x.abc123.lambda-url.eu-west-1.on.aws/", OK),
        ("https://example.com/abc123.lambda-url.eu-west-1.on.aws/", OK),
    ];
    check(&cases, |text| id_of(EndpointUrl::parse(text, &policy)));
}

#[test]
fn a_stack_on_this_machine_is_one_port_of_it() {
    let policy = AddressPolicy::local().of_stack_at("127.0.0.1:4566, localhost:4566, http://[::1]:4566/x").unwrap();
    #[rustfmt::skip]
    let cases = [
        ("http://127.0.0.1:4566/_aws/lambda-url/abc123/v1/events", "own-url"),
        ("http://0x7f.1:4566/", "own-url"),
        ("http://LOCALHOST:4566/", "own-url"),
        ("http://[0:0::1]:4566/", "own-url"),
        ("http://127.0.0.1:4567/", OK),
        ("http://127.0.0.1/", OK),
        ("http://localhost:8080/", OK),
    ];
    check(&cases, |text| id_of(EndpointUrl::parse(text, &policy)));
}

#[test]
fn a_stored_url_that_has_become_the_stack_s_own_is_refused_when_it_is_judged_again() {
    let stored = EndpointUrl::from_stored("https://events.example.com/v1/events").unwrap();
    assert_eq!(id_of(stored.judge(&stack_at("https://abc123.lambda-url.eu-west-1.on.aws/"))), OK);
    let refusal =
        stored.judge(&stack_at("https://abc123.lambda-url.eu-west-1.on.aws/,events.example.com")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "events.example.com is this stack itself: each delivery would come back as a call of Pombo (No loops, RFC 8586 §1)"
    );
}

#[test]
fn an_own_server_reads_as_what_it_is() {
    for (given, shown) in [
        ("https://ABC.example.com/", "abc.example.com"),
        ("https://abc.example.com:443/v1", "abc.example.com"),
        ("abc.example.com.:8443", "abc.example.com:8443"),
        ("127.0.0.1:4566", "127.0.0.1:4566"),
    ] {
        assert_eq!(given.parse::<OwnServer>().unwrap().to_string(), shown);
    }
    for wrong in ["", ".", "https://", "data:,x", "a b", "https://a:99999", "file:///x"] {
        assert_eq!(wrong.parse::<OwnServer>(), Err(BadEntry::NoHost(wrong.to_owned())), "{wrong:?}");
    }
}

#[test]
fn a_list_of_networks_is_read_whole() {
    let policy = AddressPolicy::production().allowing(" 10.1.0.0/16 ,fd12:3456::/32,, 20.0.0.0/8,").unwrap();
    assert_eq!(policy.allowed, ["10.1.0.0/16", "fd12:3456::/32", "20.0.0.0/8"].map(|net| net.parse().unwrap()));
    assert_eq!(AddressPolicy::local().allowing("").unwrap(), AddressPolicy::local());
    assert_eq!(AddressPolicy::local().of_stack_at(",").unwrap(), AddressPolicy::local());
    for everything in ["0.0.0.0/0", "::/0"] {
        assert_eq!(AddressPolicy::production().allowing(everything).unwrap().allowed, [everything.parse().unwrap()]);
    }
}

#[test]
fn an_entry_that_cannot_be_meant_is_named() {
    let not_a_network =
        |entry: &str| format!("has {entry:?}, which is not a network as 10.1.0.0/16 or fd12:3456::/32 are");
    for entry in ["10.1.0.0", "10.1.0.0/33", "10.1/16", "fd12::/129", "example.com", "10.1.0.0/16 10.2.0.0/16", "*"] {
        let error = AddressPolicy::production().allowing(&format!("10.9.0.0/16,{entry}")).unwrap_err();
        assert_eq!(error.to_string(), not_a_network(entry));
    }
    for (entry, text) in [
        ("10.1.2.3/16", "has \"10.1.2.3/16\", which is not where a network begins: is 10.1.0.0/16 meant?"),
        (
            "127.0.0.0/8",
            "has a network that no list opens: 127.0.0.0/8 is in 127.0.0.0/8 (Loopback, RFC 1122 §3.2.1.3)",
        ),
        (
            "169.254.169.254/32",
            "has a network that no list opens: 169.254.169.254/32 is in 169.254.0.0/16 (Link local, RFC 3927)",
        ),
        (
            "::ffff:10.1.0.0/112",
            "has a network that no list opens: ::ffff:10.1.0.0/112 is in ::ffff:0.0.0.0/96 (IPv4-mapped, RFC 4291)",
        ),
        ("4000::/3", "has a network that no list opens: 4000::/3 is outside 2000::/3 (Global unicast, RFC 3587 §3)"),
    ] {
        assert_eq!(AddressPolicy::production().allowing(entry).unwrap_err().to_string(), text);
    }
}
