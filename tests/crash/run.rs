//! One run of a scenario: undisturbed, or with the death of a function at one point.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use local::{Answer, Api, Receiver, Signature};
use pombo_aws::clock;
use pombo_aws::deliveries::{List, Put, Window};
use pombo_aws::jobs::PutJob;
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::ids::{EndpointId, TenantId};
use pombo_domain::job::{Job, JobStatus};
use pombo_domain::outcome::Outcome;
use pombo_domain::retry::Next;
use pombo_tests::{eventually, unique};
use serde_json::{Value, json};

use crate::ground::Ground;
use crate::point::Point;

/// A death costs ten seconds, and the sweep may have to look for what it left.
const SOON: Duration = Duration::from_secs(90);

/// How long it is until somebody looks again. Twenty runs at a time look, and what they look at is the emulator's work, too.
const OFTEN: Duration = Duration::from_millis(300);

/// The delay, in seconds, of a retry that comes when hours pass.
pub const HOURS: u64 = 10_000;
/// The delay, in seconds, of a retry that does not come then either, nor during a later run on the same stack.
pub const LONG: u64 = 36_000;

/// A run, with a tenant and a receiver of its own.
pub struct Run<'a> {
    /// Where it runs.
    pub ground: &'a Ground,
    /// Whose things these are.
    pub tenant: String,
    /// Where the requests go.
    pub receiver: Receiver,
    /// Where a function dies.
    pub death: Option<Point>,
    /// How many requests may have gone out twice because an idle connection broke.
    pub second_tries: AtomicUsize,
    /// How many requests of the same batch may be under way where a process dies at something else.
    beside: AtomicUsize,
    /// Whether an outcome is queued, since its record cannot be written.
    queues_outcome: AtomicBool,
    answers: Arc<Answers>,
    endpoints: Mutex<BTreeMap<String, EndpointId>>,
}

/// What the receiver answers to an event that it sees for the first time, and after that.
struct Answers {
    first: AtomicU16,
    later: AtomicU16,
    delay: AtomicU64,
}

impl<'a> Run<'a> {
    /// About to begin.
    pub fn new(ground: &'a Ground, death: Option<Point>) -> Self {
        let answers =
            Arc::new(Answers { first: AtomicU16::new(200), later: AtomicU16::new(200), delay: AtomicU64::new(0) });
        let answering = Arc::clone(&answers);
        let receiver = Receiver::start_with(move |received| {
            if received.path == "/news" {
                return Answer::status(200);
            }
            let status = if received.times == 1 { &answering.first } else { &answering.later };
            // Status 0 hangs up.
            match status.load(Ordering::SeqCst) {
                0 => Answer::hang_up(),
                status => Answer::status(status).after(Duration::from_millis(answering.delay.load(Ordering::SeqCst))),
            }
        })
        .unwrap();
        Self {
            ground,
            tenant: unique("t"),
            receiver,
            death,
            second_tries: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            queues_outcome: AtomicBool::new(false),
            answers,
            endpoints: Mutex::default(),
        }
    }

    /// What the receiver answers from now on: to an event that is new to it, and to one that is not.
    pub fn answers(&self, first: u16, later: u16) {
        self.answers.first.store(first, Ordering::SeqCst);
        self.answers.later.store(later, Ordering::SeqCst);
    }

