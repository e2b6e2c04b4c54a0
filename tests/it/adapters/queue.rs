//! A queue of the test's own: one that a function empties would be empty before the test looks.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageSystemAttributeName;
use pombo_aws::protocol::outgoing;
use pombo_aws::queue::{Incoming, LARGEST_BATCH, Outgoing, Queue, Refused, SentOnce};
use pombo_domain::delivery::{DeliveryKey, Step};
use pombo_domain::message::{DeliveryMessage, QueuedOutcome};
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::Decision;
use pombo_tests::{Backend, Fault, SOON, eventually, unique};
use serde_json::Value;

use super::{FAR, endpoint_id, some_time};

/// A new queue; its name, and its URL.
async fn new_queue(on: &Backend) -> (String, String) {
    let (client, name) = (Client::new(&on.direct().await), unique("adapters"));
    let url = client.create_queue().queue_name(&name).send().await.unwrap().queue_url.unwrap();
    (name, url)
}

async fn queue(on: &Backend) -> Queue {
    Queue::new(Client::new(&on.direct().await), new_queue(on).await.1)
}

pub(super) async fn spoilt_queue(on: &Backend) -> (String, Queue) {
    let (name, url) = new_queue(on).await;
    (name, Queue::new(Client::new(&on.behind_proxy().await), url))
}

fn message(body: &str) -> Outgoing {
    Outgoing { body: body.to_owned(), group: None, delay_seconds: 0 }
}

fn bodies(messages: &[Incoming]) -> BTreeSet<&str> {
    messages.iter().map(|message| message.body.as_str()).collect()
}

