//! What no run writes for sure: every kind of outcome, and items with something in every field, by the code that writes them.
//!
//! They are spelt out whole, so that a new field does not compile before it stands here.

use std::collections::BTreeMap;

use pombo_aws::deliveries::{DeliveriesTable, Put};
use pombo_aws::health::{HealthTable, PutHealth};
use pombo_aws::jobs::{JobsTable, PutJob};
use pombo_domain::body::PackedBody;
use pombo_domain::delivery::{Claim, DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::health::{Health, Open, Probe};
use pombo_domain::hops::Hops;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{
    Arrival, Counts, Filter, Include, Job, JobKey, JobKind, JobStatus, Look, Row, RowResult, Scope, Selection,
    StopReason,
};
use pombo_domain::message::{DeliveryMessage, EventPart, QueuedOutcome};
use pombo_domain::outcome::{Attempt, Outcome, RefusedBy, Trigger};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::retry::{Decision, Next, Route};
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use pombo_tests::Stack;
use serde_json::Value;

/// In the year 2100: no sweep looks there.
const FAR: Timestamp = Timestamp::from_seconds(4_102_444_800);
const THEN: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// An invocation's and a message's id.
const HOLDER: &str = "8d2f6c1e-4b7a-4c3d-9e5f-0a1b2c3d4e5f/1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

/// The tenant of all that is made.
pub const TENANT: &str = "made";

/// Of messages, which have no record, and of the record.
const MESSAGES: &str = "made-messages";

fn key() -> DeliveryKey {
    key_of("made")
}

fn key_of(event: &str) -> DeliveryKey {
    DeliveryKey {
        endpoint_id: EndpointId::generate([9; 10]),
        accepted_at: Timestamp::from_millis(1_700_000_000_123),
        event_id: event.parse().unwrap(),
    }
}

fn next(route: Route) -> Next {
    Next { at: FAR, route }
}

fn attempt(outcome: Outcome, trigger: Trigger) -> Attempt {
    Attempt {
        step: Step::FIRST,
        started_at: THEN,
        duration_ms: 7,
        outcome,
        answer: Some("no".into()),
        sent_to: None,
        redelivered: true,
        trigger,
    }
}

/// An outcome of each kind. The match is there to name them all.
fn outcomes() -> Vec<Outcome> {
    let detail = || "why".into();
    let all = vec![
        Outcome::Succeeded { status_code: 200 },
        Outcome::HttpStatus { status_code: 500 },
        Outcome::TimedOut,
        Outcome::Connection { detail: detail() },
        Outcome::Tls { detail: detail() },
        Outcome::Dns { detail: detail() },
        Outcome::Refused { rule: "private-use".into(), by: RefusedBy::Url, detail: detail() },
        Outcome::Refused { rule: "private-use".into(), by: RefusedBy::Addresses, detail: detail() },
        Outcome::InvalidResponse { detail: detail() },
        Outcome::Loop,
        Outcome::Expired,
        Outcome::DeadLettered,
    ];
    for outcome in &all {
        match outcome {
            Outcome::Succeeded { .. }
            | Outcome::HttpStatus { .. }
            | Outcome::TimedOut
            | Outcome::Connection { .. }
            | Outcome::Tls { .. }
            | Outcome::Dns { .. }
            | Outcome::Refused { .. }
            | Outcome::InvalidResponse { .. }
            | Outcome::Loop
            | Outcome::Expired
            | Outcome::DeadLettered
            | Outcome::Unknown => {}
        }
    }
    all
}

fn decisions() -> [Decision; 5] {
    let all = [
        Decision::Succeeded,
        Decision::Retry(next(Route::Queue)),
        Decision::Retry(next(Route::Scheduler)),
        Decision::Failed,
        Decision::StillHeld,
    ];
    for decision in all {
        match decision {
            Decision::Succeeded | Decision::Retry(_) | Decision::Failed | Decision::StillHeld => {}
        }
    }
    all
}

/// Messages of the Deliveries queue.
pub fn messages() -> Vec<Value> {
    let triggers = [Trigger::First, Trigger::Retry, Trigger::Replay, Trigger::Probe];
    let outcomes = outcomes().into_iter().zip(decisions().into_iter().cycle()).zip(triggers.into_iter().cycle());
    let outcome = |((outcome, decision), trigger)| {
        let outcome = QueuedOutcome { holder: "a/b".into(), attempt: attempt(outcome, trigger), decision };
        DeliveryMessage::outcome(key_of(MESSAGES), outcome)
    };
    let event = EventPart {
        new: new_delivery(),
        endpoint_version: Some(3),
        body: Some(PackedBody::pack(b"{}")),
        hops: Hops::NONE,
    };
    let first = DeliveryMessage::first(key_of(MESSAGES), event.clone());
    let firsts = [first.clone().marked(), first.clone().repeated(), first.without_body().waiting_until(THEN)];
    let outcome_without_claim =
        outcome(((Outcome::Succeeded { status_code: 200 }, Decision::Succeeded), Trigger::First));
    let outcome_without_claim = outcome_without_claim.with_new_record(event);
    let plain = DeliveryMessage::by_reference(key_of(MESSAGES), Step { round: 2, attempt: 3 });
    let messages = outcomes.map(outcome).chain(firsts).chain([outcome_without_claim, plain]);
    messages.map(|message| serde_json::from_str(&message.to_json()).unwrap()).collect()
}

fn tenant() -> TenantId {
    TENANT.parse().unwrap()
}

fn new_delivery() -> NewDelivery {
    NewDelivery { tenant: tenant(), event_type: "a.b".parse().unwrap(), expires_at: FAR.as_seconds() }
}

fn record() -> Record {
    let triggers = [Trigger::First, Trigger::Retry, Trigger::Replay, Trigger::Probe];
    let outcomes = outcomes().into_iter().zip(triggers.into_iter().cycle());
    Record {
        key: key(),
        tenant: tenant(),
        event_type: "a.b".parse().unwrap(),
        status: Status::Retrying,
        step: Step { round: 1, attempt: 2 },
        claim: Some(Claim { holder: "a/b".into(), until: THEN }),
        next: Some(next(Route::Scheduler)),
        next_look: Some(THEN),
        attempts: outcomes.map(|(outcome, trigger)| attempt(outcome, trigger)).collect(),
        urls: BTreeMap::from([(3, "https://example.com/a".into())]),
        older_attempts: 2,
        job: Some("job".into()),
        rev: 0,
        writer: String::new(),
        expires_at: FAR.as_seconds(),
        unknown: BTreeMap::new(),
    }
}

fn health() -> Health {
    Health {
        failing_since: Some(THEN),
        failures: 3,
        last_day: 19_000,
        days: 2,
        gone: Some("e".parse().unwrap()),
        gone_twice: true,
        open: Some(Open {
            probe: Some(Probe { ordered_at: THEN, until: Some(FAR), holder: Some("a/b".into()) }),
            ..Open::new(THEN, "job", FAR)
        }),
        closed_at: Some(THEN),
        rev: 0,
        writer: String::new(),
        expires_at: FAR.as_seconds(),
    }
}

fn selection() -> Selection {
    Selection {
        filter: Filter {
            scope: Scope::Endpoint(key().endpoint_id),
            event_type: Some("a.*".parse().unwrap()),
            since: THEN,
            until: FAR,
        },
        include: [
            Include::Failed,
            Include::Held,
            Include::Cancelled,
            Include::Retrying,
            Include::Succeeded,
            Include::Pending,
            Include::Missing,
        ]
        .into(),
        rate_per_second: Some(PerSecond::new(2.5).unwrap()),
        after: Some(key()),
        look: Look::Last,
    }
}

fn job(random: u8, kind: JobKind) -> Job {
    let key = JobKey::generate(Some(&tenant()), THEN, [random; 10]);
    let mut counts = Counts::default();
    for result in [
        RowResult::Queued,
        RowResult::Probe,
        RowResult::Held,
        RowResult::InFlight,
        RowResult::Changed,
        RowResult::NotFound,
        RowResult::EndpointPaused,
        RowResult::EndpointDeleted,
    ] {
        counts.add(result);
    }
    Job {
        owner: key.owner,
        created_key: key.created_key,
        kind,
        status: JobStatus::Running,
        leg: 7,
        arrival: Some(Arrival { leg: 7, message: "m".into(), paced: true }),
        page: Some(vec![Row { delivery: self::key(), round: 1, first: true }]),
        spacing_us: 2000,
        stopping: true,
        stop_reason: Some(StopReason::EndpointPaused),
        counts,
        created_at: THEN,
        updated_at: THEN,
        due: FAR,
        rev: 0,
        writer: String::new(),
        expires_at: FAR.as_seconds(),
        unknown: Unknown::none(),
    }
}

/// Writes the items into a stack, as its functions do.
pub async fn put_items(stack: &Stack) {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let deliveries = DeliveriesTable::new(client.clone(), stack.resource("DeliveriesTable").to_owned());
    // A first attempt that is claimed, by an invocation of AWS.
    let claimed = Record::begin(key_of("made-pending"), new_delivery()).claimed(HOLDER, THEN);
    for record in [record(), claimed] {
        assert!(matches!(deliveries.put(None, record, "made").await.unwrap(), Put::Stored(_)));
    }
    let table = HealthTable::new(client.clone(), stack.resource("EndpointsTable").to_owned());
    let put = table.put(&key().endpoint_id, &Health::good(), health(), "made", Vec::new()).await.unwrap();
    assert!(matches!(put, PutHealth::Stored(_)));
    let jobs = JobsTable::new(client, stack.resource("JobsTable").to_owned());
    let ended = |reason, status| Job { stop_reason: Some(reason), status, ..job(5, JobKind::Replay) };
    for job in [
        job(1, JobKind::Replay),
        job(2, JobKind::ReplayMatching(selection())),
        job(3, JobKind::ReplayMatching(Selection { look: Look::Over, ..selection() })),
        job(4, JobKind::Drain { endpoint_id: key().endpoint_id }),
        ended(StopReason::Requested, JobStatus::Cancelled),
    ] {
        assert!(matches!(jobs.put(None, job, "made").await.unwrap(), PutJob::Stored(_)));
    }
}
