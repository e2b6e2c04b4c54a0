//! The stacks that the tests run against, each started once in a process.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{Api, Emulator, EmulatorOptions, LocalOptions, LocalStack};
use pombo_domain::delivery::DeliveryKey;
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::logs;
use crate::proxy::Proxy;
use crate::scenario::unique;

/// A stack with the proxy between its functions and its emulator.
pub struct Stack {
    /// The stack.
    pub local: LocalStack,
    /// The proxy.
    pub proxy: Arc<Proxy>,
    secrets: Mutex<Vec<String>>,
}

/// Number of emulators for the stacks that belong to one test each: as many of these tests run at the same time.
const EMULATORS: usize = 4;
static FREE_EMULATORS: Semaphore = Semaphore::const_new(EMULATORS);

/// Emulators that wait for the next stack. Starting one, and bringing it the functions, costs more than a whole stack in it.
static IDLE: Mutex<Vec<(Arc<Emulator>, Arc<Proxy>)>> = Mutex::new(Vec::new());

thread_local! {
    /// The stacks of the test that runs on this thread.
    static OWN: RefCell<Vec<OwnStack>> = const { RefCell::new(Vec::new()) };
}

/// A stack that ends with its test.
struct OwnStack {
    stack: &'static Stack,
    /// A test's second stack has none: the test would wait for itself.
    _permit: Option<SemaphorePermit<'static>>,
}

impl OwnStack {
    /// Ends the functions' processes, deletes the stack, and leaves its emulator to the next test; not after a failure, which
    /// may be the emulator's.
    async fn end(self, has_failed: bool) {
        let local = &self.stack.local;
        let emulator = Arc::clone(local.emulator().expect("the stack has an emulator"));
        if has_failed {
            logs::forget(self.stack);
            emulator.stop();
            return;
        }
        logs::check(self.stack).await;
        let lambda = aws_sdk_lambda::Client::new(&local.sdk_config().await);
        for function in ["IngestFunction", "DispatchFunction", "JobsFunction", "ReplayFunction", "EndpointsFunction"] {
            // With the stack alone, the emulator would let the processes live on for five minutes.
            let _ = lambda.delete_function().function_name(self.stack.resource(function)).send().await;
        }
        match local.remove().await {
            Ok(()) => {
                self.stack.proxy.reset();
                IDLE.lock().unwrap().push((emulator, Arc::clone(&self.stack.proxy)));
            }
            Err(error) => {
                eprintln!("{error}: its emulator is stopped");
                emulator.stop();
            }
        }
    }
}

/// Ends the stacks of the test that has run on this thread.
pub(crate) async fn end_own_stacks(has_failed: bool) {
    for own in OWN.take() {
        own.end(has_failed).await;
    }
}

