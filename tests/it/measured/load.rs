//! Many events, sixteen in flight, to three endpoints of which one fails the first attempt of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use local::{Answer, Receiver};
use pombo_tests::{Hook, Stack, eventually, scenario, unique};
use serde_json::json;

#[scenario(multi_thread)]
async fn a_hundred_events_reach_three_endpoints_one_of_which_fails_first() {
    assert_all_reach(100).await;
}

#[scenario(multi_thread, drill)]
async fn a_thousand_events_reach_three_endpoints_one_of_which_fails_first() {
    assert_all_reach(1000).await;
}

async fn assert_all_reach(events: usize) {
    let stack = Stack::own("loaded", &[]).await;
    let receiver = Receiver::start_with(|received| {
        Answer::status(if received.path == "/flaky" && received.times == 1 { 503 } else { 200 })
    })
    .unwrap();
    let tenant = unique("t");
    let policy = json!({"retry_policy": {"delays_seconds": [2, 4, 8]}});
    let mut endpoints = BTreeMap::new();
    for path in ["/one", "/two", "/flaky"] {
        endpoints.insert(path, Hook::register(stack, &receiver, &tenant, path, policy.clone()).await);
    }
    let api = Arc::new(stack.local.ingest());
    let ids: Vec<String> = futures::stream::iter(0..events)
        .map(|number| {
            let (api, tenant) = (Arc::clone(&api), tenant.clone());
            async move {
                let event = json!({"type": "student.created", "tenant": tenant, "id": format!("n{number}"), "data": {"n": number}});
                let (status, answer) = api.post("/v1/events", &event).await.unwrap();
                assert_eq!((status, &answer["deliveries"]), (202, &json!(3)), "{answer}");
                format!("n{number}")
            }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    receiver.wait_for(4 * events, Duration::from_secs(300)).await.unwrap();
    futures::stream::iter(&ids)
        .for_each_concurrent(16, |id| {
            let tenant = &tenant;
            eventually("all three succeeded", Duration::from_secs(60), move || async move {
                let event = stack.event(tenant, id).await;
                let deliveries = event["deliveries"].as_array().unwrap();
                (deliveries.len() == 3 && deliveries.iter().all(|delivery| delivery["status"] == "succeeded"))
                    .then_some(())
            })
        })
        .await;
    let mut came: BTreeMap<(String, String), usize> = BTreeMap::new();
    for received in receiver.received() {
        assert_eq!(received.signature, local::Signature::Verified);
        *came.entry((received.path.clone(), received.event_id().to_owned())).or_default() += 1;
    }
    for id in &ids {
        for (path, times) in [("/one", 1), ("/two", 1), ("/flaky", 2)] {
            assert_eq!(came.get(&(path.to_owned(), id.clone())), Some(&times), "{id} on {path}");
        }
    }
    assert_eq!(came.len(), 3 * events);
}
