//! Pombo's own metrics: each is provoked, and found in the log under the name and dimension that its alarm looks at.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use local::{Answer, Receiver};
use pombo_aws::metrics::Metric;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};

use crate::{process, rows};

const THROTTLED: Fault = Fault::Refuse(400, "ProvisionedThroughputExceededException");
/// More often than the SDK repeats a call.
const TOO_OFTEN: usize = 4;

/// Which function has to write which metric, at least.
const WRITTEN: [(&str, &[Metric]); 2] = [
    (
        "DispatchLogGroup",
        &[
            Metric::MessagesFailed,
            Metric::OutcomesQueued,
            Metric::FirstAttemptsRepeated,
            Metric::SchedulesFailed,
            Metric::DeliveriesFailed,
            Metric::CircuitsOpened,
        ],
    ),
    (
        "JobsLogGroup",
        &[
            Metric::MessagesFailed,
            Metric::SweepsCompleted,
            Metric::OverdueDeliveries,
            Metric::StalledJobs,
            Metric::UnqueuedEvents,
            Metric::DeadLettersTaken,
            Metric::DeliveriesFailed,
            Metric::EndpointsPaused,
        ],
    ),
];

async fn stack() -> &'static Stack {
    let parameters = [
        ("AlarmEmail", "ops@example.com"),
        ("CircuitFailures", "3"),
        ("CircuitSeconds", "2"),
        ("ProbeSeconds", "1"),
        ("OverdueSeconds", "2"),
    ];
    Stack::own("metrics", &parameters).await
}

async fn hook(stack: &'static Stack, delays: &[u32], status: u16) -> Hook {
    Hook::new(stack, json!({"retry_policy": {"delays_seconds": delays}}), move |_| Answer::status(status)).await
}

/// The write of a delivery to this endpoint: with a claim, or with an outcome.
fn is_write(endpoint: &str, claimed: bool) -> impl Fn(&Call) -> bool + Send + Sync + use<> {
    let endpoint = endpoint.to_owned();
    move |call| {
        let of_delivery = call.operation == "PutItem" && call.attribute("endpoint_id") == endpoint;
        of_delivery && call.claims() == claimed
    }
}

async fn a_claim_fails(stack: &'static Stack) -> Hook {
    // The claim of the second attempt fails. The first attempt needs no claim.
    let policy = json!({"retry_policy": {"delays_seconds": [1]}});
    let hook = Hook::new(stack, policy, |received| Answer::status(if received.times == 1 { 500 } else { 200 })).await;
    let claim = is_write(&hook.endpoint, true);
    stack.proxy.spoil_times(TOO_OFTEN, move |call| claim(call).then_some(THROTTLED));
    hook.post().await;
    hook
}

async fn an_outcome_cannot_be_recorded(stack: &'static Stack) -> Hook {
    let hook = hook(stack, &[1], 200).await;
    let outcome = is_write(&hook.endpoint, false);
    stack.proxy.spoil_times(TOO_OFTEN, move |call| outcome(call).then_some(THROTTLED));
    hook.post().await;
    hook
}

/// SQS hands out a first message twice, each time as its first receive.
async fn a_first_attempt_is_made_twice(stack: &'static Stack) -> Hook {
    let hook = Hook::new(stack, json!({}), |received| {
        // The requests take different times, so that their outcomes do not look like the same attempt.
        Answer::status(200).after(Duration::from_millis(300 * u64::from(received.times > 1)))
    })
    .await;
    let message = process::first(&hook, "twice").await.marked().to_json();
    for _ in 0..2 {
        stack.send("DeliveriesQueue", &message).await;
    }
    hook
}

async fn no_schedule_can_be_made(stack: &'static Stack) -> Hook {
    stack.proxy.spoil(|call| (call.operation == "CreateSchedule").then_some(Fault::Refuse(429, "ThrottlingException")));
    let hook = Hook::new(stack, json!({}), |_| Answer::status(500)).await;
    hook.post().await;
    hook
}

async fn a_delivery_fails(stack: &'static Stack) -> Hook {
    let hook = hook(stack, &[1], 500).await;
    let event = hook.post().await;
    hook.until_status(&event, "failed", SOON).await;
    hook
}

async fn a_message_dies(stack: &'static Stack) -> Hook {
    let hook = hook(stack, &[600], 500).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "retrying", SOON).await;
    let letter = json!({"v": 1, "delivery": delivery["id"], "round": 0, "attempt": 2});
    stack.send("DeliveriesDeadLetterQueue", &letter.to_string()).await;
    hook
}

async fn a_retry_is_lost(stack: &'static Stack) -> Hook {
    let hook = hook(stack, &[1], 500).await;
    let endpoint = hook.endpoint.clone();
    let retry = move |call: &Call| call.operation == "SendMessage" && call.mentions(&endpoint);
    stack.proxy.spoil_times(1, move |call| retry(call).then_some(Fault::Swallow));
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    hook
}

/// The circuit's drain loses its first message; then, that no other's is lost, another endpoint is gone, and paused.
async fn a_circuit_opens_and_an_endpoint_is_gone(stack: &'static Stack) -> (Hook, Hook) {
    let leg = |call: &Call| call.operation == "SendMessage" && call.mentions("\\\"leg\\\"");
    stack.proxy.spoil_times(1, move |call| leg(call).then_some(Fault::Swallow));
    let failing = hook(stack, &[1, 1, 1, 1], 500).await;
    let key = format!("{}#health", failing.endpoint);
    let opening =
        move |call: &Call| call.operation == "TransactWriteItems" && call.mentions(&key) && call.mentions("drain");
    eventually("the circuit's lost leg", SOON, || async {
        failing.post().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stack.proxy.calls(leg).pop()
    })
    .await;
    for call in stack.proxy.calls(opening) {
        rows::stall_drain(stack, &call).await;
    }
    let gone = hook(stack, &[3, 60], 410).await;
    gone.post().await;
    gone.post().await;
    (failing, gone)
}

