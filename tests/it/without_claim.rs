//! First attempts that dispatch makes without a claim, and first attempts that it claims: what is written, and how the
//! outcome changes the record.
//!
//! The process runs within the test, so that the test can set how often SQS has given out a message.

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Record, Status, Step};
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::message::DeliveryMessage;
use pombo_tests::{Call, Fault, Hook, Stack, scenario};
use serde_json::json;

use crate::process::{Process, RUN, WINDOW, first};

/// More often than the SDK repeats a call.
const TOO_OFTEN: usize = 4;

async fn hook(status: u16) -> (Hook, Process) {
    let policy = json!({"retry_policy": {"delays_seconds": [600]}});
    let hook = Hook::new(Stack::calm().await, policy, move |_| Answer::status(status)).await;
    let process = Process::start(hook.stack).await;
    (hook, process)
}

fn is_of(delivery: &DeliveryKey) -> impl Fn(&Call) -> bool + Send + Sync + 'static {
    let (endpoint, sort_key) = (delivery.endpoint_id.to_string(), delivery.sort_key());
    move |call| call.mentions(&endpoint) && call.mentions(&sort_key)
}

/// The calls about a delivery's record, in order: reads, claims and outcomes.
fn calls(hook: &Hook, delivery: &DeliveryKey) -> Vec<&'static str> {
    let is_of = is_of(delivery);
    let calls = hook.stack.proxy.calls(|call| is_of(call) && call.table() == hook.stack.resource("DeliveriesTable"));
    let named = calls.iter().map(|call| match call.operation.as_str() {
        "PutItem" if call.claims() => "claim",
        "PutItem" => "outcome",
        _ => "read",
    });
    named.collect()
}

/// The calls for a message that was received `times` times, and the record after these calls. Reading the record does not
/// count as a call.
async fn taken(
    hook: &Hook,
    process: &Process,
    message: DeliveryMessage,
    times: Option<&str>,
) -> (Vec<&'static str>, Record) {
    process.take_received(message.to_json(), times).await;
    let calls = calls(hook, &message.delivery);
    (calls, process.record(&message.delivery).await)
}

#[scenario]
async fn a_marked_message_is_attempted_without_a_claim_and_its_outcome_is_one_write_and_no_read() {
    for (status, expected) in [(200, Status::Succeeded), (500, Status::Retrying)] {
        let (hook, process) = hook(status).await;
        let message = first(&hook, "e").await.marked();
        process.take_received(message.to_json(), Some("1")).await;
        let calls = calls(&hook, &message.delivery);
        let record = process.record(&message.delivery).await;
        assert_eq!((record.status, record.step, record.attempts.len()), (expected, Step::FIRST, 1), "{status}");
        assert!(!record.attempts[0].redelivered && record.claim.is_none());
        assert_eq!((record.rev, hook.receiver.count()), (1, 1));
        assert_eq!(calls, ["outcome"], "{status}");
    }
}

#[scenario]
async fn what_may_have_been_sent_before_is_claimed_and_its_attempt_says_so() {
    let (hook, process) = hook(200).await;
    let old = clock::now().minus(WINDOW).plus(RUN);
    for (id, times, is_told) in [("second", Some("2"), true), ("unknown", None, true), ("odd", Some("x"), true)] {
        let message = first(&hook, id).await.marked();
        let (calls, record) = taken(&hook, &process, message, times).await;
        assert_eq!((calls, record.attempts[0].redelivered), (vec!["claim", "outcome"], is_told), "{id}");
    }
    let mut late = first(&hook, "late").await.marked();
    late.delivery.accepted_at = old;
    for (message, is_told) in
        [(first(&hook, "unmarked").await, false), (first(&hook, "repeated").await.repeated(), true), (late, false)]
    {
        let id = message.delivery.event_id.clone();
        let (calls, record) = taken(&hook, &process, message, Some("1")).await;
        assert_eq!((calls, record.attempts[0].redelivered), (vec!["claim", "outcome"], is_told), "{id}");
    }
}

#[scenario]
async fn every_first_attempt_is_claimed_where_that_is_asked_for() {
    let (hook, mut process) = hook(200).await;
    for (without_claim, expected) in
        [(Some(FirstAttemptWindow::new(WINDOW)), vec!["outcome"]), (None, vec!["claim", "outcome"])]
    {
        process.app.without_claim = without_claim;
        let message = first(&hook, &format!("e-{}", expected.len())).await.marked();
        assert_eq!(taken(&hook, &process, message, Some("1")).await.0, expected);
    }
}

#[scenario]
async fn an_outcome_without_a_record_that_could_not_be_written_begins_the_record_later() {
    let (hook, process) = hook(200).await;
    let message = first(&hook, "e").await.marked();
    let is_of = is_of(&message.delivery);
    hook.stack.proxy.spoil_times(TOO_OFTEN, move |call| {
        let throttled = Fault::Refuse(400, "ProvisionedThroughputExceededException");
        (call.operation == "PutItem" && is_of(call)).then_some(throttled)
    });
    process.take_received(message.to_json(), Some("1")).await;
    assert_eq!(process.app.protocol.deliveries.get(&message.delivery).await.unwrap(), None);
    let queued = process.next().await.body;
    let read = DeliveryMessage::parse(&queued).unwrap();
    let event = read.event.unwrap();
    assert_eq!((event.new, event.body, read.first), (message.event.clone().unwrap().new, None, false));
    process.take_received(queued, Some("1")).await;
    let record = process.record(&message.delivery).await;
    assert_eq!((record.status, record.attempts.len(), hook.receiver.count()), (Status::Succeeded, 1, 1));
}

#[scenario]
async fn a_first_message_that_has_to_go_to_the_next_invocation_has_no_mark_there() {
    let (hook, process) = hook(200).await;
    let message = first(&hook, "e").await.marked();
    let endpoint = hook.endpoint.clone();
    // Reading the endpoint takes so long that an attempt of three seconds no longer fits into the invocation.
    hook.stack.proxy.spoil_times(1, move |call| {
        let reads = call.operation == "BatchGetItem" && call.mentions(&endpoint);
        reads.then_some(Fault::Delay(Duration::from_millis(2500)))
    });
    process.take_within(message.to_json(), Some("1"), Duration::from_millis(12_500)).await;
    let again = DeliveryMessage::parse(&process.next().await.body).unwrap();
    assert_eq!((again.first, again.repeat, again.hops, hook.receiver.count()), (false, false, 0, 0));
}

#[scenario]
async fn an_endpoint_that_is_paused_before_a_second_receive_holds_a_delivery_that_tells_of_its_attempt() {
    let (hook, process) = hook(200).await;
    let message = first(&hook, "e").await.marked();
    hook.change("pause").await;
    process.take_received(message.to_json(), Some("2")).await;
    let record = process.record(&message.delivery).await;
    assert_eq!((record.status, record.was_abandoned("whoever is next")), (Status::Held, true));
}

#[scenario]
async fn a_marked_message_that_is_handed_out_twice_as_a_first_receive_is_two_requests_and_one_record() {
    let (hook, process) = hook(500).await;
    let message = first(&hook, "e").await.marked();
    for _ in 0..2 {
        process.take_received(message.to_json(), Some("1")).await;
    }
    let record = process.record(&message.delivery).await;
    assert_eq!((record.status, record.step, record.attempts.len()), (Status::Retrying, Step::FIRST, 1));
    assert_eq!(hook.receiver.count(), 2);
}
