//! Jobs whose function is killed, again and again, wherever it happens to be: each delivery is sent once all the same.
//!
//! The deliveries are written straight into the tables, over several endpoints: a partition of the emulator takes two
//! thousand rows. `POMBO_JOB_ROWS=20000` runs it with as many deliveries; `POMBO_SEED` with the kills of an earlier run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use local::Receiver;
use pombo_aws::clock;
use pombo_aws::deliveries::{DeliveriesTable, Put};
use pombo_aws::events::{EventsTable, PutEvent};
use pombo_domain::body::PackedBody;
use pombo_domain::delivery::{DeliveryKey, Record, Status, Step};
use pombo_domain::event::{Event, FanOut};
use pombo_domain::hops::Hops;
use pombo_domain::ids::EndpointId;
use pombo_domain::outcome::{Attempt, Outcome, Trigger};
use pombo_domain::retry::{Decision, Next, Route};
use pombo_domain::time::Timestamp;
use pombo_tests::harness::seed;
use pombo_tests::{Call, Fault, Hook, Stack, eventually, scenario, unique};
use serde_json::{Value, json};

const KILLS: usize = 5;
/// The most deliveries of one endpoint.
const LARGEST_PARTITION: usize = 1000;

fn rows() -> usize {
    std::env::var("POMBO_JOB_ROWS").map_or(2000, |rows| rows.parse().unwrap())
}

/// Numbers that look random, the same for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn seeded() -> Self {
        Self(seed())
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// Endpoints of one tenant, with deliveries that were made before.
struct Field {
    stack: &'static Stack,
    receiver: Receiver,
    tenant: String,
    endpoints: Vec<EndpointId>,
    deliveries: DeliveriesTable,
    keys: Vec<DeliveryKey>,
}

