#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::address::EndpointUrl;
use crate::delivery::{DeliveryKey, NewDelivery, Record, Step};
use crate::headers::CustomHeaders;
use crate::outcome::{Attempt, Outcome, Trigger};
use crate::retry::{Decision, RetryPolicy};
use crate::routing::Route;
use crate::signature::{Secret, Secrets};

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);
const DAY: Duration = Duration::from_secs(86_400);

fn endpoint() -> Endpoint {
    let json = json!({
        "endpoint_id": EndpointId::generate([1; 10]),
        "tenant": "acme",
        "name": "Registrar",
        "url": "https://user-visible.example/hook?token=t0ken",
        "event_types": ["student.*"],
        "headers": {"x-api-key": "k3y"},
        "retry_policy": "standard",
        "timeout_seconds": 15,
        "secrets": [],
        "status": "active",
        "version": 4,
        "created_at": NOW,
        "updated_at": NOW,
    });
    let endpoint: Endpoint = serde_json::from_value(json).unwrap();
    Endpoint { secrets: Secrets::new(Secret::generate([7; 32]), NOW), ..endpoint }
}

fn routing(patterns: &[&str]) -> RoutingRecord {
    let routes = patterns.iter().zip(50..).map(|(pattern, byte)| Route {
        endpoint_id: EndpointId::generate([byte; 10]),
        version: 1,
        active: true,
        patterns: vec![pattern.parse().unwrap()],
        unknown: Vec::new(),
    });
    RoutingRecord { version: 1, routes: routes.collect(), ..RoutingRecord::empty(TenantId::pombo()) }
}

fn id() -> EventId {
    EventId::generate([0; 16])
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.body.unpack().unwrap()).unwrap()
}

fn told(what: &Happening) -> Value {
    body(&event(&endpoint(), what, &routing(&["*"]), id(), NOW, DAY).unwrap())
}

fn all() -> [Happening; 8] {
    [
        Happening::Created,
        Happening::Updated { fields: vec!["url".into()] },
        Happening::Deleted,
        Happening::Paused { reason: PauseReason::Failing, failing_since: Some(NOW) },
        Happening::Resumed,
        Happening::SecretRotated,
        Happening::CircuitOpened { failing_since: NOW, failures: 7 },
        Happening::CircuitClosed { open_since: NOW, proven: false },
    ]
}

#[test]
fn every_type_is_valid_and_pombos_own() {
    for event_type in all().map(|what| what.event_type()).into_iter().chain([Failures::event_type(), EventType::ping()])
    {
        assert_eq!(event_type.as_str().parse::<EventType>().unwrap(), event_type);
        assert!(event_type.is_reserved(), "{event_type}");
    }
}

#[test]
fn each_event_tells_whose_endpoint_it_is_about_and_what_is_specific() {
    let time = "2026-01-31T09:30:00.050Z";
    let specific = [
        ("pombo.endpoint.created", json!({})),
        ("pombo.endpoint.updated", json!({"fields": ["url"]})),
        ("pombo.endpoint.deleted", json!({})),
        ("pombo.endpoint.paused", json!({"reason": "failing", "failing_since": time})),
        ("pombo.endpoint.resumed", json!({})),
        ("pombo.endpoint.secret_rotated", json!({})),
        ("pombo.circuit.opened", json!({"failing_since": time, "failures": 7})),
        ("pombo.circuit.closed", json!({"open_since": time, "proven": false})),
    ];
    for (what, (event_type, specific)) in all().iter().zip(specific) {
        let mut data = json!({
            "endpoint_id": EndpointId::generate([1; 10]), "tenant": "acme", "name": "Registrar", "version": 4,
        });
        data.as_object_mut().unwrap().extend(specific.as_object().unwrap().clone());
        assert_eq!(told(what), json!({"type": event_type, "timestamp": time, "data": data}));
    }
}

#[test]
fn no_event_holds_a_url_a_header_or_a_secret() {
    for what in &all() {
        let body = told(what).to_string();
        for secret in ["example", "t0ken", "k3y", "whsec_"] {
            assert!(!body.contains(secret), "{body}");
        }
    }
}

