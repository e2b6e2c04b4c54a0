//! Makes one measurement: starts sandboxes, warms them up, posts events, and waits until each event is delivered and
//! acknowledged.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::sync::Notify;

use crate::aws::Aws;
use crate::functions::{Sandboxes, Stack};
use crate::runtime_api::{Answers, asks_for_work, batch, invocation, post};
use crate::serve::{Request, Response, Server, answer, serve};
use crate::{body, items};

/// Number of messages in a batch for dispatch, as in the template.
const BATCH: usize = 10;
/// Number of events that each sandbox gets before the measurement.
const WARM_UP: usize = 10;
/// Maximum time for a measurement.
const PATIENCE: Duration = Duration::from_secs(300);

/// The load of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Number of events that are measured.
    pub events: usize,
    /// Number of posts under way at a time.
    pub in_flight: usize,
    /// Whether dispatch claims first attempts.
    pub claim: bool,
}

/// The cost of the measured events.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Processor time of ingest for each event.
    pub ingest: Duration,
    /// Processor time of dispatch for each event.
    pub dispatch: Duration,
    /// AWS calls for each event, by name.
    pub calls: BTreeMap<String, f64>,
}

/// Everything that the functions talk to.
#[derive(Debug, Default)]
struct World {
    aws: Aws,
    /// Number of events that may be posted so far, and number of events that were posted.
    allowed: AtomicUsize,
    posted: AtomicUsize,
    /// Told when more events may be posted.
    more: Notify,
    ingest: Answers,
    batches: AtomicUsize,
    dispatch: Answers,
    received: Mutex<Received>,
}

/// The requests that came to the receiver.
#[derive(Debug, Default)]
struct Received {
    requests: usize,
    ids: HashSet<String>,
}

/// Measures the binaries of a directory.
pub async fn measure(directory: &Path, load: Load) -> anyhow::Result<Cost> {
    let receiver_world: Arc<Mutex<Option<Arc<World>>>> = Arc::default();
    let seen = Arc::clone(&receiver_world);
    let receiver = serve(move |request| {
        let world = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        async move { world.map_or_else(|| answer(503, &[], ""), |world| world.receive(&request)) }
    })
    .await?;
    let url = format!("http://{}/hooks/students", receiver.address);
    let world = Arc::new(World { aws: Aws::with(&items::all(&url)), ..World::default() });
    *receiver_world.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&world));
    let [aws, ingest_api, dispatch_api] = world.servers().await?;
    let sandboxes = |function, count, api: &Server| {
        let (aws, claim) = (aws.address, load.claim);
        Sandboxes::start(directory, function, count, &Stack { runtime_api: api.address, aws, claim })
    };
    let ingest = sandboxes("ingest", load.in_flight, &ingest_api)?;
    let dispatch = sandboxes("dispatch", load.in_flight.div_ceil(BATCH), &dispatch_api)?;

    world.deliver(WARM_UP * load.in_flight).await?;
    world.aws.take_calls();
    let before = (ingest.cpu()?, dispatch.cpu()?);
    world.deliver(load.events).await?;
    let (ingest, dispatch) = (ingest.cpu()? - before.0, dispatch.cpu()? - before.1);
    world.check()?;
    let each = |time: Duration| time.div_f64(load.events as f64);
    let calls = world.aws.take_calls().into_iter().map(|(call, count)| (call, count as f64 / load.events as f64));
    Ok(Cost { ingest: each(ingest), dispatch: each(dispatch), calls: calls.collect() })
}

impl World {
    /// AWS, and the Runtime API of each function.
    async fn servers(self: &Arc<Self>) -> anyhow::Result<[Server; 3]> {
        let [aws, ingest, dispatch] = [Arc::clone(self), Arc::clone(self), Arc::clone(self)];
        Ok([
            serve(move |request| {
                let answer = aws.aws.call(&request);
                async move { answer }
            })
            .await?,
            serve(move |request| Arc::clone(&ingest).serve_ingest(request)).await?,
            serve(move |request| Arc::clone(&dispatch).serve_dispatch(request)).await?,
        ])
    }

    async fn serve_ingest(self: Arc<Self>, request: Request) -> Response {
        if !asks_for_work(&request) {
            return self.ingest.take(&request, |answer| answer["statusCode"] == 202);
        }
        let number = loop {
            let more = self.more.notified();
            let allowed = self.allowed.load(Ordering::Relaxed);
            let next = self
                .posted
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |posted| (posted < allowed).then_some(posted + 1));
            match next {
                Ok(number) => break number,
                Err(_) => more.await,
            }
        };
        invocation(number, 1, Duration::from_secs(30), &post(body::post(number)))
    }

    async fn serve_dispatch(self: Arc<Self>, request: Request) -> Response {
        if !asks_for_work(&request) {
            let failed =
                |answer: &Value| answer["batchItemFailures"].as_array().is_some_and(|failed| !failed.is_empty());
            return self.dispatch.take(&request, |answer| !failed(answer));
        }
        let messages = loop {
            let sent = self.aws.sent.notified();
            // The very last messages come in a batch that is not full.
            let rest = self.ingest.done.load(Ordering::Relaxed) == self.allowed.load(Ordering::Relaxed);
            let messages = self.aws.receive(BATCH, rest);
            if !messages.is_empty() {
                break messages;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), sent).await;
        };
        let number = self.batches.fetch_add(1, Ordering::Relaxed);
        invocation(number, messages.len(), Duration::from_secs(65), &batch(number, messages))
    }

    fn receive(&self, request: &Request) -> Response {
        let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.requests += 1;
        received.ids.insert(id.to_owned());
        answer(200, &[("content-type", "text/plain".to_owned())], "ok")
    }

    /// Lets `events` more events be posted, and waits until they are delivered.
    async fn deliver(&self, events: usize) -> anyhow::Result<()> {
        let all = self.allowed.fetch_add(events, Ordering::Relaxed) + events;
        self.more.notify_waiters();
        let begun = Instant::now();
        while self.dispatch.done.load(Ordering::Relaxed) < all {
            let fault = self.aws.fault().or_else(|| self.ingest.fault()).or_else(|| self.dispatch.fault());
            if let Some(fault) = fault {
                bail!("{fault}");
            }
            ensure!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} the events are not delivered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Fails unless each event came to the receiver exactly once.
    fn check(&self) -> anyhow::Result<()> {
        let all = self.allowed.load(Ordering::Relaxed);
        let received = self.received.lock().ok().context("the receiver panicked")?;
        let (requests, events) = (received.requests, received.ids.len());
        ensure!(requests == all && events == all, "of {all} events, {events} came, in {requests} requests");
        Ok(())
    }
}
