//! AWS calls that hang: one of them is given up after two seconds, and all its repeats after five, whoever makes it. What is
//! given up may be carried out all the same, later.
//!
//! On a stack of their own: they hold processes up that others share.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use local::Answer;
use pombo_domain::delivery::Status;
use pombo_domain::event::Event;
use pombo_domain::ids::EndpointId;
use pombo_tests::{Call, Fault, Hook, Stack, eventually, scenario};
use serde_json::{Value, json};

use super::sizes::{like_the_first, put_routes};
use super::{SOON, ago, record, requests_for};
use crate::rows;

/// Longer than a call may take with its repeats.
const HANGS_FOR: Duration = Duration::from_secs(8);
/// As often as a call is made before it is given up.
const TRIES: usize = 3;
/// A message that was given back comes again after 16 seconds; an outcome that could not be recorded after ten.
const AFTER_ALL: Duration = Duration::from_secs(90);

/// All calls of a kind that mention this, for as long as one takes to be given up.
fn hang(stack: &Stack, wanted: impl Fn(&Call) -> bool + Send + Sync + 'static) {
    hang_times(TRIES, stack, wanted);
}

/// The first `times` calls that mention this.
fn hang_times(times: usize, stack: &Stack, wanted: impl Fn(&Call) -> bool + Send + Sync + 'static) {
    stack.proxy.spoil_times(times, move |call| wanted(call).then_some(Fault::Delay(HANGS_FOR)));
}

#[scenario(multi_thread, slow)]
async fn a_call_that_hangs_costs_time_and_nothing_else() {
    let quick = [("JobsTimeoutSeconds", "15"), ("JobsVisibilitySeconds", "16")];
    let stack = Stack::own("hanging", &quick).await;
    // Those that have nothing to do with it are sent once, although they come in the same batches.
    let bystander = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let mut others = Vec::new();
    let mut scenes = Vec::new();
    for kind in [Kind::Endpoint, Kind::Claim, Kind::Outcome, Kind::NextByQueue, Kind::NextByScheduler] {
        scenes.push(kind.begin(stack).await);
        others.push(bystander.post().await);
    }
    let scenes = futures::future::join_all(scenes.iter().map(Scene::ends));
    futures::join!(scenes, a_replay_goes_on(stack), ingest_answers_in_time(stack));
    // By itself: a process in which so many calls were given up makes each later one once, until others have succeeded.
    ingest_answers_in_time_although_all_of_many_calls_hang(stack).await;
    for event in others {
        bystander.until_status(&event, "succeeded", SOON).await;
        assert_eq!(requests_for(&bystander, &event).len(), 1);
    }
}

/// A call of dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Endpoint,
    Claim,
    Outcome,
    NextByQueue,
    NextByScheduler,
}

struct Scene {
    kind: Kind,
    hook: Hook,
    event: String,
}

impl Kind {
    fn is(self, call: &Call, endpoint: &str) -> bool {
        let of_record = call.operation == "PutItem" && call.attribute("endpoint_id") == endpoint;
        let is_claim = call.claims();
        match self {
            Self::Endpoint => call.operation == "BatchGetItem" && call.mentions(endpoint),
            Self::Claim => of_record && is_claim,
            Self::Outcome => of_record && !is_claim,
            Self::NextByQueue => call.operation == "SendMessage" && call.mentions(endpoint),
            Self::NextByScheduler => call.operation == "CreateSchedule" && call.mentions(&ids_of(endpoint)),
        }
    }

    async fn begin(self, stack: &'static Stack) -> Scene {
        let options = match self {
            Self::NextByScheduler => json!({}),
            _ => json!({"retry_policy": {"delays_seconds": [1]}}),
        };
        // Only the second attempt is claimed, so the first has to fail.
        let fails_first = matches!(self, Self::Claim | Self::NextByQueue | Self::NextByScheduler);
        let hook = Hook::new(stack, options, move |received| {
            Answer::status(if fails_first && received.times == 1 { 500 } else { 200 })
        })
        .await;
        let endpoint = hook.endpoint.clone();
        hang(stack, move |call| self.is(call, &endpoint));
        let event = hook.post().await;
        Scene { kind: self, hook, event }
    }
}

/// How the id of each delivery to the endpoint begins: it is base64url of its key, which begins with the endpoint's id.
fn ids_of(endpoint: &str) -> String {
    pombo_domain::cursor::seal(endpoint).chars().take(24).collect()
}

impl Scene {
    async fn ends(&self) {
        let Self { kind, hook, event } = self;
        let stack = hook.stack;
        if *kind == Kind::NextByScheduler {
            // The queue carries it in Scheduler's place.
            let carried = eventually("the retry on the queue", AFTER_ALL, || async {
                let sent = stack.proxy.calls(|call| {
                    call.operation == "SendMessage" && call.mentions(&hook.endpoint) && call.mentions("not_before")
                });
                sent.into_iter().next()
            })
            .await;
            let delay = carried.body["DelaySeconds"].as_u64().unwrap();
            assert!((20..=66).contains(&delay), "{carried:?}");
            assert_eq!(requests_for(hook, event).len(), 1);
            return;
        }
        let delivery = hook.until_status(event, "succeeded", AFTER_ALL).await;
        let requests = if matches!(kind, Kind::Claim | Kind::NextByQueue) { 2 } else { 1 };
        assert_eq!(requests_for(hook, event).len(), requests, "{kind:?}: {delivery}");
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), requests, "{kind:?}: {delivery}");
        // Nobody can tell whether a request was sent after a claim that was given up but still written, or when a first
        // message comes a second time.
        let redelivered = |attempt: &Value| attempt["redelivered"] == true;
        if !matches!(kind, Kind::Claim | Kind::Endpoint) {
            assert!(!delivery["attempts"].as_array().unwrap().iter().any(redelivered), "{kind:?}: {delivery}");
        }
    }
}

