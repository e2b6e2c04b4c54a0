//! Messages that nothing good can come of, in one batch with a good one.

use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue::{B, S};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{DeliveryKey, Status};
use pombo_domain::event::Event;
use pombo_domain::ids::EndpointId;
use pombo_tests::{Hook, Stack, eventually, scenario};
use serde_json::{Value, json};

use super::{SOON, ago, requests_for, store};
use crate::rows;

/// The first message of a delivery to this endpoint, without a body.
fn first(hook: &Hook, endpoint: &EndpointId, event: &str) -> (DeliveryKey, Value) {
    let key =
        DeliveryKey { endpoint_id: endpoint.clone(), accepted_at: clock::now(), event_id: event.parse().unwrap() };
    let part = json!({"tenant": hook.tenant, "type": "a", "expires_at": clock::now().as_seconds() + 86_400});
    (key.clone(), json!({"v": 1, "delivery": key, "round": 0, "attempt": 1, "event": part}))
}

fn with(message: &Value, fields: Value) -> Value {
    let mut message = message.clone();
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

async fn send_batch(stack: &Stack, messages: &[String]) {
    let client = aws_sdk_sqs::Client::new(&stack.local.sdk_config().await);
    let entry = |(place, body): (usize, &String)| {
        SendMessageBatchRequestEntry::builder().id(place.to_string()).message_body(body).build().unwrap()
    };
    let entries = messages.iter().enumerate().map(entry).collect();
    let request = client.send_message_batch().queue_url(stack.resource("DeliveriesQueue")).set_entries(Some(entries));
    assert!(request.send().await.unwrap().failed.is_empty());
}

#[scenario]
async fn what_cannot_be_read_is_put_aside_and_what_can_is_taken_for_what_it_is() {
    // On a stack of its own: what cannot be read stays.
    let stack = Stack::own("poisoned", &[]).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let good = rows::event(&hook.tenant, "good", "a", ago(9), std::slice::from_ref(&endpoint));
    store(stack, &good).await;
    let key = good.delivery_to(endpoint.clone());
    let (_, message) = first(&hook, &endpoint, "good");
    let message = with(&message, json!({"delivery": key}));
    let garbage = |body: &str| {
        let mut message = message.clone();
        (message["event"]["encoding"], message["event"]["body"]) = (json!("deflate1"), json!(body));
        message.to_string()
    };
    let (gone, to_nobody) = first(&hook, &EndpointId::generate(clock::random().unwrap()), "to-nobody");
    let huge = json!({"v": 1, "x": "y".repeat(400_000)}).to_string();
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let unreadable = [
        "not JSON".to_owned(),
        huge,
        deep,
        with(&message, json!({"attempt": -1})).to_string(),
        with(&message, json!({"delivery": "x"})).to_string(),
        with(&message, json!({"round": 1e30})).to_string(),
    ];
    // A body that is not base64, one that is not deflated, and what counts as high as it can.
    let days = clock::now().plus(Duration::from_secs(6 * 86_400));
    let wild = json!({"v": u32::MAX, "hops": u32::MAX, "not_before": days, "attempt": u32::MAX});
    let wild = with(&with(&message, wild), json!({"delivery": first(&hook, &endpoint, "wild").0}));
    let readable = [garbage("%%%"), garbage("////"), to_nobody.to_string(), wild.to_string()];
    send_batch(stack, &[unreadable.as_slice(), readable.as_slice()].concat()).await;

    eventually("what cannot be read, put aside", SOON, || async {
        (stack.queue_length("DeliveriesDeadLetterQueue").await == unreadable.len() as u64).then_some(())
    })
    .await;
    let status = async |key: &DeliveryKey, status| {
        eventually("the status", SOON, || async {
            let known = super::deliveries(stack).await.get(key).await.unwrap();
            known.filter(|record| record.status == status)
        })
        .await
    };
    status(&key, Status::Succeeded).await;
    status(&gone, Status::Cancelled).await;
    assert_eq!(requests_for(&hook, "good").len(), 1, "with the body that was stored");
    assert_eq!(requests_for(&hook, "good")[0].body, good.body.unpack().unwrap());
    assert!(requests_for(&hook, "wild").is_empty(), "it is not due for days");
    // Nothing but the wild one is left, waiting as long as a queue or a schedule lets it.
    eventually("an empty queue", SOON, || async { (stack.queue_length("DeliveriesQueue").await <= 1).then_some(()) })
        .await;
}

#[scenario]
async fn a_delivery_whose_event_is_damaged_is_not_sent_and_goes_on_when_that_is_mended() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let event = rows::event(&hook.tenant, "damaged", "a", ago(9), std::slice::from_ref(&endpoint));
    store(stack, &event).await;
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let write = async |encoding: &str, body: Vec<u8>| {
        let update = client.update_item().table_name(stack.resource("EventsTable"));
        let update = update.key("event_key", S(Event::key(&event.tenant, &event.id)));
        let update = update.update_expression("SET b = :body, e = :encoding");
        let update = update.expression_attribute_values(":encoding", S(encoding.into()));
        update.expression_attribute_values(":body", B(Blob::new(body))).send().await.unwrap();
    };
    write("1", vec![255; 8]).await;
    let key = event.delivery_to(endpoint.clone());
    let (_, message) = first(&hook, &endpoint, "damaged");
    stack.send("DeliveriesQueue", &with(&message, json!({"delivery": key})).to_string()).await;
    let known = async || super::deliveries(stack).await.get(&key).await.unwrap();
    eventually("a claim", SOON, || async { known().await?.claim.map(|_| ()) }).await;
    let body = event.body.unpack().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hook.receiver.count(), 0);
    write("0", body.clone()).await;
    eventually("the success", SOON, || async { known().await.filter(|record| record.status == Status::Succeeded) })
        .await;
    assert_eq!((hook.receiver.count(), &hook.receiver.received()[0].body[..]), (1, &body[..]));
}
