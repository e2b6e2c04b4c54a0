//! Reads that lag behind: indexes, and lists of the table itself, answer as of a moment ago. AWS promises no more; the
//! emulator is always up to date. So here they are read from a copy of the table that was made before.
//!
//! What a list names is a candidate. Each decision rests on a strongly consistent read of the record, or on the condition of
//! the write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue::S, BillingMode, GlobalSecondaryIndex};
use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::{Claim, Record, Status};
use pombo_domain::ids::EndpointId;
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::rows::{delivery, event, put_deliveries, put_events};

/// Of these tests' own: a sweep is among them, which reads the index of all that is due.
async fn hook() -> Hook {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let stack = STACK
        .get_or_init(|| Stack::start_without_roles("stale", &[("OverdueSeconds", "2"), ("SettleSeconds", "6")]))
        .await;
    Hook::new(stack, json!({"retry_policy": {"delays_seconds": [600]}}), |_| Answer::status(200)).await
}

/// Lists of deliveries that answer as of when this was made.
struct Lag {
    stack: &'static Stack,
    /// What a list says that lags.
    of: String,
    goes_on: Arc<AtomicBool>,
}

impl Lag {
    /// Of the lists of the endpoint.
    async fn of_endpoint(hook: &Hook) -> Self {
        Self::begin(hook, &hook.endpoint).await
    }

    /// Of the list of all that is due, where there is nothing then but the endpoint's.
    async fn of_due(hook: &Hook) -> Self {
        Self::begin(hook, "by_due").await
    }

    async fn begin(hook: &Hook, of: &str) -> Self {
        let (stack, of, goes_on) = (hook.stack, of.to_owned(), Arc::new(AtomicBool::new(true)));
        let copy = copy_of_deliveries(stack, &hook.endpoint).await;
        let (is_old, lags) = (is_list(stack, &of), Arc::clone(&goes_on));
        stack
            .proxy
            .spoil(move |call| (is_old(call) && lags.load(Ordering::SeqCst)).then(|| Fault::ReadFrom(copy.clone())));
        Self { stack, of, goes_on }
    }

    /// From now on the lists are up to date.
    fn end(&self) {
        self.goes_on.store(false, Ordering::SeqCst);
    }

    /// How many lists were old.
    fn old_answers(&self) -> usize {
        let is_old = is_list(self.stack, &self.of);
        self.stack.proxy.calls(|call| is_old(call) && call.spoilt).len()
    }
}

/// Whether a call reads a list of deliveries, of this endpoint or index, and may be answered as of a moment ago.
fn is_list(stack: &Stack, of: &str) -> impl Fn(&Call) -> bool + Send + Sync + use<> {
    let (table, of) = (stack.resource("DeliveriesTable").to_owned(), of.to_owned());
    move |call| {
        let may_lag = call.operation == "Query" && call.body["ConsistentRead"] != true;
        may_lag && call.table() == table && call.mentions(&of)
    }
}

/// A table like that of the deliveries, with those of this endpoint as they are now; its name.
async fn copy_of_deliveries(stack: &Stack, endpoint: &str) -> String {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let table = stack.resource("DeliveriesTable");
    let described = client.describe_table().table_name(table).send().await.unwrap().table.unwrap();
    let indexes = described.global_secondary_indexes().iter().map(|index| {
        let built = GlobalSecondaryIndex::builder().set_index_name(index.index_name.clone());
        let built = built.set_key_schema(index.key_schema.clone()).set_projection(index.projection.clone());
        built.build().unwrap()
    });
    let copy = unique("copy");
    let create = client.create_table().table_name(&copy).billing_mode(BillingMode::PayPerRequest);
    let create = create.set_attribute_definitions(described.attribute_definitions.clone());
    let create = create.set_key_schema(described.key_schema.clone());
    create.set_global_secondary_indexes(Some(indexes.collect())).send().await.unwrap();
    let all = client.query().table_name(table).key_condition_expression("endpoint_id = :id");
    let all = all.expression_attribute_values(":id", S(endpoint.to_owned())).send().await.unwrap();
    for item in all.items.unwrap_or_default() {
        client.put_item().table_name(&copy).set_item(Some(item)).send().await.unwrap();
    }
    copy
}

/// When the first of some events was accepted: before the last minute, which a replay leaves out.
fn begin() -> Timestamp {
    Timestamp::from_seconds(clock::now().as_seconds() - 3600)
}

/// Deliveries in this status, a second apart, with their events.
async fn stored(hook: &Hook, count: u64, status: Status) -> Vec<Record> {
    let (endpoint, begin): (EndpointId, _) = (hook.endpoint.parse().unwrap(), begin());
    let at = |number| begin.plus(Duration::from_secs(number));
    let ids = (0..count).map(|number| (number, format!("e{number}")));
    let records: Vec<_> =
        ids.clone().map(|(number, id)| delivery(&hook.tenant, &endpoint, &id, at(number), status)).collect();
    let ends = std::slice::from_ref(&endpoint);
    let events: Vec<_> =
        ids.map(|(number, id)| event(&hook.tenant, &id, "student.created", at(number), ends)).collect();
    put_events(hook.stack, &events).await;
    put_deliveries(hook.stack, &records).await;
    records
}

/// The record as another process left it.
fn moved(record: &Record, status: Status) -> Record {
    Record { rev: record.rev + 1, ..crate::rows::in_status(record.clone(), status) }
}

