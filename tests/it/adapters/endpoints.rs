//! A change of an endpoint: the endpoint, its tenant's routing record and the job that it begins, or nothing of them.

use std::collections::BTreeMap;
use std::time::Duration;

use pombo_aws::clock;
use pombo_aws::endpoints::{Change, Changed, EndpointsTable};
use pombo_aws::jobs::JobsTable;
use pombo_aws::routing::RoutingTable;
use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::endpoint::{Endpoint, EndpointStatus, SetBy};
use pombo_domain::headers::CustomHeaders;
use pombo_domain::ids::TenantId;
use pombo_domain::job::{Job, JobKey, JobKind};
use pombo_domain::rate_limit::{PerSecond, RateLimit};
use pombo_domain::retry::RetryPolicy;
use pombo_domain::routing::RoutingRecord;
use pombo_domain::signature::{Scheme, Schemes, Secret, Secrets};
use pombo_domain::time::Timestamp;
use pombo_domain::unknown::Unknown;
use pombo_tests::{Backend, Fault, unique};

use super::{FAR, endpoint_id, tomorrow};

const DAY: Duration = Duration::from_secs(86_400);

struct Tables {
    endpoints: EndpointsTable,
    routing: RoutingTable,
    jobs: JobsTable,
}

impl Tables {
    fn new(on: &Backend, config: &aws_config::SdkConfig) -> Self {
        let client = aws_sdk_dynamodb::Client::new(config);
        let name = |table: &str| on.resource(table);
        Self {
            endpoints: EndpointsTable::new(client.clone(), name("EndpointsTable")),
            routing: RoutingTable::new(client.clone(), name("RoutingTable")),
            jobs: JobsTable::new(client, name("JobsTable")),
        }
    }

    /// Makes a change under a token of its own.
    async fn change(&self, change: &Change<'_>) -> Changed {
        self.change_as(change, &unique("token")).await
    }

    async fn change_as(&self, change: &Change<'_>, token: &str) -> Changed {
        self.endpoints.change(&self.routing, Some(&self.jobs), change, token).await.unwrap()
    }

    /// A new endpoint that is stored, with its routing record.
    async fn stored(&self) -> (Endpoint, RoutingRecord) {
        let endpoint = endpoint();
        let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
        let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
        assert_eq!(self.change(&change).await, Changed::Stored);
        (endpoint, routing)
    }

    async fn assert_standing(&self, endpoint: &Endpoint, routing: &RoutingRecord) {
        assert_eq!(self.endpoints.get(&endpoint.id).await.unwrap().as_ref(), Some(endpoint));
        assert_eq!(self.routing.get(&endpoint.tenant).await.unwrap(), *routing);
    }
}

/// An endpoint of a tenant of its own, with something in every field.
pub(super) fn endpoint() -> Endpoint {
    let headers = [("x-api-key", "the receiver's own"), ("authorization", "Bearer ~")];
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let now = clock::now();
    Endpoint {
        id: endpoint_id(),
        tenant: unique("t").parse().unwrap(),
        name: "ünicode".into(),
        url: EndpointUrl::parse("https://example.com/hook?a=%20b", &AddressPolicy::production()).unwrap(),
        url_set_by: SetBy::Tenant,
        event_types: vec!["student.*".parse().unwrap(), "*".parse().unwrap()],
        headers: CustomHeaders::new(headers).unwrap(),
        retry_policy: RetryPolicy::custom(vec![1.0, 2.5], 30 * DAY).unwrap(),
        timeout_seconds: 7,
        rate_limit: Some(RateLimit { per_second: PerSecond::new(0.5).unwrap(), since: 1 }),
        secrets: secrets(now),
        status: EndpointStatus::Active,
        pause: None,
        version: 1,
        created_at: now,
        updated_at: FAR,
        expires_at: None,
        unknown: Unknown::default(),
    }
}

/// Both schemes, each in the midst of a rotation.
fn secrets(now: Timestamp) -> Secrets {
    let secret = || Secret::generate(clock::random().unwrap());
    let random = || clock::random().unwrap();
    let both: Schemes = vec![Scheme::V1, Scheme::V1a].try_into().unwrap();
    let secrets = Secrets::new(secret(), now).with_signatures(both.clone(), random(), now);
    secrets.rotate(&both, secret(), random(), DAY, now).unwrap()
}

/// The endpoint paused, one version on.
fn paused(endpoint: &Endpoint) -> Endpoint {
    Endpoint { status: EndpointStatus::Paused, version: endpoint.version + 1, ..endpoint.clone() }
}

/// A job that is due when no sweep looks.
fn job(endpoint: &Endpoint) -> Job {
    let key = JobKey::generate(Some(&endpoint.tenant), clock::now(), clock::random().unwrap());
    Job { due: FAR, ..Job::new(key, JobKind::Drain { endpoint_id: endpoint.id.clone() }, clock::now(), DAY) }
}

