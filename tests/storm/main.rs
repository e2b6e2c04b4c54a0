//! A storm: AWS throttles, fails, hangs and breaks off; functions are killed, receivers fail; messages and schedules come
//! twice, late and out of order, or a schedule never fires. Then it ends, and the books must balance: what was
//! acknowledged has succeeded, or is where an operator sees it and can send it again.
//!
//! `POMBO_STORM_EVENTS=20000` runs it with as many events; `POMBO_SEED` with the chances of an earlier run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod books;
mod call;
mod client;
mod dice;
mod microburst;
mod proxy;
mod receivers;
mod weather;
mod witness;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_sdk_lambda::types::ScalingConfig;
use local::{Emulator, EmulatorOptions, LocalOptions, LocalStack};
use pombo_aws::clock;
use pombo_tests::{Backend, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};

use crate::books::{Audit, Books, list, show};
use crate::client::Client;
use crate::dice::Dice;
use crate::microburst::Microburst;
use crate::proxy::{Proxy, Targets};
use crate::receivers::Receivers;
use crate::weather::{Weather, phases};

/// With more messages waiting than this the client waits too, so that each phase meets its own events.
const LONG_QUEUE: u64 = 300;

/// What is due later than this is not waited for.
const DUE_SOON: Duration = Duration::from_secs(600);

/// How long the system may take until nothing moves any more.
const SETTLED_AFTER: Duration = Duration::from_secs(1500);

/// Time limits that suit a test: a dead function's message comes again after 16 seconds, and what is stuck is found soon.
const QUICK: [(&str, &str); 12] = [
    ("MaxEndpointTimeoutSeconds", "3"),
    ("DispatchTimeoutSeconds", "15"),
    ("DeliveriesVisibilitySeconds", "16"),
    ("FirstAttemptWindowSeconds", "25"),
    ("JobsTimeoutSeconds", "15"),
    ("JobsVisibilitySeconds", "16"),
    ("SettleSeconds", "2"),
    ("SweepMinutes", "60"),
    ("OverdueSeconds", "10"),
    ("CircuitFailures", "5"),
    ("CircuitSeconds", "6"),
    ("ProbeSeconds", "4"),
];

/// A stack in the storm, and the storm.
struct Storm {
    stack: &'static Stack,
    proxy: Arc<Proxy>,
    dice: Arc<Dice>,
    microburst: Microburst,
}

impl Storm {
    /// In calm weather.
    async fn start() -> Self {
        let dice = Arc::new(Dice::seeded());
        let proxy = Proxy::start(&dice);
        let url = proxy.url();
        let (tables, microburst) = tokio::join!(Backend::dynamodb_local(), Microburst::start(&url));
        let options = LocalOptions {
            name: unique("storm"),
            functions_endpoint: Some(proxy.url()),
            parameters: QUICK.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..LocalOptions::default()
        };
        let emulator = EmulatorOptions {
            name: options.name.clone(),
            functions_endpoint: options.functions_endpoint.clone(),
            ..EmulatorOptions::default()
        };
        let emulator = Arc::new(Emulator::start(emulator, options.progress).await.unwrap());
        proxy.set_targets(Targets {
            emulator: emulator.url(),
            tables: tables.url().to_owned(),
            microburst: microburst.url.clone(),
        });
        let local = LocalStack::start_in(&emulator, options).await.unwrap();
        // The other proxy, which keeps every call, has no place here.
        let stack = Box::leak(Box::new(Stack::of(local, Arc::new(pombo_tests::Proxy::start()))));
        let storm = Self { stack, proxy, dice, microburst };
        storm.widen().await;
        storm
    }

    /// Lets the emulator hand out more batches at a time: in a storm most of them wait.
    async fn widen(&self) {
        let client = aws_sdk_lambda::Client::new(&self.stack.local.sdk_config().await);
        let function = self.stack.resource("DispatchFunction");
        let mappings = client.list_event_source_mappings().function_name(function).send().await.unwrap();
        let id = mappings.event_source_mappings()[0].uuid().unwrap();
        let scaling = ScalingConfig::builder().maximum_concurrency(8).build();
        client.update_event_source_mapping().uuid(id).scaling_config(scaling).send().await.unwrap();
    }

