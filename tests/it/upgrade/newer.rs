//! What a version after today's wrote, read by today's functions: a rollback.
//!
//! Nobody knows the next version. What it may write is made of the frozen forms: fields and attributes that nobody knows,
//! everywhere; and values that nobody knows where there are enumerations.

use std::collections::BTreeMap;
use std::time::Duration;

use local::Answer;
use pombo_domain::job::JobKey;
use pombo_tests::{Fault, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::upgrade::older;
use crate::upgrade::stand::{Stand, put, scan};

/// A message that could not be handled comes again after 16 seconds, so that it may take a few of them.
const AGAIN: Duration = Duration::from_secs(90);

/// The name of all that is added.
const LATER: &str = "zz_later";
/// The names in these maps are data; and a filter that says more is not one that may be passed over.
const LEFT_ALONE: [&str; 4] = ["filter", "headers", "skipped", "u"];

/// A message with fields that are not known, in each of its objects, and of a higher version.
fn newer_message(message: &Value) -> Value {
    let mut newer = with_more(message);
    newer["v"] = 2.into();
    newer
}

fn with_more(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut newer: serde_json::Map<_, _> =
                map.iter().map(|(name, value)| (name.clone(), with_more(value))).collect();
            newer.insert(LATER.into(), json!({"a": [1, "b", null]}));
            newer.into()
        }
        Value::Array(list) => list.iter().map(with_more).collect(),
        other => other.clone(),
    }
}

/// An item with attributes that are not known, in each of its maps.
fn newer_item(item: &Value) -> Value {
    let mut newer: BTreeMap<String, Value> =
        item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), newer_attribute(name, value))).collect();
    newer.insert(LATER.into(), later());
    if let Some(routes) = item["routes"]["S"].as_str() {
        let mut routes: Vec<Vec<Value>> = serde_json::from_str(routes).unwrap();
        routes.iter_mut().for_each(|route| route.push(json!({LATER: 1})));
        newer.insert("routes".into(), json!({"S": json!(routes).to_string()}));
    }
    json!(newer)
}

fn newer_attribute(name: &str, attribute: &Value) -> Value {
    if LEFT_ALONE.contains(&name) {
        return attribute.clone();
    }
    if let Some(map) = attribute["M"].as_object() {
        let mut newer: BTreeMap<String, Value> =
            map.iter().map(|(name, value)| (name.clone(), newer_attribute(name, value))).collect();
        newer.insert(LATER.into(), later());
        return json!({"M": newer});
    }
    if let Some(list) = attribute["L"].as_array() {
        return json!({"L": list.iter().map(|value| newer_attribute("", value)).collect::<Vec<_>>()});
    }
    attribute.clone()
}

fn later() -> Value {
    json!({"M": {"a": {"L": [{"N": "1"}, {"S": "b"}]}}})
}

#[scenario(multi_thread)]
async fn what_a_newer_version_added_changes_nothing_and_is_kept() {
    let stack = crate::upgrade::stack("newer").await;
    let mut stand = Stand::v1().unexpired();
    stand.tables.values_mut().flatten().for_each(|item| *item = newer_item(item));
    for messages in [&mut stand.deliveries, &mut stand.schedules, &mut stand.jobs] {
        messages.iter_mut().for_each(|message| *message = newer_message(message));
    }
    let _receiver = older::take_up(stack, &stand).await;
    // Written again by a resume, by attempts, by legs: with what was there.
    for (table, attribute, value) in [
        ("EndpointsTable", "tenant", "held"),
        ("RoutingTable", "tenant", "held"),
        ("DeliveriesTable", "tenant", "retry"),
        ("DeliveriesTable", "tenant", "held"),
        ("JobsTable", "owner", "settled"),
    ] {
        let before = stand.find(table, attribute, value);
        let after = scan(stack, table).await;
        let after: Vec<_> =
            after.iter().filter(|item| item[attribute]["S"] == value && item[LATER].is_object()).collect();
        assert_eq!(after.len(), before.len(), "{table} {value}");
        assert!(after.iter().all(|item| item[LATER] == later()), "{table} {value}: {after:?}");
        assert!(after.iter().any(|item| !before.contains(item)), "{table} {value} was not written again");
        for item in after {
            if let Some(routes) = item["routes"]["S"].as_str() {
                let routes: Vec<Vec<Value>> = serde_json::from_str(routes).unwrap();
                assert!(routes.iter().all(|route| route[4..] == [json!({LATER: 1})]), "{routes:?}");
            }
        }
    }
    // A tombstone keeps nothing that may be secret.
    let path = format!("/v1/endpoints/{}", stand.endpoint_of("full"));
    assert_eq!(stack.local.endpoints().delete(&path).await.unwrap().0, 204);
    let endpoints = scan(stack, "EndpointsTable").await;
    let tombstone = endpoints.iter().find(|item| item["tenant"]["S"] == "full").unwrap();
    assert_eq!((&tombstone["status"]["S"], &tombstone[LATER]), (&json!("deleted"), &Value::Null));
}

