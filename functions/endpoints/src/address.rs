//! What an endpoint's name resolves to when it is registered.
//!
//! The URL itself is judged when it is read. A name is judged by its addresses too, so that a customer hears at once of a
//! name that points into a private network, and not at the first event. A name that does not resolve is accepted: it may
//! later. Nothing here makes delivery safe; each attempt judges the addresses that it connects to.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl, Refusal, Rule};
use pombo_domain::invalid::InvalidField;

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

/// Refuses a URL whose name has an address that is not delivered to.
pub async fn check(url: &EndpointUrl, policy: &AddressPolicy, resolver: &impl Resolve) -> Result<(), InvalidField> {
    // A literal address was judged with the URL.
    let Some(host) = url.as_url().domain() else { return Ok(()) };
    let Ok(addresses) = resolver.resolve(host).await else { return Ok(()) };
    match policy.judge_resolved(host, &addresses) {
        Err(Refusal { rule: Rule::NoAddress, .. }) | Ok(()) => Ok(()),
        Err(refusal) => Err(refused(&refusal)),
    }
}

/// What the caller is told of a URL that the policy refuses.
pub fn refused(refusal: &Refusal) -> InvalidField {
    InvalidField { field: "url".to_owned(), rule: format!("must be a public https URL: {refusal}") }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    async fn judged(url: &str, policy: &AddressPolicy, resolver: Answers) -> Result<(), InvalidField> {
        check(&EndpointUrl::parse(url, policy).unwrap(), policy, &resolver).await
    }

    #[tokio::test]
    async fn one_refused_address_refuses_the_name_and_says_why() {
        let policy = AddressPolicy::production();
        for addresses in [&["10.0.0.1"][..], &["93.184.215.14", "10.0.0.1"], &["::1"], &["169.254.169.254"]] {
            let error = judged("https://example.com/", &policy, answers(addresses)).await.unwrap_err();
            assert_eq!(error.field, "url");
            assert!(error.rule.contains("an address of example.com"), "{}", error.rule);
        }
        assert_eq!(judged("https://example.com/", &policy, answers(&["93.184.215.14"])).await, Ok(()));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_yet_is_accepted() {
        let policy = AddressPolicy::production();
        assert_eq!(judged("https://example.com/", &policy, answers(&[])).await, Ok(()));
        let failed = Answers(Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(judged("https://example.com/", &policy, failed).await, Ok(()));
    }

    #[tokio::test]
    async fn a_literal_address_asks_no_resolver() {
        let policy = AddressPolicy::production();
        assert_eq!(judged("https://93.184.215.14/", &policy, answers(&["10.0.0.1"])).await, Ok(()));
    }

    #[tokio::test]
    async fn the_local_stack_may_use_loopback_and_nothing_else() {
        let policy = AddressPolicy::local();
        assert_eq!(judged("http://localhost:8080/", &policy, answers(&["127.0.0.1", "::1"])).await, Ok(()));
        assert!(judged("http://localhost:8080/", &policy, answers(&["10.0.0.1"])).await.is_err());
    }

    #[tokio::test]
    async fn the_systems_resolver_knows_this_machine() {
        let addresses = SystemResolver.resolve("localhost").await.unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }
}