    /// How long the receiver takes from now on.
    pub fn answers_after(&self, delay: Duration) {
        self.answers.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// So many deliveries may be under way in one process, which takes them all along when it dies.
    pub fn are_together(&self, deliveries: usize) {
        self.beside.fetch_max(deliveries.saturating_sub(1), Ordering::SeqCst);
    }

    /// An outcome is queued, since its record cannot be written. Another message of the delivery may come before it, and makes
    /// the request again.
    pub fn queues_outcome(&self) {
        self.queues_outcome.store(true, Ordering::SeqCst);
    }

    /// Calls an API as a caller does who must be sure: again, until there is an answer to go by.
    pub async fn call(&self, api: &Api, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = (!body.is_null()).then_some(&body);
        eventually(path, SOON, || async {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let answered = api.call(method, path, body).await.ok().filter(|(status, _)| *status < 500);
            if answered.is_none() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answered
        })
        .await
    }

    /// A call of the endpoints API that succeeds. Whoever repeats a deletion that went through is told that there is no such
    /// thing any more.
    pub async fn endpoints(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(&self.ground.stack.local.endpoints(), method, path, body).await;
        let is_repeat = method == "DELETE" && status == 404 && self.death.is_some();
        assert!(status < 300 || is_repeat, "{method} {path}: {status} {answer}");
        answer
    }

    /// A call of the replay API that succeeds.
    pub async fn replay(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(&self.ground.stack.local.replay(), method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// Registers an endpoint of the tenant at a path of the receiver.
    pub async fn endpoint(&self, path: &str, options: Value) -> EndpointId {
        let tenant = self.tenant.clone();
        self.endpoint_of(&tenant, path, options).await
    }

    /// The same, of any tenant.
    pub async fn endpoint_of(&self, tenant: &str, path: &str, options: Value) -> EndpointId {
        let mut wanted = json!({"tenant": tenant, "url": self.receiver.url(path), "event_types": ["*"]});
        for (name, value) in options.as_object().unwrap() {
            wanted[name] = value.clone();
        }
        let made = self.endpoints("POST", "/v1/endpoints", wanted).await;
        let id: EndpointId = made["id"].as_str().unwrap().parse().unwrap();
        self.receiver.expect_secret(path, made["secret"].as_str().unwrap());
        self.endpoints.lock().unwrap().insert(path.to_owned(), id.clone());
        id
    }

    /// Posts an event under an id, again until it is accepted; gives its delivery to an endpoint.
    pub async fn post(&self, id: &str, endpoint: &EndpointId) -> DeliveryKey {
        let event = json!({"type": "student.created", "tenant": self.tenant, "id": id, "data": {"n": 1}});
        let (status, accepted) = self.call(&self.ground.stack.local.ingest(), "POST", "/v1/events", event).await;
        assert_eq!(status, 202, "{accepted}");
        DeliveryKey {
            endpoint_id: endpoint.clone(),
            accepted_at: accepted["accepted_at"].as_str().unwrap().parse().unwrap(),
            event_id: id.parse().unwrap(),
        }
    }

    /// Posts an event whose first attempt fails, however often a death repeats it, and waits until it is to be retried. What
    /// is tried from then on succeeds.
    pub async fn post_to_retry(&self, id: &str, endpoint: &EndpointId) -> DeliveryKey {
        self.answers(500, 500);
        let key = self.post(id, endpoint).await;
        assert!(self.until(&key, Status::Retrying).await.next.is_some());
        self.answers(200, 200);
        key
    }

    /// The record as it is.
    pub async fn record(&self, key: &DeliveryKey) -> Option<Record> {
        self.ground.deliveries.get(key).await.unwrap()
    }

    /// Waits until a delivery has a status.
    pub async fn until(&self, key: &DeliveryKey, status: Status) -> Record {
        self.until_it(&format!("{} {status:?}", key.event_id), || async {
            self.record(key).await.filter(|record| record.status == status)
        })
        .await
    }

    /// Waits for something. After a death the system goes on as it does over hours: what would be overdue by then is, and
    /// the sweep comes.
    pub async fn until_it<T, F: Future<Output = Option<T>>>(&self, what: &str, ask: impl Fn() -> F) -> T {
        let started = Instant::now();
        loop {
            // Before it is asked: it may be asked for the quiet that the sweep would end.
            let is_quiet = self.death.is_some() && !self.ground.is_armed() && self.ground.is_quiet().await;
            if let Some(answer) = ask().await {
                return answer;
            }
            if started.elapsed() > SOON {
                let death = self.death.as_ref().map_or("undisturbed", |point| &point.name);
                panic!(
                    "after {SOON:?} still not: {what}\n{death}\n{:#?}\n{:#?}",
                    self.records().await,
                    self.jobs().await
                );
            }
            if is_quiet {
                self.pass_hours().await;
            } else {
                tokio::time::sleep(OFTEN).await;
            }
        }
    }

    /// Makes overdue what waits for a time that is hours away, as what a sweep could not queue, and sweeps.
    async fn pass_hours(&self) {
        let now = clock::now();
        let hours = now.plus(Duration::from_secs(1800))..now.plus(Duration::from_secs(HOURS.midpoint(LONG)));
        for record in self.records().await {
            if record.next.is_some_and(|next| hours.contains(&next.at)) {
                self.make_overdue(record).await;
            }
        }
        for job in self.jobs().await.into_iter().filter(|job| job.status == JobStatus::Running) {
            let due = clock::now().minus(Duration::from_secs(60));
            let _: Result<PutJob, _> = self.ground.jobs.put(Some(job.rev), Job { due, ..job }, "hours").await;
        }
        self.sweep().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Makes a delivery's next attempt overdue; gives whether it still waited for that.
    pub async fn make_overdue(&self, record: Record) -> bool {
        let Some(next) = record.next.filter(|_| record.status == Status::Retrying) else { return false };
        let overdue = Next { at: clock::now().minus(Duration::from_secs(60)), ..next };
        let written =
            self.ground.deliveries.put(Some(record.rev), Record { next: Some(overdue), ..record }, "hours").await;
        matches!(written, Ok(Put::Stored(_)))
    }

    /// Asks for a sweep.
    pub async fn sweep(&self) {
        self.send("JobsQueue", json!({"v": 1, "sweep": true})).await;
    }

    /// Puts a message on a queue, as if a function or Scheduler had.
    pub async fn send(&self, queue: &str, message: Value) {
        let url = self.ground.stack.resource(queue);
        self.ground.sqs.send_message().queue_url(url).message_body(message.to_string()).send().await.unwrap();
    }

    /// The same twice in one call, so that both can be received at the same moment.
    pub async fn send_twice(&self, queue: &str, message: &Value) {
        let entry = |id: &str| {
            let entry = SendMessageBatchRequestEntry::builder().id(id).message_body(message.to_string());
            entry.build().unwrap()
        };
        let url = self.ground.stack.resource(queue);
        let batch = self.ground.sqs.send_message_batch().queue_url(url).entries(entry("a")).entries(entry("b"));
        assert_eq!(batch.send().await.unwrap().failed(), []);
    }

    /// Every job of the tenant.
    pub async fn jobs(&self) -> Vec<Job> {
        let (keys, _) = self.ground.jobs.list(Some(&self.tenant), None, 100).await.unwrap();
        self.ground.jobs.get_many(&keys).await.unwrap()
    }

    /// Waits until so many jobs of the tenant have ended.
    pub async fn until_jobs_end(&self, count: usize) -> Vec<Job> {
        self.until_it("the end of the jobs", || async {
            let jobs = self.jobs().await;
            let ended = jobs.len() >= count && jobs.iter().all(|job| job.status != JobStatus::Running);
            ended.then_some(jobs)
        })
        .await
    }

    /// Deletes the endpoints: those that a run which failed has left would get the news of the next.
    pub async fn leave(&self) {
        let endpoints: Vec<_> = self.endpoints.lock().unwrap().values().cloned().collect();
        for endpoint in endpoints {
            let _ = self.ground.stack.local.endpoints().delete(&format!("/v1/endpoints/{endpoint}")).await;
        }
    }

    /// The record of every delivery that has one.
    async fn records(&self) -> Vec<Record> {
        let endpoints: Vec<_> = self.endpoints.lock().unwrap().values().cloned().collect();
        let mut records = Vec::new();
        for endpoint in endpoints {
            let keys = self.ground.deliveries.list(&List::OfEndpoint(endpoint), &Window::newest(100)).await.unwrap();
            for key in keys {
                records.push(self.record(&key).await.unwrap());
            }
        }
        records
    }

    /// Fails unless each endpoint and its route are of one change.
    pub async fn assert_whole(&self) {
        let tenant: TenantId = self.tenant.parse().unwrap();
        let routing = self.ground.routing.get(&tenant).await.unwrap();
        let ids: Vec<_> = self.endpoints.lock().unwrap().values().cloned().collect();
        let routed = routing.routes.iter().map(|route| route.endpoint_id.clone());
        let all: std::collections::BTreeSet<_> = ids.into_iter().chain(routed).collect();
        for id in all {
            let Some(endpoint) = self.ground.endpoints.get(&id).await.unwrap() else {
                assert_eq!(routing.version_of(&id), None, "a route without an endpoint");
                continue;
            };
            if endpoint.tenant != tenant {
                continue;
            }
            let route = routing.routes.iter().find(|route| route.endpoint_id == id);
            let expected = Some(endpoint.route()).filter(|_| endpoint.expires_at.is_none());
            assert_eq!(route, expected.as_ref(), "half a change");
        }
    }

    /// Fails unless the receiver got what the records say: one request for each attempt, and one more only where a process
    /// died between the request and its record; then an attempt says so, or a claim. The others of its batch died with it.
    pub async fn assert_books(&self) {
        self.ground.until_quiet().await;
        let paths: BTreeMap<_, _> =
            self.endpoints.lock().unwrap().iter().map(|(path, id)| (id.clone(), path.clone())).collect();
        let mut came = BTreeMap::<_, usize>::new();
        for received in self.receiver.received() {
            assert_eq!(received.signature, Signature::Verified, "{received:?}");
            *came.entry((received.path.clone(), received.event_id().to_owned())).or_default() += 1;
        }
        let second_tries = self.second_tries.load(Ordering::SeqCst);
        let (mut repeats, mut told) = (0, 0);
        for record in self.records().await {
            let key = &record.key;
            let attempts = record.attempts.iter().filter(|attempt| was_sent(&attempt.outcome)).count();
            let requests =
                came.remove(&(paths[&key.endpoint_id].clone(), key.event_id.to_string())).unwrap_or_default();
            let most = attempts + 1 + second_tries;
            assert!((attempts..=most).contains(&requests), "{record:?}: {requests} requests");
            // The claim of a process stays in a settled record if another's outcome was recorded while it made its request.
            let tells_by_its_claim = record.claim.is_some() && record.status.is_settled();
            assert!(!tells_by_its_claim || requests > attempts, "{record:?}: {requests} requests");
            repeats += requests - attempts;
            told += record.attempts.iter().filter(|attempt| attempt.redelivered).count();
            told += usize::from(tells_by_its_claim);
            // Cancelled, it has no further attempt that could say so.
            told += usize::from(record.status == Status::Cancelled && requests > attempts);
        }
        assert_eq!(came, BTreeMap::new(), "requests that no record tells of");
        // A run that was led around its point is one without a death.
        let death = self.death.as_ref().filter(|_| !self.ground.is_armed());
        let (least, most) = death.map_or((0, 0), repeats_after);
        let queues_outcome = death.is_some() && self.queues_outcome.load(Ordering::SeqCst);
        let most = most.max(usize::from(queues_outcome));
        let in_dispatch = death.is_some_and(|point| point.is_in("dispatch::handle"));
        let beside = if in_dispatch { self.beside.load(Ordering::SeqCst) } else { 0 };
        let most = most + second_tries + beside;
        assert!((least..=most).contains(&repeats), "{repeats} requests more than attempts, not {least} to {most}");
        assert!(
            told + second_tries >= repeats,
            "{repeats} requests more than attempts, and {told} attempts that say so"
        );
        let breaks_off = death.is_some_and(|point| point.is_in("deliver::attempt_delivery"));
        // A second try may be a request that the receiver had before.
        let breaks_off = breaks_off || beside > 0 || queues_outcome || second_tries > 0;
        // If an event is posted again or a delivery replayed, nobody can tell whether it was sent before.
        let is_unsure = death.is_some_and(|point| point.name.starts_with("ingest:"));
        assert!(
            told == 0 || breaks_off || is_unsure,
            "attempts say that they are redelivered, and no attempt was broken off"
        );
    }
}

/// Whether an attempt with this outcome made a request.
fn was_sent(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Expired | Outcome::DeadLettered | Outcome::Refused { .. })
}

/// How many requests a death at this point repeats, by the design's table: those whose answer was there, and whose outcome
/// was not yet recorded.
fn repeats_after(point: &Point) -> (usize, usize) {
    if point.effect == "http:POST endpoint" {
        return if point.after { (1, 1) } else { (0, 0) };
    }
    let is_recorded = point.is_in("operations::announce_counted");
    if !point.is_in("deliver::attempt_delivery") || !point.is_in("deliver::settle") || is_recorded {
        return (0, 0);
    }
    let writes = point.effect.ends_with(" Deliveries") && !point.effect.contains(":Get");
    if point.is_in("protocol::record") {
        return if point.after && writes { (0, 0) } else { (1, 1) };
    }
    // The outcome is queued in the place of the message: then whichever of the two comes first.
    match (point.is_in("protocol::ensure_next"), point.after) {
        (true, _) => (0, 0),
        (false, false) => (1, 1),
        (false, true) => (0, 1),
    }
}