impl Field {
    /// With so many deliveries, each made from its beginning by `make`.
    async fn new(name: &str, rows: usize, make: impl Fn(Record) -> Record) -> Self {
        // A killed leg comes again after 16 seconds.
        let quick = [("JobsTimeoutSeconds", "15"), ("JobsVisibilitySeconds", "16")];
        let stack = Stack::own(name, &quick).await;
        let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
        let mut endpoints = Vec::new();
        for number in 0..rows.div_ceil(LARGEST_PARTITION).max(4) {
            let id = Hook::register(stack, &receiver, &tenant, &format!("/{number}"), json!({})).await;
            endpoints.push(id.parse::<EndpointId>().unwrap());
        }
        let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
        let events = EventsTable::new(client.clone(), stack.resource("EventsTable").to_owned());
        let deliveries = DeliveriesTable::new(client, stack.resource("DeliveriesTable").to_owned());
        let begun = clock::now().minus(Duration::from_secs(3600));
        let event = |number: usize| Event {
            tenant: tenant.parse().unwrap(),
            id: format!("e{number}").parse().unwrap(),
            event_type: "student.created".parse().unwrap(),
            accepted_at: begun.plus(Duration::from_millis(number as u64)),
            body: PackedBody::pack(format!(r#"{{"n":{number}}}"#).as_bytes()),
            fan_out: FanOut::new(endpoints.clone()),
            fingerprint: String::new(),
            expires_at: begun.plus(Duration::from_secs(864_000)).as_seconds(),
            hops: Hops::NONE,
            posted_by: None,
        };
        let all: Vec<_> = (0..rows.div_ceil(endpoints.len())).map(event).collect();
        futures::stream::iter(&all)
            .for_each_concurrent(8, async |event| {
                assert_eq!(events.put_new(event, "test", begun).await.unwrap(), PutEvent::Stored);
            })
            .await;
        let records = all.iter().flat_map(|event| {
            endpoints.iter().map(|endpoint| Record::begin(event.delivery_to(endpoint.clone()), event.new_delivery()))
        });
        let records: Vec<_> = records.take(rows).map(make).collect();
        let keys = records.iter().map(|record| record.key.clone()).collect();
        futures::stream::iter(records)
            .for_each_concurrent(8, async |record| {
                assert!(matches!(deliveries.put(None, record, "test").await.unwrap(), Put::Stored(_)));
            })
            .await;
        Self { stack, receiver, tenant, endpoints, deliveries, keys }
    }

    /// Kills the jobs function five times, at random among the calls that a job of so many deliveries makes once
    /// `begun` says so; counts the kills.
    fn kill_at_random(&self, numbers: &mut Numbers, begun: &Arc<AtomicBool>) -> Arc<AtomicUsize> {
        // A call for each delivery, and a tenth for its message.
        let calls = self.keys.len() + self.keys.len() / 10;
        let mut places: Vec<_> = (0..KILLS).map(|_| (numbers.below(calls), numbers.below(2) == 0)).collect();
        places.sort_unstable();
        let (jobs, deliveries) = (self.stack.resource("JobsTable"), self.stack.resource("DeliveriesTable"));
        let (jobs, deliveries) = (jobs.to_owned(), deliveries.to_owned());
        let (made, kills, begun) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)), Arc::clone(begun));
        let counted = Arc::clone(&kills);
        self.stack.proxy.spoil(move |call| {
            if !begun.load(Ordering::SeqCst) || !is_a_jobs(call, &jobs, &deliveries) {
                return None;
            }
            let made = made.fetch_add(1, Ordering::SeqCst);
            let (place, before) = *places.get(kills.load(Ordering::SeqCst))?;
            if made < place {
                return None;
            }
            let number = kills.fetch_add(1, Ordering::SeqCst) + 1;
            println!("kill {number} {} call {made}, {}", if before { "before" } else { "after" }, call.operation);
            Some(if before { Fault::KillBefore } else { Fault::KillAfter })
        });
        counted
    }

    /// The jobs of a kind; none when the function was killed while it answered, or the emulator is too busy.
    async fn jobs(&self, kind: &str) -> Option<Vec<Value>> {
        let path = format!("/v1/replays?limit=100&tenant={}", self.tenant);
        let (status, list) = self.stack.local.replay().get(&path).await.unwrap();
        assert!([200, 502, 503].contains(&status), "{status} {list}");
        let jobs = list["replays"].as_array()?.iter().filter(|job| job["kind"] == kind);
        Some(jobs.cloned().collect())
    }

    /// Waits until so many jobs of a kind have ended; gives the sum of their counts.
    async fn until_ended(&self, kind: &str, count: usize) -> Value {
        let jobs = eventually("the end of the jobs", Duration::from_secs(900), || async {
            // Each look costs the emulator time that the jobs want.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let jobs = self.jobs(kind).await?;
            (jobs.len() == count && jobs.iter().all(|job| job["status"] != "running")).then_some(jobs)
        })
        .await;
        assert!(jobs.iter().all(|job| job["status"] == "done"), "{jobs:?}");
        let sum = |name: &str| jobs.iter().map(|job| job["counts"][name].as_u64().unwrap()).sum::<u64>();
        assert!(jobs.iter().all(|job| job["counts"]["skipped"] == json!({})), "{jobs:?}");
        json!({"matched": sum("matched"), "queued": sum("queued")})
    }

    /// Waits until every delivery has succeeded; gives the records.
    async fn until_succeeded(&self) -> Vec<Record> {
        self.receiver.wait_for(self.keys.len(), Duration::from_secs(900)).await.unwrap();
        eventually("all have succeeded", Duration::from_secs(60), || async {
            let records: Vec<_> = self.deliveries.get_many(&self.keys).await.unwrap().into_values().collect();
            records.iter().all(|record| record.status == Status::Succeeded).then_some(records)
        })
        .await
    }

    /// Fails unless each delivery came to its endpoint once.
    async fn assert_each_came_once(&self) {
        // What would come twice is on its way by now.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut times = BTreeMap::<_, usize>::new();
        for received in self.receiver.received() {
            *times.entry((received.path.clone(), received.event_id().to_owned())).or_default() += 1;
        }
        assert_eq!(times.len(), self.keys.len());
        assert!(times.values().all(|times| *times == 1), "some came twice");
    }
}

