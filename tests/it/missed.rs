//! A receiver asks for what it missed, signed with its own secret.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::Status;
use pombo_domain::ids::EndpointId;
use pombo_domain::signature::Secret;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack, ask_for_missed, scenario, unique};
use serde_json::{Value, json};

use crate::rows::{delivery, event, put_deliveries, put_events};

/// A receiver, with its secret.
struct Asking {
    hook: Hook,
    secret: Secret,
}

impl Asking {
    async fn new() -> Self {
        let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
        let path = format!("/v1/endpoints/{}/secret", hook.endpoint);
        let (_, secrets) = hook.stack.local.endpoints().get(&path).await.unwrap();
        let secret = secrets["secrets"][0]["secret"].as_str().unwrap().parse().unwrap();
        Self { hook, secret }
    }

    fn body(&self, since: Timestamp) -> Value {
        json!({"type": "pombo.missed.request", "endpoint": self.hook.endpoint, "since": since})
    }

    /// Asks with an id of its own, now.
    async fn ask(&self, body: &Value) -> (u16, Value) {
        self.ask_now(&body.to_string()).await
    }

    async fn ask_now(&self, body: &str) -> (u16, Value) {
        self.ask_as(&self.secret, &unique("req"), clock::now().as_seconds(), body).await
    }

