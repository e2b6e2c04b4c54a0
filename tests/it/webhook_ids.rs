//! The `webhook-id` names an event in the whole stack, at the receiver and at the replay URL.

use std::collections::BTreeSet;

use local::{Answer, Receiver, Signature};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

#[scenario]
async fn a_receiver_of_two_tenants_that_drops_repeats_gets_the_event_of_each() {
    let stack = Stack::calm().await;
    let receiver = Receiver::start_with(|_| Answer::status(200)).unwrap();
    let tenants = [unique("a"), unique("b")];
    let event = unique("enrolment");
    for tenant in &tenants {
        // One secret: the receiver cannot tell the tenants apart by that.
        let options = json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
        Hook::register(stack, &receiver, tenant, "/both", options).await;
        stack.post(&json!({"type": "a", "tenant": tenant, "id": event, "data": {"tenant": tenant}})).await;
    }
    let received = receiver.wait_for(2, SOON).await.unwrap();
    let mut seen = BTreeSet::new();
    let kept: Vec<_> = received.iter().filter(|received| seen.insert(received.webhook_id())).collect();
    let mut told: Vec<_> = kept.iter().map(|received| received.webhook_id().to_owned()).collect();
    told.sort_unstable();
    assert_eq!(told, tenants.map(|tenant| format!("{tenant}~{event}")));
    assert!(received.iter().all(|received| received.signature == Signature::Verified), "{received:?}");
}

#[scenario]
async fn an_event_is_found_by_its_webhook_id_unless_it_is_another_tenants() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (stack, tenant, id) = (hook.stack, hook.tenant.as_str(), hook.post().await);
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    let webhook_id = received[0].webhook_id();
    let path = format!("/v1/events/{webhook_id}");
    let (status, event) = stack.local.replay().get(&path).await.unwrap();
    assert_eq!((status, &event["id"], &event["tenant"]), (200, &json!(id), &json!(tenant)), "{event}");
    assert_eq!((&event["webhook_id"], &event["deliveries"][0]["webhook_id"]), (&json!(webhook_id), &json!(webhook_id)));
    let listed = eventually("the event is listed", SOON, || async {
        let (_, list) = stack.local.replay().get(&format!("/v1/events?tenant={tenant}")).await.ok()?;
        list["events"].get(0).cloned()
    });
    assert_eq!(listed.await["webhook_id"], webhook_id);
    for (bound, path, expected) in [
        (Some(tenant), path.clone(), 200),
        (Some("another"), path.clone(), 404),
        (None, format!("{path}?tenant=another"), 404),
        (None, format!("/v1/events/another~{id}"), 404),
    ] {
        let key = stack.key(&["ops"], bound).await;
        let (status, answer) = Stack::api(&stack.local.urls.replay, &key).get(&path).await.unwrap();
        assert_eq!(status, expected, "{bound:?} {path}: {answer}");
    }
}
