//! Every cell of the table: each call by each kind of caller, over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use local::{Answer, Receiver};
use pombo_domain::api_key::Scope;
use pombo_domain::time::Timestamp;
use pombo_tests::{SOON, Stack, eventually, scenario, unique};
use pombo_web::{Access, Route};
use reqwest::Method;
use serde_json::{Value, json};

use crate::access::lines::{Gets, Line, OPEN, Url, lines};

/// A token in the query of the endpoints' URL.
const TOKEN: &str = "token-in-a-query";
/// A token in their path.
const PATH_TOKEN: &str = "token-in-a-path";
/// The name of a header that the endpoints have.
const HEADER: &str = "x-key-of-the-receiver";
/// Parts of an endpoint that only a key with `endpoints` or `admin` may see, as an answer would have them.
const SECRET: [&str; 4] = [TOKEN, PATH_TOKEN, HEADER, "whsec_"];

/// What an id in a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    Endpoint,
    Key,
    Event,
    Delivery,
    Replay,
}

/// Two tenants, and what one of them has.
pub struct World {
    pub stack: &'static Stack,
    /// The tenant that requests are about.
    pub mine: String,
    /// An endpoint of it. It answers no delivery well.
    pub endpoint: String,
    /// A delivery of it.
    pub delivery: String,
    receiver: Receiver,
    /// The event type that the endpoints take: those of any tenant, so no trace of `mine`.
    event_type: String,

    callers: Vec<Caller>,
}

/// Somebody who makes a call.
struct Caller {
    what: String,
    /// What is sent as the key, if anything.
    key: Option<String>,
    holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Nothing that counts.
    Nothing,
    /// A valid key with this scope and those that it includes: for the stack, for `mine`, or for the other tenant.
    Key(Scope, usize),
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    text: String,
}

impl World {
    async fn new() -> Self {
        let stack = crate::access::stack().await;
        let receiver = Receiver::start_with(|_| Answer::status(500)).unwrap();
        let (mine, other) = (unique("mine"), unique("other"));
        let callers = callers(stack, &mine, &other).await;
        let (endpoint, delivery) = (String::new(), String::new());
        let event_type = unique("type");
        let mut world = Self { stack, mine, endpoint, delivery, receiver, event_type, callers };
        world.endpoint = world.fresh(Thing::Endpoint).await;
        world.delivery = world.fresh(Thing::Delivery).await;
        world
    }

    /// The body that registers an endpoint.
    pub fn new_endpoint(&self, tenant: Option<&str>) -> Value {
        // Its deliveries stay `retrying` for as long as the test runs.
        let policy = json!({"delays_seconds": [600]});
        json!({
            "tenant": tenant, "url": self.receiver.url(&format!("/hook/{PATH_TOKEN}?token={TOKEN}")), "event_types": [self.event_type],
            "retry_policy": policy, "signatures": ["v1", "v1a"], "headers": {HEADER: "value"},
        })
    }

    /// Something new of `mine`; gives its id.
    async fn fresh(&self, thing: Thing) -> String {
        let id = |answer: (u16, Value)| {
            assert!((200..300).contains(&answer.0), "{thing:?}: {answer:?}");
            answer.1["id"].as_str().unwrap().to_owned()
        };
        let local = &self.stack.local;
        match thing {
            Thing::Endpoint => {
                id(local.endpoints().post("/v1/endpoints", &self.new_endpoint(Some(&self.mine))).await.unwrap())
            }
            Thing::Key => key_id(&self.stack.key(&["ops"], Some(&self.mine)).await),
            Thing::Event => {
                let event = json!({"type": self.event_type, "tenant": self.mine, "data": {}});
                id(local.ingest().post("/v1/events", &event).await.unwrap())
            }
            Thing::Delivery => {
                let event = Box::pin(self.fresh(Thing::Event)).await;
                eventually("the delivery", SOON, || async {
                    let event = self.stack.event(&self.mine, &event).await;
                    let deliveries = event["deliveries"].as_array().unwrap();
                    let delivery = deliveries.iter().find(|delivery| delivery["status"] == "retrying")?;
                    Some(delivery["id"].as_str().unwrap().to_owned())
                })
                .await
            }
            Thing::Replay => {
                let filter = json!({"tenant": self.mine, "since": "2026-01-31T09:30:00Z"});
                id(local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap())
            }
        }
    }

