//! The body of `PATCH /v1/endpoints/{id}`.
//!
//! `headers`, like every field, is replaced as a whole: a header that is not given is gone. Their values are write-only,
//! so there is nothing to merge with that the caller could see.

use pombo_domain::address::EndpointUrl;
use pombo_domain::endpoint::{Endpoint, SetBy};
use pombo_domain::event_type::Pattern;
use pombo_domain::headers::CustomHeaders;
use pombo_domain::invalid::{Invalid, InvalidField};
use pombo_domain::rate_limit::{PerSecond, RateLimit};
use pombo_domain::retry::RetryPolicy;
use pombo_domain::signature::Schemes;
use pombo_domain::time::Timestamp;
use pombo_web::{Caller, Problem, Request};

use crate::{Rules, body, fields, set_by};

/// The fields to change, each of which keeps its rules.
#[derive(Debug, Default)]
pub struct Patch {
    /// The new URL, judged as far as that goes without resolving its name.
    pub url: Option<EndpointUrl>,
    /// Who sets it.
    set_by: SetBy,
    event_types: Option<Vec<Pattern>>,
    name: Option<String>,
    headers: Option<CustomHeaders>,
    retry_policy: Option<RetryPolicy>,
    timeout_seconds: Option<u32>,
    signatures: Option<Schemes>,
    /// A limit, or none any more.
    rate_limit: Option<Option<PerSecond>>,
}

impl Patch {
    /// Reads a body under the rules of the stack. `null` is refused, except for `rate_limit`, where it ends the limit.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule.
    pub fn read(request: &Request, caller: &Caller, rules: &Rules) -> Result<Self, Problem> {
        let mut body = body::object(request)?;
        let addresses = rules.addresses_for(caller);
        let url = body.given("url", |value| fields::url(value, &addresses));
        let event_types = body.given("event_types", fields::event_types);
        let name = body.given("name", fields::name);
        let headers = body.given("headers", fields::headers);
        let retry_policy = body.given("retry_policy", |value| fields::retry_policy(value, rules.retention));
        let timeout = body.given("timeout_seconds", |value| fields::timeout_seconds(value, rules.longest_timeout));
        let signatures = body.given("signatures", fields::signatures);
        let rate_limit = body.given("rate_limit", |value| match value.is_null() {
            true => Ok(None),
            false => fields::per_second(value).map(Some),
        });
        body.end()?;
        Ok(Self {
            url: url?,
            set_by: set_by(caller),
            event_types: event_types?,
            name: name?,
            headers: headers?,
            retry_policy: retry_policy?,
            timeout_seconds: timeout?,
            signatures: signatures?,
            rate_limit: rate_limit?,
        })
    }

    /// Checks the rules that depend on the endpoint.
    ///
    /// Headers are write-only, so they must not follow a URL that leads elsewhere: the new receiver would read them.
    pub fn check_for(&self, endpoint: &Endpoint) -> Result<(), InvalidField> {
        fields::subscribable(self.event_types.as_deref().unwrap_or_default(), &endpoint.tenant)?;
        let leads_elsewhere = self.url.as_ref().is_some_and(|url| !url.is_at_the_server_of(&endpoint.url));
        if leads_elsewhere && self.headers.is_none() && !endpoint.headers.is_empty() {
            let rule = "must be sent again when `url` changes to another host or port, since the headers that are there were \
                        given for the old one; {} sends none";
            return Err(Invalid::rule(rule).in_field("headers"));
        }
        Ok(())
    }

    /// The endpoint patched at `now`; should it need a first key for `v1a`, that is made from `key`.
    pub fn apply(&self, endpoint: &Endpoint, key: [u8; 32], now: Timestamp) -> Endpoint {
        let kept = endpoint.clone();
        Endpoint {
            url_set_by: self.url_set_by(endpoint),
            url: self.url.clone().unwrap_or(kept.url),
            event_types: self.event_types.clone().unwrap_or(kept.event_types),
            name: self.name.clone().unwrap_or(kept.name),
            headers: self.headers.clone().unwrap_or(kept.headers),
            retry_policy: self.retry_policy.clone().unwrap_or(kept.retry_policy),
            timeout_seconds: self.timeout_seconds.unwrap_or(kept.timeout_seconds),
            secrets: match &self.signatures {
                Some(signatures) => kept.secrets.with_signatures(signatures.clone(), key, now),
                None => kept.secrets,
            },
            rate_limit: self.rate_limit.map_or(kept.rate_limit, |given| limited(given, endpoint)),
            ..kept
        }
    }

    /// Who has set the URL of the patched endpoint. A tenant that sends a public URL as it is leaves it as it was set; the
    /// stack makes it its own. (A URL in a listed network is refused to a tenant before, as any new one is.)
    fn url_set_by(&self, endpoint: &Endpoint) -> SetBy {
        match &self.url {
            Some(url) if self.set_by == SetBy::Stack || *url != endpoint.url => self.set_by,
            _ => endpoint.url_set_by,
        }
    }
}

