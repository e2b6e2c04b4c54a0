//! Endpoints and keys: a change is whole, or it is not there.

use pombo_domain::delivery::Status;
use pombo_tests::Fault;
use serde_json::{Value, json};

use crate::run::Run;

/// A key is made, used on each URL, listed, and revoked with the key that it made.
pub async fn keys(run: &Run<'_>) {
    let local = &run.ground.stack.local;
    let wanted = json!({"name": "crash", "scopes": ["admin"], "tenant": run.tenant});
    let made = run.endpoints("POST", "/v1/keys", wanted).await;
    let key = made["key"].as_str().unwrap();
    let under = |url: &str| local::Api::new(url, key);
    let event = json!({"type": "a", "tenant": run.tenant, "id": "e", "data": {}});
    assert_eq!(run.call(&under(&local.urls.ingest), "POST", "/v1/events", event).await.0, 202);
    assert_eq!(run.call(&under(&local.urls.replay), "GET", "/v1/replays", Value::Null).await.0, 200);
    let path = format!("/v1/keys?tenant={}", run.tenant);
    let (status, keys) = run.call(&under(&local.urls.endpoints), "GET", &path, Value::Null).await;
    assert_eq!((status, keys["keys"].as_array().unwrap().iter().any(|listed| listed["id"] == made["id"])), (200, true));
    let wanted = json!({"name": "made by it", "scopes": ["ops"]});
    assert_eq!(run.call(&under(&local.urls.endpoints), "POST", "/v1/keys", wanted).await.0, 201);
    let revoke = format!("/v1/keys/{}?with_made=true", made["id"].as_str().unwrap());
    run.endpoints("DELETE", &revoke, Value::Null).await;
    let keys = run.endpoints("GET", &path, Value::Null).await;
    // A call that died may have made a key that nobody was told of. The revocation covers its children too.
    let of_it = |listed: &&Value| listed["id"] == made["id"] || listed["made_by"] == made["id"];
    let revoked: Vec<_> = keys["keys"].as_array().unwrap().iter().filter(of_it).collect();
    assert!(revoked.len() >= 2 && revoked.iter().all(|key| key["revoked_at"].is_string()), "{keys}");
}

/// An endpoint is registered, and another change of its tenant comes between.
pub async fn created_beside(run: &Run<'_>) {
    let tenant = run.tenant.clone();
    run.ground.stack.proxy.spoil_times(1, move |call| {
        let changes = call.operation == "TransactWriteItems" && call.mentions(&tenant);
        changes.then(|| Fault::Cancel(vec!["None", "TransactionConflict"]))
    });
    created(run).await;
}

/// An endpoint is registered.
pub async fn created(run: &Run<'_>) {
    run.endpoint("/a", json!({})).await;
    run.assert_whole().await;
    // A registration whose answer was lost may stand, whole, beside its repeat.
    let list = run.endpoints("GET", &format!("/v1/endpoints?tenant={}", run.tenant), Value::Null).await;
    let registered = list["endpoints"].as_array().unwrap().len();
    assert!(registered == 1 || (run.death.is_some() && registered == 2), "{list}");
}

/// Fields are changed, the URL's among them, where it is looked up first: the endpoint moves to another host.
pub async fn patched(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let patch = json!({"url": run.receiver.url("/a").replace("127.0.0.1", "localhost"), "name": "new", "event_types": ["b", "c.*"]});
    let patched = run.endpoints("PATCH", &format!("/v1/endpoints/{endpoint}"), patch).await;
    assert_eq!((&patched["name"], &patched["version"]), (&json!("new"), &json!(2)));
    run.assert_whole().await;
}

/// A secret is rotated.
pub async fn rotated(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let path = format!("/v1/endpoints/{endpoint}");
    run.endpoints("POST", &format!("{path}/rotate-secret"), json!({"secret": secret})).await;
    let shown = run.endpoints("GET", &format!("{path}/secret"), Value::Null).await;
    let shown = shown["secrets"].as_array().unwrap();
    assert_eq!((shown.len(), &shown[0]["secret"]), (2, &json!(secret)));
    run.assert_whole().await;
}

/// An endpoint is paused.
pub async fn paused(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let paused = run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/pause"), json!({})).await;
    assert_eq!((&paused["status"], &paused["version"]), (&json!("paused"), &json!(2)));
    run.assert_whole().await;
}

/// An endpoint is resumed: the drain that this begins ends.
pub async fn resumed(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let path = format!("/v1/endpoints/{endpoint}");
    run.endpoints("POST", &format!("{path}/pause"), json!({})).await;
    let resumed = run.endpoints("POST", &format!("{path}/resume"), json!({})).await;
    assert_eq!((&resumed["status"], &resumed["version"]), (&json!("active"), &json!(3)));
    run.assert_whole().await;
    assert_eq!(run.until_jobs_end(1).await.len(), 1);
}

/// An endpoint is resumed after it had trouble, and gets what it missed.
pub async fn resumed_with_missed(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [8]}})).await;
    run.answers(500, 200);
    let troubled = run.post("troubled", &endpoint).await;
    run.receiver.wait_for(1, std::time::Duration::from_secs(30)).await.unwrap();
    let path = format!("/v1/endpoints/{endpoint}");
    run.endpoints("POST", &format!("{path}/pause"), json!({})).await;
    run.until(&troubled, Status::Held).await;
    run.answers(200, 200);
    let missed = run.post("missed", &endpoint).await;
    run.are_together(2);
    run.endpoints("POST", &format!("{path}/resume"), json!({"missed": "replay"})).await;
    run.assert_whole().await;
    run.until(&troubled, Status::Succeeded).await;
    run.until(&missed, Status::Succeeded).await;
    assert_eq!(run.until_jobs_end(2).await.len(), 2);
}

/// An endpoint is deleted.
pub async fn deleted(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let path = format!("/v1/endpoints/{endpoint}");
    run.endpoints("DELETE", &path, Value::Null).await;
    run.assert_whole().await;
    assert_eq!(run.until_jobs_end(1).await.len(), 1);
}

/// An endpoint is tested.
pub async fn tested(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({})).await;
    let sent = run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/test"), json!({})).await;
    let key = sent["delivery_id"].as_str().unwrap().parse().unwrap();
    run.until(&key, Status::Succeeded).await;
}
