//! A stack brought to a stand: every kind of message and schedule is stopped on its way, with the items as they are then.
//!
//! What is stopped is what was sent: the calls of the functions say it. Each case has a tenant, and its endpoint a path, of
//! its name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use local::{Answer, Receiver};
use pombo_domain::delivery::DeliveryKey;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually};
use serde_json::{Value, json};

use crate::upgrade::made;
use crate::upgrade::stand::Stand;

/// The messages that a call sends, each with the name of its queue or `schedules`.
fn sent(call: &Call) -> Vec<(String, Value)> {
    let queue = |body: &Value| {
        let url = body["QueueUrl"].as_str().unwrap_or_default();
        let dead = url.contains("DeadLetter");
        if dead {
            "dead"
        } else if url.contains("Jobs") {
            "jobs"
        } else {
            "deliveries"
        }
        .to_owned()
    };
    let parse = |text: &Value| serde_json::from_str(text.as_str().unwrap()).unwrap();
    match call.operation.as_str() {
        "SendMessage" => vec![(queue(&call.body), parse(&call.body["MessageBody"]))],
        "SendMessageBatch" => {
            let entries = call.body["Entries"].as_array().unwrap().iter();
            entries.map(|entry| (queue(&call.body), parse(&entry["MessageBody"]))).collect()
        }
        "CreateSchedule" => vec![("schedules".to_owned(), parse(&call.body["Target"]["Input"]))],
        _ => Vec::new(),
    }
}

/// The endpoint of a message's delivery.
fn endpoint_of(message: &Value) -> Option<String> {
    let key: DeliveryKey = message["delivery"].as_str()?.parse().ok()?;
    Some(key.endpoint_id.to_string())
}

struct Scene {
    stack: &'static Stack,
    receiver: Receiver,
    endpoints: BTreeMap<&'static str, String>,
}

impl Scene {
    /// Registers an endpoint of this tenant and path.
    async fn endpoint(&mut self, name: &'static str, options: Value) {
        let id = Hook::register(self.stack, &self.receiver, name, &format!("/{name}"), options).await;
        self.endpoints.insert(name, id);
    }

    async fn post(&self, tenant: &str, id: &str) {
        // Long enough to be compressed.
        let data = json!({"text": "pombo ".repeat(20)});
        self.stack.post(&json!({"type": "student.created", "tenant": tenant, "id": id, "data": data})).await;
    }

    /// Stops what is sent about the endpoint and that `wanted` wants.
    fn stop(&self, name: &str, wanted: impl Fn(&Value) -> bool + Send + Sync + 'static) {
        let endpoint = self.endpoints[name].clone();
        self.stack.proxy.spoil(move |call| {
            let sent = sent(call);
            let about = |message: &Value| endpoint_of(message).as_ref() == Some(&endpoint) && wanted(message);
            sent.iter().any(|(_, message)| about(message)).then_some(Fault::Swallow)
        });
    }

    async fn until_status(&self, tenant: &str, event: &str, status: &str) -> Value {
        eventually(&format!("{tenant} {event} {status}"), SOON, || async {
            let delivery = self.stack.delivery(tenant, event).await;
            (delivery["status"] == status).then_some(delivery)
        })
        .await
    }

    /// Waits until a message of this kind was stopped.
    async fn until_stopped(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, || async {
            let calls = self.stack.proxy.calls(|call| call.spoilt);
            calls.iter().flat_map(|call| sent(call)).map(|(_, message)| message).find(|message| wanted(message))
        })
        .await
    }

    async fn change(&self, name: &str, how: &str) {
        let path = format!("/v1/endpoints/{}/{how}", self.endpoints[name]);
        let (status, answer) = self.stack.local.endpoints().post(&path, &json!({})).await.unwrap();
        assert_eq!(status, 200, "{answer}");
    }

    /// A delivery put on hold: its endpoint is paused before its first message comes.
    async fn hold(&self, name: &'static str) {
        let endpoint = self.endpoints[name].clone();
        let stopped = endpoint.clone();
        self.stack.proxy.spoil_times(1, move |call| {
            let about = sent(call).iter().any(|(_, message)| endpoint_of(message).as_ref() == Some(&stopped));
            about.then_some(Fault::Swallow)
        });
        self.post(name, name).await;
        let is_ours = |message: &Value| endpoint_of(message).as_ref() == Some(&endpoint);
        let first = self.until_stopped("the first message", is_ours).await;
        self.change(name, "pause").await;
        self.stack.send("DeliveriesQueue", &first.to_string()).await;
        self.until_status(name, name, "held").await;
    }

    async fn replay(&self, order: Value) {
        let (status, answer) = self.stack.local.replay().post("/v1/replays", &order).await.unwrap();
        assert_eq!(status, 202, "{answer}");
    }
}