impl Stack {
    /// The stack that most tests share. They spoil calls about their own things only, and kill nothing.
    pub async fn calm() -> &'static Self {
        static CALM: OnceCell<Stack> = OnceCell::const_new();
        CALM.get_or_init(|| Self::start("calm", &[])).await
    }

    /// The stack of the tests that fill its tables: a list of the whole stack would be long on [`Stack::calm`].
    pub async fn filled() -> &'static Self {
        static FILLED: OnceCell<Stack> = OnceCell::const_new();
        FILLED.get_or_init(|| Self::start("filled", &[])).await
    }

    /// A stack of the test's own, since a killed function takes the deliveries of others with it. It ends with the test, whose
    /// thread must be the one that calls this. Waits while as many others run as there are emulators for.
    pub async fn own(name: &str, parameters: &[(&str, &str)]) -> &'static Self {
        let is_first = OWN.with_borrow(Vec::is_empty);
        let permit = if is_first { Some(FREE_EMULATORS.acquire().await.unwrap()) } else { None };
        let idle = IDLE.lock().unwrap().pop();
        let stack = Box::pin(Self::start_as_told(name, parameters, with_roles(LocalOptions::default()), idle)).await;
        let stack: &'static Self = Box::leak(Box::new(stack));
        OWN.with_borrow_mut(|own| own.push(OwnStack { stack, _permit: permit }));
        stack
    }

    /// Starts a stack whose time limits suit tests: a dead function's message comes again after 16 seconds, and jobs do not
    /// wait for indexes that the emulator keeps up to date anyway.
    pub async fn start(name: &str, parameters: &[(&str, &str)]) -> Self {
        Self::start_with(name, parameters, LocalOptions::default()).await
    }

    /// The same with more options: what they say of names and parameters is set here. `POMBO_ENFORCE_ROLES` lets every
    /// such stack enforce the functions' roles.
    pub async fn start_with(name: &str, parameters: &[(&str, &str)], options: LocalOptions) -> Self {
        Box::pin(Self::start_as_told(name, parameters, with_roles(options), None)).await
    }

    /// As [`Stack::start`], and roles are never enforced: for tests that lead calls to what no role knows.
    pub async fn start_without_roles(name: &str, parameters: &[(&str, &str)]) -> Self {
        Box::pin(Self::start_as_told(name, parameters, LocalOptions::default(), None)).await
    }

    /// Starts a stack in the emulator that is given with its proxy, or in a new one.
    async fn start_as_told(
        name: &str,
        parameters: &[(&str, &str)],
        options: LocalOptions,
        idle: Option<(Arc<Emulator>, Arc<Proxy>)>,
    ) -> Self {
        let quick = [
            ("MaxEndpointTimeoutSeconds", "3"),
            ("DispatchTimeoutSeconds", "15"),
            ("DeliveriesVisibilitySeconds", "16"),
            // First attempts go without a claim, because this is longer than a run of dispatch and the allowed difference
            // between clocks.
            ("FirstAttemptWindowSeconds", "25"),
            ("SettleSeconds", "2"),
            ("SweepMinutes", "60"),
            // Receivers are all on one host here.
            ("MaxEndpointsPerTenant", "10000"),
            ("MaxEndpointsPerHost", "1000"),
            // No circuit opens where a test is about something else.
            ("CircuitSeconds", "3600"),
        ];
        let options = LocalOptions {
            name: unique(name),
            parameters: quick.iter().chain(parameters).map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..options
        };
        let (emulator, proxy) = match idle {
            Some(idle) => idle,
            None => start_emulator(&options).await,
        };
        let local = LocalStack::start_in(&emulator, options).await.unwrap();
        Self::of(local, proxy)
    }

    /// A stack that runs already.
    #[must_use]
    pub fn of(local: LocalStack, proxy: Arc<Proxy>) -> Self {
        let secrets = [&local.keys.admin, &local.keys.ops, &local.keys.ingest].map(Clone::clone).to_vec();
        let stack = Self { local, proxy, secrets: Mutex::new(secrets) };
        logs::remember(&stack);
        stack
    }

    /// Remembers a secret that a test made: no log may have it.
    pub fn keep_secret(&self, secret: impl Into<String>) {
        self.secrets.lock().unwrap().push(secret.into());
    }

    /// The secrets that were made on this stack.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap().clone()
    }

    /// The physical id of one of the template's resources.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> &str {
        self.local.resource(logical_id).unwrap()
    }

    /// Posts an event; gives the answer to it.
    pub async fn post(&self, event: &Value) -> Value {
        let (status, answer) = self.local.ingest().post("/v1/events", event).await.unwrap();
        assert_eq!(status, 202, "{answer}");
        answer
    }

    /// An API with a key of these scopes, bound to a tenant if one is given.
    pub async fn key(&self, scopes: &[&str], tenant: Option<&str>) -> String {
        let wanted = json!({"name": "test", "scopes": scopes, "tenant": tenant});
        let (status, answer) = self.local.endpoints().post("/v1/keys", &wanted).await.unwrap();
        assert_eq!(status, 201, "{answer}");
        let key = answer["key"].as_str().unwrap();
        self.keep_secret(key);
        key.to_owned()
    }

    /// Everything about an event.
    pub async fn event(&self, tenant: &str, id: &str) -> Value {
        let (status, event) = self.local.replay().get(&format!("/v1/events/{id}?tenant={tenant}")).await.unwrap();
        assert_eq!(status, 200, "{event}");
        event
    }

    /// The only delivery of an event.
    pub async fn delivery(&self, tenant: &str, id: &str) -> Value {
        let event = self.event(tenant, id).await;
        let deliveries = event["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 1, "{event}");
        deliveries[0].clone()
    }

    /// Sends a message to a queue, as if a function had.
    pub async fn send(&self, queue: &str, body: &str) {
        let client = aws_sdk_sqs::Client::new(&self.local.sdk_config().await);
        client.send_message().queue_url(self.resource(queue)).message_body(body).send().await.unwrap();
    }

    /// Brings the time of a delivery's next attempt forward to now, so that a test need not wait for minutes. Does nothing if
    /// the delivery has no next attempt.
    pub async fn make_due(&self, delivery: &DeliveryKey) {
        let now = pombo_aws::clock::now();
        let client = aws_sdk_dynamodb::Client::new(&self.local.sdk_config().await);
        let update = client
            .update_item()
            .table_name(self.resource("DeliveriesTable"))
            .key("endpoint_id", AttributeValue::S(delivery.endpoint_id.to_string()))
            .key("sort_key", AttributeValue::S(delivery.sort_key()))
            .condition_expression("attribute_exists(#next)")
            .update_expression("SET #next.#at = :ms, due_at = :ms")
            .expression_attribute_names("#next", "n")
            .expression_attribute_names("#at", "t")
            .expression_attribute_values(":ms", AttributeValue::N(now.as_millis().to_string()));
        if let Err(error) = update.send().await {
            let has_none = error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception());
            assert!(has_none, "{error:?}");
        }
    }

    /// Brings the plain message of a delivery's next attempt at once, as its timer would when the attempt is due.
    pub async fn bring_due(&self, delivery: &DeliveryKey, round: u32, attempt: u32) {
        self.make_due(delivery).await;
        let message = json!({"v": 1, "delivery": delivery, "round": round, "attempt": attempt});
        self.send("DeliveriesQueue", &message.to_string()).await;
    }

    /// How many messages a queue holds, waiting and being handled.
    pub async fn queue_length(&self, queue: &str) -> u64 {
        self.count(queue, &["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]).await
    }

    /// How many messages of a queue wait for their delay to end.
    pub async fn delayed(&self, queue: &str) -> u64 {
        self.count(queue, &["ApproximateNumberOfMessagesDelayed"]).await
    }

    async fn count(&self, queue: &str, names: &[&str]) -> u64 {
        use aws_sdk_sqs::types::QueueAttributeName::All;
        let client = aws_sdk_sqs::Client::new(&self.local.sdk_config().await);
        let answer =
            client.get_queue_attributes().queue_url(self.resource(queue)).attribute_names(All).send().await.unwrap();
        let counts = answer.attributes.unwrap_or_default();
        names.iter().filter_map(|name| counts.get(&(*name).into())?.parse::<u64>().ok()).sum()
    }

    /// An API of the stack under another key.
    #[must_use]
    pub fn api(url: &str, key: &str) -> Api {
        Api::new(url, key)
    }
}

/// The options, with the functions' roles enforced if `POMBO_ENFORCE_ROLES` asks for that.
fn with_roles(options: LocalOptions) -> LocalOptions {
    let enforce_iam = options.enforce_iam || std::env::var_os("POMBO_ENFORCE_ROLES").is_some();
    LocalOptions { enforce_iam, ..options }
}

/// Starts an emulator with a proxy between it and the functions.
async fn start_emulator(options: &LocalOptions) -> (Arc<Emulator>, Arc<Proxy>) {
    let proxy = Arc::new(Proxy::start());
    let emulator = EmulatorOptions {
        name: options.name.clone(),
        port: 0,
        functions_endpoint: Some(proxy.url()),
        enforce_iam: options.enforce_iam,
        keep_data: false,
        environment: options.environment.clone(),
    };
    let emulator = Emulator::start(emulator, options.progress).await.unwrap();
    proxy.set_target(emulator.url());
    (Arc::new(emulator), proxy)
}