async fn a_new_endpoint_and_its_route_survive_a_round_trip(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let nobody = endpoint();
    assert_eq!(tables.endpoints.get(&nobody.id).await.unwrap(), None);
    assert_eq!(tables.routing.get(&nobody.tenant).await.unwrap(), RoutingRecord::empty(nobody.tenant.clone()));
    let (endpoint, routing) = tables.stored().await;
    tables.assert_standing(&endpoint, &routing).await;
}

async fn every_policy_and_a_tombstone_survive_a_round_trip(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    for retry_policy in [RetryPolicy::Standard, RetryPolicy::Fast, RetryPolicy::Extended] {
        let endpoint = Endpoint {
            retry_policy,
            status: EndpointStatus::Deleted,
            secrets: Secrets::none(),
            headers: CustomHeaders::default(),
            expires_at: Some(tomorrow()),
            ..endpoint()
        };
        let routing = RoutingRecord::empty(endpoint.tenant.clone()).without(&endpoint.id);
        let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
        assert_eq!(tables.change(&change).await, Changed::Stored);
        tables.assert_standing(&endpoint, &routing).await;
    }
}

async fn a_change_writes_endpoint_route_and_job_together(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let (endpoint, routing) = tables.stored().await;
    let next = paused(&endpoint);
    let (routing, job) = (routing.with(next.route()).unwrap(), job(&endpoint));
    let change = Change {
        endpoint: &next,
        seen: Some(1),
        routing: &routing,
        jobs: std::slice::from_ref(&job),
        also: Vec::new(),
    };
    assert_eq!(tables.change(&change).await, Changed::Stored);
    tables.assert_standing(&next, &routing).await;
    assert_eq!(tables.jobs.get(&job.key()).await.unwrap(), Some(Job { rev: 1, ..job.clone() }));
    let after = Timestamp::from_millis(FAR.as_millis() + 1);
    let due = tables.jobs.due(job.key().shard(), after, 1000).await.unwrap();
    assert!(due.contains(&job.key()), "the sweep finds the job if its first message is lost");
}

async fn of_a_change_that_saw_an_old_version_nothing_is_written(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let (first, seen) = tables.stored().await;
    let second = paused(&first);
    let standing = seen.with(second.route()).unwrap();
    let change = Change { endpoint: &second, seen: Some(1), routing: &standing, jobs: &[], also: Vec::new() };
    assert_eq!(tables.change(&change).await, Changed::Stored);

    let wanted = Endpoint { name: "late".into(), ..second.clone() };
    let on_standing = standing.with(wanted.route()).unwrap();
    let on_seen = seen.with(wanted.route()).unwrap();
    for (case, endpoint_seen, routing) in [
        ("an old endpoint", Some(1), &on_standing),
        ("no endpoint", None, &on_standing),
        ("an old routing record", Some(2), &on_seen),
        ("no routing record", Some(2), &RoutingRecord::empty(first.tenant.clone()).with(wanted.route()).unwrap()),
        ("an old endpoint, an old routing record", Some(1), &on_seen),
    ] {
        let job = job(&first);
        let change = Change {
            endpoint: &wanted,
            seen: endpoint_seen,
            routing,
            jobs: std::slice::from_ref(&job),
            also: Vec::new(),
        };
        assert_eq!(tables.change(&change).await, Changed::Conflict, "{case} was seen");
        tables.assert_standing(&second, &standing).await;
        assert_eq!(tables.jobs.get(&job.key()).await.unwrap(), None, "{case} was seen");
    }
}

async fn a_job_that_exists_already_stops_the_change(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let (endpoint, routing) = tables.stored().await;
    let (next, job) = (paused(&endpoint), job(&endpoint));
    tables.jobs.put(None, job.clone(), "me").await.unwrap();
    let later = routing.with(next.route()).unwrap();
    let change =
        Change { endpoint: &next, seen: Some(1), routing: &later, jobs: std::slice::from_ref(&job), also: Vec::new() };
    assert_eq!(tables.change(&change).await, Changed::Conflict);
    tables.assert_standing(&endpoint, &routing).await;
}

async fn a_change_is_made_once_under_its_token(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let (endpoint, routing) = tables.stored().await;
    let next = paused(&endpoint);
    let routing = routing.with(next.route()).unwrap();
    let change = Change { endpoint: &next, seen: Some(1), routing: &routing, jobs: &[], also: Vec::new() };
    for _ in 0..2 {
        assert_eq!(tables.change_as(&change, "one and the same").await, Changed::Stored);
        tables.assert_standing(&next, &routing).await;
    }
    assert_eq!(tables.change_as(&change, &unique("another")).await, Changed::Conflict);
}

