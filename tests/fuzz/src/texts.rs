//! Short texts: ids, names, times, keys, secrets, cursors, settings that are lists, and the headers of an endpoint.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::api_key::{ApiKey, Scope};
use pombo_domain::cursor::Paged;
use pombo_domain::delivery::{DeliveryKey, Status, Step};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::event_type::{EventType, Pattern};
use pombo_domain::headers::CustomHeaders;
use pombo_domain::ids::{EndpointId, EventId, KeyId, TenantId};
use pombo_domain::invalid::Invalid;
use pombo_domain::job::JobKey;
use pombo_domain::outcome::Outcome;
use pombo_domain::retry::{Decision, Jitter, RetryPolicy, decide, parse_retry_after};
use pombo_domain::schedule::schedule_name;
use pombo_domain::signature::{PrivateKey, Secret};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use serde::{Deserialize, Serialize};

use crate::LONGEST_ERROR;

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);
const DAY: Duration = Duration::from_secs(86_400);

/// One of each.
pub fn seeds() -> Vec<String> {
    let endpoint_id = EndpointId::generate([3; 10]);
    let key = DeliveryKey { endpoint_id: endpoint_id.clone(), accepted_at: NOW, event_id: EventId::generate([1; 16]) };
    let tenant: TenantId = "acme".parse().expect("an id");
    let private = serde_json::to_string(&PrivateKey::generate([7; 32])).expect("a key");
    [
        "acme",
        "acme~enrolment-4711",
        "student.created",
        "student.* student.created.late",
        "* a",
        "a a",
        "a.* ab",
        "120",
        "retrying",
        "admin",
        "Sat, 31 Jan 2026 09:30:00 GMT",
        "Saturday, 31-Jan-26 09:30:00 GMT",
        "Sat Jan 31 09:30:00 2026",
        "2026-01-31T09:30:00Z",
        "2026-01-31T09:30:00.050123+01:00",
        "1969-12-31T23:59:59Z",
        "10.1.0.0/16, fd12:3456::/32",
        "0.0.0.0/0",
        "::/0",
        "https://own.lambda-url.eu-west-1.on.aws/",
        "own.example.com:8443",
        "acme#evt_1",
        "x-api-key: secret\nauthorization: Bearer x\n",
        "Host: x\nx-a:  b",
        "60,300.5,1800",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        endpoint_id.to_string(),
        key.to_string(),
        JobKey::generate(None, NOW, [2; 10]).to_string(),
        JobKey::generate(Some(&tenant), NOW, [2; 10]).to_string(),
        ApiKey::generate([5; 10], [6; 32]).reveal(),
        Secret::generate([8; 32]).reveal(),
        private.trim_matches('"').to_owned(),
        Since(NOW).cursor(key.clone()),
        Since(NOW).cursor(DeliveryKey { accepted_at: NOW.minus(DAY), ..key.clone() }),
        KeyId::generate([4; 10]).to_string(),
        "twenty bytes of text".to_owned(),
    ])
    .collect()
}

/// Reads a text as each of them.
pub fn hold_for(text: &str) {
    ids(text);
    times(text);
    secrets(text);
    cursors(text);
    lists(text);
    headers(text);
    policy(text);
    if let Some((pattern, event_type)) = text.split_once(' ') {
        matching(pattern, event_type);
    }
}

/// What is accepted is written as it came, and no longer than `most`; an error is the same whatever was refused, so that it
/// says nothing of it.
fn verbatim<T>(text: &str, most: usize, write: impl Fn(&T) -> String) -> Option<T>
where
    T: FromStr<Err: Display> + Debug,
{
    let error = |text: &str| T::from_str(text).expect_err("an empty text is none").to_string();
    match T::from_str(text) {
        Ok(value) => {
            assert_eq!(write(&value), text);
            assert!((1..=most).contains(&text.len()), "{text:?}");
            Some(value)
        }
        Err(refused) => {
            let refused = refused.to_string();
            assert!(refused == error("") && refused.len() <= LONGEST_ERROR, "{refused}");
            None
        }
    }
}

