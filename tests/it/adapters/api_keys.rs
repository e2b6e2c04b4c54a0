//! API keys: by id, in a list by time, on their owner's ring, and by the key that made them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pombo_aws::api_keys::{ApiKeysTable, KeyItems, Written};
use pombo_aws::clock::{self, HandClock};
use pombo_domain::api_key::{ApiKey, KeyRing, Scope, StoredKey};
use pombo_domain::ids::{KeyId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, unique};
use pombo_web::{Authenticator, Method, Request};

use super::{FAR, some_time};

const RETENTION: Duration = Duration::from_secs(86_400);

async fn table(on: &Backend) -> ApiKeysTable {
    let name = on.resource("ApiKeysTable");
    ApiKeysTable::new(aws_sdk_dynamodb::Client::new(&on.direct().await), name)
}

fn key(tenant: Option<&TenantId>, created_at: Timestamp) -> StoredKey {
    let key = ApiKey::generate(clock::random().unwrap(), clock::random().unwrap());
    StoredKey {
        key_id: key.id.clone(),
        name: "ünicode".into(),
        tenant: tenant.cloned(),
        scopes: BTreeSet::from([Scope::Ingest, Scope::Admin]),
        digest: key.digest(),
        created_at,
        made_by: None,
        valid_until: None,
        revoked_at: None,
    }
}

fn tenant() -> TenantId {
    unique("t").parse().unwrap()
}

fn place(key: &StoredKey) -> (Timestamp, &KeyId) {
    (key.created_at, &key.key_id)
}

/// Creates a key on this ring.
async fn create_on(table: &ApiKeysTable, key: &StoredKey, ring: &KeyRing) -> Written {
    let new = KeyItems { key, ring, retention: RETENTION };
    table.create(new, &unique("token")).await.unwrap()
}

/// Creates a key on its owner's ring as it is, until no other call comes between.
async fn create(table: &ApiKeysTable, key: &StoredKey) -> Written {
    loop {
        let ring = table.ring(key.tenant.as_ref()).await.unwrap().with(key, clock::now(), usize::MAX).unwrap();
        match create_on(table, key, &ring).await {
            Written::Conflict => {}
            done => return done,
        }
    }
}

async fn revoke(table: &ApiKeysTable, key: &StoredKey) -> Written {
    let ring = table.ring(key.tenant.as_ref()).await.unwrap().without(&key.key_id, clock::now());
    let revocation = KeyItems { key, ring: &ring, retention: RETENTION };
    table.revoke(revocation, &unique("token")).await.unwrap()
}

async fn every_field_survives_a_round_trip_and_a_revocation_replaces_the_key(on: &Backend) {
    let (table, tenant) = (table(on).await, tenant());
    let maker = key(Some(&tenant), clock::now());
    create(&table, &maker).await;
    let key =
        StoredKey { valid_until: Some(FAR), made_by: Some(maker.key_id.clone()), ..key(Some(&tenant), clock::now()) };
    assert_eq!(table.get(&key.key_id).await.unwrap(), None);
    assert_eq!(create(&table, &key).await, Written::Stored);
    assert_eq!(table.get(&key.key_id).await.unwrap(), Some(key.clone()));
    assert_eq!(table.ring(Some(&tenant)).await.unwrap().keys.len(), 2);
    let revoked = StoredKey { revoked_at: Some(clock::now()), ..key };
    assert_eq!(revoke(&table, &revoked).await, Written::Stored);
    assert_eq!(table.get(&revoked.key_id).await.unwrap(), Some(revoked.clone()));
    assert_eq!(table.ring(Some(&tenant)).await.unwrap().keys.len(), 1);
    assert_eq!(table.list(Some(&tenant), None, 10).await.unwrap(), [revoked.clone(), maker]);
    let again = StoredKey { revoked_at: Some(FAR), ..revoked.clone() };
    assert_eq!(revoke(&table, &again).await, Written::Conflict, "it stays revoked since when it was");
    assert_eq!(table.get(&revoked.key_id).await.unwrap(), Some(revoked));
}

async fn of_two_changes_of_one_ring_one_is_stored(on: &Backend) {
    let (table, tenant) = (table(on).await, tenant());
    let (one, two) = (key(Some(&tenant), clock::now()), key(Some(&tenant), clock::now()));
    let seen = table.ring(Some(&tenant)).await.unwrap();
    let ring = |key| seen.with(key, clock::now(), 100).unwrap();
    assert_eq!(create_on(&table, &one, &ring(&one)).await, Written::Stored);
    assert_eq!(create_on(&table, &two, &ring(&two)).await, Written::Conflict);
    assert_eq!(table.get(&two.key_id).await.unwrap(), None, "nothing of the second is written");
    assert_eq!(table.ring(Some(&tenant)).await.unwrap(), ring(&one));
}

