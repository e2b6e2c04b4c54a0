//! The body of `POST /v1/endpoints`.

use pombo_domain::address::EndpointUrl;
use pombo_domain::endpoint::{DEFAULT_TIMEOUT_SECONDS, Endpoint, EndpointStatus, SetBy};
use pombo_domain::event_type::Pattern;
use pombo_domain::headers::CustomHeaders;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::invalid::Invalid;
use pombo_domain::rate_limit::{PerSecond, RateLimit};
use pombo_domain::retry::RetryPolicy;
use pombo_domain::signature::{Scheme, Schemes, Secret, Secrets};
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use pombo_web::{Caller, Problem, Request};

use crate::json::Value;
use crate::{Rules, body, fields, set_by};

/// The version of an endpoint that was never changed.
const FIRST_VERSION: u64 = 1;

/// An endpoint that keeps every rule, but for what its name resolves to.
#[derive(Debug)]
pub struct NewEndpoint {
    /// Whose it will be.
    pub tenant: TenantId,
    name: String,
    /// Where requests will go.
    pub url: EndpointUrl,
    /// Who sets it.
    pub url_set_by: SetBy,
    event_types: Vec<Pattern>,
    headers: CustomHeaders,
    retry_policy: RetryPolicy,
    timeout_seconds: u32,
    rate_limit: Option<PerSecond>,
    /// Its secret, if the receiver chose it.
    pub secret: Option<Secret>,
    signatures: Schemes,
}

impl NewEndpoint {
    /// What a body asks for, under the rules of the stack.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule, 403 for a tenant that the caller may not act for.
    pub fn read(request: &Request, caller: &Caller, rules: &Rules) -> Result<Self, Problem> {
        let mut body = body::object(request)?;
        let addresses = rules.addresses_for(caller);
        let url = body.required("url", |value| fields::url(value, &addresses));
        let event_types = body.required("event_types", fields::event_types);
        let tenant = body.optional("tenant", Value::parsed);
        let name = body.optional("name", fields::name);
        let headers = body.optional("headers", fields::headers);
        let retry_policy = body.optional("retry_policy", |value| fields::retry_policy(value, rules.retention));
        let timeout = body.optional("timeout_seconds", |value| fields::timeout_seconds(value, rules.longest_timeout));
        let rate_limit = body.optional("rate_limit", fields::per_second);
        let secret = body.optional("secret", fields::secret);
        let signatures = body.optional("signatures", fields::signatures).map(Option::unwrap_or_default);
        if secret != Ok(None) && signatures.as_ref().is_ok_and(|schemes| !schemes.contains(Scheme::V1)) {
            body.note("secret", Invalid::rule("must be left out where v1 is not among the signatures"));
        }
        body.end()?;
        let (tenant, event_types) = (tenant_of(caller, tenant?)?, event_types?);
        fields::subscribable(&event_types, &tenant)?;
        Ok(Self {
            tenant,
            name: name?.unwrap_or_default(),
            url: url?,
            url_set_by: set_by(caller),
            event_types,
            headers: headers?.unwrap_or_default(),
            retry_policy: retry_policy?.unwrap_or_default(),
            timeout_seconds: timeout?.unwrap_or(DEFAULT_TIMEOUT_SECONDS.min(rules.longest_timeout)),
            rate_limit: rate_limit?,
            secret: secret?,
            signatures: signatures?,
        })
    }

    /// The endpoint, with a secret and what a first key is made from.
    pub fn into_endpoint(self, id: EndpointId, secret: Secret, key: [u8; 32], now: Timestamp) -> Endpoint {
        Endpoint {
            id,
            tenant: self.tenant,
            name: self.name,
            url: self.url,
            url_set_by: self.url_set_by,
            event_types: self.event_types,
            headers: self.headers,
            retry_policy: self.retry_policy,
            timeout_seconds: self.timeout_seconds,
            rate_limit: self.rate_limit.map(|per_second| RateLimit { per_second, since: FIRST_VERSION }),
            secrets: Secrets::new(secret, now).with_signatures(self.signatures, key, now),
            status: EndpointStatus::Active,
            pause: None,
            version: FIRST_VERSION,
            created_at: now,
            updated_at: now,
            expires_at: None,
            unknown: Unknown::none(),
        }
    }
}