/// The leg that is stopped by a write that hangs is run again, from the page that it had stored.
async fn a_replay_goes_on(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let accepted_at = |number: u32| ago(3600).plus(Duration::from_secs(number.into()));
    let events: Vec<_> = (0..30)
        .map(|n| {
            rows::event(
                &hook.tenant,
                &format!("r{n}"),
                "student.created",
                accepted_at(n),
                std::slice::from_ref(&endpoint),
            )
        })
        .collect();
    let failed =
        |event: &Event| rows::delivery(&hook.tenant, &endpoint, event.id.as_str(), event.accepted_at, Status::Failed);
    let records: Vec<_> = events.iter().map(failed).collect();
    rows::put_events(stack, &events).await;
    rows::put_deliveries(stack, &records).await;
    // In the middle of the page: the fifteenth record.
    let of_endpoint = hook.endpoint.clone();
    let stuck = records[15].key.sort_key();
    hang(stack, move |call| {
        call.operation == "PutItem"
            && call.attribute("endpoint_id") == of_endpoint
            && call.attribute("sort_key") == stuck
            && call.attribute("status") == "retrying"
    });
    let filter = json!({"filter": {"endpoint_id": hook.endpoint, "since": ago(86_400)}});
    let (status, replay) = stack.local.replay().post("/v1/replays", &filter).await.unwrap();
    assert_eq!(status, 202, "{replay}");
    let path = format!("/v1/replays/{}", replay["id"].as_str().unwrap());
    let done = eventually("the replay's end", AFTER_ALL, || async {
        let (_, replay) = stack.local.replay().get(&path).await.unwrap();
        (replay["status"] == "done").then_some(replay)
    })
    .await;
    assert_eq!((&done["counts"]["matched"], &done["counts"]["queued"]), (&json!(30), &json!(30)), "{done}");
    for written in &records {
        eventually("a success", SOON, || async {
            (record(stack, &written.key).await.status == Status::Succeeded).then_some(())
        })
        .await;
        assert_eq!(requests_for(&hook, written.key.event_id.as_str()).len(), 1, "{:?}", written.key);
    }
}

/// Whatever hangs, the caller is told in time, and may repeat.
async fn ingest_answers_in_time(stack: &'static Stack) {
    for operation in ["GetItem", "PutItem", "SendMessageBatch"] {
        let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
        let (tenant, endpoint) = (hook.tenant.clone(), hook.endpoint.clone());
        // Ingest sends a batch once with the mark of a first attempt, and then again without it, with the repeats of a call.
        let times = if operation == "SendMessageBatch" { 1 + TRIES } else { TRIES };
        hang_times(times, stack, move |call| {
            call.operation == operation
                && (call.body["Key"]["tenant"]["S"] == tenant || is_about(call, &tenant, &endpoint))
        });
        let event = json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}});
        let started = Instant::now();
        let (status, problem) = stack.local.ingest().post("/v1/events", &event).await.unwrap();
        assert_eq!(status, 503, "{operation}: {problem}");
        assert!(started.elapsed() < Duration::from_secs(25), "{operation}: {:?}", started.elapsed());
        stack.post(&event).await;
        hook.until_status("e", "succeeded", SOON).await;
        assert_eq!(requests_for(&hook, "e").len(), 1, "{operation}");
    }
}

async fn ingest_answers_in_time_although_all_of_many_calls_hang(stack: &'static Stack) {
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let more = like_the_first(&hook, 999).await;
    let groups: BTreeSet<_> = more.iter().map(|route| route.endpoint_id.to_string()).collect();
    put_routes(&hook, more).await;
    stack.proxy.spoil(move |call| {
        let group = call.body["Entries"][0]["MessageGroupId"].as_str()?;
        groups.contains(group).then_some(Fault::Delay(HANGS_FOR))
    });
    let started = Instant::now();
    let event = json!({"type": "a", "tenant": hook.tenant, "data": {}});
    let (status, problem) = stack.local.ingest().post("/v1/events", &event).await.unwrap();
    println!("a thousand endpoints, no queue: {status} after {:?}", started.elapsed());
    assert_eq!(status, 503, "{problem}");
    assert!(problem["id"].is_string(), "the id to repeat with: {problem}");
}

/// Whether ingest stores or queues an event of the tenant with it.
fn is_about(call: &Call, tenant: &str, endpoint: &str) -> bool {
    call.attribute("event_key").starts_with(tenant) || call.body["Entries"][0]["MessageGroupId"] == endpoint
}
