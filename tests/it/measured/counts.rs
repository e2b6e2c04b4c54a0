//! What an event costs in AWS calls, counted at the proxy: these numbers do not vary.

use std::sync::Arc;
use std::time::Duration;

use local::{Answer, Receiver};
use pombo_tests::{Call, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

/// The template's own window: within it, an event comes to dispatch also on a machine that is busy.
const WINDOW: (&str, &str) = ("FirstAttemptWindowSeconds", "180");

/// Operation, table and capacity units of each call, in order of time, with the number of entries for a batch.
fn bill(stack: &Stack, calls: &[Arc<Call>]) -> Vec<String> {
    let tables = ["RoutingTable", "EventsTable", "DeliveriesTable", "EndpointsTable", "ApiKeysTable"];
    let line = |call: &Arc<Call>| match tables.iter().find(|table| stack.resource(table) == call.table()) {
        Some(table) => format!("{} {table} {}", call.operation, call.units),
        None => match call.body["Entries"].as_array() {
            Some(entries) => format!("{} of {}", call.operation, entries.len()),
            None => call.operation.clone(),
        },
    };
    calls.iter().map(line).collect()
}

#[scenario]
async fn an_event_that_succeeds_at_once_costs_one_read_two_writes_and_its_queue_calls() {
    let stack = Stack::own("counted", &[WINDOW]).await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    for number in 0..11 {
        Hook::register(stack, &receiver, &tenant, &format!("/{number}"), json!({})).await;
    }
    let post = |id: String| {
        let event = json!({"type": "a", "tenant": tenant, "id": id, "data": {"name": "x".repeat(1900)}});
        async move { stack.post(&event).await }
    };
    // Some first events warm every process: the key, the endpoints.
    for round in 1..=3 {
        post(unique("warm")).await;
        receiver.wait_for(11 * round, SOON).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    let before = stack.proxy.calls(|_| true).len();
    let id = unique("e");
    post(id.clone()).await;
    receiver.wait_for(44, SOON).await.unwrap();
    let writes = |call: &Call| call.table() == stack.resource("DeliveriesTable");
    eventually("all outcomes", SOON, || async {
        let calls = stack.proxy.calls(writes);
        (calls.iter().filter(|call| call.attribute("status") == "succeeded").count() == 44).then_some(())
    })
    .await;
    let mut bill = bill(stack, &stack.proxy.calls(|_| true)[before..]);
    bill.sort();
    // Ten endpoints to a batch; of each delivery, the outcome alone. The event's put is one unit for the item and one
    // for its place in the list by time. Dispatch reads an endpoint anew every ten seconds in each process.
    bill.retain(|line| !line.starts_with("BatchGetItem EndpointsTable"));
    let mut expected = vec!["PutItem DeliveriesTable 1".to_owned(); 11];
    expected.extend(["GetItem RoutingTable 1", "PutItem EventsTable 2"].map(str::to_owned));
    expected.extend(["SendMessageBatch of 1", "SendMessageBatch of 10"].map(str::to_owned));
    expected.sort();
    assert_eq!(bill, expected);
}

#[scenario]
async fn a_retry_costs_one_read_of_its_record_and_one_of_its_event_beside_its_two_writes() {
    let stack = Stack::own("retried", &[WINDOW]).await;
    let hook = Hook::new(stack, json!({"retry_policy": {"delays_seconds": [1]}}), |received| {
        Answer::status(if received.times == 1 { 500 } else { 200 })
    })
    .await;
    let before = stack.proxy.calls(|_| true).len();
    hook.post().await;
    eventually("the outcome", SOON, || async {
        let calls = stack.proxy.calls(|call| call.attribute("status") == "succeeded");
        (!calls.is_empty()).then_some(())
    })
    .await;
    let bill = bill(stack, &stack.proxy.calls(|_| true)[before..]);
    // Without the units: the emulator counts an index row for each write, changed or not.
    let operation = |line: &String| {
        line.rsplit_once(' ')
            .filter(|(call, _)| call.contains("Table"))
            .map_or(line.clone(), |(call, _)| call.to_owned())
    };
    let mut dispatch: Vec<_> =
        bill.iter().map(operation).filter(|line| *line == "SendMessage" || line.contains("Deliveries")).collect();
    dispatch.sort();
    // The outcome of the first attempt, then the claim and the outcome of the second.
    let mut expected = vec!["PutItem DeliveriesTable".to_owned(); 3];
    expected.insert(0, "GetItem DeliveriesTable".to_owned());
    expected.push("SendMessage".to_owned());
    assert_eq!(dispatch, expected);
    assert_eq!(bill.iter().filter(|line| line.starts_with("GetItem EventsTable")).count(), 1, "{bill:?}");
}
