//! Events that expire while something of them is still on its way, and ids that are used again.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Record, Status, Step};
use pombo_domain::event::Event;
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::Outcome;
use pombo_tests::{Hook, Stack, eventually, scenario};
use serde_json::json;

use super::{SOON, ago, begin, bring, record, requests_for, store};
use crate::rows;

/// A delivery in this status, tried once, of an event that expires at this time, in Unix seconds. Its record stays: DynamoDB
/// deletes what has expired when it comes to it.
async fn delivery(hook: &Hook, event: &str, status: Status, expires_at: i64) -> DeliveryKey {
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let accepted_at = ago(3600);
    let stored = rows::event(&hook.tenant, event, "student.created", accepted_at, std::slice::from_ref(&endpoint));
    store(hook.stack, &Event { expires_at, ..stored }).await;
    begin(hook.stack, rows::delivery(&hook.tenant, &endpoint, event, accepted_at, status)).await
}

async fn until_failed(stack: &Stack, key: &DeliveryKey) -> Record {
    eventually("the failure", SOON, || async {
        Some(record(stack, key).await).filter(|record| record.status == Status::Failed)
    })
    .await
}

fn outcomes(record: &Record) -> Vec<&Outcome> {
    record.attempts.iter().map(|attempt| &attempt.outcome).collect()
}

const FAILURE: Outcome = Outcome::HttpStatus { status_code: 500 };

#[scenario]
async fn an_id_that_is_used_again_is_another_event_whose_body_the_old_deliveries_never_get() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let old = delivery(&hook, "again", Status::Retrying, clock::now().as_seconds() - 10).await;
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "again", "data": {"is": "new"}});
    let accepted = stack.post(&event).await;
    assert_eq!((&accepted["duplicate"], &accepted["deliveries"]), (&json!(false), &json!(1)), "{accepted}");
    hook.until("again", "the new one", SOON, |delivery| delivery["status"] == "succeeded").await;
    // What is left of the old one: its retry, a first message by reference, and a replay.
    stack.bring_due(&old, 0, 2).await;
    let failed = until_failed(stack, &old).await;
    assert_eq!(outcomes(&failed), [&FAILURE, &Outcome::Expired]);
    hook.replay(&[&old.to_string()]).await;
    eventually("the replay's end", SOON, || async {
        let record = record(stack, &old).await;
        (record.step == Step { round: 1, attempt: 1 } && record.status == Status::Failed).then_some(())
    })
    .await;
    assert_eq!(stack.post(&event).await["duplicate"], true);
    let came = requests_for(&hook, "again");
    assert_eq!(came.len(), 1, "the new one, once");
    assert!(String::from_utf8_lossy(&came[0].body).contains(r#"{"is":"new"}"#));
}

#[scenario]
async fn what_was_held_until_its_event_expired_ends_as_expired() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    hook.change("pause").await;
    let key = delivery(&hook, "held", Status::Held, clock::now().as_seconds() - 10).await;
    hook.change("resume").await;
    let failed = until_failed(stack, &key).await;
    assert_eq!(outcomes(&failed), [&FAILURE, &Outcome::Expired]);
    assert_eq!(hook.receiver.count(), 0);
}

#[scenario]
async fn a_retry_that_would_be_due_after_its_event_has_expired_ends_the_delivery_where_it_is_seen() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"retry_policy": {"delays_seconds": [7200, 7200]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let expires_at = clock::now().plus(Duration::from_secs(3600)).as_seconds();
    let stored = rows::event(&hook.tenant, "ends", "student.created", ago(60), std::slice::from_ref(&endpoint));
    store(stack, &Event { expires_at, ..stored.clone() }).await;
    let pending = rows::delivery(&hook.tenant, &endpoint, "ends", stored.accepted_at, Status::Pending);
    let key = begin(stack, Record { expires_at, ..pending }).await;
    bring(stack, &key, 0, 1).await;
    let failed = until_failed(stack, &key).await;
    assert_eq!((outcomes(&failed), failed.next), (vec![&FAILURE], None), "it says what the receiver answered");
    hook.replay(&[&key.to_string()]).await;
    eventually("the replay's success", SOON, || async {
        (record(stack, &key).await.status == Status::Succeeded).then_some(())
    })
    .await;
}
