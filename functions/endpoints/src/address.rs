//! Whether requests may go to an endpoint, asked when it is registered, changed or tested.
//!
//! A name is judged by its addresses too, so that a customer hears at once of a name that points into a private network,
//! and not at the first event. A name that does not resolve is accepted: it may later, and where deliveries are sent from
//! inside of a VPC, this function, which is outside, does not know the names that only the VPC knows. Nothing here makes
//! delivery safe; each attempt judges the addresses that it connects to.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl, OwnServer, Refusal, Rule};
use pombo_domain::endpoint::SetBy;
use pombo_domain::invalid::InvalidField;
use pombo_requests::Rules;
use pombo_requests::fields::refused;
use pombo_web::{Caller, Request};

/// How long a name server may take; a name that needs longer counts as one that does not resolve.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that knows the addresses of names.
pub trait Resolve {
    /// The addresses of a host name.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await??;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Refuses a URL that is not delivered to, or whose name has an address that is not. The URL may have been accepted long
/// ago, under another policy. A caller that is bound to a tenant is not told the address.
pub async fn check(
    url: &EndpointUrl,
    rules: &Rules,
    caller: &Caller,
    set_by: SetBy,
    resolver: &impl Resolve,
) -> Result<(), InvalidField> {
    let judged = judge(url, &rules.addresses.for_url_set_by(set_by), resolver).await;
    judged.map_err(|refusal| match caller.tenant {
        None => refused(&refusal),
        Some(_) => refused(&refusal.without_address()),
    })
}

/// The URL's own rules, and those of the addresses of its name.
async fn judge(url: &EndpointUrl, policy: &AddressPolicy, resolver: &impl Resolve) -> Result<(), Refusal> {
    url.judge(policy)?;
    // A literal address was judged with the URL.
    let Some(host) = url.as_url().domain() else { return Ok(()) };
    let Ok(addresses) = resolver.resolve(host).await else { return Ok(()) };
    match policy.judge_resolved(host, &addresses) {
        Err(Refusal { rule: Rule::NoAddress, .. }) | Ok(()) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Refuses a URL that leads to where this request came in: the endpoints URL itself, which the function's settings cannot
/// name. Lambda takes a request for the host that its `host` names, so that a caller who lies gets no answer from here.
pub fn not_here(url: &EndpointUrl, request: &Request) -> Result<(), InvalidField> {
    let here = request.header("host").and_then(|host| host.parse::<OwnServer>().ok());
    here.map_or(Ok(()), |here| url.judge_own(&here).map_err(|refusal| refused(&refusal)))
}

#[cfg(test)]
#[path = "../../../shared/domain/src/address/tests/cases.rs"]
mod cases;

#[cfg(test)]
mod tests {
    use pombo_requests::fields;

    use super::cases::{ADDRESSES, LITERAL_HOSTS, NAMES, OK, URLS};
    use super::*;
    use crate::samples;

    struct Answers(io::Result<Vec<IpAddr>>);

    impl Resolve for Answers {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            match &self.0 {
                Ok(addresses) => Ok(addresses.clone()),
                Err(error) => Err(error.kind().into()),
            }
        }
    }

    fn answers(addresses: &[&str]) -> Answers {
        Answers(Ok(addresses.iter().map(|address| address.parse().unwrap()).collect()))
    }

    /// What a new endpoint, or a new URL of one, goes through.
    async fn registered(text: &str, addresses: &[&str]) -> Result<EndpointUrl, InvalidField> {
        let policy = AddressPolicy::production();
        let url = fields::public_url(text, &policy)?;
        judged(&url, &policy, answers(addresses)).await?;
        Ok(url)
    }

    /// What an endpoint that is there goes through before a test.
    async fn tested(text: &str, addresses: &[&str]) -> Result<(), InvalidField> {
        let Ok(url) = EndpointUrl::from_stored(text) else { return Err(refused(&refusal(text))) };
        judged(&url, &AddressPolicy::production(), answers(addresses)).await
    }

    fn refusal(text: &str) -> Refusal {
        EndpointUrl::parse(text, &AddressPolicy::production()).unwrap_err()
    }

    /// Whether a user or a password stays in the URL when it is normalised.
    fn says_user(text: &str) -> bool {
        EndpointUrl::from_stored(text)
            .is_ok_and(|url| !url.as_url().username().is_empty() || url.as_url().password().is_some())
    }

    /// Holds one case, whose name resolves to a public address, against both.
    async fn hold(text: &str, expected: &str) {
        let public = ["93.184.215.14"];
        let (registered, tested) = (registered(text, &public).await, tested(text, &public).await);
        if expected == OK {
            assert!(registered.is_ok() && tested.is_ok(), "{text:?}: {registered:?} {tested:?}");
            return;
        }
        let refusal = refusal(text);
        assert_eq!(refusal.rule.id(), expected, "{text:?}");
        assert_eq!(registered, Err(refused(&refusal)), "{text:?}");
        // Where only the spelling was refused, what is stored says the same as parsers agree on, and is judged by that.
        let only_spelling = ["ambiguous", "user-info", "dot-segments"].contains(&expected) && !says_user(text);
        if only_spelling {
            let normal = EndpointUrl::from_stored(text).unwrap();
            let judged = EndpointUrl::parse(normal.as_str(), &AddressPolicy::production());
            assert_eq!(tested, judged.map(drop).map_err(|refusal| refused(&refusal)), "{text:?}");
        } else {
            assert_eq!(tested, Err(refused(&refusal)), "{text:?}");
        }
    }

    #[tokio::test]
    async fn every_case_of_the_table_is_judged_so_at_registration_and_before_a_test() {
        for (url, expected) in URLS {
            hold(url, expected).await;
        }
        for (host, expected) in LITERAL_HOSTS.iter().chain(NAMES) {
            hold(&format!("https://{host}/hook"), expected).await;
        }
        for (ip, expected) in ADDRESSES {
            let host = if ip.contains(':') { format!("[{ip}]") } else { (*ip).to_owned() };
            hold(&format!("https://{host}:8443/hook"), expected).await;
        }
    }

    #[tokio::test]
    async fn every_address_of_the_table_is_judged_so_where_a_name_has_it() {
        const URL: &str = "https://hooks.example.com/";
        for (ip, expected) in ADDRESSES {
            for addresses in [&[*ip][..], &["93.184.215.14", *ip], &[*ip, "93.184.215.14"]] {
                let judged = [registered(URL, addresses).await.map(drop), tested(URL, addresses).await];
                if *expected == OK {
                    assert_eq!(judged, [Ok(()), Ok(())], "{addresses:?}");
                } else {
                    let all: Vec<_> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
                    let policy = AddressPolicy::production();
                    let refusal = policy.judge_resolved("hooks.example.com", &all).unwrap_err();
                    assert_eq!(refusal.rule.id(), *expected, "{addresses:?}");
                    assert_eq!(judged, [Err(refused(&refusal)), Err(refused(&refusal))], "{addresses:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_endpoint_at_the_ingest_url_is_refused_and_named_a_loop() {
        let policy = AddressPolicy::production().of_stack_at("https://abc.lambda-url.us-east-1.on.aws/").unwrap();
        let url = "https://ABC.lambda-url.us-east-1.on.aws:443/v1/events";
        let error = fields::public_url(url, &policy).unwrap_err();
        assert!(
            error.field == "url" && error.rule.contains("each delivery would come back as a call of Pombo"),
            "{error:?}"
        );
        let stored = EndpointUrl::from_stored(url).unwrap();
        assert_eq!(judged(&stored, &policy, answers(&["93.184.215.14"])).await, Err(error));
    }

    #[tokio::test]
    async fn a_listed_network_takes_any_name_that_is_all_in_it_or_does_not_resolve_here() {
        let policy = AddressPolicy::production().allowing("10.1.0.0/16").unwrap();
        for url in ["https://orders.internal/", "https://orders/", "https://orders.example.com:8443/"] {
            for listed in [&["10.1.0.1"][..], &["10.1.0.1", "10.1.255.255"], &[]] {
                assert_eq!(judged_text(url, &policy, answers(listed)).await, Ok(()), "{url} at {listed:?}");
            }
            for other in [&["10.2.0.1"][..], &["10.1.0.1", "10.2.0.1"], &["10.1.0.1", "127.0.0.1"]] {
                assert!(judged_text(url, &policy, answers(other)).await.is_err(), "{url} at {other:?}");
            }
        }
        assert!(judged_text("https://orders.internal/", &policy, answers(&["93.184.215.14"])).await.is_err());
    }

    async fn judged_text(url: &str, policy: &AddressPolicy, resolver: Answers) -> Result<(), InvalidField> {
        judged(&EndpointUrl::parse(url, policy).unwrap(), policy, resolver).await
    }

    /// As the stack's callers are told.
    async fn judged(url: &EndpointUrl, policy: &AddressPolicy, resolver: Answers) -> Result<(), InvalidField> {
        let rules = Rules { addresses: policy.clone(), ..samples::rules() };
        check(url, &rules, &samples::caller(None), SetBy::Stack, &resolver).await
    }

    #[tokio::test]
    async fn a_tenant_is_told_neither_the_address_nor_its_network() {
        let rules =
            Rules { addresses: AddressPolicy::production().allowing("10.1.0.0/16").unwrap(), ..samples::rules() };
        let url = EndpointUrl::from_stored("https://hooks.example.com/").unwrap();
        for addresses in [&["10.1.0.1"][..], &["10.2.0.1"], &["fd00::1"], &["93.184.215.14", "100.64.0.1"]] {
            let told = |tenant, set_by| {
                let (caller, rules, url) = (samples::caller(tenant), &rules, &url);
                async move { check(url, rules, &caller, set_by, &answers(addresses)).await }
            };
            let rule = "must be a public https URL: hooks.example.com has an address that is not public".to_owned();
            let expected = Err(InvalidField { field: "url".to_owned(), rule });
            assert_eq!(told(Some("acme"), SetBy::Tenant).await, expected, "{addresses:?}");
            if addresses != ["10.1.0.1"] {
                assert_eq!(told(Some("acme"), SetBy::Stack).await, expected, "{addresses:?}");
                assert!(told(None, SetBy::Stack).await.unwrap_err().rule.contains("(an address of"), "{addresses:?}");
            }
        }
    }

    #[tokio::test]
    async fn one_refused_address_refuses_the_name_and_says_why() {
        let policy = AddressPolicy::production();
        for addresses in [&["10.0.0.1"][..], &["93.184.215.14", "10.0.0.1"], &["::1"], &["169.254.169.254"]] {
            let error = judged_text("https://example.com/", &policy, answers(addresses)).await.unwrap_err();
            assert_eq!(error.field, "url");
            assert!(error.rule.contains("an address of example.com"), "{}", error.rule);
        }
        assert_eq!(judged_text("https://example.com/", &policy, answers(&["93.184.215.14"])).await, Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_yet_is_accepted() {
        let policy = AddressPolicy::production();
        assert_eq!(judged_text("https://example.com/", &policy, answers(&[])).await, Ok(()));
        let failed = Answers(Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(judged_text("https://example.com/", &policy, failed).await, Ok(()));
    }

    #[tokio::test]
    async fn a_literal_address_asks_no_resolver() {
        let policy = AddressPolicy::production();
        assert_eq!(judged_text("https://93.184.215.14/", &policy, answers(&["10.0.0.1"])).await, Ok(()));
    }

    #[tokio::test]
    async fn the_local_stack_may_use_loopback_and_nothing_else() {
        let policy = AddressPolicy::local();
        assert_eq!(judged_text("http://localhost:8080/", &policy, answers(&["127.0.0.1", "::1"])).await, Ok(()));
        assert!(judged_text("http://localhost:8080/", &policy, answers(&["10.0.0.1"])).await.is_err());
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_this_machine() {
        let addresses = SystemResolver.resolve("localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }

    #[test]
    fn the_host_that_a_request_came_to_is_no_endpoints() {
        let url = |text: &str| EndpointUrl::from_stored(text).unwrap();
        for (host, at, refused) in [
            ("abc.lambda-url.us-east-1.on.aws", "https://abc.lambda-url.us-east-1.on.aws/v1/endpoints", true),
            ("abc.lambda-url.us-east-1.on.aws", "https://ABC.lambda-url.us-east-1.on.aws.:8443/", true),
            ("abc.lambda-url.us-east-1.on.aws", "https://abd.lambda-url.us-east-1.on.aws/", false),
            ("127.0.0.1:4566", "http://127.0.0.1:4566/x", true),
            ("127.0.0.1:4566", "http://127.0.0.1:9000/x", false),
            ("no host", "https://example.com/", false),
            ("", "https://example.com/", false),
        ] {
            let mut request = crate::samples::request("");
            request.headers.insert("host".into(), host.into());
            let judged = not_here(&url(at), &request).map_err(|field| field.field);
            assert_eq!(judged, if refused { Err("url".to_owned()) } else { Ok(()) }, "{host} {at}");
        }
        assert_eq!(not_here(&url("https://example.com/"), &crate::samples::request("")), Ok(()));
    }
}