/// Whether the jobs function makes the call for a job: no other function does while no event comes in.
fn is_a_jobs(call: &Call, jobs: &str, deliveries: &str) -> bool {
    match call.operation.as_str() {
        "PutItem" if call.table() == jobs => true,
        "PutItem" => {
            let opens_round =
                |record: Record| record.status == Status::Retrying && record.job.is_some() && record.claim.is_none();
            call.table() == deliveries && call.record().is_some_and(opens_round)
        }
        "BatchGetItem" => call.table() == deliveries,
        "Query" => call.table() == deliveries,
        "SendMessageBatch" => true,
        _ => false,
    }
}

fn tried(record: Record, decision: Decision) -> Record {
    let attempt = Attempt {
        step: record.step.next(),
        started_at: record.key.accepted_at,
        duration_ms: 1,
        outcome: Outcome::HttpStatus { status_code: 500 },
        answer: None,
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    record.record_attempt("test", attempt, decision).unwrap()
}

#[scenario(multi_thread, drill)]
async fn a_replay_killed_five_times_opens_one_round_for_each_delivery() {
    let rows = rows();
    let field = Field::new("replayed", rows, |record| tried(record, Decision::Failed)).await;
    let begun = Arc::new(AtomicBool::new(false));
    let kills = field.kill_at_random(&mut Numbers::seeded(), &begun);
    let filter = json!({"tenant": field.tenant, "since": "2026-01-01T00:00:00Z"});
    let started = Instant::now();
    begun.store(true, Ordering::SeqCst);
    // The process that takes the order may be the first to die: then it may have been stored, or not.
    let (status, answer) = field.stack.local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap();
    if status != 202 {
        println!("the order was answered {status} {answer}");
        let jobs = eventually("a list", Duration::from_secs(60), || field.jobs("replay")).await;
        if jobs.is_empty() {
            let (status, job) =
                field.stack.local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap();
            assert_eq!(status, 202, "{job}");
        }
    }
    let counts = field.until_ended("replay", 1).await;
    assert_eq!(counts, json!({"matched": rows, "queued": rows}));
    let records = field.until_succeeded().await;
    println!("{rows} deliveries replayed in {:?}", started.elapsed());
    assert_eq!(kills.load(Ordering::SeqCst), KILLS);
    for record in records {
        let newest = record.attempts.last().unwrap();
        assert_eq!((record.step, newest.trigger), (Step { round: 1, attempt: 1 }, Trigger::Replay), "{record:?}");
        assert_eq!(record.attempts.len(), 2, "{record:?}");
    }
    field.assert_each_came_once().await;
}

#[scenario(multi_thread, drill)]
async fn drains_killed_five_times_release_each_delivery_once() {
    let rows = rows();
    let later = Next { at: Timestamp::from_seconds(4_102_444_800), route: Route::Scheduler };
    let field = Field::new("drained", rows, |record| tried(record, Decision::Retry(later)).held("me")).await;
    let begun = Arc::new(AtomicBool::new(true));
    let kills = field.kill_at_random(&mut Numbers::seeded(), &begun);
    let api = field.stack.local.endpoints();
    for how in ["pause", "resume"] {
        for endpoint in &field.endpoints {
            let (status, answer) = api.post(&format!("/v1/endpoints/{endpoint}/{how}"), &json!({})).await.unwrap();
            assert_eq!(status, 200, "{answer}");
        }
    }
    let started = Instant::now();
    let counts = field.until_ended("drain", field.endpoints.len()).await;
    assert_eq!(counts, json!({"matched": rows, "queued": rows}));
    let records = field.until_succeeded().await;
    println!("{rows} deliveries released in {:?}", started.elapsed());
    assert_eq!(kills.load(Ordering::SeqCst), KILLS);
    for record in records {
        assert_eq!((record.step, record.attempts.len()), (Step { round: 0, attempt: 2 }, 2), "{record:?}");
    }
    field.assert_each_came_once().await;
}
