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
use pombo_web::{Caller, Method, Problem, Request};

use crate::Rules;
use crate::json::{Mistakes, Object, Value};

pub const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);

pub fn request(body: impl Into<Vec<u8>>) -> Request {
    Request {
        method: Method::Post,
        path: "/v1/things".into(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: body.into(),
        identity: None,
    }
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

/// A secret that begins with this byte.
pub fn secret(byte: u8) -> Secret {
    Secret::generate(std::array::from_fn(|index| byte.wrapping_add(index as u8)))
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

/// Reads a JSON value as the member `f` of an object; gives the fields that are wrong.
pub fn member<T>(
    value: &serde_json::Value,
    read: impl FnOnce(&Value<'_>) -> Result<T, Mistakes>,
) -> Result<T, Vec<String>> {
    let text = serde_json::json!({"f": value}).to_string();
    let mut object = Object::parse("", &text).unwrap();
    let member = object.required("f", read);
    match object.end() {
        Ok(()) => Ok(member.unwrap()),
        Err(mistakes) => Err(fields(&mistakes.into())),
    }
}

/// All fields that a problem names.
pub fn fields(problem: &Problem) -> Vec<String> {
    problem.errors.iter().map(|error| error.field.clone()).collect()
}

/// The status of a problem and the field that it names.
pub fn named(problem: &Problem) -> (u16, &str) {
    (problem.status, problem.errors.first().map_or("", |error| error.field.as_str()))
}