/// Plays the scene on a stack of its own; gives what it comes to a stand with.
pub async fn play(stack: &'static Stack) -> Stand {
    let receiver = Receiver::start_with(|received| {
        let fails = ["/retry", "/queue", "/probe", "/settled"].contains(&received.path.as_str());
        Answer::status(if fails { 500 } else { 200 }).with_body("what the receiver says")
    })
    .unwrap();
    let mut scene = Scene { stack, receiver, endpoints: BTreeMap::new() };
    // Whoever hears of everything comes first.
    let ops = Hook::register(stack, &scene.receiver, "pombo", "/pombo", json!({"event_types": ["pombo.*"]})).await;
    stack.proxy.spoil(|call| sent(call).iter().any(|(_, it)| it["publish"].is_string()).then_some(Fault::Swallow));
    settled(&mut scene).await;
    under_way(&mut scene).await;
    scene.endpoint("held", json!({"retry_policy": "fast", "timeout_seconds": 3})).await;
    scene.hold("held").await;
    scene.endpoint("deleted", json!({"retry_policy": "extended"})).await;
    scene.hold("deleted").await;
    let legs = stop_legs(&scene);
    probed(&mut scene).await;
    jobs(&scene, &legs).await;
    let key = keys(stack).await;
    made::put_items(stack).await;
    assert_eq!(stack.event("settled", "failed").await["id"], "failed", "{ops}");
    // What is under way by now has come to its end, or was stopped.
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand(stack, key).await
}

/// Deliveries that have come to an end, of an endpoint that has everything that an endpoint may have.
async fn settled(scene: &mut Scene) {
    let options = json!({
        "name": "all of it", "headers": {"x-api-key": "k3y"}, "rate_limit": 50, "timeout_seconds": 3,
        "retry_policy": {"delays_seconds": [2.5, 7]}, "signatures": ["v1", "v1a"],
    });
    scene.endpoint("full", options).await;
    let rotate = format!("/v1/endpoints/{}/rotate-secret", scene.endpoints["full"]);
    let (status, rotated) = scene.stack.local.endpoints().post(&rotate, &json!({})).await.unwrap();
    assert_eq!(status, 200, "{rotated}");
    scene.receiver.expect_secret("/full", rotated["secret"].as_str().unwrap());
    scene.post("full", "succeeded").await;
    let succeeded = scene.until_status("full", "succeeded", "succeeded").await;
    scene.replay(json!({"deliveries": [succeeded["id"]]})).await;
    scene.endpoint("settled", json!({"retry_policy": {"delays_seconds": [1]}})).await;
    scene.post("settled", "failed").await;
    scene.until_status("settled", "failed", "failed").await;
}

