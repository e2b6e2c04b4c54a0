//! A key that is bound to a tenant: what its lists show, and what it can do with ids and cursors of another tenant.

use local::{Answer, Api};
use pombo_tests::{Hook, SOON, Stack, scenario, unique};
use serde_json::{Value, json};

/// A tenant with two of everything that is listed, and a key of its own.
struct Tenant {
    hook: Hook,
    key: String,
    deliveries: Vec<String>,
}

impl Tenant {
    async fn new() -> Self {
        let stack = crate::access::stack().await;
        let options = json!({"retry_policy": {"delays_seconds": [600]}});
        let hook = Hook::new(stack, options.clone(), |_| Answer::status(500)).await;
        Hook::register(stack, &hook.receiver, &hook.tenant, "/second", json!({"event_types": ["none"]})).await;
        let key = stack.key(&["admin"], Some(&hook.tenant)).await;
        stack.key(&["ops"], Some(&hook.tenant)).await;
        let mut deliveries = Vec::new();
        for _ in 0..2 {
            let event = hook.post().await;
            let delivery = hook.until_status(&event, "retrying", SOON).await;
            deliveries.push(delivery["id"].as_str().unwrap().to_owned());
            let filter = json!({"tenant": hook.tenant, "since": "2026-01-31T09:30:00Z"});
            let order = json!({"filter": filter});
            assert_eq!(stack.local.replay().post("/v1/replays", &order).await.unwrap().0, 202);
        }
        Self { hook, key, deliveries }
    }

    fn api(&self, list: &List) -> Api {
        let urls = &self.hook.stack.local.urls;
        Stack::api(if list.admin { &urls.endpoints } else { &urls.replay }, &self.key)
    }
}

/// A list, as the answer names it.
struct List {
    admin: bool,
    path: &'static str,
    rows: &'static str,
}

const LISTS: [List; 5] = [
    List { admin: true, path: "/v1/endpoints?", rows: "endpoints" },
    List { admin: true, path: "/v1/keys?", rows: "keys" },
    List { admin: false, path: "/v1/events?", rows: "events" },
    List { admin: false, path: "/v1/deliveries?status=retrying&", rows: "deliveries" },
    List { admin: false, path: "/v1/replays?", rows: "replays" },
];

async fn get(api: &Api, path: &str) -> (u16, Value) {
    api.get(path).await.unwrap()
}

#[scenario]
async fn a_list_shows_the_keys_own_tenant_alone_and_a_cursor_opens_no_other() {
    let (one, two) = tokio::join!(Tenant::new(), Tenant::new());
    for list in LISTS {
        let (status, page) = get(&one.api(&list), list.path).await;
        let rows = page[list.rows].as_array().unwrap();
        assert_eq!((status, rows.len()), (200, 2), "{page}");
        for row in rows {
            // A replay names its tenant in its filter.
            let owner = if row["tenant"].is_string() { &row["tenant"] } else { &row["filter"]["tenant"] };
            assert_eq!(*owner, one.hook.tenant, "{}: {row}", list.rows);
        }
        let first = get(&one.api(&list), &format!("{}limit=1", list.path)).await.1;
        let cursor = first["cursor"].as_str().unwrap();
        let next = format!("{}limit=1&cursor={cursor}", list.path);
        let (status, second) = get(&one.api(&list), &next).await;
        assert_eq!((status, &second[list.rows][0]), (200, &rows[1]), "{second}");
        let (status, refused) = get(&two.api(&list), &next).await;
        assert_eq!((status, &refused["errors"][0]["field"]), (400, &json!("cursor")), "{}: {refused}", list.rows);
    }
}

#[scenario]
async fn of_another_tenants_deliveries_a_replay_sends_none() {
    let (one, two) = tokio::join!(Tenant::new(), Tenant::new());
    let replay = Stack::api(&two.hook.stack.local.urls.replay, &two.key);
    let order = json!({"deliveries": [one.deliveries[0], two.deliveries[0]]});
    let (status, answer) = replay.post("/v1/replays", &order).await.unwrap();
    let results: Vec<_> = answer["deliveries"].as_array().unwrap().iter().map(|row| row["result"].clone()).collect();
    assert_eq!((status, results), (202, vec![json!("not_found"), json!("queued")]), "{answer}");
    for (delivery, round) in [(&one.deliveries[0], 0), (&two.deliveries[0], 1)] {
        let path = format!("/v1/deliveries/{delivery}");
        let (_, delivery) = one.hook.stack.local.replay().get(&path).await.unwrap();
        assert_eq!(delivery["round"], round, "{delivery}");
    }
}

#[scenario]
async fn a_bound_key_makes_bound_keys_and_revokes_no_key_of_the_stack() {
    let stack = crate::access::stack().await;
    let tenant = unique("t");
    let bound = Stack::api(&stack.local.urls.endpoints, &stack.key(&["admin"], Some(&tenant)).await);
    let (status, made) = bound.post("/v1/keys", &json!({"name": "n", "scopes": ["admin"]})).await.unwrap();
    assert_eq!((status, &made["tenant"]), (201, &json!(tenant)), "{made}");
    let of_the_stack = stack.key(&["ops"], None).await;
    let path = format!("/v1/keys/{}", of_the_stack.split('_').nth(1).unwrap());
    assert_eq!(bound.delete(&path).await.unwrap().0, 404);
    let (status, _) = Stack::api(&stack.local.urls.replay, &of_the_stack).get("/v1/replays").await.unwrap();
    assert_eq!(status, 200, "the key is valid still");
}
