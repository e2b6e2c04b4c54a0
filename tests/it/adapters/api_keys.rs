//! API keys: by id, and in a list by time.

use std::collections::BTreeSet;

use pombo_aws::api_keys::ApiKeysTable;
use pombo_aws::clock;
use pombo_domain::api_key::{ApiKey, Scope, StoredKey};
use pombo_domain::ids::TenantId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, unique};

use super::{FAR, some_time};

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
        valid_until: None,
        revoked_at: None,
    }
}

fn place(key: &StoredKey) -> (Timestamp, &pombo_domain::ids::KeyId) {
    (key.created_at, &key.key_id)
}

async fn every_field_survives_a_round_trip_and_a_revocation_replaces_the_key(on: &Backend) {
    let table = table(on).await;
    let tenant = unique("t").parse().unwrap();
    let key = StoredKey { valid_until: Some(FAR), ..key(Some(&tenant), clock::now()) };
    assert_eq!(table.get(&key.key_id).await.unwrap(), None);
    table.put(&key).await.unwrap();
    assert_eq!(table.get(&key.key_id).await.unwrap(), Some(key.clone()));
    let revoked = StoredKey { revoked_at: Some(clock::now()), ..key };
    table.put(&revoked).await.unwrap();
    assert_eq!(table.get(&revoked.key_id).await.unwrap(), Some(revoked.clone()));
    assert_eq!(table.list(Some(&tenant), None, 10).await.unwrap(), [revoked]);
}

async fn a_list_is_newest_first_in_pages_that_neither_skip_nor_repeat(on: &Backend) {
    let table = table(on).await;
    let (tenant, time) = (unique("t").parse().unwrap(), some_time());
    let mut keys = Vec::new();
    // Two of them were made in the same millisecond.
    for millis in [1, 3, 2, 3, 0] {
        let key = key(Some(&tenant), Timestamp::from_millis(time.as_millis() + millis));
        table.put(&key).await.unwrap();
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
    let (tenant, time) = (unique("t").parse().unwrap(), some_time());
    let [older, gone, newer] =
        [0, 1, 2].map(|millis| key(Some(&tenant), Timestamp::from_millis(time.as_millis() + millis)));
    table.put(&older).await.unwrap();
    table.put(&newer).await.unwrap();
    assert_eq!(table.list(Some(&tenant), Some(place(&gone)), 10).await.unwrap(), [older]);
}

async fn a_tenant_s_keys_and_those_of_the_stack_are_listed_apart(on: &Backend) {
    let table = table(on).await;
    let (tenant, other) = (unique("t").parse().unwrap(), unique("t").parse().unwrap());
    let (one, everybody_s) = (key(Some(&tenant), FAR), key(None, FAR));
    table.put(&one).await.unwrap();
    table.put(&everybody_s).await.unwrap();
    assert_eq!(table.list(Some(&tenant), None, 10).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(table.list(Some(&other), None, 10).await.unwrap(), []);
    // The stack's list holds what other tests made.
    let all = table.list(None, None, 1000).await.unwrap();
    assert!(all.contains(&everybody_s) && !all.contains(&one));
    assert!(all.iter().all(|key| key.tenant.is_none()));
}

on_dynamodb! {
    every_field_survives_a_round_trip_and_a_revocation_replaces_the_key,
    a_list_is_newest_first_in_pages_that_neither_skip_nor_repeat,
    a_page_begins_behind_a_key_that_is_not_there,
    a_tenant_s_keys_and_those_of_the_stack_are_listed_apart,
}