    /// The thing as an operator sees it, without what passes by itself.
    async fn look_at(&self, thing: Thing, id: &str) -> Value {
        let local = &self.stack.local;
        let get = |path: String| async move {
            let api = if path.starts_with("/v1/endpoints") { local.endpoints() } else { local.replay() };
            let (status, answer) = api.get(&path).await.unwrap();
            assert_eq!(status, 200, "{path}: {answer}");
            answer
        };
        match thing {
            Thing::Endpoint => {
                json!([get(format!("/v1/endpoints/{id}")).await, get(format!("/v1/endpoints/{id}/secret")).await])
            }
            Thing::Key => {
                let keys = local.endpoints().get(&format!("/v1/keys?limit=100&tenant={}", self.mine)).await.unwrap().1;
                keys["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone()
            }
            Thing::Event => Value::Null, // Immutable.
            Thing::Delivery => {
                let delivery = get(format!("/v1/deliveries/{id}")).await;
                json!([delivery["round"], delivery["status"] == "cancelled"])
            }
            Thing::Replay => json!(get(format!("/v1/replays/{id}")).await["status"] == "cancelled"),
        }
    }

    async fn call(&self, url: Url, method: &str, path: &str, body: &Value, key: Option<&str>) -> Reply {
        let urls = &self.stack.local.urls;
        let base = match url {
            Url::Ingest => &urls.ingest,
            Url::Endpoints => &urls.endpoints,
            Url::Replay => &urls.replay,
        };
        let mut request = reqwest::Client::new().request(method.parse::<Method>().unwrap(), format!("{base}{path}"));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        Reply { status: answer.status().as_u16(), text: answer.text().await.unwrap() }
    }

    /// One line for every caller; gives what is not as the table says.
    async fn line(&self, line: &Line) -> Vec<String> {
        let (method, path) = line.route.split_once(' ').unwrap();
        let (query, body, needed) = ((line.query)(self), (line.body)(self), scopes_of(line));
        let shared = match line.thing {
            Some(thing) => Some((thing, self.fresh(thing).await)),
            None => None,
        };
        let before = match &shared {
            Some((thing, id)) if line.changes => self.look_at(*thing, id).await,
            _ => Value::Null,
        };
        let mut wrong = Vec::new();
        // Those who may come last: what the others got must have changed nothing.
        let (others, may): (Vec<_>, Vec<_>) =
            self.callers.iter().partition(|caller| expected(caller, needed, line) != Ok(Gets::Done));
        for (place, caller) in others.into_iter().chain(may.iter().copied()).enumerate() {
            let allowed = expected(caller, needed, line) == Ok(Gets::Done);
            let id = match &shared {
                Some((thing, _)) if allowed && line.changes => self.fresh(*thing).await,
                Some((_, id)) => id.clone(),
                None => String::new(),
            };
            let full = |id: &str| format!("{}{query}", path.replace("{id}", id));
            let reply = self.call(line.url, method, &full(&id), &body, caller.key.as_deref()).await;
            let mut complain = |what: String| {
                wrong.push(format!("{} {query} {body} by {}: {what}: {reply:?}", line.route, caller.what));
            };
            match expected(caller, needed, line) {
                Err(status) if reply.status != status => complain(format!("expected {status}")),
                Ok(Gets::Done) if !(200..300).contains(&reply.status) => complain("expected it to be done".into()),
                Ok(Gets::Forbidden) if reply.status != 403 => complain("expected 403".into()),
                Ok(Gets::Absent) if reply.status != 404 => complain("expected 404".into()),
                Ok(Gets::Absent) if line.thing.is_some() => {
                    let none = never_existed(&id, line.thing);
                    let absent = self.call(line.url, method, &full(&none), &body, caller.key.as_deref()).await;
                    if absent.status != 404 || absent.text.replace(&none, &id) != reply.text {
                        complain(format!("what never existed gets {absent:?}"));
                    }
                }
                _ => {}
            }
            let is_others = matches!(caller.holds, Holds::Key(_, 2) | Holds::Nothing);
            if is_others && [&self.mine, &self.endpoint].iter().any(|mine| reply.text.contains(mine.as_str())) {
                complain("it tells of another tenant".into());
            }
            let manages = matches!(caller.holds, Holds::Key(Scope::Admin | Scope::Endpoints, _));
            if !manages && SECRET.iter().any(|secret| reply.text.contains(secret)) {
                complain("it tells what only who manages endpoints may see".into());
            }
            if place + 1 == self.callers.len() - may.len()
                && let Some((thing, id)) = shared.as_ref().filter(|_| line.changes)
            {
                let after = self.look_at(*thing, id).await;
                if before != after {
                    complain(format!("refused, and yet {before} became {after}"));
                }
            }
        }
        wrong
    }
}

/// What a caller gets for a line: by its key, or a status because of it.
fn expected(caller: &Caller, needed: &[Scope], line: &Line) -> Result<Gets, u16> {
    match caller.holds {
        Holds::Nothing => Err(401),
        Holds::Key(scope, _) if !needed.iter().any(|needed| scope.includes(*needed)) => Err(403),
        Holds::Key(_, whose) => Ok(line.gets[whose]),
    }
}

/// An id like this one, of nothing.
fn never_existed(id: &str, thing: Option<Thing>) -> String {
    match thing {
        Some(Thing::Delivery) => pombo_domain::cursor::seal("ep_aaaaaaaaaaaaaaaa/2026-01-31T09:30:00.050Z#none"),
        Some(Thing::Event) => "evt_aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(),
        Some(Thing::Replay) => {
            // The same job of a tenant that is not there.
            let key = pombo_domain::cursor::unseal(id).unwrap();
            let (_, rest) = key.split_once('/').unwrap();
            pombo_domain::cursor::seal(&format!("nobody/{rest}"))
        }
        _ => match id.split_once('_') {
            Some((prefix, rest)) => format!("{prefix}_{}", "a".repeat(rest.len())),
            None => "a".repeat(id.len()),
        },
    }
}

fn key_id(key: &str) -> String {
    key.split('_').nth(1).unwrap().to_owned()
}

/// One of each kind.
async fn callers(stack: &Stack, mine: &str, other: &str) -> Vec<Caller> {
    let key = |scope: &str, tenant: Option<&str>| {
        let scopes = [scope.to_owned()];
        let tenant = tenant.map(str::to_owned);
        async move { stack.key(&[&scopes[0]], tenant.as_deref()).await }
    };
    let valid = key("admin", None).await;
    let (head, last) = valid.split_at(valid.len() - 1);
    let wrong = format!("{head}{}", if last == "a" { "b" } else { "a" });
    let unknown = valid.replace(&key_id(&valid), &"a".repeat(key_id(&valid).len()));
    let revoked = key("admin", None).await;
    assert_eq!(stack.local.endpoints().delete(&format!("/v1/keys/{}", key_id(&revoked))).await.unwrap().0, 204);
    let made_by_revoked = made_by_a_revoked_key(stack).await;
    let (expired, made_by_expired) = expired_keys(stack).await;

    let nothing = |what: &str, key: Option<&str>| Caller {
        what: what.to_owned(),
        key: key.map(str::to_owned),
        holds: Holds::Nothing,
    };
    let mut callers = vec![
        nothing("nobody", None),
        nothing("a malformed key", Some("pk_nonsense")),
        nothing("a key with another secret", Some(&wrong)),
        nothing("a key that never was", Some(&unknown)),
        nothing("a revoked key", Some(&revoked)),
        nothing("a key that a revoked key made", Some(&made_by_revoked)),
        nothing("an expired key", Some(&expired)),
        nothing("a key that an expired key made", Some(&made_by_expired)),
    ];
    for scope in Scope::ALL {
        for (whose, tenant) in [None, Some(mine), Some(other)].into_iter().enumerate() {
            callers.push(Caller {
                what: format!("{scope} of {}", tenant.unwrap_or("the stack")),
                key: Some(key(&scope.to_string(), tenant).await),
                holds: Holds::Key(scope, whose),
            });
        }
    }
    callers
}

/// Makes an admin key with another one.
async fn key_made_by(stack: &Stack, maker: &str, expires_at: Option<Timestamp>) -> String {
    let api = Stack::api(&stack.local.urls.endpoints, maker);
    let new = json!({"name": "made", "scopes": ["admin"], "expires_at": expires_at});
    let (status, made) = api.post("/v1/keys", &new).await.unwrap();
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

/// A key whose maker was revoked together with what it made.
async fn made_by_a_revoked_key(stack: &Stack) -> String {
    let maker = stack.key(&["admin"], None).await;
    let made = key_made_by(stack, &maker, None).await;
    let path = format!("/v1/keys/{}?with_made=true", key_id(&maker));
    assert_eq!(stack.local.endpoints().delete(&path).await.unwrap().0, 200);
    made
}

/// A key that has expired, and one that it made without saying until when.
async fn expired_keys(stack: &Stack) -> (String, String) {
    let end = pombo_aws::clock::now().plus(Duration::from_secs(2));
    let expired = key_made_by(stack, &stack.local.keys.admin, Some(end)).await;
    let made = key_made_by(stack, &expired, None).await;
    tokio::time::sleep(pombo_aws::clock::now().until(end)).await;
    (expired, made)
}

/// The routes that the functions state: which take which scopes, and which none.
fn routes() -> BTreeMap<(Url, String), Option<&'static [Scope]>> {
    type Stated = ((Url, String), Option<&'static [Scope]>);
    fn of<O, K>(url: Url, routes: &[Route<O, K>]) -> impl Iterator<Item = Stated> + '_ {
        routes.iter().map(move |route| {
            let scopes = match route.access {
                Access::Open(_) => None,
                Access::Key(scopes, _) => Some(scopes),
            };
            ((url, format!("{} {}", route.method.as_str(), route.path)), scopes)
        })
    }
    of(Url::Ingest, &ingest::ROUTES)
        .chain(of(Url::Endpoints, &endpoints::ROUTES))
        .chain(of(Url::Replay, &replay::ROUTES))
        .collect()
}

fn scopes_of(line: &Line) -> &'static [Scope] {
    routes()[&(line.url, line.route.to_owned())].unwrap()
}

