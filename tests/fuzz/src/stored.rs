//! What is stored, as JSON: items of an older and a newer version, and the same types in a caller's body.

use std::time::Duration;

use pombo_domain::api_key::StoredKey;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::event_type::EventType;
use pombo_domain::headers::CustomHeaders;
use pombo_domain::health::{Failure, Health, HealthRules};
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use pombo_domain::job::{Ask, Asked, Filter, Job, JobKey, JobKind, Ordered, Scope, Selection};
use pombo_domain::limits::{EndpointLimits, HostEndpoints, Registered, RunningReplays};
use pombo_domain::missed::Requests;
use pombo_domain::outcome::Attempt;
use pombo_domain::rate_limit::{PerSecond, RateLimit, Slot, Slots, reserve};
use pombo_domain::retry::{Next, RetryPolicy};
use pombo_domain::routing::RoutingRecord;
use pombo_domain::signature::{Schemes, Secrets};
use pombo_domain::test_limit::{MAX_TESTS, Tests};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;

use crate::reads_back;

const NOW: Timestamp = Timestamp::from_millis(1_769_851_800_050);
const DAY: Duration = Duration::from_secs(86_400);

/// One of each.
pub fn seeds() -> Vec<String> {
    let id = EndpointId::generate([3; 10]);
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let filter = format!(r#"{{"endpoint_id":"{id}","type":"student.*","since":"{NOW}","until":"{NOW}"}}"#);
    let job = |kind| {
        let job = Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, DAY);
        serde_json::to_string(&job).expect("a job")
    };
    vec![
        format!(
            r#"{{"endpoint_id":"{id}","tenant":"acme","name":"n","url":"https://example.com/","event_types":["a.*"],
            "headers":{{"x-api-key":"k"}},"retry_policy":{{"delays_seconds":[1,2.5]}},"timeout_seconds":15,
            "rate_limit":{{"per_second":2.5,"since":1}},"secrets":[{{"secret":"{secret}","created_at":"{NOW}"}}],
            "signatures":["v1","v1a"],"status":"paused","pause":{{"at":"{NOW}","reason":"gone"}},"version":3,
            "created_at":"{NOW}","updated_at":"{NOW}"}}"#
        ),
        job(JobKind::Drain { endpoint_id: id.clone() }),
        job(JobKind::ReplayMatching(Selection::missed(id.clone(), NOW.minus(DAY), NOW))),
        filter.clone(),
        format!(r#"{{"filter":{filter},"include":["failed","missing"],"rate_per_second":5}}"#),
        format!(r#"[["{}",7,1,["student.*","*"]]]"#, id.suffix()),
        format!(
            r#"{{"failing_since":"{NOW}","failures":4,"last_day":20484,"days":4,"open":{{"since":"{NOW}","drain":"j"}},"rev":1,"writer":"w","expires_at":9}}"#
        ),
        format!(r#"{{"recent":[{{"id":"a","at":"{NOW}"}}],"rev":1,"writer":"w","expires_at":9}}"#),
        format!(r#"{{"recent":["{NOW}"],"rev":1,"writer":"w","expires_at":9}}"#),
        format!(r#"{{"endpoints":["{id}"]}}"#),
        r#"{"day":20484,"count":7,"expires_at":9}"#.to_owned(),
        format!(r##"{{"jobs":["{NOW}#aaaaaaaaaaaaaaaa"],"rev":1,"expires_at":9}}"##),
        format!(r#"{{"key_id":"aaaaaaaaaaaaaaaa","name":"n","scopes":["ops"],"digest":"x","created_at":"{NOW}"}}"#),
        format!(
            r#"{{"round":0,"attempt":1,"started_at":"{NOW}","duration_ms":5,"outcome":{{"kind":"http_status","status_code":500}}}}"#
        ),
        r#""extended""#.to_owned(),
        r#"{"delays_seconds":[60,300.5]}"#.to_owned(),
        r#"["v1","v1a"]"#.to_owned(),
        "500".to_owned(),
    ]
}

/// Reads a text as each of them.
pub fn hold_for(text: &str) {
    reads_back::<Endpoint>(text).inspect(routed);
    reads_back::<StoredKey>(text);
    reads_back::<Requests>(text).inspect(admits);
    reads_back::<Tests>(text).inspect(tests);
    reads_back::<HostEndpoints>(text).inspect(at_host);
    reads_back::<Registered>(text).inspect(registers);
    reads_back::<RunningReplays>(text).inspect(|list| assert!(list.only(|_| false).jobs.is_empty()));
    reads_back::<Attempt>(text);
    reads_back::<Slot>(text);
    reads_back::<Next>(text);
    reads_back::<CustomHeaders>(text);
    reads_back::<Secrets>(text);
    reads_back::<Schemes>(text);
    reads_back::<RetryPolicy>(text);
    reads_back::<Job>(text).inspect(goes_on);
    reads_back::<Filter>(text).inspect(selects);
    reads_back::<Selection>(text);
    reads_back::<Scope>(text);
    reads_back::<Health>(text).inspect(takes);
    reads_back::<RateLimit>(text).inspect(limits);
    if let Some(limit) = reads_back::<PerSecond>(text) {
        assert!((2_000..=100_000_000).contains(&limit.interval_micros()), "{limit:?}");
    }
    let tenant = TenantId::default_tenant();
    if let Ok(routing) = RoutingRecord::from_stored(tenant.clone(), 1, text) {
        let written = routing.routes_json();
        assert_eq!(RoutingRecord::from_stored(tenant, 1, &written).expect("what was written"), routing);
        let event_type: EventType = "student.created".parse().expect("a type");
        let active = routing.routes.iter().filter(|route| route.active).count();
        assert!(routing.matching(&event_type).count() <= active);
    }
}

fn routed(endpoint: &Endpoint) {
    let routing = RoutingRecord::empty(endpoint.tenant.clone());
    if let Ok(with) = routing.with(endpoint.route()) {
        assert_eq!(with.version_of(&endpoint.id), Some(endpoint.version));
        assert!(with.without(&endpoint.id).routes.is_empty());
    }
    let id: WebhookId = "acme~evt_1".parse().expect("an id");
    let header = endpoint.secrets.sign(&id, NOW, b"{}");
    assert_eq!(header.is_empty(), endpoint.secrets.live(NOW).count() + endpoint.secrets.live_keys(NOW).count() == 0);
    let shown = format!("{endpoint:?}");
    assert!(endpoint.secrets.live(NOW).all(|live| !shown.contains(&live.secret.reveal())), "{shown}");
}

fn admits(requests: &Requests) {
    if let Ok(next) = requests.admit(&"another".parse().expect("an id"), NOW) {
        assert!(next.admit(&"another".parse().expect("an id"), NOW).is_err(), "a copy");
    }
}

fn tests(tests: &Tests) {
    match tests.admit(NOW) {
        Ok(next) => assert!(next.recent.len() <= MAX_TESTS),
        Err(refusal) => assert!(refusal.until > NOW),
    }
}

const LIMITS: EndpointLimits = EndpointLimits { per_tenant: 2, per_host: 2, registered_per_day: 2 };

fn at_host(endpoints: &HostEndpoints) {
    let routing = RoutingRecord::empty(TenantId::default_tenant());
    let next = endpoints.with(&EndpointId::generate([4; 10]), "example.com", &routing, &LIMITS);
    assert_eq!(next.map(|next| next.endpoints.len()), Ok(1), "none of them is the tenant's");
}

fn registers(registered: &Registered) {
    if let Ok(next) = registered.with_one_more(&TenantId::default_tenant(), &LIMITS, NOW) {
        assert!(next.day >= registered.day && next.count <= 2);
    }
}

fn goes_on(job: &Job) {
    for what in [Asked::Leg(1), Asked::Wake] {
        let _ = job.verdict(Ask { what, message: "m" });
    }
    let _ = job.page_takes();
    let done = job.page_done([], Duration::ZERO, NOW);
    assert!(done.leg >= job.leg, "a leg went back");
    assert!(job.key().shard() < pombo_domain::delivery::SHARDS);
}

fn selects(filter: &Filter) {
    let include = [pombo_domain::job::Include::Failed].into();
    if let Ok(selection) = Selection::new(filter.clone(), include, None, Ordered { at: NOW, settle: DAY }) {
        assert!(selection.filter.since < selection.filter.until && selection.filter.until <= NOW);
    }
}

fn takes(health: &Health) {
    let event_id: EventId = "evt_1".parse().expect("an id");
    for gone in [false, true] {
        let _ =
            health.failed(Failure { at: NOW, event_id: &event_id, gone, probe: None }, "job", &HealthRules::DEFAULT);
    }
    assert_eq!(health.succeeded(NOW).is_some(), health.is_troubled());
    assert!(!health.cleared(NOW).is_troubled() && health.closed_unproven(NOW).open.is_none());
}

fn limits(limit: &RateLimit) {
    for next_micros in [0, NOW.as_millis() * 1000 + 5_000_000] {
        let _ = reserve(Some(Slots { since: 1, next_micros }), limit, NOW);
    }
}
