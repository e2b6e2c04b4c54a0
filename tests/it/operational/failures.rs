//! `pombo.delivery.failed`: every failure counted once, and told when its minute has ended.

use std::time::{Duration, SystemTime};

use local::Answer;
use pombo_tests::{Call, Fault, Hook, Stack, eventually, scenario};
use serde_json::{Value, json};

use super::{SOON, failing, news, subscribe, sweep_until, told, types, wait_for};

/// A minute's failures are told when it has ended; by the sweep ten seconds later.
const AFTER_THE_MINUTE: Duration = Duration::from_secs(110);

/// Waits until a minute has enough left for a few deliveries to fail within it.
async fn early_in_a_minute() {
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() % 60;
    while seconds() > 20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The transaction that counts a failure of this endpoint's.
fn counts(call: &Call, endpoint: &str) -> bool {
    call.operation == "TransactWriteItems"
        && call.mentions(&format!("pombo#failed_{}", endpoint.trim_start_matches("ep_")))
}

#[scenario(slow)]
async fn failed_deliveries_are_told_once_a_minute_with_their_number() {
    let stack = told().await;
    let (receiver, _) = subscribe(stack, &["pombo.delivery.failed"]).await;
    let hook = failing(stack).await;
    early_in_a_minute().await;
    // The answers of two of the writes are lost: each of them counts once nevertheless.
    let endpoint = hook.endpoint.clone();
    stack.proxy.spoil_times(2, move |call| counts(call, &endpoint).then_some(Fault::LoseAnswer));
    // At the same time, so that their transactions meet.
    let events = futures::future::join_all((0..8).map(|_| hook.post())).await;
    for event in &events {
        hook.until_status(event, "failed", SOON).await;
    }
    assert_eq!(news(&receiver, &hook.endpoint), Vec::<Value>::new(), "not before the minute has ended");
    let bodies = eventually("the failures", AFTER_THE_MINUTE, || async {
        Some(news(&receiver, &hook.endpoint)).filter(|bodies| !bodies.is_empty())
    })
    .await;
    assert_eq!(types(&bodies), ["pombo.delivery.failed"]);
    let data = &bodies[0]["data"];
    assert_eq!((&data["count"], &data["name"], &data["tenant"]), (&json!(8), &json!("Registrar"), &json!(hook.tenant)));
    let latest = &data["latest"];
    assert!(events.iter().any(|event| latest["event_id"] == *event), "{latest}");
    assert_eq!(latest["delivery_id"], hook.delivery(latest["event_id"].as_str().unwrap()).await["id"]);
    assert_eq!(latest["outcome"], json!({"kind": "http_status", "status_code": 500}));
    // The next failure is of another minute.
    let event = hook.post().await;
    hook.until_status(&event, "failed", SOON).await;
    let bodies = eventually("the next failure", AFTER_THE_MINUTE, || async {
        Some(news(&receiver, &hook.endpoint)).filter(|bodies| bodies.len() > 1)
    })
    .await;
    assert_eq!((&bodies[1]["data"]["count"], &bodies[1]["data"]["latest"]["event_id"]), (&json!(1), &json!(event)));
    assert_eq!(bodies.len(), 2);
}

#[scenario(slow)]
async fn a_failure_counts_once_when_the_process_that_recorded_it_dies() {
    let stack = Stack::own("uncounted", &[]).await;
    let (receiver, _) = subscribe(stack, &["pombo.delivery.failed"]).await;
    let hook = failing(stack).await;
    early_in_a_minute().await;
    // The first dies after its write and before it announces the event, so that the sweep publishes it; the second
    // before its write.
    let endpoint = hook.endpoint.clone();
    stack.proxy.spoil_times(1, move |call| counts(call, &endpoint).then_some(Fault::KillAfter));
    let first = hook.post().await;
    hook.until_status(&first, "failed", SOON).await;
    let endpoint = hook.endpoint.clone();
    stack.proxy.spoil_times(1, move |call| counts(call, &endpoint).then_some(Fault::KillBefore));
    let second = hook.post().await;
    hook.until_status(&second, "failed", SOON).await;
    let bodies = sweep_until(stack, "the failures", AFTER_THE_MINUTE, || {
        let bodies = news(&receiver, &hook.endpoint);
        let count: u64 = bodies.iter().filter_map(|body| body["data"]["count"].as_u64()).sum();
        (count >= 2).then_some(bodies)
    })
    .await;
    let count: u64 = bodies.iter().filter_map(|body| body["data"]["count"].as_u64()).sum();
    assert_eq!(count, 2, "{bodies:?}");
}

#[scenario(slow)]
async fn what_was_told_is_not_counted_on() {
    let stack = told().await;
    let (receiver, _) = subscribe(stack, &["pombo.delivery.failed"]).await;
    let hook = failing(stack).await;
    early_in_a_minute().await;
    let first = hook.post().await;
    hook.until_status(&first, "failed", SOON).await;
    // As by a clock that is ahead: published while its minute lasts.
    let written = stack.proxy.calls(|call| counts(call, &hook.endpoint));
    let key = &written[0].body["TransactItems"][1]["Put"]["Item"]["event_key"]["S"];
    stack.send("JobsQueue", &json!({"v": 1, "publish": key}).to_string()).await;
    let early = wait_for(&receiver, &hook.endpoint, 1).await;
    assert_eq!(early[0]["data"]["count"], 1);
    let second = hook.post().await;
    hook.until_status(&second, "failed", SOON).await;
    let bodies = eventually("the second failure", 2 * AFTER_THE_MINUTE, || async {
        Some(news(&receiver, &hook.endpoint)).filter(|bodies| bodies.len() > 1)
    })
    .await;
    assert_eq!((&bodies[0], &bodies[1]["data"]["count"]), (&early[0], &json!(1)));
    assert_eq!(bodies[1]["data"]["latest"]["event_id"], second, "told with the next minute's");
}

#[scenario]
async fn a_dead_letter_is_counted_too() {
    let stack = told().await;
    let (receiver, _) = subscribe(stack, &["pombo.delivery.failed"]).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let key = format!("{}/2026-01-31T09:30:00.050Z#dead", hook.endpoint);
    let id = pombo_domain::cursor::seal(&key);
    let event = json!({"tenant": hook.tenant, "type": "a", "expires_at": 4_000_000_000u64});
    let letter = json!({"v": 1, "delivery": id, "round": 0, "attempt": 1, "event": event}).to_string();
    stack.send("DeliveriesDeadLetterQueue", &letter).await;
    let bodies = sweep_until(stack, "the failure", AFTER_THE_MINUTE, || {
        Some(news(&receiver, &hook.endpoint)).filter(|bodies| !bodies.is_empty())
    })
    .await;
    let data = &bodies[0]["data"];
    assert_eq!((&data["count"], &data["latest"]["outcome"]), (&json!(1), &json!({"kind": "dead_lettered"})), "{data}");
}
