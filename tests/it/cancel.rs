//! An operator ends a delivery that has not come to an end.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::event::Event;
use pombo_domain::ids::EndpointId;
use pombo_domain::message::{DeliveryMessage, EventPart};
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

use crate::rows::{event, put_events};

/// How long a delivery without a record counts as being sent in the test stacks.
const WINDOW: Duration = Duration::from_secs(25);

async fn cancel(hook: &Hook, id: &str) -> (u16, Value) {
    hook.stack.local.replay().post(&format!("/v1/deliveries/{id}/cancel"), &json!({})).await.unwrap()
}

/// The stored event of a delivery without a record. The event was accepted `ago` before now.
async fn awaited(hook: &Hook, id: &str, ago: Duration) -> (Event, DeliveryKey) {
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let accepted = Timestamp::from_seconds(clock::now().minus(ago).as_seconds());
    let event = event(&hook.tenant, id, "a", accepted, std::slice::from_ref(&endpoint));
    put_events(hook.stack, std::slice::from_ref(&event)).await;
    let key = event.delivery_to(endpoint);
    (event, key)
}

/// Waits until an event that is posted now has arrived: what was queued before it has been looked at.
async fn until_another_arrives(hook: &Hook) {
    let (before, id) = (hook.receiver.count(), hook.post().await);
    hook.receiver.wait_for(before + 1, SOON).await.unwrap();
    assert_eq!(hook.receiver.received().last().unwrap().event_id(), id);
}

/// The first message of a delivery.
fn first(event: &Event, key: DeliveryKey) -> DeliveryMessage {
    let (new, body) = (event.new_delivery(), Some(event.body.clone()));
    DeliveryMessage::first(key, EventPart { new, endpoint_version: None, body, hops: event.hops })
}

#[scenario]
async fn one_that_is_retried_is_cancelled_and_its_later_message_is_dropped() {
    let options = json!({"retry_policy": {"delays_seconds": [600]}});
    let hook = Hook::new(Stack::calm().await, options, |_| Answer::status(500)).await;
    let event = hook.post().await;
    let id = hook.until_status(&event, "retrying", SOON).await["id"].as_str().unwrap().to_owned();
    let (status, cancelled) = cancel(&hook, &id).await;
    assert_eq!((status, &cancelled["status"], &cancelled["next_attempt_at"]), (200, &json!("cancelled"), &json!(null)));
    assert_eq!((&cancelled["id"], cancelled["attempts"].as_array().unwrap().len()), (&json!(id), 1));
    // The retry, as its timer brings it in ten minutes.
    hook.stack.send("DeliveriesQueue", &json!({"v": 1, "delivery": id, "round": 0, "attempt": 2}).to_string()).await;
    until_another_arrives(&hook).await;
    assert_eq!((hook.receiver.count(), &hook.delivery(&event).await["status"]), (2, &json!("cancelled")));

    assert_eq!(cancel(&hook, &id).await, (200, cancelled), "a repeat changes nothing");
    let listed = format!("/v1/deliveries?endpoint_id={}&status=cancelled", hook.endpoint);
    let (_, list) = hook.stack.local.replay().get(&listed).await.unwrap();
    assert_eq!(list["deliveries"][0]["id"], json!(id), "{list}");
    // It can be sent again like any other.
    assert_eq!(hook.replay(&[&id]).await["counts"]["queued"], 1);
}

#[scenario]
async fn one_whose_first_message_is_on_its_way_never_begins() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (event, key) = awaited(&hook, "awaited", WINDOW).await;
    assert_eq!(hook.delivery("awaited").await["being_sent_until"], json!(null), "its window has closed");
    let (status, cancelled) = cancel(&hook, &key.to_string()).await;
    assert_eq!((status, &cancelled["status"], &cancelled["attempts"]), (200, &json!("cancelled"), &json!([])));
    hook.stack.send("DeliveriesQueue", &first(&event, key).to_json()).await;
    until_another_arrives(&hook).await;
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn one_without_a_record_is_refused_while_its_first_attempt_may_be_under_way() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let (event, key) = awaited(&hook, "new", Duration::ZERO).await;
    let until = json!(event.accepted_at.plus(WINDOW));
    let before = hook.delivery("new").await;
    assert_eq!((&before["status"], &before["being_sent_until"]), (&json!("pending"), &until));
    let (status, problem) = cancel(&hook, &key.to_string()).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains(until.as_str().unwrap()), "{problem}");
    // The cancel was refused because the attempt could still come. The attempt now comes and is recorded.
    hook.stack.send("DeliveriesQueue", &first(&event, key).to_json()).await;
    hook.until_status("new", "succeeded", SOON).await;
}

#[scenario]
async fn one_that_is_being_sent_or_has_come_to_an_end_is_refused() {
    let hook = Hook::new(Stack::calm().await, json!({"timeout_seconds": 3}), |_| {
        Answer::status(200).after(Duration::from_millis(2500))
    })
    .await;
    let event = hook.post().await;
    hook.receiver.wait_for(1, SOON).await.unwrap();
    let id = eventually("the delivery", SOON, || async {
        let delivery = hook.delivery(&event).await;
        Some(delivery["id"].as_str()?.to_owned())
    })
    .await;
    let (status, problem) = cancel(&hook, &id).await;
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("being sent"), "{problem}");
    hook.until_status(&event, "succeeded", SOON).await;
    let (status, problem) = cancel(&hook, &id).await;
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("succeeded"), "{problem}");
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn one_of_another_tenant_or_none_at_all_is_not_found() {
    let options = json!({"retry_policy": {"delays_seconds": [600]}});
    let hook = Hook::new(Stack::calm().await, options, |_| Answer::status(500)).await;
    let event = hook.post().await;
    let id = hook.until_status(&event, "retrying", SOON).await["id"].as_str().unwrap().to_owned();
    let key = hook.stack.key(&["ops"], Some("somebody-else")).await;
    let other = Stack::api(&hook.stack.local.urls.replay, &key);
    assert_eq!(other.post(&format!("/v1/deliveries/{id}/cancel"), &json!({})).await.unwrap().0, 404);
    let nobodys = pombo_domain::cursor::seal(&format!("{}/2026-01-31T09:30:00.050Z#none", hook.endpoint));
    assert_eq!(cancel(&hook, &nobodys).await.0, 404);
    assert_eq!(cancel(&hook, "nonsense").await.0, 404);
    let (status, _) =
        hook.stack.local.replay().post(&format!("/v1/deliveries/{id}/cancel"), &json!({"force": true})).await.unwrap();
    assert_eq!((status, &hook.delivery(&event).await["status"]), (400, &json!("retrying")));
}
