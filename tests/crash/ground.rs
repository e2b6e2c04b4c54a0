//! Stacks whose functions announce every point, and die at the one that they are told to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use local::{Emulator, EmulatorOptions, LocalOptions, LocalStack, Progress};
use pombo_aws::clock;
use pombo_aws::deliveries::DeliveriesTable;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::events::EventsTable;
use pombo_aws::health::HealthTable;
use pombo_aws::jobs::JobsTable;
use pombo_aws::rate_limit::RateLimits;
use pombo_aws::routing::RoutingTable;
use pombo_domain::delivery::DeliveryKey;
use pombo_domain::job::JobKey;
use pombo_domain::message::JobMessage;
use pombo_tests::{Fault, Proxy, SOON, Stack, eventually, unique};
use serde_json::json;

use crate::point::Point;

/// Time limits of seconds, so that a dead function's message comes again soon: after eleven seconds for a delivery, nine for
/// a job. A dispatch invocation of ten seconds leaves two seconds for an attempt. A first attempt goes without a claim if it
/// begins within three seconds after its event was accepted: five seconds of the window allow for clocks that differ.
const QUICK: [(&str, &str); 14] = [
    ("MaxEndpointTimeoutSeconds", "2"),
    ("DispatchTimeoutSeconds", "10"),
    ("DeliveriesVisibilitySeconds", "11"),
    ("FirstAttemptWindowSeconds", "18"),
    ("JobsTimeoutSeconds", "8"),
    ("JobsVisibilitySeconds", "9"),
    ("SettleSeconds", "1"),
    ("SweepMinutes", "288"),
    ("OverdueSeconds", "2"),
    ("CircuitFailures", "8"),
    ("CircuitSeconds", "2"),
    ("ProbeSeconds", "1"),
    // Events are counted, and a second replay looks whether the first has ended.
    ("KeyEventsPerSecond", "1000"),
    ("MaxRunningReplays", "1"),
];

/// A stack on which one scenario runs at a time, so that whatever its functions announce belongs to that.
pub struct Ground {
    /// The stack.
    pub stack: Stack,
    /// The records.
    pub deliveries: DeliveriesTable,
    /// The endpoints.
    pub endpoints: EndpointsTable,
    /// What is known of their health.
    pub health: HealthTable,
    /// The slots of their rate limits.
    pub rate_limits: RateLimits,
    /// The routing records.
    pub routing: RoutingTable,
    /// The events.
    pub events: EventsTable,
    /// The jobs.
    pub jobs: JobsTable,
    /// The queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The schedules.
    pub scheduler: aws_sdk_scheduler::Client,
    watch: Arc<Watch>,
}

/// What a stack's functions have announced, and where one of them shall die.
#[derive(Default)]
struct Watch {
    stack: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reached: Vec<Point>,
    armed: Option<String>,
}

impl Watch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process that announces the point dies there.
    fn judge(&self, point: Point) -> bool {
        let mut state = self.state();
        let dies = state.armed.as_ref() == Some(&point.name);
        if dies {
            state.armed = None;
        }
        state.reached.push(point);
        dies
    }
}

impl Ground {
    /// Starts so many stacks in one emulator.
    pub async fn start(count: usize) -> Vec<Self> {
        let proxy = Arc::new(Proxy::start());
        let functions_endpoint = Some(proxy.url());
        let options = EmulatorOptions { name: unique("crash"), functions_endpoint, ..EmulatorOptions::default() };
        let emulator = Arc::new(Emulator::start(options, Progress::Quiet).await.unwrap());
        proxy.set_target(emulator.url());
        let watches: Vec<_> = (0..count).map(|_| Arc::new(Watch { stack: unique("c"), ..Watch::default() })).collect();
        let judges = watches.clone();
        proxy.judge(move |text| {
            let (lambda, point) = Point::read(text);
            let judge = judges.iter().find(|watch| lambda.starts_with(&format!("{}-", watch.stack)));
            judge.is_some_and(|watch| watch.judge(point))
        });
        // Dead letters that a sweep has read are hidden for a minute. A sweep here is over long before that.
        proxy.spoil(|call| (call.operation == "ReceiveMessage").then_some(Fault::HideFor(9)));
        let mut grounds = Vec::new();
        for watch in watches {
            let ground = Self::deploy(&emulator, &proxy, watch).await;
            ground.warm_up().await;
            grounds.push(ground);
        }
        grounds
    }