async fn a_change_whose_answer_is_lost_is_made_once(on: &Backend) {
    let tables = Tables::new(on, &on.behind_proxy().await);
    let endpoint = endpoint();
    let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
    on.spoil(1, "TransactWriteItems", endpoint.id.as_str(), Fault::LoseAnswer);
    let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
    assert_eq!(tables.change(&change).await, Changed::Stored);
    tables.assert_standing(&endpoint, &routing).await;
    let made = on.calls("TransactWriteItems", endpoint.id.as_str());
    assert_eq!(made.len(), 2, "the SDK repeated the call");
    assert_eq!(made[0].body["ClientRequestToken"], made[1].body["ClientRequestToken"]);
}

async fn a_change_that_is_still_in_progress_is_a_conflict_and_a_refused_one_an_error(on: &Backend) {
    let tables = Tables::new(on, &on.behind_proxy().await);
    let endpoint = endpoint();
    let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
    let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
    let id = endpoint.id.as_str();
    on.spoil(3, "TransactWriteItems", id, Fault::Refuse(400, "TransactionInProgressException"));
    assert_eq!(tables.change(&change).await, Changed::Conflict);
    // Cancelled for no reason that names a condition: throttled, say.
    for code in ["TransactionCanceledException", "AccessDeniedException"] {
        let endpoint = self::endpoint();
        let routing = RoutingRecord::empty(endpoint.tenant.clone()).with(endpoint.route()).unwrap();
        let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
        on.spoil(3, "TransactWriteItems", endpoint.id.as_str(), Fault::Refuse(400, code));
        let changed = tables.endpoints.change(&tables.routing, None, &change, &unique("token")).await;
        assert_eq!(changed.unwrap_err().code(), Some(code));
    }
}

async fn many_are_read_in_the_order_asked_and_those_that_are_not_there_left_out(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let mut endpoints = Vec::new();
    for _ in 0..5 {
        endpoints.push(tables.stored().await.0);
    }
    endpoints.sort_by(|a, b| b.id.cmp(&a.id));
    let mut ids: Vec<_> = endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
    ids.insert(2, endpoint_id());
    let found: Vec<_> =
        tables.endpoints.get_many_with_health(&ids).await.unwrap().into_iter().map(|known| known.0).collect();
    assert_eq!(found, endpoints);
    assert_eq!(tables.endpoints.get_many_with_health(&[]).await.unwrap(), []);
}

/// All tenants, over pages of so many.
async fn all_tenants(table: &EndpointsTable, limit: usize) -> Vec<TenantId> {
    let (mut all, mut more) = table.tenants(None, limit).await.unwrap();
    while more {
        let (page, again) = table.tenants(all.last(), limit).await.unwrap();
        assert!(page.len() <= limit);
        all.extend(page);
        more = again;
    }
    all
}

async fn the_tenants_are_those_with_an_endpoint_each_once_and_in_order(on: &Backend) {
    let tables = Tables::new(on, &on.direct().await);
    let mut expected = Vec::new();
    for status in [EndpointStatus::Active, EndpointStatus::Paused, EndpointStatus::Deleted] {
        let tenant: TenantId = unique("listed").parse().unwrap();
        let mut routing = RoutingRecord::empty(tenant.clone());
        for _ in 0..3 {
            let endpoint = Endpoint { tenant: tenant.clone(), status, id: endpoint_id(), ..endpoint() };
            routing = routing.with(endpoint.route()).unwrap();
            let change = Change { endpoint: &endpoint, seen: None, routing: &routing, jobs: &[], also: Vec::new() };
            assert_eq!(tables.change(&change).await, Changed::Stored);
        }
        expected.extend((status != EndpointStatus::Deleted).then_some(tenant));
    }
    expected.sort();
    for limit in [3, 100] {
        let all = all_tenants(&tables.endpoints, limit).await;
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        let mine: Vec<_> = all.into_iter().filter(|tenant| tenant.as_str().starts_with("listed")).collect();
        assert_eq!(mine, expected, "pages of {limit}");
    }
}

on_dynamodb! {
    the_tenants_are_those_with_an_endpoint_each_once_and_in_order,
    a_new_endpoint_and_its_route_survive_a_round_trip,
    every_policy_and_a_tombstone_survive_a_round_trip,
    a_change_writes_endpoint_route_and_job_together,
    of_a_change_that_saw_an_old_version_nothing_is_written,
    a_job_that_exists_already_stops_the_change,
    a_change_that_is_still_in_progress_is_a_conflict_and_a_refused_one_an_error,
    many_are_read_in_the_order_asked_and_those_that_are_not_there_left_out,
    ; roto "does not know a token again":
    a_change_is_made_once_under_its_token,
    a_change_whose_answer_is_lost_is_made_once,
}
