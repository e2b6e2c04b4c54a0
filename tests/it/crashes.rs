//! Row by row, the design's table of what happens when something breaks: a function killed at each point, AWS calls that
//! fail or whose answer is lost.

use std::time::Duration;

use local::Answer;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario};
use serde_json::json;

async fn hook(responder: impl Fn(&local::Received) -> Answer + Send + Sync + 'static) -> Hook {
    hook_on(Stack::calm().await, responder).await
}

/// A hook on a stack of its own, for a test that kills functions.
async fn mortal_hook(responder: impl Fn(&local::Received) -> Answer + Send + Sync + 'static) -> Hook {
    hook_on(Stack::own("mortal", &[]).await, responder).await
}

async fn hook_on(
    stack: &'static Stack,
    responder: impl Fn(&local::Received) -> Answer + Send + Sync + 'static,
) -> Hook {
    Hook::new(stack, json!({"retry_policy": {"delays_seconds": [1, 1]}}), responder).await
}

/// The write of a delivery's record to this endpoint, in this status, with or without a claim.
fn is_record(endpoint: &str, status: &'static str, claimed: bool) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let endpoint = endpoint.to_owned();
    move |call| {
        call.operation == "PutItem"
            && call.attribute("endpoint_id") == endpoint
            && call.attribute("status") == status
            && call.claims() == claimed
    }
}

fn spoil(hook: &Hook, times: usize, wanted: impl Fn(&Call) -> bool + Send + Sync + 'static, fault: Fault) {
    hook.stack.proxy.spoil_times(times, move |call| wanted(call).then(|| fault.clone()));
}

