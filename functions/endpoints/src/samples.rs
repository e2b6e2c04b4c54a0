//! Values that the tests of several modules begin with.

use std::collections::BTreeMap;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::api_key::Scope;
use pombo_domain::endpoint::{Endpoint, EndpointStatus, SetBy};
use pombo_domain::headers::CustomHeaders;
use pombo_domain::ids::EndpointId;
use pombo_domain::retry::RetryPolicy;
use pombo_domain::signature::{Scheme, Schemes, Secret, Secrets};
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use pombo_requests::Rules;
use pombo_web::{Caller, Method, Problem, Request};

pub const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);

pub fn request(body: &str) -> Request {
    Request {
        method: Method::Post,
        path: "/v1/endpoints".into(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: body.as_bytes().to_vec(),
        identity: None,
    }
}

pub fn query(pairs: &[(&str, &str)]) -> Request {
    let query = pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
    Request { query, ..request("") }
}

pub fn caller(tenant: Option<&str>) -> Caller {
    Caller::without_key("k".into(), tenant.map(|tenant| tenant.parse().unwrap()), Scope::Admin)
}

pub fn rules() -> Rules {
    Rules {
        addresses: AddressPolicy::production(),
        retention: Duration::from_secs(30 * 86_400),
        longest_timeout: 30,
        keys_per_tenant: 100,
    }
}

pub fn secret(byte: u8) -> Secret {
    Secret::generate([byte; 32])
}

pub fn both() -> Schemes {
    vec![Scheme::V1, Scheme::V1a].try_into().unwrap()
}

pub fn endpoint() -> Endpoint {
    Endpoint {
        id: EndpointId::generate([1; 10]),
        tenant: "acme".parse().unwrap(),
        name: "first".into(),
        url: EndpointUrl::parse("https://example.com/hook", &AddressPolicy::production()).unwrap(),
        url_set_by: SetBy::Tenant,
        event_types: vec!["student.*".parse().unwrap()],
        headers: CustomHeaders::new(BTreeMap::from([("x-api-key".into(), "the receiver's own".into())])).unwrap(),
        retry_policy: RetryPolicy::Standard,
        timeout_seconds: 15,
        rate_limit: None,
        secrets: Secrets::new(secret(1), Timestamp::from_millis(1_700_000_000_000)),
        status: EndpointStatus::Active,
        pause: None,
        version: 4,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        updated_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: None,
        unknown: Unknown::none(),
    }
}

/// The status of a problem and the field that it names.
pub fn named(problem: &Problem) -> (u16, &str) {
    (problem.status, problem.errors.first().map_or("", |error| error.field.as_str()))
}