/// Deliveries whose message is on its way.
async fn under_way(scene: &mut Scene) {
    for (name, options) in [
        ("first", json!({})),
        ("retry", json!({})),
        ("queue", json!({"retry_policy": {"delays_seconds": [1]}})),
        ("slot", json!({"rate_limit": 0.1})),
        ("outcome", json!({})),
    ] {
        scene.endpoint(name, options).await;
    }
    scene.stop("first", |_| true);
    scene.stop("retry", |message| message["attempt"] == 2);
    scene.stop("queue", |message| message["attempt"] == 2);
    scene.stop("slot", |message| message["slot"].is_object());
    scene.stop("outcome", |message| message["record"].is_object());
    let outcome = scene.endpoints["outcome"].clone();
    scene.stack.proxy.spoil(move |call| {
        let ours = call.operation == "PutItem" && call.attribute("endpoint_id") == outcome;
        let ended = call.attribute("status") == "succeeded";
        (ours && ended).then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    for (tenant, id) in [
        ("first", "first"),
        ("retry", "retry"),
        ("retry", "cancelled"),
        ("queue", "queue"),
        ("slot", "slot-1"),
        ("slot", "slot-2"),
        ("outcome", "outcome"),
    ] {
        scene.post(tenant, id).await;
    }
    scene.until_status("retry", "retry", "retrying").await;
    let cancelled = scene.until_status("retry", "cancelled", "retrying").await;
    let cancel = format!("/v1/deliveries/{}/cancel", cancelled["id"].as_str().unwrap());
    assert_eq!(scene.stack.local.replay().post(&cancel, &json!({})).await.unwrap().0, 200);
    scene.until_status("queue", "queue", "retrying").await;
    scene.until_stopped("a message with a slot", |message| message["slot"].is_object()).await;
    scene.until_stopped("an outcome", |message| message["record"].is_object()).await;
}

/// Stops the legs of jobs once it is told to.
fn stop_legs(scene: &Scene) -> Arc<AtomicBool> {
    let legs = Arc::new(AtomicBool::new(false));
    let stops = Arc::clone(&legs);
    scene.stack.proxy.spoil(move |call| {
        let is_leg = sent(call).iter().any(|(_, message)| message["job"].is_string());
        (is_leg && stops.load(Ordering::SeqCst)).then_some(Fault::Swallow)
    });
    legs
}

/// An open circuit, with a probe on its way.
async fn probed(scene: &mut Scene) {
    scene.endpoint("probe", json!({"retry_policy": {"delays_seconds": [600]}})).await;
    scene.stop("probe", |message| message["probe"].is_string() || message["attempt"] == 2);
    let health = format!("{}#health", scene.endpoints["probe"]);
    let opens =
        |call: &Call| call.operation == "TransactWriteItems" && call.mentions(&health) && call.mentions("drain");
    let mut posted = 0;
    while scene.stack.proxy.calls(opens).is_empty() {
        assert!(posted < 60, "the circuit stays closed");
        scene.post("probe", &format!("probe-{posted}")).await;
        posted += 1;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    scene.post("probe", "probe-held").await;
    scene.until_status("probe", "probe-held", "held").await;
    scene.until_stopped("a probe", |message| message["probe"].is_string()).await;
}

/// A replay that has stored its page, and the drain of an endpoint that is deleted, before their next legs.
async fn jobs(scene: &Scene, legs: &AtomicBool) {
    let settled = scene.endpoints["settled"].clone();
    scene.stack.proxy.spoil(move |call| {
        let opens_round = call.operation == "PutItem" && call.attribute("endpoint_id") == settled;
        (opens_round && call.attribute("status") == "retrying" && call.record().unwrap().job.is_some())
            .then_some(Fault::Refuse(500, "InternalServerError"))
    });
    let filter = json!({"endpoint_id": scene.endpoints["settled"], "since": "2026-01-01T00:00:00Z"});
    scene.replay(json!({"filter": filter, "include": ["failed"], "rate_per_second": 50})).await;
    let has_page = |call: &Call| {
        call.operation == "PutItem" && call.body["Item"]["page"].is_object() && call.mentions("replay_matching")
    };
    eventually("the page", SOON, || async { (!scene.stack.proxy.calls(has_page).is_empty()).then_some(()) }).await;
    legs.store(true, Ordering::SeqCst);
    let path = format!("/v1/endpoints/{}", scene.endpoints["deleted"]);
    assert_eq!(scene.stack.local.endpoints().delete(&path).await.unwrap().0, 204);
}

/// Keys bound to a tenant, one of them revoked; gives the other.
async fn keys(stack: &Stack) -> String {
    let api = stack.local.endpoints();
    let make = async |name: &str| {
        let wanted = json!({
            "name": name, "scopes": ["ingest", "ops"], "tenant": "keys", "expires_at": "2099-01-01T00:00:00Z",
        });
        let (status, key) = api.post("/v1/keys", &wanted).await.unwrap();
        assert_eq!(status, 201, "{key}");
        key
    };
    let (kept, revoked) = (make("kept").await, make("revoked").await);
    let path = format!("/v1/keys/{}", revoked["key_id"].as_str().or(revoked["id"].as_str()).unwrap());
    assert_eq!(api.delete(&path).await.unwrap().0, 204);
    kept["key"].as_str().unwrap().to_owned()
}

/// What was stopped, what was made, and the items.
async fn stand(stack: &Stack, key: String) -> Stand {
    let mut stand = Stand { tables: Stand::items_of(stack).await, key, ..Stand::default() };
    let stopped = stack.proxy.calls(|call| call.spoilt);
    for (place, message) in stopped.iter().flat_map(|call| sent(call)) {
        match place.as_str() {
            "deliveries" => stand.deliveries.push(message),
            "schedules" => stand.schedules.push(message),
            "jobs" if message["job"].is_null() => stand.jobs.push(message),
            _ => {}
        }
    }
    stand.deliveries.extend(made::messages());
    stand.jobs.extend(last_legs(&stack.proxy.calls(|_| true)));
    stand.jobs.push(sweep());
    stand
}

/// The last message of each job: what comes after it was not sent, or has not come to its end.
fn last_legs(calls: &[Arc<Call>]) -> Vec<Value> {
    let legs = calls.iter().flat_map(|call| sent(call)).filter(|(_, message)| message["job"].is_string());
    let by_job: BTreeMap<_, _> = legs.map(|(_, message)| (message["job"].to_string(), message)).collect();
    by_job.into_values().collect()
}

/// What the recurring schedule sends.
fn sweep() -> Value {
    let template = include_str!("../../../infra/template.yaml");
    let input = template.lines().find(|line| line.contains("Input:") && line.contains("sweep")).unwrap();
    serde_json::from_str(input.split_once("Input:").unwrap().1.trim().trim_matches('\'')).unwrap()
}