#[scenario]
async fn killed_before_the_claim_a_retry_is_sent_once() {
    let hook = mortal_hook(|received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    spoil(&hook, 1, is_record(&hook.endpoint, "retrying", true), Fault::KillBefore);
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((hook.receiver.count(), &delivery["attempts"][1]["redelivered"]), (2, &json!(false)));
}

#[scenario]
async fn killed_between_the_claim_and_the_post_a_retry_is_sent_once_after_the_claim_has_ended() {
    let hook = mortal_hook(|received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    spoil(&hook, 1, is_record(&hook.endpoint, "retrying", true), Fault::KillAfter);
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((hook.receiver.count(), &delivery["attempts"][1]["redelivered"]), (2, &json!(true)));
}

#[scenario(slow)]
async fn killed_between_the_post_and_the_record_it_is_sent_again_and_says_so() {
    let hook = mortal_hook(|_| Answer::status(200)).await;
    spoil(&hook, 1, is_record(&hook.endpoint, "succeeded", false), Fault::KillBefore);
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(delivery["attempts"][0]["redelivered"], true);
    let received = hook.receiver.received();
    assert_eq!(received.len(), 2);
    assert_eq!(received[0].webhook_id(), received[1].webhook_id());
    assert_eq!(received[0].body, received[1].body);
    hook.assert_signed();
}

#[scenario]
async fn killed_after_the_record_the_next_attempt_comes_all_the_same() {
    let hook = mortal_hook(|received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    spoil(&hook, 1, is_record(&hook.endpoint, "retrying", false), Fault::KillAfter);
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((hook.receiver.count(), &delivery["attempt"]), (2, &json!(2)));
}

#[scenario]
async fn killed_after_the_next_attempt_was_sent_nothing_is_sent_twice() {
    let hook = mortal_hook(|received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    let endpoint = hook.endpoint.clone();
    let next = move |call: &Call| call.operation == "SendMessage" && call.mentions(&endpoint);
    spoil(&hook, 1, next, Fault::KillAfter);
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    tokio::time::sleep(Duration::from_secs(20)).await; // The dead function's message has come again by then.
    assert_eq!(hook.receiver.count(), 2);
}

#[scenario]
async fn a_record_that_cannot_be_written_is_queued_and_the_receiver_is_left_alone() {
    for (status, outcome, attempts) in [(200, "succeeded", 1), (500, "retrying", 2)] {
        let hook = hook(move |received| Answer::status(if received.times == 1 { status } else { 200 })).await;
        let wanted = is_record(&hook.endpoint, outcome, false);
        // More often than one call is repeated by the SDK: the first message gives up.
        spoil(&hook, 4, wanted, Fault::Refuse(400, "ProvisionedThroughputExceededException"));
        let event = hook.post().await;
        let delivery = hook.until_status(&event, "succeeded", SOON).await;
        assert_eq!((hook.receiver.count(), delivery["attempts"].as_array().unwrap().len()), (attempts, attempts));
        assert!(delivery["attempts"].as_array().unwrap().iter().all(|attempt| attempt["redelivered"] == false));
        let queued = hook.stack.proxy.calls(|call| {
            call.operation == "SendMessage" && call.mentions(&hook.endpoint) && call.mentions("\\\"record\\\"")
        });
        assert!(!queued.is_empty());
        assert_eq!(queued[0].body["DelaySeconds"], 10);
    }
}

#[scenario]
async fn when_scheduler_fails_the_queue_carries_the_retry() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(500)).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let id = delivery["id"].as_str().unwrap().to_owned();
    eventually("the first retry's schedule", SOON, || async {
        let scheduled = hook.stack.proxy.calls(|call| call.operation == "CreateSchedule" && call.mentions(&id));
        (!scheduled.is_empty()).then_some(())
    })
    .await;
    let scheduled = id.clone();
    let schedule = move |call: &Call| call.operation == "CreateSchedule" && call.mentions(&scheduled);
    spoil(&hook, 1000, schedule, Fault::Refuse(429, "ThrottlingException"));
    hook.stack.bring_due(&id.parse().unwrap(), 0, 2).await;
    let sent = eventually("the retry on the queue", SOON, || async {
        let sent = hook.stack.proxy.calls(|call| {
            call.operation == "SendMessage" && call.mentions(&hook.endpoint) && call.mentions("not_before")
        });
        sent.into_iter().next()
    })
    .await;
    let delay = sent.body["DelaySeconds"].as_u64().unwrap();
    assert!((295..=330).contains(&delay), "+5 min: {delay} s");
}

#[scenario]
async fn answers_that_are_lost_change_nothing() {
    let hook = hook(|received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    for (status, claimed) in [("retrying", false), ("retrying", true), ("succeeded", false)] {
        spoil(&hook, 1, is_record(&hook.endpoint, status, claimed), Fault::LoseAnswer);
    }
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!((hook.receiver.count(), delivery["attempts"].as_array().unwrap().len()), (2, 2));
    assert!(
        delivery["attempts"].as_array().unwrap().iter().all(|attempt| attempt["redelivered"] == false),
        "{delivery}"
    );
}

#[scenario]
async fn an_event_whose_store_loses_its_answer_is_stored_once_and_is_no_duplicate() {
    let hook = hook(|_| Answer::status(200)).await;
    let tenant = hook.tenant.clone();
    spoil(
        &hook,
        1,
        move |call| call.operation == "PutItem" && call.attribute("event_key").starts_with(&tenant),
        Fault::LoseAnswer,
    );
    let accepted = hook.stack.post(&json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}})).await;
    assert_eq!(accepted["duplicate"], false);
    hook.until_status("e", "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 1);
}

#[scenario]
async fn an_event_that_cannot_be_stored_is_not_accepted() {
    let hook = hook(|_| Answer::status(200)).await;
    let tenant = hook.tenant.clone();
    let store = move |call: &Call| call.operation == "PutItem" && call.attribute("event_key").starts_with(&tenant);
    spoil(&hook, 3, store, Fault::Refuse(400, "ProvisionedThroughputExceededException"));
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}});
    let (status, problem) = hook.stack.local.ingest().post("/v1/events", &event).await.unwrap();
    assert_eq!(status, 503, "{problem}");
    assert_eq!(hook.stack.post(&event).await["duplicate"], false);
    hook.until_status("e", "succeeded", SOON).await;
}

#[scenario]
async fn a_retry_whose_schedule_never_fires_is_found_by_the_sweep() {
    let hook = Hook::new(
        Stack::own("overdue", &[("OverdueSeconds", "2")]).await,
        json!({"retry_policy": {"delays_seconds": [1]}}),
        |received| Answer::status(if received.times == 1 { 500 } else { 200 }),
    )
    .await;
    // The message of the second attempt is lost: it is said to be sent, and is not.
    let endpoint = hook.endpoint.clone();
    hook.stack.proxy.spoil_times(1, move |call| {
        let next = call.operation == "SendMessage" && call.mentions(&endpoint);
        next.then_some(Fault::Swallow)
    });
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    let delivery = eventually("the swept delivery", SOON, || async {
        hook.stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let delivery = hook.delivery(&event).await;
        (delivery["status"] == "succeeded").then_some(delivery)
    })
    .await;
    assert_eq!((hook.receiver.count(), &delivery["attempt"]), (2, &json!(2)));
}
