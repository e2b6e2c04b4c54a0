//! What Pombo tells of itself: once, and never not.

use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::delivery::Status;
use pombo_domain::event::Event;
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::operational::{Failures, Minute};
use pombo_tests::SUBSCRIPTION_KNOWN;
use serde_json::{Value, json};

use crate::run::Run;

/// Subscribes to types of news; every process knows it then. Gives the endpoint.
pub async fn subscribe(run: &Run<'_>, options: Value) -> EndpointId {
    let news = run.endpoint_of("pombo", "/news", options).await;
    tokio::time::sleep(SUBSCRIPTION_KNOWN).await;
    news
}

/// An endpoint is registered and paused, and whoever wants to know is told.
pub async fn of_endpoints(run: &Run<'_>) {
    let news = subscribe(run, json!({"event_types": ["pombo.endpoint.*"]})).await;
    // The news, and what it is of or the next.
    run.are_together(2);
    let endpoint = run.endpoint("/a", json!({})).await;
    run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/pause"), json!({})).await;
    told(run, &["created", "paused"].map(|what| format!("pombo.endpoint.{what}"))).await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}

/// Waits until these were told of.
async fn told(run: &Run<'_>, types: &[String]) {
    run.until_it("the news", || async {
        let bodies = run.receiver.received().into_iter().filter(|received| received.path == "/news");
        let bodies: Vec<Value> = bodies.map(|received| serde_json::from_slice(&received.body).unwrap()).collect();
        types.iter().all(|wanted| bodies.iter().any(|body| body["type"] == **wanted)).then_some(())
    })
    .await;
    run.ground.until_quiet().await;
}

/// A circuit opens and closes.
pub async fn of_circuits(run: &Run<'_>) {
    let news = subscribe(run, json!({"event_types": ["pombo.circuit.*"]})).await;
    // The news, and what it is of or the next.
    run.are_together(2);
    // So long that who subscribes is asked for again: a process can die there.
    super::jobs::circuit_open_for(run, SUBSCRIPTION_KNOWN).await;
    told(run, &["opened", "closed"].map(|what| format!("pombo.circuit.{what}"))).await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}

/// A circuit opens, and closes because nothing is held behind it.
pub async fn of_an_unproven_circuit(run: &Run<'_>) {
    let news = subscribe(run, json!({"event_types": ["pombo.circuit.*"]})).await;
    // The news, and what it is of or the next.
    run.are_together(2);
    super::jobs::still_alive(run).await;
    told(run, &["opened", "closed"].map(|what| format!("pombo.circuit.{what}"))).await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}

/// A delivery fails for good: it is counted once, in the event of its minute.
pub async fn of_failures(run: &Run<'_>) {
    let news = subscribe(run, json!({"event_types": ["pombo.delivery.failed"]})).await;
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [1]}})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Failed).await;
    run.answers(200, 200);
    // Its minute may be over at any time, and then it is published without more.
    let (key, failures) = run
        .until_it("the event of the minute", || async {
            let now = clock::now();
            for minute in [now.minus(Duration::from_secs(60)), now].map(Minute::of) {
                let id = minute.event_id(&endpoint);
                if let Some(stored) = run.ground.events.marked(&TenantId::pombo(), &id, now).await.unwrap() {
                    return Some((Event::key(&TenantId::pombo(), &id), Failures::read(&stored.event).unwrap()));
                }
            }
            None
        })
        .await;
    assert_eq!(failures.count, 1);
    // As when its minute is over.
    run.send("JobsQueue", json!({"v": 1, "publish": key})).await;
    run.until_it("the news", || async {
        (run.receiver.received().iter().any(|came| came.path == "/news")).then_some(())
    })
    .await;
    run.ground.clear().await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}

/// An endpoint that is gone is paused, and whoever wants to know is told.
pub async fn of_a_pause(run: &Run<'_>) {
    // The receiver may still answer as if it were gone when the news comes.
    let options =
        json!({"event_types": ["pombo.endpoint.paused"], "retry_policy": {"delays_seconds": [2, 2, 2, 2, 2]}});
    let news = subscribe(run, options).await;
    run.are_together(3);
    super::jobs::gone(run).await;
    told(run, &["pombo.endpoint.paused".to_owned()]).await;
    run.endpoints("DELETE", &format!("/v1/endpoints/{news}"), Value::Null).await;
}