#[test]
fn an_event_is_made_only_for_who_subscribes_and_never_of_pombos_own_things() {
    let opened = Happening::CircuitOpened { failing_since: NOW, failures: 5 };
    let made = |tenant: &str, patterns: &[&str]| {
        let endpoint = Endpoint { tenant: tenant.parse().unwrap(), ..endpoint() };
        event(&endpoint, &opened, &routing(patterns), id(), NOW, DAY)
    };
    assert_eq!(made("acme", &[]), None);
    assert_eq!(made("acme", &["pombo.endpoint.*", "student.*"]), None);
    assert_eq!(made("pombo", &["*"]), None);
    let event = made("acme", &["pombo.endpoint.*", "pombo.circuit.opened", "pombo.*"]).unwrap();
    assert_eq!((event.tenant.as_str(), event.accepted_at), ("pombo", NOW));
    assert_eq!(event.expires_at, NOW.as_seconds() + 86_400);
    let expected = [51, 52].map(|byte| EndpointId::generate([byte; 10]));
    assert_eq!(event.fan_out.endpoints(), expected);
}

#[test]
fn a_change_is_told_by_what_it_changed() {
    let before = endpoint();
    let active = Endpoint { version: 5, updated_at: NOW.plus(DAY), ..endpoint() };
    let paused = active.paused(PauseReason::Gone, NOW);
    let gone = Happening::Paused { reason: PauseReason::Gone, failing_since: None };
    assert_eq!(Happening::between(&before, &paused), gone);
    assert_eq!(Happening::between(&paused, &active), Happening::Resumed);
    let tombstone = Endpoint { status: EndpointStatus::Deleted, secrets: Secrets::none(), ..active.clone() };
    assert_eq!(Happening::between(&before, &tombstone), Happening::Deleted);
    assert_eq!(Happening::between(&paused, &tombstone), Happening::Deleted);
    let rotated = Endpoint { secrets: Secrets::new(Secret::generate([8; 32]), NOW), ..active.clone() };
    assert_eq!(Happening::between(&before, &rotated), Happening::SecretRotated);
    let signatures = serde_json::from_value(json!(["v1", "v1a"])).unwrap();
    let updated = Endpoint {
        secrets: before.secrets.with_signatures(signatures, [3; 32], NOW),
        url: EndpointUrl::from_stored("https://example.org/").unwrap(),
        headers: CustomHeaders::default(),
        retry_policy: RetryPolicy::Fast,
        ..active
    };
    let Happening::Updated { fields: mut found } = Happening::between(&before, &updated) else { panic!() };
    found.sort();
    assert_eq!(found, ["headers", "retry_policy", "signatures", "url"]);
}

#[test]
fn a_ping_is_of_the_endpoints_own_tenant_and_for_it_alone() {
    let endpoint = endpoint();
    let ping = ping(&endpoint, id(), NOW, DAY);
    assert_eq!((&ping.tenant, ping.fan_out.endpoints()), (&endpoint.tenant, &[endpoint.id.clone()][..]));
    assert!(ping.event_type.is_ping());
    let data = json!({
        "endpoint_id": endpoint.id, "tenant": "acme", "name": "Registrar", "requested_at": "2026-01-31T09:30:00.050Z",
    });
    assert_eq!(body(&ping)["data"], data);
}

