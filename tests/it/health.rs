//! How an endpoint is doing, by what is there anyway.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{Record, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack, scenario};
use serde_json::{Value, json};

use crate::rows::{delivery, put_deliveries};

async fn health(hook: &Hook) -> Value {
    let (status, health) = hook.stack.local.replay().get(&format!("/v1/health/{}", hook.endpoint)).await.unwrap();
    assert_eq!(status, 200, "{health}");
    health
}

#[scenario]
async fn an_endpoint_without_deliveries_is_in_no_trouble_and_has_no_rate() {
    let hook = Hook::new(Stack::filled().await, json!({}), |_| Answer::status(200)).await;
    let newest = json!({
        "deliveries": 0, "from": null, "to": null, "tried": 0, "succeeded": 0, "success_rate": null, "latency_ms": null,
    });
    let none = json!({"count": 0, "more": false});
    let expected = json!({
        "endpoint_id": hook.endpoint, "status": "active", "pause": null,
        "circuit": {"state": "closed", "since": null, "next_probe_at": null},
        "failing_since": null, "newest": newest, "waiting": none, "failed": none,
    });
    assert_eq!(health(&hook).await, expected);
}

#[scenario]
async fn what_succeeded_and_what_is_being_retried_is_told_with_the_times_it_took() {
    let hook = Hook::new(Stack::filled().await, json!({"retry_policy": {"delays_seconds": [600]}}), |received| {
        let body = String::from_utf8_lossy(&received.body).into_owned();
        Answer::status(if body.contains("good") { 200 } else { 500 }).after(Duration::from_millis(100))
    })
    .await;
    for (id, status) in [("good", "succeeded"), ("bad", "retrying")] {
        hook.stack.post(&json!({"type": id, "tenant": hook.tenant, "id": id, "data": {}})).await;
        hook.until_status(id, status, SOON).await;
    }
    let health = health(&hook).await;
    let newest = &health["newest"];
    assert_eq!((&newest["tried"], &newest["succeeded"]), (&json!(2), &json!(1)), "{health}");
    assert_eq!((&newest["success_rate"], &health["waiting"]["count"]), (&json!(0.5), &json!(1)), "{health}");
    let p50 = newest["latency_ms"]["p50"].as_u64().unwrap();
    assert!((100..3000).contains(&p50), "{health}");
    assert!(newest["from"].as_str().unwrap() < newest["to"].as_str().unwrap(), "{health}");
    assert!(health["failing_since"].is_string(), "{health}");
    let writes = |item: &str| {
        let key = format!("{}#{item}", hook.endpoint);
        hook.stack.proxy.calls(|call| call.operation == "PutItem" && call.attribute("endpoint_id") == key).len()
    };
    assert_eq!(writes("health"), 1, "the mark of the failure, and nothing for the success");
}

#[scenario]
async fn the_rate_is_over_the_newest_two_hundred_and_counts_end_at_a_thousand() {
    let stack = Stack::filled().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let from = Timestamp::from_seconds(clock::now().as_seconds() - 3600);
    let at = |n: u64| from.plus(Duration::from_secs(n));
    // The newest 200 are 150 that succeeded and 50 that are retried or held; more than a thousand failed before them.
    let mut records: Vec<_> =
        (0..1005).map(|n| delivery(&hook.tenant, &endpoint, &format!("failed{n}"), at(n), Status::Failed)).collect();
    for n in 0..200 {
        let status = match n % 8 {
            0 => Status::Retrying,
            1 => Status::Held,
            _ => Status::Succeeded,
        };
        records.push(delivery(&hook.tenant, &endpoint, &format!("newer{n}"), at(2000 + n), status));
    }
    put_deliveries(stack, &records).await;
    let health = health(&hook).await;
    let newest = json!({
        "deliveries": 200, "from": at(2000), "to": at(2199), "tried": 200, "succeeded": 150, "success_rate": 0.75,
        "latency_ms": {"p50": 20, "p95": 20, "p99": 20},
    });
    assert_eq!(health["newest"], newest);
    assert_eq!(health["waiting"], json!({"count": 50, "more": false}));
    assert_eq!(health["failed"], json!({"count": 1000, "more": true}));
}

#[scenario]
async fn a_paused_endpoint_says_since_when_and_why_and_another_tenants_is_not_there() {
    let hook = Hook::new(Stack::filled().await, json!({}), |_| Answer::status(200)).await;
    hook.change("pause").await;
    let health = health(&hook).await;
    assert_eq!((&health["status"], &health["pause"]["reason"]), (&json!("paused"), &json!("requested")), "{health}");
    assert!(health["pause"]["at"].is_string(), "{health}");
    let key = hook.stack.key(&["ops"], Some("somebody-else")).await;
    let other = Stack::api(&hook.stack.local.urls.replay, &key);
    assert_eq!(other.get(&format!("/v1/health/{}", hook.endpoint)).await.unwrap().0, 404);
}

#[scenario]
async fn what_has_expired_is_counted_nowhere() {
    let stack = Stack::filled().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let now = clock::now().as_seconds();
    let mut records = Vec::new();
    for (days, status) in [(40, Status::Failed), (40, Status::Held), (40, Status::Succeeded), (1, Status::Failed)] {
        for n in 0..2 {
            let accepted_at = Timestamp::from_seconds(now - days * 86_400 + n);
            let event = format!("{}-{days}-{n}", status.as_str());
            let record = delivery(&hook.tenant, &endpoint, &event, accepted_at, status);
            let expires_at = if days == 40 { now - 10 * 86_400 } else { record.expires_at };
            records.push(Record { expires_at, ..record });
        }
    }
    put_deliveries(stack, &records).await;
    let health = health(&hook).await;
    assert_eq!((&health["waiting"]["count"], &health["failed"]["count"]), (&json!(0), &json!(2)), "{health}");
    assert_eq!(
        (&health["newest"]["deliveries"], &health["newest"]["success_rate"]),
        (&json!(2), &json!(0.0)),
        "{health}"
    );
}