async fn a_key_knows_what_it_made_and_makes_none_once_revoked(on: &Backend) {
    let (table, tenant) = (table(on).await, tenant());
    let maker = key(None, clock::now());
    create(&table, &maker).await;
    let made = |owner| StoredKey { made_by: Some(maker.key_id.clone()), ..key(owner, clock::now()) };
    let (one, two) = (made(Some(&tenant)), made(None));
    for key in [&one, &two] {
        assert_eq!(create(&table, key).await, Written::Stored);
    }
    let expected = BTreeSet::from([one.key_id.clone(), two.key_id.clone()]);
    let found = || async { BTreeSet::from_iter(table.made_by(&maker.key_id).await.unwrap()) };
    assert_eq!(found().await, expected);
    assert_eq!(table.made_by(&one.key_id).await.unwrap(), []);
    let revoked = StoredKey { revoked_at: Some(clock::now()), ..maker.clone() };
    while revoke(&table, &revoked).await == Written::Conflict {}
    let late = made(Some(&tenant));
    assert_eq!(create(&table, &late).await, Written::MakerRevoked);
    assert_eq!((table.get(&late.key_id).await.unwrap(), found().await), (None, expected));
}

async fn a_list_is_newest_first_in_pages_that_neither_skip_nor_repeat(on: &Backend) {
    let table = table(on).await;
    let (tenant, time) = (tenant(), some_time());
    let mut keys = Vec::new();
    // Two of them were made in the same millisecond.
    for millis in [1, 3, 2, 3, 0] {
        let key = key(Some(&tenant), Timestamp::from_millis(time.as_millis() + millis));
        create(&table, &key).await;
        keys.push(key);
    }
    keys.sort_by(|a, b| place(b).cmp(&place(a)));
    for limit in [1, 2, 4, 5, 50] {
        let mut walked: Vec<StoredKey> = Vec::new();
        loop {
            let page = table.list(Some(&tenant), walked.last().map(place), limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            walked.extend(page);
            assert!(walked.len() <= keys.len(), "it repeats, {limit} at a time");
        }
        assert_eq!(walked, keys, "{limit} at a time");
    }
}

async fn a_page_begins_behind_a_key_that_is_not_there(on: &Backend) {
    let table = table(on).await;
    let (tenant, time) = (tenant(), some_time());
    let [older, gone, newer] =
        [0, 1, 2].map(|millis| key(Some(&tenant), Timestamp::from_millis(time.as_millis() + millis)));
    create(&table, &older).await;
    create(&table, &newer).await;
    assert_eq!(table.list(Some(&tenant), Some(place(&gone)), 10).await.unwrap(), [older]);
}

async fn a_tenant_s_keys_and_those_of_the_stack_are_listed_apart(on: &Backend) {
    let table = table(on).await;
    let (tenant, other) = (tenant(), tenant());
    let (one, everybody_s) = (key(Some(&tenant), FAR), key(None, FAR));
    create(&table, &one).await;
    create(&table, &everybody_s).await;
    assert_eq!(table.list(Some(&tenant), None, 10).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(table.list(Some(&other), None, 10).await.unwrap(), []);
    // The stack's list holds what other tests made.
    let all = table.list(None, None, 1000).await.unwrap();
    assert!(all.contains(&everybody_s) && !all.contains(&one));
    assert!(all.iter().all(|key| key.tenant.is_none()));
}

async fn a_key_that_was_unknown_is_read_again_within_a_second_and_each_time_without_memory(on: &Backend) {
    let name = on.resource("ApiKeysTable");
    let table = ApiKeysTable::new(aws_sdk_dynamodb::Client::new(&on.behind_proxy().await), name);
    let hands = HandClock::start();
    let remembering = Authenticator::new(table.clone()).with_clock(hands.clock());
    let reading = Authenticator::new(table.clone()).with_clock(hands.clock()).without_memory();
    let secret = ApiKey::generate(clock::random().unwrap(), clock::random().unwrap());
    let key = StoredKey { key_id: secret.id.clone(), digest: secret.digest(), ..key(Some(&tenant()), clock::now()) };
    let request = Request {
        method: Method::Post,
        path: "/".into(),
        query: BTreeMap::new(),
        headers: BTreeMap::from([("authorization".into(), format!("Bearer {}", secret.reveal()))]),
        body: Vec::new(),
        identity: None,
    };
    let status = async |by: &Authenticator| match by.authenticate(&request, &[Scope::Ingest]).await {
        Ok(_) => 200,
        Err(problem) => problem.status,
    };
    let reads = || on.calls("GetItem", secret.id.as_str()).len();
    for expected in [1, 1, 1] {
        assert_eq!((status(&remembering).await, reads()), (401, expected));
    }
    assert_eq!((status(&reading).await, reads()), (401, 2));
    create(&table, &key).await;
    assert_eq!((status(&reading).await, reads()), (200, 3), "the endpoints URL takes a new key at once");
    assert_eq!((status(&remembering).await, reads()), (401, 3));
    hands.freeze(Duration::from_secs(1));
    for expected in [4, 4] {
        assert_eq!((status(&remembering).await, reads()), (200, expected));
    }
}

on_dynamodb! {
    a_key_that_was_unknown_is_read_again_within_a_second_and_each_time_without_memory,
    every_field_survives_a_round_trip_and_a_revocation_replaces_the_key,
    of_two_changes_of_one_ring_one_is_stored,
    a_key_knows_what_it_made_and_makes_none_once_revoked,
    a_list_is_newest_first_in_pages_that_neither_skip_nor_repeat,
    a_page_begins_behind_a_key_that_is_not_there,
    a_tenant_s_keys_and_those_of_the_stack_are_listed_apart,
}
