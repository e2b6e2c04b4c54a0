//! The bodies of the calls of the endpoints URL, its direct invocation, and what a receiver asks for.
//!
//! What is accepted is stored, and dispatch and ingest must be able to read and use it, however long ago that was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::api_key::Scope;
use pombo_domain::delivery::Step;
use pombo_domain::endpoint::{Endpoint, EndpointStatus};
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::Outcome;
use pombo_domain::retry::{Decision, Jitter, decide};
use pombo_domain::routing::MOST_PATTERNS;
use pombo_domain::signature::{LONGEST_GRACE, Secret};
use pombo_domain::time::Timestamp;
use pombo_requests::{Missed, MissedRequest, NewEndpoint, NewKey, Patch, RotationOrder, Rules, nothing};
use pombo_web::{Caller, Method, Request};

use crate::requests::problem;
use crate::{LONGEST_ERROR, reads_back, shape};

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);
const DAY: Duration = Duration::from_secs(86_400);

static RULES: LazyLock<Rules> = LazyLock::new(|| Rules {
    addresses: AddressPolicy::production(),
    retention: DAY * 30,
    longest_timeout: 30,
    keys_per_tenant: 100,
});

/// One body of each call, and one of each field.
pub fn seeds() -> Vec<String> {
    let secret = Secret::generate(std::array::from_fn(|place| place as u8)).reveal();
    [
        r#"{"url":"https://example.com/hook","event_types":["student.*","a.b"],"tenant":"acme","name":"é","headers":{"X-Api-Key":"k"},"retry_policy":{"delays_seconds":[1,2.5,604800]},"timeout_seconds":30,"rate_limit":0.5,"signatures":["v1","v1a"]}"#,
        r#"{"url":"https://[2606:4700::1111]:8443/","event_types":["*"],"retry_policy":"extended"}"#,
        r#"{"name":"second","headers":{},"rate_limit":null,"timeout_seconds":3}"#,
        r#"{"grace_hours":168,"signatures":["v1a"]}"#,
        r#"{"missed":"replay"}"#,
        r#"{"name":"n","scopes":["ingest","ops","admin"],"tenant":"acme","expires_at":"2027-01-01T00:00:00Z"}"#,
        r#"{"create_admin_key":{"name":"first"}}"#,
        r#"{"create_admin_key":{"name":"first"},"requestContext":{}}"#,
        r#"{"type":"pombo.missed.request","endpoint":"ep_aaaaaaaaaaaaaaaa","since":"2026-01-31T09:00:00Z","replay":true}"#,
        r#"{"url":"example.com","event_types":["a b",7],"headers":{"x-a":"1","x-a":"2"},"name":null,"name":"n","more":1}"#,
        "\u{feff}{}",
        "{}",
        "",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!(r#"{{"url":"https://example.com/","event_types":["*"],"secret":"{secret}"}}"#),
        format!(r#"{{"secret":"{secret}","grace_hours":0}}"#),
    ])
    .collect()
}

/// Reads a text as the body of each call.
pub fn hold_for(text: &str) {
    let request = Request {
        method: Method::Post,
        path: "/v1/endpoints".into(),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body: text.as_bytes().to_vec(),
        identity: None,
    };
    for tenant in [None, Some("acme")] {
        let tenant = tenant.map(|tenant| tenant.parse().expect("a tenant"));
        registered(text, &request, &Caller::without_key("k".to_owned(), tenant, Scope::Admin));
    }
    patched(text, &request);
    match RotationOrder::read(&request) {
        Ok(order) => {
            assert!(order.grace <= LONGEST_GRACE);
            once_if_any(text);
        }
        Err(refusal) => problem(&refusal),
    }
    for read in [Missed::read(&request).map(drop), nothing(&request), MissedRequest::read(&request).map(drop)] {
        match read {
            Ok(()) => once_if_any(text),
            Err(refusal) => problem(&refusal),
        }
    }
    invoked(text);
}

/// A body that may be left out has each name once where it is not.
fn once_if_any(text: &str) {
    if !text.trim().is_empty() {
        shape::has_each_name_once(text);
    }
}

/// A new endpoint, and a new key.
fn registered(text: &str, request: &Request, caller: &Caller) {
    match NewEndpoint::read(request, caller, &RULES) {
        Ok(new) => {
            shape::has_each_name_once(text);
            assert!(caller.tenant.as_ref().is_none_or(|own| *own == new.tenant));
            let secret = new.secret.clone().unwrap_or_else(|| Secret::generate([1; 32]));
            sound(&new.into_endpoint(EndpointId::generate([3; 10]), secret, [9; 32], NOW));
        }
        Err(refusal) => problem(&refusal),
    }
    match NewKey::read(request, caller, NOW) {
        Ok(key) => {
            shape::has_each_name_once(text);
            named(&key);
            assert!(caller.tenant.is_none() || key.tenant == caller.tenant);
            assert!(key.valid_until.is_none_or(|end| end > NOW));
        }
        Err(refusal) => problem(&refusal),
    }
}

/// An endpoint that is changed stays one, and a patch made twice is one made once.
fn patched(text: &str, request: &Request) {
    let patch = match Patch::read(request, &Caller::without_key("k".to_owned(), None, Scope::Admin), &RULES) {
        Ok(patch) => patch,
        Err(refusal) => return problem(&refusal),
    };
    shape::has_each_name_once(text);
    let before = endpoint();
    let after = patch.apply(&before, [9; 32], NOW);
    sound(&after);
    assert_eq!(patch.apply(&after, [10; 32], NOW), after);
    let kept = (&after.id, &after.tenant, after.status, after.version, after.created_at);
    assert_eq!(kept, (&before.id, &before.tenant, before.status, before.version, before.created_at));
}

/// A direct invocation makes one kind of key, and none for what came over the URL.
fn invoked(text: &str) {
    let payload: Result<serde_json::Value, _> = serde_json::from_str(text);
    let came_by_url = payload.is_ok_and(|payload| payload.get("requestContext").is_some());
    match NewKey::from_invocation(text) {
        Ok(key) => {
            shape::has_each_name_once(text);
            named(&key);
            assert!(!came_by_url && key.tenant.is_none() && key.valid_until.is_none());
            assert_eq!(key.scopes, BTreeSet::from([Scope::Admin]));
        }
        Err(refusal) => assert!(refusal.detail.len() < LONGEST_ERROR, "{}", refusal.detail),
    }
}

fn named(key: &NewKey) {
    assert!(!key.scopes.is_empty() && !key.name.trim().is_empty() && key.name.chars().count() <= 100);
}

fn endpoint() -> Endpoint {
    let endpoint = serde_json::json!({
        "endpoint_id": "ep_aaaaaaaaaaaaaaaa", "tenant": "acme", "url": "https://example.com/", "event_types": ["*"],
        "retry_policy": "standard", "timeout_seconds": 15, "status": "active", "version": 1,
        "secrets": [{"secret": Secret::generate([8; 32]).reveal(), "created_at": NOW}], "created_at": NOW, "updated_at": NOW,
    });
    serde_json::from_value(endpoint).expect("an endpoint")
}

/// Every rule of an endpoint holds, it is read as it was written, and requests can be made to it.
fn sound(endpoint: &Endpoint) {
    assert_eq!(endpoint.status, EndpointStatus::Active);
    let types: BTreeSet<_> = endpoint.event_types.iter().collect();
    assert!((1..=MOST_PATTERNS).contains(&types.len()) && types.len() == endpoint.event_types.len());
    assert!((1..=30).contains(&endpoint.timeout_seconds) && endpoint.name.chars().count() <= 100);
    let stored = serde_json::to_string(endpoint).expect("an item");
    assert_eq!(reads_back::<Endpoint>(&stored).as_ref(), Some(endpoint));
    let url = EndpointUrl::from_stored(endpoint.url.as_str()).expect("a URL");
    assert_eq!((url.judge(&RULES.addresses), &url), (Ok(()), &endpoint.url));
    let header = endpoint.secrets.sign(&"evt_1".parse().expect("an id"), NOW, b"{}");
    assert!(!header.is_empty(), "nothing signs");
    ends(endpoint);
}

/// Its retries end, after at most as many and as long as a policy may have.
fn ends(endpoint: &Endpoint) {
    let outcome = Outcome::HttpStatus { status_code: 500 };
    let mut step = Step::FIRST;
    while let Decision::Retry(next) = decide(&endpoint.retry_policy, step, &outcome, NOW, None, Jitter::NONE) {
        let wait = NOW.until(next.at);
        assert!((Duration::from_secs(1)..=7 * DAY).contains(&wait), "{wait:?}");
        assert!(step.attempt <= 20, "{:?}", endpoint.retry_policy);
        step = step.next();
    }
}