#[scenario]
fn every_route_has_a_line_and_every_line_a_route() {
    let (mut keyed, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (route, scopes) in routes() {
        if scopes.is_some() {
            keyed.insert(route)
        } else {
            open.insert(route)
        };
    }
    assert_eq!(lines().iter().map(|line| (line.url, line.route.to_owned())).collect::<BTreeSet<_>>(), keyed);
    assert_eq!(OPEN.map(|(url, route, _)| (url, route.to_owned())).into_iter().collect::<BTreeSet<_>>(), open);
}

#[scenario]
fn the_scopes_of_a_call_follow_from_what_it_is_about() {
    for ((url, route), scopes) in routes() {
        let expected: &[Scope] = match url {
            Url::Ingest => &[Scope::Ingest],
            Url::Replay => &[Scope::Ops],
            // Operators know deliveries by their endpoints and tenants, so they may read those.
            Url::Endpoints if route == "GET /v1/tenants" => &[Scope::Ops],
            Url::Endpoints if route.starts_with("GET /v1/endpoints") && !route.ends_with("/secret") => {
                &[Scope::Ops, Scope::Endpoints]
            }
            Url::Endpoints if route.contains("/v1/endpoints") => &[Scope::Endpoints],
            Url::Endpoints => &[Scope::Admin],
        };
        assert!(scopes.is_none_or(|scopes| scopes == expected), "{route}: {scopes:?}");
    }
}

#[scenario(multi_thread, slow)]
async fn each_call_answers_each_key_as_the_table_says() {
    let world = World::new().await;
    let lines = lines();
    let mut wrong: Vec<_> =
        futures::stream::iter(&lines).map(|line| world.line(line)).buffer_unordered(6).concat().await;
    let endpoint = world.fresh(Thing::Endpoint).await;
    for (url, route, status) in OPEN {
        let (method, path) = route.split_once(' ').unwrap();
        let body = if method == "POST" { json!({"endpoint": endpoint}) } else { Value::Null };
        for caller in &world.callers {
            let reply = world.call(url, method, &path.replace("{id}", &endpoint), &body, caller.key.as_deref()).await;
            if reply.status != status || reply.text.contains(&world.mine) {
                wrong.push(format!("{route} by {}: expected {status}: {reply:?}", caller.what));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((world.callers.len(), lines.len()), (20, 39), "so many cells were meant to be looked at");
}