fn ids(text: &str) {
    let shown = |id: &dyn Display| id.to_string();
    if let Some(id) = verbatim::<TenantId>(text, 64, |id| shown(id)) {
        assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }
    verbatim::<EventId>(text, 64, |id| shown(id));
    verbatim::<WebhookId>(text, 129, |id| shown(id));
    if let Some(id) = verbatim::<EndpointId>(text, 19, |id| shown(id)) {
        assert_eq!(EndpointId::from_suffix(id.suffix()).as_ref(), Ok(&id));
    }
    verbatim::<KeyId>(text, 16, |id| shown(id));
    verbatim::<EventType>(text, 128, |name| shown(name));
    verbatim::<Pattern>(text, 128, |pattern| shown(pattern));
    verbatim::<Status>(text, 9, |status| status.as_str().to_owned());
    if let Some(key) = verbatim::<DeliveryKey>(text, 256, |key| shown(key)) {
        assert_eq!(DeliveryKey::from_parts(key.endpoint_id.clone(), &key.sort_key()).as_ref(), Ok(&key));
        let name = schedule_name(&key, Step::FIRST, NOW);
        assert!(name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric()), "{name}");
    }
    // A sort key of the table takes 1,024 bytes.
    if let Some(key) = verbatim::<JobKey>(text, 256, |key| shown(key)) {
        assert!(key.created_key.len() < 64 && key.owner.len() <= 64);
    }
    if let Ok((tenant, id)) = Event::parse_key(text) {
        assert_eq!(Event::key(&tenant, &id), text);
    }
    match FanOut::unpack(text.as_bytes()) {
        Ok(fan_out) => assert_eq!((fan_out.pack().as_slice(), fan_out.endpoints().len()), (text.as_bytes(), text.len() / 10)),
        Err(error) => bounded(&error),
    }
}

fn bounded(error: &Invalid) {
    assert!(error.to_string().len() <= LONGEST_ERROR, "{error}");
}

fn times(text: &str) {
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let written = time.to_string();
            assert_eq!(written.parse(), Ok(time));
            assert!(written.len() == 24 && written.ends_with('Z'), "{written}");
            assert_eq!(time.cmp(&NOW), written.cmp(&NOW.to_string()), "the text sorts as the time does");
            assert_eq!(time.to_at_expression().len(), "at(2026-01-31T09:30:00)".len());
        }
        Err(error) => bounded(&error),
    }
    let after = parse_retry_after(text, NOW);
    if let Ok(seconds) = text.parse::<u64>()
        && !text.starts_with('+')
    {
        assert_eq!(after, Some(Duration::from_secs(seconds)));
    }
    let outcome = Outcome::HttpStatus { status_code: 503 };
    let Decision::Retry(next) = decide(&RetryPolicy::Standard, Step::FIRST, &outcome, NOW, after, Jitter::NONE) else {
        panic!("there are more attempts")
    };
    let wait = NOW.until(next.at);
    assert!((Duration::from_secs(60)..=DAY).contains(&wait), "{wait:?}");
    assert!(after.is_none_or(|after| wait >= after.min(DAY)), "sooner than asked: {wait:?}");
}