async fn what_is_sent_is_received_counted_and_deleted(on: &Backend) {
    let queue = queue(on).await;
    assert_eq!(queue.length().await.unwrap(), 0);
    let body = "{\"ü\u{fffd}\u{10ffff}\": \"\\u0000 \\uffff <&>\"}\t\r\n";
    queue.send(message(body)).await.unwrap();
    queue.send(message("two")).await.unwrap();
    assert_eq!(queue.length().await.unwrap(), 2);
    let received = queue.receive(1).await.unwrap();
    assert_eq!(bodies(&received), BTreeSet::from([body, "two"]));
    assert_eq!(queue.length().await.unwrap(), 0, "those that are hidden do not wait");
    let deleted = received.iter().find(|message| message.body == "two").unwrap();
    queue.delete(deleted).await.unwrap();
    // The other one comes again when its second has passed; the deleted one does not.
    let again = eventually("the message that was not deleted", SOON, || async {
        Some(queue.receive(1).await.unwrap()).filter(|received| !received.is_empty())
    })
    .await;
    assert_eq!(bodies(&again), BTreeSet::from([body]));
    queue.delete(&again[0]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(queue.receive(1).await.unwrap(), []);
}

async fn a_message_that_is_received_is_hidden_for_as_long_as_was_asked(on: &Backend) {
    let queue = queue(on).await;
    queue.send(message("one")).await.unwrap();
    assert_eq!(queue.receive(60).await.unwrap().len(), 1);
    let begun = Instant::now();
    assert_eq!(queue.receive(60).await.unwrap(), []);
    assert!(begun.elapsed() >= Duration::from_millis(900), "an empty queue is waited for");
}

async fn a_delay_is_kept_and_a_group_is_carried(on: &Backend) {
    let (_, url) = new_queue(on).await;
    let client = Client::new(&on.direct().await);
    let queue = Queue::new(client.clone(), url.clone());
    let group = endpoint_id();
    let delayed = Outgoing { body: "late".into(), group: Some(group.clone()), delay_seconds: 3 };
    let begun = Instant::now();
    queue.send(delayed.clone()).await.unwrap();
    assert_eq!(queue.send_batch(&[message("now"), delayed]).await.unwrap(), []);
    let received = queue.receive(60).await.unwrap();
    assert_eq!(bodies(&received), BTreeSet::from(["now"]));
    let mut groups = Vec::new();
    while groups.len() < 2 {
        assert!(begun.elapsed() < SOON, "the delayed messages do not come");
        let receive = client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(1);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        for message in receive.send().await.unwrap().messages.unwrap_or_default() {
            assert_eq!(message.body.as_deref(), Some("late"));
            let attributes = message.attributes.unwrap();
            groups.push(attributes[&MessageSystemAttributeName::MessageGroupId].clone());
        }
    }
    assert_eq!(groups, [group.to_string(), group.to_string()]);
    assert!(begun.elapsed() >= Duration::from_millis(2900), "after {:?}", begun.elapsed());
}

async fn a_batch_is_one_call_and_leaves_out_what_is_not_set(on: &Backend) {
    let (name, queue) = spoilt_queue(on).await;
    let group = endpoint_id();
    let mut messages: Vec<_> = (1..LARGEST_BATCH).map(|number| message(&number.to_string())).collect();
    messages.insert(0, Outgoing { body: "0".into(), group: Some(group.clone()), delay_seconds: 900 });
    assert_eq!(queue.send_batch(&messages).await.unwrap(), []);
    let made = on.calls("SendMessageBatch", &name);
    assert_eq!(made.len(), 1);
    let entries = made[0].body["Entries"].as_array().unwrap();
    assert_eq!(entries.len(), LARGEST_BATCH);
    assert_eq!(
        (&entries[0]["DelaySeconds"], entries[0]["MessageGroupId"].as_str()),
        (&900.into(), Some(group.as_str()))
    );
    for (number, entry) in entries.iter().enumerate().skip(1) {
        assert_eq!(entry["MessageBody"], number.to_string());
        assert_eq!((&entry["DelaySeconds"], &entry["MessageGroupId"]), (&Value::Null, &Value::Null));
    }
}

async fn refused_entries_are_named_with_whose_fault_it_is_and_the_others_are_sent(on: &Backend) {
    for (senders_fault, code) in [(false, "InternalError"), (true, "InvalidMessageContents")] {
        let (name, queue) = spoilt_queue(on).await;
        on.spoil(1, "SendMessageBatch", &name, Fault::RefuseEntries(vec![0, 3], senders_fault));
        let messages: Vec<_> = ["a", "b", "c", "d"].map(message).into();
        let refused = queue.send_batch(&messages).await.unwrap();
        let expected = [0, 3].map(|index| Refused { index, senders_fault, code: code.to_owned() });
        assert_eq!(refused, expected);
        assert_eq!(bodies(&queue.receive(60).await.unwrap()), BTreeSet::from(["b", "c"]));
    }
}

async fn a_batch_that_is_sent_once_tells_whether_it_may_be_queued(on: &Backend) {
    let sent = async |fault: Option<Fault>| {
        let (name, queue) = spoilt_queue(on).await;
        if let Some(fault) = fault {
            // Only the first try fails. A second try would get an answer.
            on.spoil(1, "SendMessageBatch", &name, fault);
        }
        let sent = queue.send_batch_once(&[message("a"), message("b")]).await;
        (sent, queue.whole_length().await.unwrap())
    };
    let (answer, queued) = sent(None).await;
    assert!(matches!(answer, SentOnce::Answered(refused) if refused.is_empty()) && queued == 2);
    let (answer, queued) = sent(Some(Fault::RefuseEntries(vec![1], false))).await;
    assert!(matches!(answer, SentOnce::Answered(refused) if refused[0].index == 1) && queued == 1);
    for (status, code) in [(400, "RequestThrottled"), (403, "AccessDenied")] {
        let (answer, queued) = sent(Some(Fault::Refuse(status, code))).await;
        assert!(matches!(&answer, SentOnce::Refused(error) if error.code() == Some(code)), "{answer:?}");
        assert_eq!(queued, 0);
    }
    // The batch may be queued, but the sender gets no answer.
    for fault in [Fault::LoseAnswer, Fault::Delay(Duration::from_millis(2500))] {
        let (answer, _) = sent(Some(fault)).await;
        assert!(matches!(answer, SentOnce::Lost(_)), "{answer:?}");
    }
}

async fn a_batch_that_finds_nobody_listening_is_not_queued(on: &Backend) {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = on.direct().await.into_builder().endpoint_url(format!("http://{nobody}")).build();
    let queue = Queue::new(Client::new(&config), new_queue(on).await.1);
    let sent = queue.send_batch_once(&[message("a")]).await;
    assert!(matches!(sent, SentOnce::Refused(_)), "{sent:?}");
    // If the connection breaks after the request, the batch may be queued.
    let breaking = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = config.into_builder().endpoint_url(format!("http://{}", breaking.local_addr().unwrap())).build();
    let hang_up = std::thread::spawn(move || std::io::Read::read(&mut breaking.accept().unwrap().0, &mut [0; 64]));
    let queue = Queue::new(Client::new(&config), new_queue(on).await.1);
    let sent = queue.send_batch_once(&[message("a")]).await;
    assert!(matches!(sent, SentOnce::Lost(_)), "{sent:?}");
    hang_up.join().unwrap().unwrap();
}

async fn an_outcome_can_be_queued_whatever_the_receiver_answered(on: &Backend) {
    let queue = queue(on).await;
    let answer = "\u{0}\u{1b}\u{fffe}\u{ffff} \\uffff";
    // As it is, SQS does not take it.
    let error = queue.send(message(answer)).await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidMessageContents"), "{error}");
    let attempt = Attempt {
        step: Step::FIRST,
        started_at: FAR,
        duration_ms: 1,
        outcome: Outcome::HttpStatus { status_code: 500 },
        answer: Some(answer.into()),
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    let outcome = QueuedOutcome { holder: "me".into(), attempt, decision: Decision::Failed };
    let delivery =
        DeliveryKey { endpoint_id: endpoint_id(), accepted_at: some_time(), event_id: "evt_1".parse().unwrap() };
    let queued = DeliveryMessage::outcome(delivery, outcome);
    queue.send(outgoing(&queued, 0)).await.unwrap();
    let received = queue.receive(60).await.unwrap();
    assert_eq!(DeliveryMessage::parse(&received[0].body).unwrap(), queued);
}

async fn what_is_put_back_is_seen_again_at_once_and_counted_all_the_while(on: &Backend) {
    let queue = queue(on).await;
    queue.send_batch(&(0..3).map(|n| message(&n.to_string())).collect::<Vec<_>>()).await.unwrap();
    for times in 1..=3 {
        let received = queue.receive(60).await.unwrap();
        assert_eq!(bodies(&received), ["0", "1", "2"].into());
        assert!(received.iter().all(|message| message.received == times && !message.id.is_empty()), "{received:?}");
        assert!(received.iter().all(|message| message.sent_at.is_some()), "{received:?}");
        assert_eq!((queue.length().await.unwrap(), queue.whole_length().await.unwrap()), (0, 3));
        queue.put_back(&received).await.unwrap();
        assert_eq!((queue.length().await.unwrap(), queue.whole_length().await.unwrap()), (3, 3));
    }
}

async fn a_queue_that_is_not_there_is_an_error_of_every_call(on: &Backend) {
    let (_, url) = new_queue(on).await;
    let missing = Queue::new(Client::new(&on.direct().await), format!("{url}-missing"));
    let incoming = Incoming { id: String::new(), body: String::new(), receipt: "x".into(), sent_at: None, received: 1 };
    for error in [
        missing.send(message("x")).await.unwrap_err(),
        missing.send_batch(&[message("x")]).await.unwrap_err(),
        missing.receive(1).await.unwrap_err(),
        missing.delete(&incoming).await.unwrap_err(),
        missing.put_back(&[incoming]).await.unwrap_err(),
        missing.length().await.unwrap_err(),
        missing.whole_length().await.unwrap_err(),
    ] {
        assert!(error.code().unwrap().contains("NonExistentQueue"), "{error}");
    }
}

on_sqs! {
    what_is_sent_is_received_counted_and_deleted,
    a_message_that_is_received_is_hidden_for_as_long_as_was_asked,
    refused_entries_are_named_with_whose_fault_it_is_and_the_others_are_sent,
    what_is_put_back_is_seen_again_at_once_and_counted_all_the_while,
    a_batch_that_is_sent_once_tells_whether_it_may_be_queued,
    a_batch_that_finds_nobody_listening_is_not_queued,
    a_queue_that_is_not_there_is_an_error_of_every_call,
    ; localstack and roto "knows no groups on a standard queue":
    a_batch_is_one_call_and_leaves_out_what_is_not_set,
    a_delay_is_kept_and_a_group_is_carried,
    an_outcome_can_be_queued_whatever_the_receiver_answered,
}