fn failed(event_id: &str, status_code: u16) -> Record {
    let key = DeliveryKey {
        endpoint_id: EndpointId::generate([1; 10]),
        accepted_at: NOW,
        event_id: event_id.parse().unwrap(),
    };
    let new = NewDelivery { tenant: "acme".parse().unwrap(), event_type: "a.b".parse().unwrap(), expires_at: 9 };
    let attempt = Attempt {
        step: Step::FIRST,
        started_at: NOW,
        duration_ms: 1,
        outcome: Outcome::HttpStatus { status_code },
        answer: Some("what the receiver said".into()),
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    Record::begin(key, new).record_attempt("me", attempt, Decision::Failed).unwrap()
}

#[test]
fn failures_are_counted_from_the_first_and_show_the_latest() {
    let later = NOW.plus(Duration::from_secs(3));
    let minute = Minute::of(NOW);
    let fan_out = FanOut::new(vec![EndpointId::generate([50; 10])]);
    let first = Failures::first(&failed("e1", 500), "Registrar".into(), NOW).event(minute, fan_out.clone(), DAY);
    let second = Failures::read(&first).unwrap().and(&failed("e2", 503), later);
    let second = second.event(minute, fan_out, DAY);
    assert_eq!(
        (&first.id, first.accepted_at),
        (&second.id, second.accepted_at),
        "one event, and one key of deliveries"
    );
    let expected = json!({
        "type": "pombo.delivery.failed",
        "timestamp": "2026-01-31T09:30:03.050Z",
        "data": {
            "endpoint_id": EndpointId::generate([1; 10]), "tenant": "acme", "name": "Registrar",
            "since": "2026-01-31T09:30:00.050Z", "count": 2,
            "latest": {
                "delivery_id": failed("e2", 503).key, "event_id": "e2", "type": "a.b",
                "failed_at": "2026-01-31T09:30:03.050Z", "outcome": {"kind": "http_status", "status_code": 503},
            },
        },
    });
    assert_eq!(body(&second), expected);
    assert_eq!(
        Failures::read(&event(&endpoint(), &Happening::Created, &routing(&["*"]), id(), NOW, DAY).unwrap()),
        None
    );
}

#[test]
fn a_minute_has_an_id_for_each_endpoint_and_ends_with_the_clocks() {
    let minute = Minute::of(NOW);
    assert_eq!(minute.ends_at().to_string(), "2026-01-31T09:31:00.000Z");
    assert_eq!(Minute::of(minute.ends_at()), minute.next());
    assert_eq!(Minute::of(Timestamp::from_millis(minute.ends_at().as_millis() - 1)), minute);
    let (one, other) = (EndpointId::generate([255; 10]), EndpointId::generate([1; 10]));
    assert_eq!(minute.event_id(&one).as_str(), "failed_7777777777777777_29497530");
    assert_eq!(minute.event_id(&one).as_str().parse::<EventId>().unwrap(), minute.event_id(&one));
    assert!(minute.event_id(&one) != minute.event_id(&other) && minute.event_id(&one) != minute.next().event_id(&one));
}

#[test]
fn a_subscription_that_can_never_be_met_is_refused() {
    let check = |pattern: &str, tenant: &str| check_subscription(&pattern.parse().unwrap(), &tenant.parse().unwrap());
    for (pattern, tenant, accepted) in [
        ("*", "acme", true),
        ("student.*", "acme", true),
        ("pombos.*", "acme", true),
        ("pombo", "acme", false),
        ("pombo.*", "acme", false),
        ("pombo.ping", "acme", false),
        ("pombo.delivery.failed", "acme", false),
        ("pombo.delivery.failed", "default", false),
        ("*", "pombo", true),
        ("pombo.*", "pombo", true),
        ("pombo.endpoint.*", "pombo", true),
        ("pombo.delivery.failed", "pombo", true),
        ("student.created", "pombo", false),
        ("student.*", "pombo", false),
        ("pombo.delivery.fialed", "pombo", false),
        ("pombo.deliveries.*", "pombo", false),
        ("pombo", "pombo", false),
    ] {
        assert_eq!(check(pattern, tenant).is_ok(), accepted, "{pattern} of {tenant}");
    }
    assert!(check("pombo.delivery.failed", "acme").unwrap_err().0.contains("the tenant pombo alone"));
    assert!(check("pombo.x", "pombo").unwrap_err().0.contains("pombo.delivery.failed"));
}

#[test]
fn every_operational_event_can_be_subscribed_to_by_its_type() {
    let at = Timestamp::from_seconds(1);
    let all = [
        Happening::Created,
        Happening::Updated { fields: Vec::new() },
        Happening::Deleted,
        Happening::Paused { reason: PauseReason::Requested, failing_since: None },
        Happening::Resumed,
        Happening::SecretRotated,
        Happening::CircuitOpened { failing_since: at, failures: 1 },
        Happening::CircuitClosed { open_since: at, proven: true },
    ];
    let types = all.iter().map(Happening::event_type).chain([EventType::of_pombo("delivery.failed")]);
    let types: Vec<_> = types.map(|event_type| event_type.to_string()).collect();
    assert_eq!(types, TYPES.map(|name| format!("pombo.{name}")));
}