/// The stack of the tests with values that are not known.
async fn values() -> &'static Stack {
    static VALUES: OnceCell<Stack> = OnceCell::const_new();
    VALUES.get_or_init(|| Stack::start("values", &crate::upgrade::QUICK)).await
}

async fn hook(options: Value, responder: impl Fn(&local::Received) -> Answer + Send + Sync + 'static) -> Hook {
    Hook::new(values().await, options, responder).await
}

/// Writes the one item for which an attribute has this text as a newer version would; gives it as it was.
async fn rewrite(stack: &Stack, table: &str, (name, text): (&str, &str), change: impl Fn(&mut Value)) -> Value {
    let items = scan(stack, table).await;
    let mut found = items.into_iter().filter(|item| item[name]["S"] == text);
    let before = found.next().unwrap();
    assert_eq!(found.next(), None, "{table} has more of {text}");
    let mut item = before.clone();
    change(&mut item);
    put(stack, table, &item).await;
    before
}

#[scenario(multi_thread)]
async fn an_unknown_retry_policy_is_kept_and_followed_as_standard() {
    let hook = hook(json!({}), |_| Answer::status(500)).await;
    let ours = ("endpoint_id", hook.endpoint.as_str());
    rewrite(hook.stack, "EndpointsTable", ours, |item| item["retry_policy"] = json!({"S": "later"})).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let time = |text: &Value| text.as_str().unwrap().parse::<pombo_domain::time::Timestamp>().unwrap();
    let delay = time(&delivery["attempts"][0]["started_at"]).until(time(&delivery["next_attempt_at"]));
    assert!((60..75).contains(&delay.as_secs()), "{delivery}");
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let (status, endpoint) = hook.stack.local.endpoints().patch(&path, &json!({"name": "renamed"})).await.unwrap();
    assert_eq!((status, &endpoint["retry_policy"]), (200, &json!("later")), "{endpoint}");
    rewrite(hook.stack, "EndpointsTable", ours, |item| assert_eq!(item["retry_policy"], json!({"S": "later"}))).await;
}

#[scenario(multi_thread)]
async fn what_is_for_an_endpoint_that_cannot_be_read_waits_until_it_can_be() {
    let asleep = hook(json!({}), |_| Answer::status(200)).await;
    let signed = hook(json!({}), |_| Answer::status(200)).await;
    let well = hook(json!({}), |_| Answer::status(200)).await;
    let stack = well.stack;
    let ours = ("endpoint_id", asleep.endpoint.as_str());
    let before_sleep = rewrite(stack, "EndpointsTable", ours, |item| item["status"] = json!({"S": "asleep"})).await;
    let ours = ("endpoint_id", signed.endpoint.as_str());
    let schemes = json!({"L": [{"S": "v1"}, {"S": "v9"}]});
    let before_scheme = rewrite(stack, "EndpointsTable", ours, |item| item["signatures"] = schemes.clone()).await;
    let events = [asleep.post().await, signed.post().await];
    let other = well.post().await;
    well.until_status(&other, "succeeded", SOON).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((asleep.receiver.count(), signed.receiver.count()), (0, 0));
    assert!(stack.queue_length("DeliveriesQueue").await >= 2);
    // The newer version is back.
    put(stack, "EndpointsTable", &before_sleep).await;
    put(stack, "EndpointsTable", &before_scheme).await;
    for (hook, event) in [&asleep, &signed].into_iter().zip(&events) {
        hook.until_status(event, "succeeded", AGAIN).await;
        assert_eq!(hook.receiver.count(), 1);
        hook.assert_signed();
    }
}