    /// Sweeps for as long as the test runs, more often than the template would.
    fn keep_sweeping(&self) {
        let stack = self.stack;
        tokio::spawn(async move {
            loop {
                stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        });
    }

    /// Goes through the phases; gives the numbers of the events that were acknowledged.
    async fn rage(&self, events: usize, client: &Client) -> Vec<usize> {
        let phases = phases(events);
        let mut acknowledged = Vec::new();
        for (place, phase) in phases.iter().enumerate() {
            let started = Instant::now();
            self.proxy.set_weather(phase.weather.clone());
            let range = events * place / phases.len()..events * (place + 1) / phases.len();
            acknowledged.extend(client.post(range.clone()).await);
            self.cancel_some().await;
            println!("{}: {} events in {:?}", phase.name, range.len(), started.elapsed());
        }
        acknowledged
    }

    /// Lets the client wait while the queue is long.
    fn pace(&self, client: &Arc<Client>) {
        let (stack, client) = (self.stack, Arc::clone(client));
        tokio::spawn(async move {
            loop {
                let is_long = stack.queue_length("DeliveriesQueue").await > LONG_QUEUE;
                client.waits.store(is_long, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    /// An operator cancels what is being retried; in a storm that may fail.
    async fn cancel_some(&self) {
        let api = self.stack.local.replay();
        let Ok((200, page)) = api.get("/v1/deliveries?status=retrying&limit=2").await else { return };
        for delivery in page["deliveries"].as_array().unwrap() {
            let id = delivery["id"].as_str().unwrap();
            let _ = api.post(&format!("/v1/deliveries/{id}/cancel"), &json!({})).await;
        }
    }

    /// Waits until nothing moves: the queues are empty, nothing is held, and nothing is due soon. What is due later waits
    /// where it is seen: for the last retry of its policy, or for an hour since a sweep that could not queue it.
    async fn settle(&self) {
        eventually("it has settled", SETTLED_AFTER, || async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            for queue in ["DeliveriesQueue", "DeliveriesDeadLetterQueue"] {
                if self.stack.queue_length(queue).await + self.stack.delayed(queue).await > 0 {
                    return None;
                }
            }
            let soon = clock::now().plus(DUE_SOON).to_string();
            let retrying = list(self.stack, "status=retrying").await;
            let due = |delivery: &Value| {
                let due = delivery["next_look_at"].as_str().or(delivery["next_attempt_at"].as_str());
                due.unwrap().to_owned()
            };
            let is_soon = |delivery: &Value| due(delivery) < soon;
            let is_still = !retrying.iter().any(is_soon) && list(self.stack, "status=held").await.is_empty();
            is_still.then_some(())
        })
        .await;
    }

    /// Replays all that did not succeed, as an operator would.
    async fn replay_all(&self) {
        let order = json!({
            "filter": {"stack": true, "since": "2026-01-01T00:00:00Z"},
            "include": ["failed", "held", "cancelled", "retrying"],
        });
        let path = eventually("a replay", SOON, || async {
            let (status, answer) = self.stack.local.replay().post("/v1/replays", &order).await.unwrap();
            assert!(status == 202 || status >= 500, "{status} {answer}");
            (status == 202).then(|| format!("/v1/replays/{}", answer["id"].as_str().unwrap()))
        })
        .await;
        eventually("the replay has ended", 5 * SOON, || async {
            (show(self.stack, &path).await["status"] == "done").then_some(())
        })
        .await;
    }

    /// Fails unless functions were killed, and microburst injected the faults that the chances gave it.
    async fn assert_injected(&self) {
        let counts = self.proxy.counts();
        assert!(counts.keys().any(|what| what.starts_with("kill: ")), "no function was killed");
        let ours = counts.iter().filter(|(what, _)| what.starts_with("fault: ") && !what.ends_with(" entries"));
        let ours: usize = ours.map(|(_, count)| count).sum();
        let injected = self.microburst.injected().await;
        let theirs = injected.iter().map(|(_, count)| count).sum::<usize>();
        // A call that its function gives up before that is not passed on.
        assert!(theirs <= ours && theirs * 10 >= ours * 9, "{ours} faults were asked for: {injected:?}");
    }
}

fn report(what: &str, audit: &Audit) {
    println!("{what}: {} deliveries, {:?}, lost {}", audit.total(), audit.statuses, audit.lost.len());
    for (cause, count) in &audit.repeats {
        println!("  repeats, {cause}: {count}");
    }
}

#[scenario(multi_thread)]
async fn nothing_acknowledged_is_lost_in_a_storm_and_every_repeat_has_a_cause() {
    let events = std::env::var("POMBO_STORM_EVENTS").map_or(240, |events| events.parse().unwrap());
    let storm = Storm::start().await;
    let receivers = Receivers::register(storm.stack, &storm.dice).await;
    let client = Arc::new(Client::new(storm.stack.local.ingest(), &storm.dice));
    storm.pace(&client);
    storm.keep_sweeping();

    let started = Instant::now();
    let acknowledged = storm.rage(events, &client).await;
    let raged = started.elapsed();
    storm.proxy.set_weather(Weather::default());
    receivers.calm_down();
    storm.settle().await;
    println!("{events} events: the storm took {raged:?}, settling {:?}", started.elapsed() - raged);
    println!("acknowledged {}, refused posts {}", acknowledged.len(), client.refused.load(Ordering::SeqCst));
    println!("posted again though acknowledged {}", client.again.load(Ordering::SeqCst));
    for (what, count) in storm.proxy.counts() {
        println!("  {what}: {count}");
    }

    let books = Books::read(storm.stack, &receivers).await;
    let audit = books.audit(&acknowledged, &receivers, &storm.proxy.witness);
    report("when it had settled", &audit);
    audit.assert_balanced();
    books.assert_known(&receivers);
    books.assert_visible(storm.stack).await;
    storm.assert_injected().await;

    storm.replay_all().await;
    storm.settle().await;
    let audit = Books::read(storm.stack, &receivers).await.audit(&acknowledged, &receivers, &storm.proxy.witness);
    report("when all was replayed", &audit);
    audit.assert_balanced();
    assert_eq!(audit.statuses.get("succeeded"), Some(&audit.total()), "{:?}", audit.statuses);
    println!("all in {:?}", started.elapsed());
}

fn main() -> std::process::ExitCode {
    pombo_tests::harness::run("storm")
}