async fn an_operational_event_is_lost(stack: &'static Stack) -> (Receiver, Hook) {
    let receiver = Receiver::start().unwrap();
    Hook::register(stack, &receiver, "pombo", "/", json!({"event_types": ["pombo.endpoint.paused"]})).await;
    let announcement = |call: &Call| call.operation == "SendMessage" && call.mentions("\\\"publish\\\"");
    stack.proxy.spoil(move |call| announcement(call).then_some(Fault::Swallow));
    let hook = hook(stack, &[1], 200).await;
    hook.change("pause").await;
    (receiver, hook)
}

/// The metric lines in a function's log.
async fn documents(stack: &Stack, log_group: &str) -> Vec<Value> {
    let lines = stack.log_lines(log_group).await;
    let documents = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    documents.filter(|document| document["_aws"].is_object()).collect()
}

/// What CloudWatch makes of a document, by its format's specification: each metric with its namespace and dimensions.
fn extracted(document: &Value) -> BTreeSet<String> {
    let metadata = &document["_aws"];
    let written = Duration::from_millis(metadata["Timestamp"].as_u64().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(written <= now && now - written < Duration::from_secs(3600), "milliseconds: {document}");
    let mut found = BTreeSet::new();
    for directive in metadata["CloudWatchMetrics"].as_array().unwrap() {
        for set in directive["Dimensions"].as_array().unwrap() {
            let names = set.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            let dimensions: Vec<_> = names.map(|name| (name, document[name].as_str().unwrap())).collect();
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                assert_eq!(metric["Unit"], "Count", "{document}");
                assert!(document[name].as_u64().unwrap() > 0, "{document}");
                found.insert(identity(directive["Namespace"].as_str().unwrap(), name, &dimensions));
            }
        }
    }
    // Without these, Lambda takes the line for one of level INFO, whatever the function's level is: DEBUG here.
    assert_eq!(document["level"], "DEBUG", "{document}");
    assert!(document["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{document}");
    found
}

fn identity(namespace: &str, metric: &str, dimensions: &[(&str, &str)]) -> String {
    format!("{namespace} {metric} {dimensions:?}")
}

/// What the deployed alarms on Pombo's own metrics look at.
async fn alarmed(stack: &Stack) -> BTreeSet<String> {
    let answer = stack.ask_emulator("monitoring", "GraniteServiceVersion20100801.DescribeAlarms", &json!({})).await;
    let alarms = answer["MetricAlarms"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
    let own = alarms.filter(|alarm| alarm["Namespace"] == "Pombo").map(|alarm| {
        let dimensions = alarm["Dimensions"].as_array().unwrap().iter();
        let dimensions: Vec<_> =
            dimensions.map(|named| (named["Name"].as_str().unwrap(), named["Value"].as_str().unwrap())).collect();
        identity("Pombo", alarm["MetricName"].as_str().unwrap(), &dimensions)
    });
    own.collect()
}

#[scenario]
async fn each_metric_is_written_under_the_name_that_its_alarm_looks_at() {
    let stack = stack().await;
    let healthy = hook(stack, &[1], 200).await;
    let event = healthy.post().await;
    healthy.until_status(&event, "succeeded", SOON).await;
    let delivered = || async {
        let lines = stack.log_lines("DispatchLogGroup").await;
        lines.iter().any(|line| line.contains("Attempt made.")).then_some(())
    };
    eventually("the attempt in the log", SOON, delivered).await;
    assert_eq!(documents(stack, "DispatchLogGroup").await, Vec::<Value>::new(), "a success counts nothing");

    stack.send("JobsQueue", &json!({"v": 1, "what": unique("unreadable")}).to_string()).await;
    // Kept, since a receiver answers for as long as it is there.
    let _receivers = futures::join!(
        a_claim_fails(stack),
        an_outcome_cannot_be_recorded(stack),
        a_first_attempt_is_made_twice(stack),
        no_schedule_can_be_made(stack),
        a_delivery_fails(stack),
        a_message_dies(stack),
        a_retry_is_lost(stack),
        a_circuit_opens_and_an_endpoint_is_gone(stack),
        an_operational_event_is_lost(stack),
    );

    let mut written = BTreeSet::new();
    for (log_group, metrics) in WRITTEN {
        let found = eventually(&format!("{metrics:?} in {log_group}"), SOON, || async {
            stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let documents = documents(stack, log_group).await;
            let has = |metric: &&Metric| documents.iter().any(|document| document[metric.name()].is_u64());
            let missing: Vec<_> = metrics.iter().filter(|metric| !has(metric)).collect();
            println!("{log_group}: {} lines, without {missing:?}", documents.len());
            missing.is_empty().then_some(documents)
        })
        .await;
        let expected: BTreeSet<_> = metrics.iter().map(|metric| metric.name()).collect();
        let found: BTreeSet<_> = found.iter().flat_map(extracted).collect();
        let names: BTreeSet<_> = found.iter().map(|identity| identity.split(' ').nth(1).unwrap()).collect();
        assert_eq!(names, expected, "{log_group}");
        written.extend(found);
    }
    let names: BTreeSet<_> = written.iter().map(|identity| identity.split(' ').nth(1).unwrap()).collect();
    let all: BTreeSet<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(names, all, "each is provoked here");

    let alarmed = alarmed(stack).await;
    assert!(!alarmed.is_empty());
    let silent: Vec<_> = alarmed.difference(&written).collect();
    assert!(silent.is_empty(), "alarms on what nobody writes: {silent:?}");
}