/// The limit of the endpoint's next version. One that stays as it was is no other limit, so that its slots stay too.
fn limited(given: Option<PerSecond>, endpoint: &Endpoint) -> Option<RateLimit> {
    let per_second = given?;
    let kept = endpoint.rate_limit.filter(|kept| kept.per_second == per_second);
    Some(kept.unwrap_or(RateLimit { per_second, since: endpoint.version + 1 }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples;

    fn read(body: &str) -> Result<Patch, Problem> {
        Patch::read(&samples::request(body), &samples::caller(None), &samples::rules())
    }

    fn patched(body: &str) -> Endpoint {
        read(body).unwrap().apply(&samples::endpoint(), [9; 32], samples::NOW)
    }

    #[test]
    fn a_url_is_the_stacks_until_a_tenant_sets_another_one() {
        let patched = |tenant, body: &str, endpoint: &Endpoint| {
            let patch = Patch::read(&samples::request(body), &samples::caller(tenant), &samples::rules()).unwrap();
            patch.apply(endpoint, [9; 32], samples::NOW).url_set_by
        };
        let of_the_stack = Endpoint { url_set_by: SetBy::Stack, ..samples::endpoint() };
        let of_a_tenant = Endpoint { url_set_by: SetBy::Tenant, ..samples::endpoint() };
        let same = json!({"url": samples::endpoint().url}).to_string();
        let other = r#"{"url":"https://example.org/"}"#;
        for (endpoint, tenant, body, expected) in [
            (&of_the_stack, Some("acme"), r#"{"name":"n"}"#, SetBy::Stack),
            (&of_the_stack, Some("acme"), &*same, SetBy::Stack),
            (&of_the_stack, Some("acme"), other, SetBy::Tenant),
            (&of_a_tenant, None, r#"{"name":"n"}"#, SetBy::Tenant),
            (&of_a_tenant, None, &*same, SetBy::Stack),
            (&of_a_tenant, None, other, SetBy::Stack),
        ] {
            assert_eq!(patched(tenant, body, endpoint), expected, "{tenant:?} {body} {:?}", endpoint.url_set_by);
        }
    }

    #[test]
    fn headers_do_not_follow_a_url_to_another_server() {
        let with_headers = samples::endpoint();
        let without = Endpoint { headers: CustomHeaders::default(), ..samples::endpoint() };
        let checked = |body: &str, endpoint: &Endpoint| read(body).unwrap().check_for(endpoint).map_err(|e| e.field);
        for (body, allowed) in [
            (r#"{"name":"n"}"#, true),
            (r#"{"url":"https://example.com/other?a=1"}"#, true),
            (r#"{"url":"https://example.com:443/other"}"#, true),
            (r#"{"url":"https://example.org/hook"}"#, false),
            (r#"{"url":"https://example.com:8443/hook"}"#, false),
            (r#"{"url":"https://example.org/hook","headers":{}}"#, true),
            (r#"{"url":"https://example.org/hook","headers":{"x-a":"1"}}"#, true),
        ] {
            let expected = if allowed { Ok(()) } else { Err("headers".to_owned()) };
            assert_eq!(checked(body, &with_headers), expected, "{body}");
            assert_eq!(checked(body, &without), Ok(()), "{body}");
        }
    }

    #[test]
    fn only_the_given_field_changes() {
        let before = samples::endpoint();
        type Edit = fn(Endpoint) -> Endpoint;
        let cases: [(&str, Edit); 7] = [
            (r#"{"name":"second"}"#, |endpoint| Endpoint { name: "second".into(), ..endpoint }),
            (r#"{"timeout_seconds":3}"#, |endpoint| Endpoint { timeout_seconds: 3, ..endpoint }),
            (r#"{"retry_policy":"fast"}"#, |endpoint| Endpoint { retry_policy: RetryPolicy::Fast, ..endpoint }),
            (r#"{"headers":{}}"#, |endpoint| Endpoint { headers: CustomHeaders::default(), ..endpoint }),
            (r#"{"event_types":["*"]}"#, |endpoint| Endpoint { event_types: vec!["*".parse().unwrap()], ..endpoint }),
            (r#"{"signatures":["v1","v1a"]}"#, |endpoint| Endpoint {
                secrets: endpoint.secrets.with_signatures(samples::both(), [9; 32], samples::NOW),
                ..endpoint
            }),
            (r#"{"url":"https://example.org/"}"#, |endpoint| Endpoint {
                url: EndpointUrl::from_stored("https://example.org/").unwrap(),
                url_set_by: SetBy::Stack,
                ..endpoint
            }),
        ];
        for (body, expected) in cases {
            assert_eq!(patched(body), expected(before.clone()), "{body}");
        }
    }

    #[test]
    fn a_subscription_that_its_tenant_can_never_meet_is_refused_where_it_is_given() {
        let field = |body: &str, tenant: &str| {
            let refused = read(body)
                .unwrap()
                .check_for(&Endpoint { tenant: tenant.parse().unwrap(), ..samples::endpoint() })
                .err();
            refused.map(|error| error.field)
        };
        let news = r#"{"event_types":["*","pombo.delivery.failed"]}"#;
        assert_eq!(field(news, "acme").as_deref(), Some("event_types[1]"));
        assert_eq!(field(news, "pombo"), None);
        assert_eq!(field(r#"{"event_types":["student.created"]}"#, "pombo").as_deref(), Some("event_types[0]"));
        assert_eq!(field(r#"{"name":"second"}"#, "pombo"), None, "what is there already is left alone");
    }

    #[test]
    fn headers_are_replaced_as_a_whole() {
        let after = patched(r#"{"headers":{"X-Other":"v"}}"#);
        assert_eq!(after.headers.reveal().collect::<Vec<_>>(), [("x-other", "v")]);
    }

    #[test]
    fn a_limit_begins_with_the_version_that_brings_it_and_null_ends_it() {
        let limit = |per_second, since| Some(RateLimit { per_second: PerSecond::new(per_second).unwrap(), since });
        assert_eq!(patched(r#"{"rate_limit":10}"#).rate_limit, limit(10.0, 5), "the sample is at version 4");
        let limited = Endpoint { rate_limit: limit(10.0, 2), ..samples::endpoint() };
        for (body, expected) in [
            (r#"{"rate_limit":20,"name":"x"}"#, limit(20.0, 5)),
            (r#"{"rate_limit":10.0,"name":"x"}"#, limit(10.0, 2)),
            (r#"{"rate_limit":null,"name":"x"}"#, None),
            (r#"{"name":"x"}"#, limit(10.0, 2)),
        ] {
            let changed = read(body).unwrap().apply(&limited, [9; 32], samples::NOW);
            assert_eq!(changed.rate_limit, expected, "{body}");
        }
        assert_eq!(read(r#"{"rate_limit":10}"#).unwrap().apply(&limited, [9; 32], samples::NOW), limited);
    }

    #[test]
    fn a_patch_that_changes_nothing_is_no_change() {
        for body in [
            "{}",
            r#"{"signatures":["v1"]}"#,
            r#"{"name":"first"}"#,
            r#"{"event_types":["student.*"],"timeout_seconds":15}"#,
        ] {
            assert_eq!(patched(body), samples::endpoint(), "{body}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once_and_what_is_there_twice() {
        let body = r#"{"url":null,"name":"\n","headers":{"x-a":"1","x-a":"2"},"id":"x","rate_limit":0,"name":"n"}"#;
        let fields = samples::fields(&read(body).unwrap_err());
        assert_eq!(fields, ["name", "url", "name", "headers.x-a", "rate_limit", "id"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (json!({"id": "ep_aeaqcaibaeaqcaib"}), "id"),
            (json!({"tenant": "acme"}), "tenant"),
            (json!({"status": "paused"}), "status"),
            (json!({"secret": samples::secret(1).reveal()}), "secret"),
            (json!({"version": 5}), "version"),
            (json!({"url": null}), "url"),
            (json!({"url": "https://10.0.0.1/"}), "url"),
            (json!({"event_types": null}), "event_types"),
            (json!({"event_types": []}), "event_types"),
            (json!({"event_types": ["*", "*"]}), "event_types[1]"),
            (json!({"name": null}), "name"),
            (json!({"name": "\n"}), "name"),
            (json!({"headers": null}), "headers"),
            (json!({"headers": {"x-api-key": "********"}}), "headers.x-api-key"),
            (json!({"headers": {"x-api-key": null}}), "headers.x-api-key"),
            (json!({"retry_policy": null}), "retry_policy"),
            (json!({"retry_policy": "never"}), "retry_policy"),
            (json!({"timeout_seconds": null}), "timeout_seconds"),
            (json!({"timeout_seconds": 31}), "timeout_seconds"),
            (json!({"signatures": null}), "signatures"),
            (json!({"signatures": []}), "signatures"),
            (json!({"signatures": ["v1b"]}), "signatures[0]"),
            (json!({"rate_limit": 0.001}), "rate_limit"),
            (json!({"rate_limit": false}), "rate_limit"),
            (json!([]), "body"),
        ] {
            let problem = read(&body.to_string()).unwrap_err();
            assert_eq!(samples::named(&problem), (400, field), "{body}: {problem:?}");
        }
        assert_eq!(read("").unwrap_err().status, 400);
    }
}
