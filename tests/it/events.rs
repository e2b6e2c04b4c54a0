//! What operators see of an event and of lists of deliveries.

use std::collections::BTreeSet;

use local::{Answer, Receiver};
use pombo_tests::{Hook, SOON, Stack, scenario, unique};
use serde_json::{Value, json};

#[scenario]
async fn an_event_shows_its_data_and_every_delivery_also_those_still_pending() {
    let stack = Stack::calm().await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    Hook::register(stack, &receiver, &tenant, "/fast", json!({})).await;
    let accepted = stack.post(&json!({"type": "a", "tenant": tenant, "id": "e", "data": {"n": 1.50}})).await;
    receiver.wait_for(1, SOON).await.unwrap();
    let event = stack.event(&tenant, "e").await;
    for field in ["id", "tenant", "type", "accepted_at"] {
        assert_eq!(event[field], accepted[field], "{field}");
    }
    assert_eq!(event["data"], json!({"n": 1.50}));
    let delivery = &event["deliveries"][0];
    assert_eq!((&delivery["event_id"], &delivery["event_type"]), (&json!("e"), &json!("a")));
    let replay = stack.local.replay();
    for (path, says) in [
        (format!("/v1/events/other?tenant={tenant}"), format!("There is no such event in the tenant {tenant}.")),
        ("/v1/events/e".to_owned(), "in the tenant default. The request names no tenant".to_owned()),
    ] {
        let (status, problem) = replay.get(&path).await.unwrap();
        assert!(status == 404 && problem["detail"].as_str().unwrap().contains(&says), "{problem}");
    }
    assert_eq!(replay.get("/v1/events?limit=1").await.unwrap().1["tenant"], "default");
    assert_eq!(replay.get(&format!("/v1/events?tenant={tenant}")).await.unwrap().1["tenant"], json!(tenant));
}

#[scenario]
async fn failed_deliveries_are_listed_newest_first_page_by_page() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"retry_policy": {"delays_seconds": [1]}}), |_| Answer::status(500)).await;
    let mut events = Vec::new();
    for _ in 0..7 {
        events.push(hook.post().await);
    }
    for event in &events {
        hook.until_status(event, "failed", SOON).await;
    }
    events.reverse();
    for filter in [
        format!("endpoint_id={}", hook.endpoint),
        format!("endpoint_id={}&status=failed", hook.endpoint),
        format!("tenant={}", hook.tenant),
        format!("tenant={}&status=failed", hook.tenant),
        format!("tenant={}&status=failed&status=held", hook.tenant),
        format!("endpoint_id={}&status=retrying&status=failed", hook.endpoint),
    ] {
        assert_eq!(walk(stack, &filter).await, events, "{filter}");
    }
    let stack_wide: BTreeSet<_> = walk(stack, "status=failed").await.into_iter().collect();
    assert!(events.iter().all(|event| stack_wide.contains(event)));
    for filter in
        [format!("tenant={}&status=held", hook.tenant), format!("endpoint_id={}&status=cancelled", hook.endpoint)]
    {
        assert!(walk(stack, &filter).await.is_empty(), "{filter}");
    }
    let middle = hook.delivery(&events[3]).await["accepted_at"].as_str().unwrap().to_owned();
    assert_eq!(walk(stack, &format!("tenant={}&since={middle}", hook.tenant)).await, events[..4]);
    assert_eq!(walk(stack, &format!("tenant={}&until={middle}", hook.tenant)).await, events[4..]);
}

/// The events of a list, over pages of three.
async fn walk(stack: &Stack, filter: &str) -> Vec<String> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/deliveries?limit=3&{filter}{cursor}");
        let (status, page) = stack.local.replay().get(&path).await.unwrap();
        assert_eq!(status, 200, "{path}: {page}");
        events.extend(
            page["deliveries"].as_array().unwrap().iter().map(|one| one["event_id"].as_str().unwrap().to_owned()),
        );
        match &page["cursor"] {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return events,
        }
    }
}