/// A delivery that has waited for its second attempt since long ago.
async fn overdue(status: &'static str) -> (Hook, String) {
    let hook = hook(json!({"retry_policy": {"delays_seconds": [900]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    rewrite(hook.stack, "DeliveriesTable", ("endpoint_id", &hook.endpoint), |item| {
        item["status"] = json!({"S": status});
        let due = json!({"N": "1767225600000"});
        item["n"]["M"] = json!({"t": due, "route": {"S": "later"}});
        item["due_at"] = due;
    })
    .await;
    (hook, event)
}

/// A job of version 1 for this endpoint, due since long ago, of a tenant of its own; gives the tenant and the job's id.
async fn old_job(stack: &Stack, of: &str, change: impl Fn(&mut Value)) -> (String, String) {
    let stand = Stand::v1().unexpired();
    let mut item = stand.find("JobsTable", "owner", of)[0].clone();
    let tenant = unique("t");
    item["owner"] = json!({"S": tenant});
    item.as_object_mut().unwrap().remove("page");
    change(&mut item);
    put(stack, "JobsTable", &item).await;
    let created_key = item["created_key"]["S"].as_str().unwrap().to_owned();
    let id = JobKey { owner: tenant.clone(), created_key }.to_string();
    (tenant, id)
}

#[scenario(multi_thread)]
async fn a_sweep_passes_by_what_it_cannot_read_and_finds_the_rest() {
    let (parked, parked_event) = overdue("parked").await;
    let (retried, event) = overdue("retrying").await;
    let stack = retried.stack;
    let due = json!({"N": "1767225600000"});
    let (of_newer, _) = old_job(stack, "deleted", |job| {
        (job["kind"], job["due_at"]) = (json!({"S": "later"}), due.clone());
    })
    .await;
    let (of_older, _) = old_job(stack, "deleted", |job| {
        (job["endpoint_id"], job["due_at"]) = (json!({"S": retried.endpoint}), due.clone());
        job["due"] = json!({"S": "2026-01-01T00:00:00.000Z"});
    })
    .await;
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    retried.until_status(&event, "succeeded", SOON).await;
    let list = async |tenant: &str| {
        let (status, list) = stack.local.replay().get(&format!("/v1/replays?tenant={tenant}")).await.unwrap();
        assert_eq!(status, 200, "{list}");
        list["replays"].as_array().unwrap().clone()
    };
    eventually("the drain that was stalled", SOON, || async {
        list(&of_older).await.iter().any(|job| job["status"] == "done").then_some(())
    })
    .await;
    assert_eq!(list(&of_newer).await, Vec::<Value>::new());
    rewrite(stack, "JobsTable", ("owner", &of_newer), |job| assert_eq!(job["kind"]["S"], "later")).await;
    let (status, all) =
        stack.local.replay().get(&format!("/v1/deliveries?endpoint_id={}", parked.endpoint)).await.unwrap();
    assert_eq!((status, parked.receiver.count()), (200, 1), "{all}");
    // The newer version is back.
    let ours = ("endpoint_id", parked.endpoint.as_str());
    rewrite(stack, "DeliveriesTable", ours, |item| item["status"] = json!({"S": "retrying"})).await;
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    parked.until_status(&parked_event, "succeeded", SOON).await;
}

#[scenario(multi_thread)]
async fn a_replay_whose_filter_says_more_than_is_understood_is_not_run() {
    let hook = hook(json!({"retry_policy": {"delays_seconds": [1]}}), |received| {
        Answer::status(if received.times < 3 { 500 } else { 200 })
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "failed", SOON).await;
    let until = "2099-01-01T00:00:00.000Z";
    let (tenant, id) = old_job(hook.stack, "settled", |job| {
        let filter = &mut job["filter"]["M"];
        (filter["endpoint_id"], filter["until"]) = (json!({"S": hook.endpoint}), json!({"S": until}));
        filter[LATER] = json!({"S": "only some of them"});
        (job["created_at"], job["due"]) = (json!({"S": until}), json!({"S": until}));
        // It has looked at nothing yet.
        job["look"] = json!({"S": "first"});
        job.as_object_mut().unwrap().remove("after");
    })
    .await;
    hook.stack.send("JobsQueue", &json!({"v": 1, "job": id, "leg": 1}).to_string()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((hook.delivery(&event).await["status"].clone(), hook.receiver.count()), (json!("failed"), 2));
    // The newer version is back, and understands it.
    rewrite(hook.stack, "JobsTable", ("owner", &tenant), |job| {
        assert!(job["page"].is_null(), "{job}");
        job["filter"]["M"].as_object_mut().unwrap().remove(LATER);
    })
    .await;
    hook.until_status(&event, "succeeded", AGAIN).await;
}

#[scenario(multi_thread)]
async fn a_message_with_a_body_or_an_outcome_of_an_unknown_kind_is_a_plain_one() {
    let hook = hook(json!({}), |_| Answer::status(200)).await;
    let endpoint = hook.endpoint.clone();
    hook.stack.proxy.spoil_times(2, move |call| {
        (call.operation == "SendMessageBatch" && call.mentions(&endpoint)).then_some(Fault::Swallow)
    });
    let events = [hook.post().await, hook.post().await];
    let stopped = hook.stack.proxy.calls(|call| call.spoilt && call.mentions(&hook.endpoint));
    let messages = stopped.iter().map(|call| call.body["Entries"][0]["MessageBody"].as_str().unwrap());
    let mut messages: Vec<Value> = messages.map(|body| serde_json::from_str(body).unwrap()).collect();
    messages[0]["event"]["encoding"] = "later".into();
    messages[0]["event"]["body"] = "not base64 of anything".into();
    messages[1]["record"] = json!({"holder": "a/b", "verdict": "later"});
    for message in &messages {
        hook.stack.send("DeliveriesQueue", &newer_message(message).to_string()).await;
    }
    for event in &events {
        hook.until_status(event, "succeeded", SOON).await;
    }
    let bodies =
        hook.receiver.received().into_iter().map(|received| serde_json::from_slice::<Value>(&received.body).unwrap());
    assert!(bodies.map(|body| body["data"].clone()).eq([json!({"n": 1}), json!({"n": 1})]));
    hook.assert_signed();
}

#[scenario(multi_thread)]
async fn an_event_is_not_accepted_while_it_is_not_known_who_gets_it() {
    let (hook, other) =
        (hook(json!({}), |_| Answer::status(200)).await, hook(json!({}), |_| Answer::status(200)).await);
    let before = rewrite(hook.stack, "RoutingTable", ("tenant", &hook.tenant), |item| {
        let routes = item["routes"]["S"].as_str().unwrap().replace("[\"*\"]", "[\"(later)\"]");
        item["routes"] = json!({"S": routes});
    })
    .await;
    let event = |hook: &Hook| json!({"type": "student.created", "tenant": hook.tenant, "id": "e", "data": {}});
    let (status, answer) = hook.stack.local.ingest().post("/v1/events", &event(&hook)).await.unwrap();
    assert_eq!(status, 503, "{answer}");
    hook.stack.post(&event(&other)).await;
    other.until_status("e", "succeeded", SOON).await;
    // The newer version is back.
    put(hook.stack, "RoutingTable", &before).await;
    hook.stack.post(&event(&hook)).await;
    hook.until_status("e", "succeeded", SOON).await;
}