/// The tenant of the new endpoint, if the caller may register one for it.
fn tenant_of(caller: &Caller, named: Option<TenantId>) -> Result<TenantId, Problem> {
    let tenant = caller.tenant_for(named)?;
    if tenant.is_reserved() && caller.tenant.is_some() {
        return Err(Problem::new(403, "Endpoints of the tenant pombo need an API key for the whole stack."));
    }
    Ok(tenant)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pombo_domain::address::AddressPolicy;
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{self, NOW};

    fn read(body: &str, tenant: Option<&str>) -> Result<NewEndpoint, Problem> {
        NewEndpoint::read(&samples::request(body), &samples::caller(tenant), &samples::rules())
    }

    /// A right body with one field replaced, or left out by `null`.
    fn with(field: &str, value: Value) -> String {
        let mut body = json!({"url": "https://example.com/hook", "event_types": ["student.*"]});
        body[field] = value;
        body.to_string()
    }

    #[test]
    fn what_is_not_given_has_a_default() {
        let new = read(&with("name", Value::Null), None).unwrap();
        assert_eq!((new.tenant.as_str(), new.name.as_str(), new.timeout_seconds), ("default", "", 15));
        assert_eq!(
            (new.retry_policy, new.headers, new.secret),
            (RetryPolicy::Standard, CustomHeaders::default(), None)
        );
    }

    #[test]
    fn the_default_deadline_keeps_to_the_stacks_longest() {
        let rules = Rules {
            addresses: AddressPolicy::production(),
            retention: Duration::from_secs(30 * 86_400),
            longest_timeout: 5,
            keys_per_tenant: 1,
        };
        let request = samples::request(with("name", Value::Null));
        assert_eq!(NewEndpoint::read(&request, &samples::caller(None), &rules).unwrap().timeout_seconds, 5);
    }

    #[test]
    fn every_field_is_taken() {
        let imported = samples::secret(7);
        let body = json!({
            "url": "https://example.com/hook", "event_types": ["a", "b.*"], "tenant": "acme", "name": "n",
            "headers": {"X-Api-Key": "k"}, "retry_policy": {"delays_seconds": [1, 2.5]}, "timeout_seconds": 30,
            "secret": imported.reveal(), "signatures": ["v1", "v1a"],
        });
        let endpoint = read(&body.to_string(), None).unwrap().into_endpoint(
            EndpointId::generate([1; 10]),
            imported.clone(),
            [9; 32],
            NOW,
        );
        assert_eq!((endpoint.tenant.as_str(), endpoint.name.as_str(), endpoint.version), ("acme", "n", 1));
        assert_eq!(endpoint.headers.reveal().collect::<Vec<_>>(), [("x-api-key", "k")]);
        assert_eq!((endpoint.timeout_seconds, endpoint.status), (30, EndpointStatus::Active));
        assert_eq!(json!(endpoint.retry_policy), json!({"delays_seconds": [1, 2.5]}));
        assert_eq!(endpoint.secrets, Secrets::new(imported, NOW).with_signatures(samples::both(), [9; 32], NOW));
        assert_eq!((endpoint.created_at, endpoint.updated_at, endpoint.expires_at), (NOW, NOW, None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (field, value, named) in [
            ("url", Value::Null, "url"),
            ("url", json!(7), "url"),
            ("url", json!("http://example.com/"), "url"),
            ("url", json!("https://127.0.0.1/"), "url"),
            ("event_types", Value::Null, "event_types"),
            ("event_types", json!("a"), "event_types"),
            ("event_types", json!([]), "event_types"),
            ("event_types", json!(["a", "a b"]), "event_types[1]"),
            ("event_types", json!(["a", "b", "a"]), "event_types[2]"),
            ("event_types", json!(vec!["a"; 33]), "event_types"),
            ("tenant", json!("a b"), "tenant"),
            ("tenant", json!(""), "tenant"),
            ("tenant", json!({"id": "a"}), "tenant"),
            ("name", json!("a\tb"), "name"),
            ("name", json!("x".repeat(101)), "name"),
            ("headers", json!([]), "headers"),
            ("headers", json!({"host": "x"}), "headers.host"),
            ("headers", json!({"webhook-id": "x"}), "headers.webhook-id"),
            ("headers", json!({"x-key": 7}), "headers.x-key"),
            ("headers", json!({"x-key": ""}), "headers.x-key"),
            ("headers", json!({"x-key": "********"}), "headers.x-key"),
            ("headers", json!({"a b": "x"}), "headers.a b"),
            ("retry_policy", json!("slow"), "retry_policy"),
            ("retry_policy", json!({"delays_seconds": [0]}), "retry_policy.delays_seconds"),
            ("timeout_seconds", json!("15"), "timeout_seconds"),
            ("timeout_seconds", json!(0), "timeout_seconds"),
            ("timeout_seconds", json!(31), "timeout_seconds"),
            ("timeout_seconds", json!(1.5), "timeout_seconds"),
            ("rate_limit", json!("10"), "rate_limit"),
            ("rate_limit", json!(0), "rate_limit"),
            ("rate_limit", json!(501), "rate_limit"),
            ("rate_limit", json!({"per_second": 1}), "rate_limit"),
            ("secret", json!("whsec_short"), "secret"),
            ("secret", json!(Secret::generate([0; 32]).reveal()), "secret"),
            ("secret", json!("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "secret"),
            ("signatures", json!([]), "signatures"),
            ("signatures", json!("v1"), "signatures"),
            ("signatures", json!(["v1", "v1"]), "signatures"),
            ("signatures", json!(["v1", "v2"]), "signatures[1]"),
            ("id", json!("ep_aeaqcaibaeaqcaib"), "id"),
            ("status", json!("paused"), "status"),
        ] {
            let problem = read(&with(field, value.clone()), None).unwrap_err();
            assert_eq!(samples::named(&problem), (400, named), "{field} {value}: {problem:?}");
        }
        for (body, field) in [("{}", "url"), (r#"{"url":"https://example.com/"}"#, "event_types"), ("[]", "body")] {
            assert_eq!(samples::named(&read(body, None).unwrap_err()), (400, field), "{body}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let body = json!({
            "url": "example.com", "event_types": ["a", "a b", "c d"], "tenant": 7, "name": ["n"], "headers": {"host": "x", "x-a": 7},
            "retry_policy": {"delays_seconds": [], "jitter": 1}, "timeout_seconds": "15", "rate_limit": 0, "secret": "x",
            "signatures": ["v2"], "status": "paused",
        });
        assert_eq!(
            samples::fields(&read(&body.to_string(), None).unwrap_err()),
            [
                "url",
                "event_types[1]",
                "event_types[2]",
                "tenant",
                "name",
                "headers.x-a",
                "headers.host",
                "retry_policy.delays_seconds",
                "retry_policy.jitter",
                "timeout_seconds",
                "rate_limit",
                "secret",
                "signatures[0]",
                "status",
            ]
        );
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_at_every_level() {
        let right = r#""url":"https://example.com/","event_types":["*"]"#;
        for (more, field) in [
            (r#""url":"https://example.com/""#, "url"),
            (r#""headers":{"x-a":"1","x-a":"2"}"#, "headers.x-a"),
            (r#""headers":{"x-a":"1","X-A":"2"}"#, "headers.X-A"),
            (r#""headers":{},"headers":{}"#, "headers"),
            (r#""retry_policy":{"delays_seconds":[1],"delays_seconds":[2]}"#, "retry_policy.delays_seconds"),
        ] {
            let problem = read(&format!("{{{right},{more}}}"), None).unwrap_err();
            assert_eq!(samples::named(&problem), (400, field), "{more}: {problem:?}");
            assert!(problem.errors[0].rule.starts_with("must be given once"), "{problem:?}");
        }
    }

    #[test]
    fn a_listed_network_is_open_to_the_stacks_keys_alone() {
        let rules =
            Rules { addresses: AddressPolicy::production().allowing("10.1.0.0/16").unwrap(), ..samples::rules() };
        for url in ["https://10.1.2.3/", "https://orders.internal/", "https://orders/"] {
            let body = json!({"url": url, "event_types": ["*"]}).to_string();
            let read = |tenant| NewEndpoint::read(&samples::request(&*body), &samples::caller(tenant), &rules);
            assert_eq!(read(None).unwrap().url_set_by, SetBy::Stack, "{url}");
            assert_eq!(samples::named(&read(Some("acme")).unwrap_err()), (400, "url"), "{url}");
        }
    }

    #[test]
    fn a_limit_is_there_from_the_first_version_on() {
        let limit = |given| {
            let new = read(&with("rate_limit", given), None).unwrap();
            new.into_endpoint(EndpointId::generate([1; 10]), samples::secret(7), [9; 32], NOW).rate_limit
        };
        assert_eq!(limit(Value::Null), None);
        assert_eq!(limit(json!(0.5)), Some(RateLimit { per_second: PerSecond::new(0.5).unwrap(), since: 1 }));
    }

    #[test]
    fn a_secret_is_for_v1() {
        let body = |signatures: Value| {
            let secret = samples::secret(1).reveal();
            json!({"url": "https://example.com/", "event_types": ["*"], "secret": secret, "signatures": signatures})
                .to_string()
        };
        assert!(read(&body(json!(["v1a", "v1"])), None).is_ok());
        assert_eq!(samples::named(&read(&body(json!(["v1a"])), None).unwrap_err()), (400, "secret"));
    }

    #[test]
    fn a_refused_secret_is_not_in_the_answer() {
        let problem = read(&with("secret", json!("whsec_c2VjcmV0")), None).unwrap_err();
        assert!(!format!("{problem:?}").contains("c2VjcmV0"), "{problem:?}");
    }

    #[test]
    fn a_subscription_that_its_tenant_can_never_meet_is_refused() {
        for (tenant, event_types, expected) in [
            ("acme", json!(["student.*", "pombo.delivery.failed"]), Some("event_types[1]")),
            ("acme", json!(["pombo.*"]), Some("event_types[0]")),
            ("pombo", json!(["student.created"]), Some("event_types[0]")),
            ("pombo", json!(["pombo.delivery.failed"]), None),
            ("acme", json!(["*"]), None),
        ] {
            let body = json!({"url": "https://example.com/hook", "event_types": event_types, "tenant": tenant});
            let refused = read(&body.to_string(), None).err();
            let field = refused.as_ref().map(|problem| samples::named(problem).1);
            assert_eq!(field, expected, "{event_types} of {tenant}");
        }
    }

    #[test]
    fn tenants_are_kept_apart_and_pombos_own_is_for_the_stack() {
        for (callers, named, status) in [
            (None, "acme", 0),
            (None, "pombo", 0),
            (Some("acme"), "acme", 0),
            (Some("acme"), "other", 403),
            (Some("pombo"), "pombo", 403),
        ] {
            let body = json!({"url": "https://example.com/hook", "event_types": ["*"], "tenant": named});
            let answer = read(&body.to_string(), callers).map_or_else(|problem| problem.status, |_| 0);
            assert_eq!(answer, status, "{callers:?} for {named}");
        }
        assert_eq!(read(&with("name", Value::Null), Some("acme")).unwrap().tenant.as_str(), "acme");
    }
}
