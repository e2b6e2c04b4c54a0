//! What only reads: whoever repeats the call gets its answer.

use pombo_domain::cursor::seal;
use pombo_domain::delivery::Status;
use serde_json::{Value, json};

use crate::run::{LONG, Run};

/// Lists.
pub async fn lists(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Retrying).await;
    let tenant = &run.tenant;
    for (path, list, count) in [
        (format!("/v1/deliveries?endpoint_id={endpoint}"), "deliveries", 1),
        (format!("/v1/deliveries?tenant={tenant}&status=retrying"), "deliveries", 1),
        (format!("/v1/events?tenant={tenant}"), "events", 1),
        (format!("/v1/replays?tenant={tenant}"), "replays", 0),
    ] {
        let answer = run.replay("GET", &path, Value::Null).await;
        assert_eq!(answer[list].as_array().unwrap().len(), count, "{path}: {answer}");
    }
    run.replay("GET", "/v1/replays", Value::Null).await;
    run.send("DeliveriesDeadLetterQueue", json!({"v": 1, "what": "is this?"})).await;
    let answer = run.replay("GET", "/v1/dead-letters", Value::Null).await;
    assert!(answer.is_object(), "{answer}");
    let answer = run.endpoints("GET", &format!("/v1/endpoints?tenant={tenant}"), Value::Null).await;
    assert_eq!(answer["endpoints"].as_array().unwrap().len(), 1);
    let is_mine = |row: &Value| row["tenant"] == *tenant;
    for (path, list) in [("/v1/tenants?limit=100", "tenants"), ("/v1/endpoints?limit=100", "endpoints")] {
        let answer = run.endpoints("GET", path, Value::Null).await;
        assert!(!answer["cursor"].is_null() || answer[list].as_array().unwrap().iter().any(is_mine), "{answer}");
    }
    // Behind an endpoint its tenant goes on first.
    let behind =
        seal(&json!({"list": "stack_endpoints", "after": {"tenant": tenant, "endpoint": endpoint}}).to_string());
    let answer = run.endpoints("GET", &format!("/v1/endpoints?cursor={behind}"), Value::Null).await;
    assert!(!answer["endpoints"].as_array().unwrap().iter().any(is_mine), "{answer}");
}

/// Wherever a delivery is shown that is held, it says why.
pub async fn held(run: &Run<'_>) {
    let endpoint = run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [2]}})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Retrying).await;
    run.endpoints("POST", &format!("/v1/endpoints/{endpoint}/pause"), json!({})).await;
    run.until(&event, Status::Held).await;
    let tenant = &run.tenant;
    for path in [
        format!("/v1/deliveries?tenant={tenant}&status=held"),
        format!("/v1/deliveries/{event}"),
        format!("/v1/events/e?tenant={tenant}"),
    ] {
        let answer = run.replay("GET", &path, Value::Null).await;
        assert!(answer.to_string().contains(r#""held":{"cause":"paused","#), "{path}: {answer}");
    }
    let filter = json!({"tenant": tenant, "since": "2026-01-01T00:00:00Z"});
    run.replay("POST", "/v1/replays", json!({"dry_run": true, "filter": filter, "include": ["held"]})).await;
}

/// One thing.
pub async fn of_one(run: &Run<'_>) {
    let endpoint =
        run.endpoint("/a", json!({"retry_policy": {"delays_seconds": [LONG]}, "signatures": ["v1", "v1a"]})).await;
    run.answers(500, 500);
    let event = run.post("e", &endpoint).await;
    run.until(&event, Status::Retrying).await;
    for path in [
        format!("/v1/deliveries/{event}"),
        format!("/v1/events/e?tenant={}", run.tenant),
        format!("/v1/health/{endpoint}"),
    ] {
        run.replay("GET", &path, Value::Null).await;
    }
    for path in ["", "/secret", "/keys.json"] {
        run.endpoints("GET", &format!("/v1/endpoints/{endpoint}{path}"), Value::Null).await;
    }
}