    async fn ask_as(&self, secret: &Secret, id: &str, timestamp: i64, body: &str) -> (u16, Value) {
        let signature = secret.sign(&id.parse().unwrap(), timestamp, body.as_bytes());
        let request = reqwest::Client::new()
            .post(format!("{}/v1/missed", self.hook.stack.local.urls.replay))
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    /// So many failed deliveries, a second apart, the first of them an hour ago.
    async fn failed(&self, count: u64) -> Timestamp {
        let endpoint: EndpointId = self.hook.endpoint.parse().unwrap();
        let from = Timestamp::from_seconds(clock::now().as_seconds() - 3600);
        let (mut events, mut records) = (Vec::new(), Vec::new());
        for n in 0..count {
            let (id, at) = (format!("e{n}"), from.plus(Duration::from_secs(n)));
            events.push(event(&self.hook.tenant, &id, "student.created", at, std::slice::from_ref(&endpoint)));
            records.push(delivery(&self.hook.tenant, &endpoint, &id, at, Status::Failed));
        }
        put_events(self.hook.stack, &events).await;
        put_deliveries(self.hook.stack, &records).await;
        from
    }
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["failed"].as_array().unwrap().iter().map(|failed| failed["event_id"].as_str().unwrap()).collect()
}

#[scenario]
async fn a_receiver_lists_what_failed_oldest_first_and_has_it_sent_again() {
    let asking = Asking::new().await;
    let from = asking.failed(5).await;
    let since = from.plus(Duration::from_secs(2));
    let (status, answer) = asking.ask(&asking.body(since)).await;
    assert_eq!((status, ids(&answer), &answer["cursor"]), (200, vec!["e2", "e3", "e4"], &json!(null)), "{answer}");
    let first = json!({
        "event_id": "e2", "webhook_id": format!("{}~e2", asking.hook.tenant), "type": "student.created",
        "accepted_at": since, "failed_at": since.plus(Duration::from_millis(20)),
    });
    assert_eq!(answer["failed"][0], first);
    assert_eq!(asking.hook.receiver.count(), 0, "listing sends nothing");

    let mut order = asking.body(since);
    order["replay"] = true.into();
    let (status, job) = asking.ask(&order).await;
    assert_eq!((status, &job["kind"], &job["include"]), (202, &json!("replay"), &json!(["failed"])), "{job}");
    let received = asking.hook.receiver.wait_for(3, SOON).await.unwrap();
    let sent: std::collections::BTreeSet<_> = received.iter().map(|received| received.event_id()).collect();
    assert_eq!(sent, ["e2", "e3", "e4"].into());
    asking.hook.assert_signed();
    for id in ["e2", "e3", "e4"] {
        asking.hook.until_status(id, "succeeded", SOON).await;
    }
    let (_, answer) = asking.ask(&asking.body(from)).await;
    assert_eq!(ids(&answer), ["e0", "e1"], "what was not asked for is as it was");
}

#[scenario]
async fn the_lines_of_the_readme_ask_with_the_reference_library() {
    let asking = Asking::new().await;
    asking.failed(2).await;
    let url = &asking.hook.stack.local.urls.replay;
    let missed = ask_for_missed(&asking.secret.reveal(), &asking.hook.endpoint, url).await;
    assert_eq!(ids(&missed), ["e0", "e1"], "{missed}");
}

#[scenario]
async fn pages_go_on_behind_each_other() {
    let asking = Asking::new().await;
    let from = asking.failed(230).await;
    let mut body = asking.body(from);
    let mut shown = Vec::new();
    for expected in [100, 100, 30] {
        let (status, answer) = asking.ask(&body).await;
        assert_eq!((status, ids(&answer).len()), (200, expected), "{answer}");
        shown.extend(ids(&answer).into_iter().map(ToOwned::to_owned));
        body["cursor"] = answer["cursor"].clone();
        if answer["cursor"].is_null() {
            body.as_object_mut().unwrap().remove("cursor");
        }
    }
    assert!(body.get("cursor").is_none());
    assert_eq!(shown, (0..230).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let other = Asking::new().await;
    let mut theirs = other.body(from);
    let (_, page) = asking.ask(&asking.body(from)).await;
    theirs["cursor"] = page["cursor"].clone();
    assert_eq!(other.ask(&theirs).await.0, 400, "a cursor belongs to its endpoint");
}

#[scenario]
async fn nobody_else_is_let_in_and_an_unknown_endpoint_is_told_what_a_wrong_signature_is() {
    let asking = Asking::new().await;
    let now = clock::now();
    let body = asking.body(now).to_string();
    let seconds = now.as_seconds();
    let wrong = asking.ask_as(&Secret::generate([7; 32]), &unique("req"), seconds, &body).await;
    assert_eq!(wrong.0, 401, "{}", wrong.1);
    let unknown = body.replace(&asking.hook.endpoint, "ep_aaaaaaaaaaaaaaaa");
    assert_eq!(asking.ask_as(&asking.secret, &unique("req"), seconds, &unknown).await, wrong);
    for timestamp in [seconds - 400, seconds + 400] {
        assert_eq!(asking.ask_as(&asking.secret, &unique("req"), timestamp, &body).await.0, 401);
    }
    let other = Asking::new().await;
    assert_eq!(other.ask_as(&other.secret, &unique("req"), seconds, &body).await, wrong, "another endpoint's secret");
    // A key opens nothing here, and a signature nothing else.
    let (status, _) = asking.hook.stack.local.replay().post("/v1/missed", &asking.body(now)).await.unwrap();
    assert_eq!(status, 401);
    asking.hook.change("delete").await;
    assert_eq!(asking.ask(&asking.body(now)).await, wrong, "a deleted endpoint has no secret");
}

#[scenario]
async fn a_copy_is_refused_and_so_is_the_eleventh_request_in_ten_minutes() {
    let asking = Asking::new().await;
    let now = clock::now();
    let (body, id) = (asking.body(now).to_string(), unique("req"));
    assert_eq!(asking.ask_as(&asking.secret, &id, now.as_seconds(), &body).await.0, 200);
    assert_eq!(asking.ask_as(&asking.secret, &id, now.as_seconds(), &body).await.0, 409);
    for field in ["tenant", "until", "url"] {
        let mut body = asking.body(now);
        body[field] = "x".into();
        let (status, problem) = asking.ask(&body).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!(field)), "{problem}");
    }
    // Those that are refused for their form or their signature take none of the ten.
    assert_eq!(asking.ask_as(&Secret::generate([7; 32]), &unique("req"), now.as_seconds(), &body).await.0, 401);
    let nine = futures::future::join_all((0..9).map(|_| asking.ask_now(&body))).await;
    assert!(nine.iter().all(|(status, _)| *status == 200), "{nine:?}");
    let (status, problem) = asking.ask_now(&body).await;
    assert_eq!((status, &problem["title"]), (429, &json!("Too many requests")), "{problem}");
}
