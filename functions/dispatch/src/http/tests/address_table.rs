//! The table of the address policy, held against what sends: no case of it that is refused gets as far as a connection.

#[path = "../../../../../shared/domain/src/address/tests/cases.rs"]
mod cases;

use futures::future::join_all;

use self::cases::{ADDRESSES, LITERAL_HOSTS, NAMES, OK, URLS};
use super::*;

const PUBLIC: [u8; 4] = [93, 184, 215, 14];

/// A sender of production. What it asks names for is refused an answer, which tells that the URL was not refused, and that
/// nothing is connected to.
fn asking_nobody() -> HttpSender {
    production(Arc::new(|_| std::future::ready(Err(std::io::Error::other("asked"))).boxed()))
}

/// The id of the rule that refuses to send there.
async fn rule(sender: &HttpSender, url: &EndpointUrl) -> String {
    // A literal that is not refused would be connected to; so it is judged as the sender does, and left at that.
    if url.as_url().domain().is_none() && url.judge(&sender.stacks.policy).is_ok() {
        return OK.to_owned();
    }
    match post(sender, url.as_str(), SECOND).await.outcome {
        Outcome::Refused { rule, by, .. } => {
            assert_eq!(by, RefusedBy::Url, "{url}");
            rule
        }
        Outcome::Dns { detail } if detail.as_str().ends_with("asked") => OK.to_owned(),
        outcome => panic!("{url}: {outcome:?}"),
    }
}

/// Holds one case, as it would be stored, against the sender.
async fn hold(sender: &HttpSender, text: &str, expected: &str) {
    let Ok(stored) = EndpointUrl::from_stored(text) else {
        assert!(["malformed", "scheme"].contains(&expected), "{text:?}: {expected}");
        return;
    };
    let user = !stored.as_url().username().is_empty() || stored.as_url().password().is_some();
    let judged = rule(sender, &stored).await;
    match expected {
        // Only the spelling was refused. What is stored says the same as parsers agree on, and is judged by that.
        "ambiguous" => assert_ne!(stored.as_str(), text),
        "dot-segments" => assert_eq!((judged.as_str(), stored.as_str() == text), (OK, false), "{text:?}"),
        "user-info" if !user => assert_ne!(stored.as_str(), text),
        expected => assert_eq!(judged, expected, "{text:?}"),
    }
}

#[tokio::test]
async fn every_case_of_the_table_is_judged_so_by_what_sends() {
    let sender = &asking_nobody();
    join_all(URLS.iter().map(|(url, expected)| hold(sender, url, expected))).await;
    for (host, expected) in LITERAL_HOSTS.iter().chain(NAMES) {
        hold(sender, &format!("https://{host}/hook"), expected).await;
    }
    for (ip, expected) in ADDRESSES {
        let host = if ip.contains(':') { format!("[{ip}]") } else { (*ip).to_owned() };
        hold(sender, &format!("https://{host}:8443/hook"), expected).await;
    }
}

#[tokio::test]
async fn every_address_of_the_table_is_judged_so_where_a_name_has_it() {
    for (ip, expected) in ADDRESSES {
        let ip: IpAddr = ip.parse().unwrap();
        for addresses in [&[ip][..], &[PUBLIC.into(), ip], &[ip, PUBLIC.into()]] {
            if *expected == OK {
                let resolver = Resolver::new(AddressPolicy::production(), always(addresses));
                let connected: Vec<_> = addresses.iter().map(|ip| (*ip, 0).into()).collect();
                assert_eq!(resolver.addresses("hooks.example.com".to_owned()).await.unwrap(), connected);
                continue;
            }
            let outcome = post(&production(always(addresses)), "https://hooks.example.com/", SECOND).await.outcome;
            let Outcome::Refused { rule, by, detail } = outcome else { panic!("{addresses:?}: {outcome:?}") };
            assert_eq!((rule.as_str(), by), (*expected, RefusedBy::Addresses), "{addresses:?}");
            assert!(detail.as_str().contains("an address of hooks.example.com"), "{detail}");
        }
    }
}

#[tokio::test]
async fn the_stack_s_own_ingest_url_is_refused_and_a_listed_network_is_not() {
    let policy = AddressPolicy::production().of_stack_at("https://abc.lambda-url.us-east-1.on.aws/").unwrap();
    let policy = policy.allowing("10.1.0.0/16").unwrap();
    let tls = tls_config(RootCertStore::empty()).unwrap();
    let asked = Arc::new(|_| std::future::ready(Err(std::io::Error::other("asked"))).boxed());
    let sender = HttpSender::with(policy.clone(), tls, asked, LIMITS, Clock::system());
    for (url, expected) in [
        ("https://ABC.lambda-url.us-east-1.on.aws:443/v1/events", "own-url"),
        ("https://abc.lambda-url.us-east-1.on.aws./v1/events", "own-url"),
        ("https://other.lambda-url.us-east-1.on.aws/", OK),
        ("https://10.1.0.1/", OK),
        ("https://10.2.0.1/", "private-use"),
        ("https://orders.internal/", OK),
    ] {
        assert_eq!(rule(&sender, &EndpointUrl::from_stored(url).unwrap()).await, expected, "{url}");
    }
    for url in ["https://10.1.0.1/", "https://orders.internal/"] {
        let url = EndpointUrl::from_stored(url).unwrap();
        let exchange = sender.post(&url, SetBy::Tenant, &[], Vec::new(), SECOND).await;
        assert_eq!(kind(&exchange.outcome), "refused", "a listed network is closed to a tenant's URL: {exchange:?}");
    }
    let resolver = |ips: &[[u8; 4]]| {
        let addresses: Vec<IpAddr> = ips.iter().map(|ip| (*ip).into()).collect();
        Resolver::new(policy.clone(), always(&addresses)).addresses("orders.internal".to_owned())
    };
    assert!(resolver(&[[10, 1, 0, 1], [10, 1, 9, 9]]).await.is_ok(), "a private network has names of its own");
    for other in [[10, 2, 0, 1], PUBLIC, [127, 0, 0, 1], [169, 254, 169, 254]] {
        assert!(resolver(&[[10, 1, 0, 1], other]).await.is_err(), "{other:?}");
    }
}