/// What a list shows, as event ids with their status.
async fn listed(hook: &Hook, filter: &str) -> Vec<(String, String)> {
    let path = format!("/v1/deliveries?endpoint_id={}{filter}", hook.endpoint);
    let (status, page) = hook.stack.local.replay().get(&path).await.unwrap();
    assert_eq!(status, 200, "{page}");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = page["deliveries"].as_array().unwrap().iter();
    rows.map(|row| (text(row, "event_id"), text(row, "status"))).collect()
}

/// How often each event came.
fn times(hook: &Hook) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for received in hook.receiver.received() {
        *times.entry(received.event_id().to_owned()).or_default() += 1;
    }
    times
}

#[scenario]
async fn a_list_shows_of_what_an_old_index_names_what_is_so_now() {
    let hook = hook().await;
    let records = stored(&hook, 4, Status::Failed).await;
    let lag = Lag::of_endpoint(&hook).await;
    put_deliveries(hook.stack, &[moved(&records[0], Status::Succeeded), moved(&records[2], Status::Held)]).await;
    let row = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    assert_eq!(listed(&hook, "&status=failed").await, [row("e3", "failed"), row("e1", "failed")]);
    // One that the index does not know yet is not there yet; the list of all names it, with its status.
    assert_eq!(listed(&hook, "&status=held").await, []);
    let all = [row("e3", "failed"), row("e2", "held"), row("e1", "failed"), row("e0", "succeeded")];
    assert_eq!(listed(&hook, "").await, all);
    assert!(lag.old_answers() >= 3);
    lag.end();
    assert_eq!(listed(&hook, "&status=held").await, [row("e2", "held")]);
}

#[scenario]
async fn a_sweep_leaves_alone_what_is_no_longer_overdue() {
    let hook = hook().await;
    let long_ago = Next { at: begin(), route: Route::Queue };
    let overdue = |record: &Record| Record { next: Some(long_ago), ..record.clone() };
    let records: Vec<_> = stored(&hook, 5, Status::Retrying).await.iter().map(overdue).collect();
    put_deliveries(hook.stack, &records).await;
    let lag = Lag::of_due(&hook).await;
    // One succeeded, one is held, one is in a day, one is being sent; the last one alone is still overdue.
    let claim = Claim { holder: "another".into(), until: clock::now().plus(SOON) };
    let now = [
        moved(&records[0], Status::Succeeded),
        moved(&records[1], Status::Held),
        moved(&records[2], Status::Retrying),
        Record { claim: Some(claim), rev: 2, ..records[3].clone() },
    ];
    put_deliveries(hook.stack, &now).await;
    for _ in 0..2 {
        hook.stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    }
    hook.until_status("e4", "succeeded", SOON).await;
    // Each asks eight shards; then the records, and the queue if there is anything to send.
    eventually("two sweeps", SOON, || async { (lag.old_answers() >= 16).then_some(()) }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(times(&hook), BTreeMap::from([("e4".into(), 1)]));
    let queued = |call: &Call| call.operation == "SendMessageBatch" && call.mentions(&hook.endpoint);
    let queued = hook.stack.proxy.calls(queued);
    let entries: Vec<_> = queued.iter().flat_map(|call| call.body["Entries"].as_array().unwrap()).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    lag.end();
}

#[scenario]
async fn a_replay_over_an_old_index_sends_each_once_and_what_succeeded_not_at_all() {
    let hook = hook().await;
    let records = stored(&hook, 8, Status::Failed).await;
    let lag = Lag::of_endpoint(&hook).await;
    put_deliveries(hook.stack, &[moved(&records[1], Status::Succeeded), moved(&records[6], Status::Cancelled)]).await;
    // The second one sees the index as it was before the first, as a later leg may see it as it was before an earlier one.
    let filter = json!({"endpoint_id": hook.endpoint, "since": begin().minus(Duration::from_secs(60)).to_string()});
    for expected in [6, 0] {
        let wanted = json!({"filter": filter, "include": ["failed"], "rate_per_second": 50});
        let (status, job) = hook.stack.local.replay().post("/v1/replays", &wanted).await.unwrap();
        assert_eq!(status, 202, "{job}");
        let path = format!("/v1/replays/{}", job["id"].as_str().unwrap());
        let ended = eventually("the replay's end", SOON, || async {
            let (_, job) = hook.stack.local.replay().get(&path).await.unwrap();
            (job["status"] == "done").then_some(job)
        })
        .await;
        assert_eq!(ended["counts"]["queued"], expected, "{ended}");
        eventually("what is sent", SOON, || async { (hook.receiver.count() == 6).then_some(()) }).await;
    }
    let sent = ["e0", "e2", "e3", "e4", "e5", "e7"].map(|id| (id.to_owned(), 1));
    assert_eq!(times(&hook), BTreeMap::from(sent));
    assert!(lag.old_answers() >= 2, "{}", lag.old_answers());
    lag.end();
}

#[scenario]
async fn a_drain_waits_for_the_index_before_it_ends() {
    let hook = hook().await;
    hook.change("pause").await;
    // The index does not know yet what was held at the last moment.
    let lag = Lag::of_endpoint(&hook).await;
    stored(&hook, 3, Status::Held).await;
    hook.change("resume").await;
    eventually("a look at the old index", SOON, || async { (lag.old_answers() > 0).then_some(()) }).await;
    assert_eq!(hook.receiver.count(), 0);
    lag.end();
    for event in ["e0", "e1", "e2"] {
        hook.until_status(event, "succeeded", SOON).await;
    }
    assert_eq!(times(&hook).into_values().collect::<Vec<_>>(), [1, 1, 1]);
}