fn secrets(text: &str) {
    if let Some(key) = verbatim::<ApiKey>(text, 78, ApiKey::reveal) {
        let secret = &text[text.len() - 52..];
        assert!(!format!("{key:?}").contains(secret) && !key.digest().contains(secret));
    }
    if let Some(secret) = verbatim::<Secret>(text, 100, Secret::reveal) {
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
    let json = serde_json::to_string(text).expect("a text");
    match serde_json::from_str::<PrivateKey>(&json) {
        Ok(key) => {
            assert_eq!(serde_json::to_string(&key).expect("a key"), json);
            assert_eq!(format!("{key:?}"), "PrivateKey(…)");
        }
        Err(error) => assert!(error.to_string().starts_with("must be whsk_ and the base64 of 32 bytes"), "{error}"),
    }
    if let Ok(scope) = serde_json::from_str::<Scope>(&json) {
        assert_eq!(scope.to_string(), text);
    }
}

/// A list of what came from a time on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Since(Timestamp);

impl Paged for Since {
    type Place = DeliveryKey;

    fn may_hold(&self, place: &DeliveryKey) -> bool {
        self.0 <= place.accepted_at
    }
}

/// A cursor stands in its list, whoever wrote it.
fn cursors(text: &str) {
    match Since(NOW).place(text) {
        Ok(key) => {
            assert!(NOW <= key.accepted_at, "{key:?}");
            assert_eq!(Since(NOW).place(&Since(NOW).cursor(key.clone())), Ok(key.clone()));
            assert!(Since(NOW.minus(DAY)).place(text).is_err(), "of another list");
        }
        Err(error) => bounded(&error),
    }
}

fn lists(text: &str) {
    if let Ok(policy) = AddressPolicy::production().allowing(text) {
        for closed in ["127.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "fe80::1", "0.0.0.0", "224.0.0.1"] {
            let closed: IpAddr = closed.parse().expect("an address");
            assert!(policy.judge_ip(closed).is_err(), "{text:?} opens {closed}");
        }
    }
    if let Ok(policy) = AddressPolicy::production().of_stack_at(text)
        && text.contains("://")
        && !text.contains(',')
    {
        assert!(EndpointUrl::parse(text, &policy).is_err(), "the stack's own {text:?} is open");
    }
}

fn headers(text: &str) {
    let given: BTreeMap<String, String> = text
        .split('\n')
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.strip_prefix(' ').unwrap_or(value).to_owned()))
        .collect();
    match CustomHeaders::new(given.clone()) {
        Ok(headers) => {
            let revealed: Vec<_> = headers.reveal().collect();
            assert!(revealed.len() == given.len() && revealed.len() <= 20);
            assert!(revealed.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= 8 * 1024);
            for (name, value) in &revealed {
                let known = http::HeaderName::from_bytes(name.as_bytes()).expect("a name that goes over the wire");
                assert_eq!(known.as_str(), *name, "in lower case");
                let known = http::HeaderValue::from_str(value).expect("a value that goes over the wire");
                assert!(known.as_bytes() == value.as_bytes() && !value.is_empty() && value.len() <= 1024);
                assert!(!["content-", "webhook-", "x-amz"].iter().any(|prefix| name.starts_with(prefix)), "{name}");
                assert!(!["host", "user-agent", "connection", "transfer-encoding", "te"].contains(name), "{name}");
            }
            assert!(headers.masked().values().all(|shown| *shown == "********"));
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(error.field.starts_with("headers") && error.rule.len() <= LONGEST_ERROR, "{error}");
            }
        }
    }
}

fn policy(text: &str) {
    let Some(delays) = text.split(',').map(|delay| delay.parse().ok()).collect::<Option<Vec<f64>>>() else { return };
    match RetryPolicy::custom(delays.clone(), 30 * DAY) {
        Ok(policy) => {
            assert!((1..=20).contains(&delays.len()) && policy.attempts() as usize == delays.len() + 1);
            let waits: Vec<_> = (1..).map_while(|attempt| policy.delay_after(attempt)).collect();
            assert!(waits.iter().all(|wait| (Duration::from_secs(1)..=7 * DAY).contains(wait)), "{waits:?}");
            assert!(waits.iter().sum::<Duration>() <= 23 * DAY + Duration::from_millis(1), "{waits:?}");
        }
        Err(error) => bounded(&error),
    }
}

/// As the README says it: a type, all below a name, or all.
fn matching(pattern: &str, event_type: &str) {
    let (Ok(pattern), Ok(event_type)) = (pattern.parse::<Pattern>(), event_type.parse::<EventType>()) else { return };
    let parts: Vec<_> = event_type.as_str().split('.').collect();
    let of_pattern: Vec<_> = pattern.as_str().split('.').collect();
    let expected = match of_pattern.split_last() {
        Some((&"*", name)) => parts.len() > name.len() && parts.starts_with(name),
        _ => parts == of_pattern,
    };
    assert_eq!(pattern.matches(&event_type), expected, "{pattern:?} {event_type:?}");
}