    async fn deploy(emulator: &Arc<Emulator>, proxy: &Arc<Proxy>, watch: Arc<Watch>) -> Self {
        let options = LocalOptions {
            name: watch.stack.clone(),
            parameters: QUICK.map(|(name, value)| (name.into(), value.into())).to_vec(),
            crash_points: true,
            ..LocalOptions::default()
        };
        let local = LocalStack::start_in(emulator, options).await.unwrap();
        let stack = Stack::of(local, Arc::clone(proxy));
        let config = stack.local.sdk_config().await;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let table = |name: &str| stack.resource(name).to_owned();
        Self {
            deliveries: DeliveriesTable::new(dynamodb.clone(), table("DeliveriesTable")),
            endpoints: EndpointsTable::new(dynamodb.clone(), table("EndpointsTable")),
            health: HealthTable::new(dynamodb.clone(), table("EndpointsTable")),
            rate_limits: RateLimits::new(dynamodb.clone(), table("EndpointsTable")),
            routing: RoutingTable::new(dynamodb.clone(), table("RoutingTable")),
            events: EventsTable::new(dynamodb.clone(), table("EventsTable")),
            jobs: JobsTable::new(dynamodb, table("JobsTable")),
            sqs: aws_sdk_sqs::Client::new(&config),
            scheduler: aws_sdk_scheduler::Client::new(&config),
            stack,
            watch,
        }
    }

    /// Lets each function begin and announce something. The first announcement of a process reads its line table, which takes
    /// so long on a busy machine that an attempt would time out: all the scenarios begin at one time.
    async fn warm_up(&self) {
        let local = &self.stack.local;
        let event = json!({"type": "a", "tenant": "warm", "id": "warm", "data": {}});
        eventually("answers of all functions", SOON, || async {
            let (accepted, _) = local.ingest().post("/v1/events", &event).await.ok()?;
            let (looked, _) = local.endpoints().get("/v1/endpoints?tenant=warm").await.ok()?;
            let (listed, _) = local.replay().get("/v1/events?tenant=warm").await.ok()?;
            [accepted, looked, listed].iter().all(|status| *status < 300).then_some(())
        })
        .await;
        let delivery = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: clock::now(),
            event_id: "warm".parse().unwrap(),
        };
        let message = json!({"v": 1, "delivery": delivery, "round": 0, "attempt": 2}).to_string();
        let queue = self.stack.resource("DeliveriesQueue");
        self.sqs.send_message().queue_url(queue).message_body(message).send().await.unwrap();
        let job = JobKey::generate(None, clock::now(), [1; 10]);
        let message = JobMessage::leg(job.to_string(), 1).to_json();
        let queue = self.stack.resource("JobsQueue");
        self.sqs.send_message().queue_url(queue).message_body(message).send().await.unwrap();
        self.until_quiet().await;
    }

    /// One function that reaches the point will die there. What was reached before is forgotten.
    pub fn arm(&self, point: Option<&Point>) {
        *self.watch.state() = State { reached: Vec::new(), armed: point.map(|point| point.name.clone()) };
    }

    /// Whether a function was to die, and none has reached the point.
    pub fn is_armed(&self) -> bool {
        self.watch.state().armed.is_some()
    }

    /// The points that were reached.
    pub fn reached(&self) -> Vec<Point> {
        self.watch.state().reached.clone()
    }

    /// Whether a point was reached where the one of these calls makes the other.
    pub fn has_reached(&self, outer: &str, inner: &str) -> bool {
        self.watch.state().reached.iter().any(|point| point.is_where(outer, inner))
    }

    /// How many messages a queue holds, in whatever state.
    async fn length(&self, queue: &str) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName::All;
        let request = self.sqs.get_queue_attributes().queue_url(self.stack.resource(queue)).attribute_names(All);
        let counts = request.send().await.unwrap().attributes.unwrap_or_default();
        let names = ["", "NotVisible", "Delayed"].map(|state| format!("ApproximateNumberOfMessages{state}"));
        names.iter().filter_map(|name| counts.get(&name.as_str().into())?.parse::<u64>().ok()).sum()
    }

    /// Whether no message of either queue is on its way. One that is handled may leave another on the other queue, which is
    /// why the first is asked twice.
    pub async fn is_quiet(&self) -> bool {
        for queue in ["JobsQueue", "DeliveriesQueue", "JobsQueue"] {
            if self.length(queue).await > 0 {
                return false;
            }
        }
        true
    }

    /// Waits until no message of either queue is on its way.
    pub async fn until_quiet(&self) {
        eventually("empty queues", Duration::from_secs(60), || async {
            let is_quiet = self.is_quiet().await;
            if !is_quiet {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            is_quiet.then_some(())
        })
        .await;
    }

    /// Takes away what would run on into the next scenario.
    pub async fn clear(&self) {
        let group = self.stack.resource("ScheduleGroup").to_owned();
        let left = self.scheduler.list_schedules().group_name(&group).send().await.unwrap();
        for schedule in left.schedules {
            let name = schedule.name.unwrap_or_default();
            let _ = self.scheduler.delete_schedule().group_name(&group).name(name).send().await;
        }
        for queue in ["DeliveriesDeadLetterQueue", "JobsDeadLetterQueue", "DeliveriesQueue", "JobsQueue"] {
            let _ = self.sqs.purge_queue().queue_url(self.stack.resource(queue)).send().await;
        }
    }
}
