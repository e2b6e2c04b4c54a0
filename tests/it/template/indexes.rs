//! Whether the template can be deployed over the last release, as far as tables and their indexes are concerned.
//! CONTRIBUTING.md has the rule and what to do.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Template;
use pombo_tests::scenario;

/// The tables of the last release with their keys, and their indexes: name, keys and projection. Before the first release,
/// what the template says.
const RELEASED: [(&str, &str, &[&str]); 6] = [
    ("RoutingTable", "tenant", &[]),
    ("EndpointsTable", "endpoint_id", &["by_status: status tenant, KEYS_ONLY"]),
    ("EventsTable", "event_key", &["by_time: ts pos, INCLUDE t n expires_at", "by_due: due_shard due_at, KEYS_ONLY"]),
    (
        "DeliveriesTable",
        "endpoint_id sort_key",
        &[
            "by_endpoint: endpoint_status sort_key, KEYS_ONLY",
            "by_tenant: tenant_status list_key, KEYS_ONLY",
            "by_stack: stack_status list_key, KEYS_ONLY",
            "by_due: due_shard due_at, KEYS_ONLY",
        ],
    ),
    ("ApiKeysTable", "partition row", &["by_owner: owner created_key, ALL"]),
    (
        "JobsTable",
        "owner created_key",
        &["by_due: due_shard due_at, KEYS_ONLY", "by_time: list created_key, KEYS_ONLY"],
    ),
];

fn keys(of: &Value) -> String {
    let names = of["KeySchema"].as_array().unwrap().iter().map(|key| key["AttributeName"].as_str().unwrap());
    names.collect::<Vec<_>>().join(" ")
}

/// An index in the words of the list, by its name.
fn index(of: &Value) -> (String, String) {
    let more = of["Projection"]["NonKeyAttributes"].as_array().into_iter().flatten();
    let more: String = more.map(|name| format!(" {}", name.as_str().unwrap())).collect();
    let kind = of["Projection"]["ProjectionType"].as_str().unwrap();
    (of["IndexName"].as_str().unwrap().to_owned(), format!("{}, {kind}{more}", keys(of)))
}

#[scenario]
async fn the_template_can_be_deployed_over_the_last_release() {
    let template = Template::with(&[]).await;
    for (table, released_keys, released) in RELEASED {
        let properties = template.properties(table);
        assert_eq!(keys(properties), released_keys, "{table}: CloudFormation would make a new, empty table");
        let indexes = properties["GlobalSecondaryIndexes"].as_array().into_iter().flatten();
        let now: BTreeMap<_, _> = indexes.map(index).collect();
        let split = |line: &&str| line.split_once(": ").map(|(name, rest)| (name.to_owned(), rest.to_owned())).unwrap();
        let before: BTreeMap<_, _> = released.iter().map(split).collect();
        let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        let made_or_deleted: Vec<_> =
            names.iter().filter(|name| before.contains_key(**name) != now.contains_key(**name)).collect();
        assert!(
            made_or_deleted.len() < 2,
            "{table}: DynamoDB creates or deletes one at a time, not {made_or_deleted:?}"
        );
        for (name, is) in &now {
            let was = before.get(name).unwrap_or(is);
            assert_eq!(is, was, "{table}: {name} would be deleted and created, which takes two releases");
        }
    }
}
