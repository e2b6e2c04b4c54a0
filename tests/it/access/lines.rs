//! The table: for each call of the three URLs, what each kind of key gets. A request is about something of one tenant, `mine`;
//! a key is for the whole stack, for `mine`, or for another tenant.

use serde_json::{Value, json};

use crate::access::cells::{Thing, World};

/// What a request gets from a key that has the call's scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gets {
    /// It is done.
    Done,
    /// 403: what was named is not for this key.
    Forbidden,
    /// 404, in the words that something gets which never existed.
    Absent,
}
use Gets::{Absent, Done, Forbidden};

/// Which of the three URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Url {
    Ingest,
    Endpoints,
    Replay,
}

/// A request, and what keys with the scope get: of the whole stack, of the tenant, and of another tenant.
pub struct Line {
    pub url: Url,
    /// The method and path of the route.
    pub route: &'static str,
    /// What stands for `{id}`.
    pub thing: Option<Thing>,
    /// Whether its success changes the thing, so that each needs its own.
    pub changes: bool,
    pub query: fn(&World) -> String,
    pub body: fn(&World) -> Value,
    pub gets: [Gets; 3],
}

fn line(url: Url, route: &'static str, gets: [Gets; 3]) -> Line {
    Line { url, route, thing: None, changes: false, query: |_| String::new(), body: |_| Value::Null, gets }
}

impl Line {
    fn of(self, thing: Thing) -> Self {
        Self { thing: Some(thing), ..self }
    }

    fn changing(self, thing: Thing) -> Self {
        Self { changes: true, ..self.of(thing) }
    }

    fn query(self, query: fn(&World) -> String) -> Self {
        Self { query, ..self }
    }

    fn body(self, body: fn(&World) -> Value) -> Self {
        Self { body, ..self }
    }
}

fn tenant(world: &World) -> String {
    format!("?tenant={}", world.mine)
}

fn filter(scope: Value, dry_run: bool) -> Value {
    let mut filter = json!({"since": "2026-01-31T09:30:00Z"});
    for (name, value) in scope.as_object().unwrap() {
        filter[name] = value.clone();
    }
    json!({"filter": filter, "dry_run": dry_run})
}

/// Every call that takes a key.
pub fn lines() -> Vec<Line> {
    use Thing::{Delivery, Endpoint, Event, Key, Replay};
    use Url::{Endpoints as E, Ingest as I, Replay as R};
    const EVERYBODY: [Gets; 3] = [Done; 3];
    const NAMED: [Gets; 3] = [Done, Done, Forbidden];
    const BY_ID: [Gets; 3] = [Done, Done, Absent];
    const STACK: [Gets; 3] = [Done, Forbidden, Forbidden];
    vec![
        line(I, "POST /v1/events", EVERYBODY).body(|_| json!({"type": "a", "data": {}})),
        line(I, "POST /v1/events", NAMED).body(|world| json!({"type": "a", "tenant": world.mine, "data": {}})),
        line(E, "GET /v1/endpoints", EVERYBODY),
        line(E, "GET /v1/endpoints", NAMED).query(tenant),
        line(E, "POST /v1/endpoints", EVERYBODY).body(|world| world.new_endpoint(None)),
        line(E, "POST /v1/endpoints", NAMED).body(|world| world.new_endpoint(Some(&world.mine))),
        line(E, "GET /v1/endpoints/{id}", BY_ID).of(Endpoint),
        line(E, "PATCH /v1/endpoints/{id}", BY_ID).changing(Endpoint).body(|_| json!({"name": "changed"})),
        line(E, "DELETE /v1/endpoints/{id}", BY_ID).changing(Endpoint),
        line(E, "POST /v1/endpoints/{id}/pause", BY_ID).changing(Endpoint),
        line(E, "POST /v1/endpoints/{id}/resume", BY_ID).changing(Endpoint),
        line(E, "POST /v1/endpoints/{id}/rotate-secret", BY_ID).changing(Endpoint),
        line(E, "POST /v1/endpoints/{id}/test", BY_ID).changing(Endpoint),
        line(E, "GET /v1/endpoints/{id}/secret", BY_ID).of(Endpoint),
        line(E, "GET /v1/keys", EVERYBODY),
        line(E, "GET /v1/keys", NAMED).query(tenant),
        line(E, "POST /v1/keys", EVERYBODY).body(|_| json!({"name": "new", "scopes": ["ingest"]})),
        line(E, "POST /v1/keys", NAMED)
            .body(|world| json!({"name": "new", "scopes": ["ingest"], "tenant": world.mine})),
        line(E, "DELETE /v1/keys/{id}", BY_ID).changing(Key),
        line(E, "GET /v1/tenants", EVERYBODY),
        line(R, "GET /v1/events", EVERYBODY),
        line(R, "GET /v1/events", NAMED).query(tenant),
        // Without a name the event is looked for at the key's own tenant, or at `default`.
        line(R, "GET /v1/events/{id}", [Absent, Done, Absent]).of(Event),
        line(R, "GET /v1/events/{id}", NAMED).of(Event).query(tenant),
        line(R, "GET /v1/deliveries", EVERYBODY).query(|_| "?status=retrying".into()),
        line(R, "GET /v1/deliveries", NAMED).query(|world| format!("?tenant={}&status=retrying", world.mine)),
        line(R, "GET /v1/deliveries", BY_ID).query(|world| format!("?endpoint_id={}", world.endpoint)),
        line(R, "GET /v1/deliveries/{id}", BY_ID).of(Delivery),
        line(R, "POST /v1/deliveries/{id}/cancel", BY_ID).changing(Delivery),
        line(R, "GET /v1/health/{id}", BY_ID).of(Endpoint),
        line(R, "GET /v1/dead-letters", STACK),
        // Of chosen deliveries each is answered for: what the test of lists says of another tenant's.
        line(R, "POST /v1/replays", EVERYBODY).body(|world| json!({"deliveries": [world.delivery]})),
        line(R, "POST /v1/replays", NAMED).body(|world| filter(json!({"tenant": world.mine}), false)),
        line(R, "POST /v1/replays", BY_ID).body(|world| filter(json!({"endpoint_id": world.endpoint}), false)),
        line(R, "POST /v1/replays", STACK).body(|_| filter(json!({"stack": true}), true)),
        line(R, "GET /v1/replays", EVERYBODY),
        line(R, "GET /v1/replays", NAMED).query(tenant),
        line(R, "GET /v1/replays/{id}", BY_ID).of(Replay),
        line(R, "POST /v1/replays/{id}/cancel", BY_ID).changing(Replay),
    ]
}

/// The calls that take no key, with what they answer to one who proves nothing. A key changes nothing about it.
pub const OPEN: [(Url, &str, u16); 3] = [
    (Url::Endpoints, "GET /v1/endpoints/{id}/keys.json", 200),
    (Url::Replay, "GET /", 200),
    (Url::Replay, "POST /v1/missed", 401),
];
