//! The proxy between the functions and what stands for AWS.
//!
//! A call that is to be spoilt goes through microburst, which comes back here to have it carried out, if that is part of
//! the fault. Beside the faults the proxy does what the emulator never does: messages and schedules that come twice, late
//! or out of order, and schedules that never fire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pombo_aws::clock;
use pombo_tests::stop_process_of;
use serde_json::{Value, json};

use crate::call::Call;
use crate::dice::Dice;
use crate::weather::{Fate, Fault, Service, Weather};
use crate::witness::Witness;

/// The word for microburst; a call that has it comes from there.
const WORD: &str = "x-storm";

/// Where calls go.
pub struct Targets {
    pub emulator: String,
    pub tables: String,
    pub microburst: String,
}

/// What happened, counted.
pub type Counts = BTreeMap<String, usize>;

/// See the module.
pub struct Proxy {
    address: SocketAddr,
    dice: Arc<Dice>,
    weather: Mutex<Arc<Weather>>,
    targets: OnceLock<Targets>,
    client: reqwest::Client,
    /// For microburst, which breaks connections: none is used twice, so that each fault is the one that was asked for.
    fresh: reqwest::Client,
    /// The tables that are there already.
    copied: tokio::sync::Mutex<BTreeSet<String>>,
    counts: Mutex<Counts>,
    pub witness: Witness,
}

/// The connection is reset instead of an answer.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken by the storm")
    }
}

impl std::error::Error for Broken {}

type Answer = Result<Response<Bytes>, Broken>;

impl Proxy {
    /// Without targets yet, in calm weather. It runs on a thread of its own until the process ends.
    pub fn start(dice: &Arc<Dice>) -> Arc<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let proxy = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            dice: Arc::clone(dice),
            weather: Mutex::default(),
            targets: OnceLock::new(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            fresh: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
            copied: tokio::sync::Mutex::default(),
            counts: Mutex::default(),
            witness: Witness::default(),
        });
        let serving = Arc::clone(&proxy);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, serving));
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_targets(&self, targets: Targets) {
        assert!(self.targets.set(targets).is_ok(), "the targets are known already");
    }

    pub fn set_weather(&self, weather: Weather) {
        *self.weather.lock().unwrap() = Arc::new(weather);
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap().clone()
    }

    fn count(&self, what: impl Into<String>) {
        *self.counts.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    fn targets(&self) -> &Targets {
        self.targets.get().expect("the targets are not known yet")
    }

    async fn handle(self: Arc<Self>, peer: SocketAddr, head: Parts, body: Bytes) -> Answer {
        let call = Call::read(&head, &body);
        if head.headers.contains_key(WORD) {
            return self.carry_out(&call, &head, body).await;
        }
        self.witness.came(peer.port(), &call.operation, &call.body);
        let weather = Arc::clone(&self.weather.lock().unwrap());
        match weather.fate(&self.dice, call.service, &call.operation, &call.subject) {
            Fate::Passes => self.carry_out(&call, &head, body).await,
            Fate::Spoilt(fault) => {
                self.count(format!("fault: {:?} {}", call.service, fault.word()));
                self.witness.was_spoilt(&call.operation, &call.body);
                self.spoil(fault, &call, &head, body).await
            }
            Fate::Kills { carried_out } => {
                if carried_out {
                    let _ = self.carry_out(&call, &head, body).await;
                }
                self.kill(peer, &call);
                Err(Broken)
            }
        }
    }

    async fn spoil(self: &Arc<Self>, fault: Fault, call: &Call, head: &Parts, body: Bytes) -> Answer {
        if fault == Fault::Entries {
            let places = call.body["Entries"].as_array().map_or(0, Vec::len);
            let refused: Vec<_> = (0..places).filter(|place| place % 2 == 0).collect();
            return self.refuse_entries(&refused, call, head).await;
        }
        let mut head = head.clone();
        head.headers.insert(WORD, fault.word().parse().unwrap());
        self.forward(&self.targets().microburst, &head, body).await
    }

    async fn refuse_entries(self: &Arc<Self>, places: &[usize], call: &Call, head: &Parts) -> Answer {
        let mut body = call.body.clone();
        let entries = body["Entries"].as_array().cloned().unwrap_or_default();
        let (refused, sent): (Vec<_>, Vec<_>) =
            entries.into_iter().enumerate().partition(|(place, _)| places.contains(place));
        body["Entries"] = sent.iter().map(|(_, entry)| entry.clone()).collect();
        let mut answer = if sent.is_empty() {
            json!({})
        } else {
            let call =
                Call { body: body.clone(), operation: call.operation.clone(), subject: call.subject.clone(), ..*call };
            let answer = self.carry_out(&call, head, body.to_string().into()).await?;
            serde_json::from_slice(answer.body()).unwrap_or_default()
        };
        let failed =
            refused.iter().map(|(_, entry)| json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}));
        answer["Failed"] = failed.collect();
        if !answer["Successful"].is_array() {
            answer["Successful"] = json!([]);
        }
        Ok(json_answer(&answer))
    }

    fn kill(&self, peer: SocketAddr, call: &Call) {
        // Who is gone already was killed for another of its calls.
        let Some(stopped) = stop_process_of(peer, self.address) else { return };
        let process = stopped.process;
        self.witness.was_killed(stopped);
        self.count(format!("kill: {:?} {}", call.service, call.operation));
        let status = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
        assert!(status.is_ok(), "the process {process} could not be killed");
    }

    /// Has a call carried out, with what may happen on the way of a message.
    async fn carry_out(self: &Arc<Self>, call: &Call, head: &Parts, body: Bytes) -> Answer {
        let weather = Arc::clone(&self.weather.lock().unwrap());
        let answer = match (call.service, call.operation.as_str()) {
            (Service::DynamoDb, _) => {
                self.copy_tables(call).await;
                self.forward(&self.targets().tables, head, body).await?
            }
            (Service::Scheduler, _) => self.schedule(&weather, call, head).await?,
            (Service::Sqs, "SendMessage" | "SendMessageBatch") => self.send(&weather, call, head).await?,
            (Service::Sqs, _) => self.forward(&self.targets().emulator, head, body).await?,
        };
        if answer.status().is_success() {
            self.witness.was_done(&call.operation, &call.body);
        }
        Ok(answer)
    }

    /// A schedule fires some seconds from now: nobody waits for a minute here. Or never.
    async fn schedule(self: &Arc<Self>, weather: &Weather, call: &Call, head: &Parts) -> Answer {
        let input = call.body["Target"]["Input"].as_str().unwrap_or_default();
        if self.dice.next(("lost", &call.subject)) < weather.losses {
            self.count("schedules that never fire");
            return Ok(json_answer(&json!({"ScheduleArn": "arn:aws:scheduler:us-east-1:000000000000:schedule/lost"})));
        }
        let mut body = call.body.clone();
        let sooner = clock::now().plus(self.within(("sooner", &call.subject), 15));
        body["ScheduleExpression"] = sooner.to_at_expression().into();
        let answer = self.forward(&self.targets().emulator, head, body.to_string().into()).await?;
        if answer.status().is_success() && self.dice.next(("double", "schedule", &call.subject)) < weather.doubles {
            self.count("schedules that fire twice");
            let queue = self.queue_url(&call.body["Target"]["Arn"]);
            self.repeat(queue, None, input.to_owned(), ("again", &call.subject));
        }
        Ok(answer)
    }

    /// Messages come late, twice, and so out of order.
    async fn send(self: &Arc<Self>, weather: &Weather, call: &Call, head: &Parts) -> Answer {
        let mut body = call.body.clone();
        let mut messages: Vec<&mut Value> = match body["Entries"].is_array() {
            true => body["Entries"].as_array_mut().into_iter().flatten().collect(),
            false => vec![&mut body],
        };
        for message in &mut messages {
            if self.dice.next(("late", &call.subject)) < weather.lates {
                self.count("messages that come late");
                let delay = message["DelaySeconds"].as_u64().unwrap_or_default();
                let later = delay + self.within(("later", &call.subject), 20).as_secs();
                message["DelaySeconds"] = later.min(900).into();
            }
        }
        let answer = self.forward(&self.targets().emulator, head, body.to_string().into()).await?;
        let entries = call.body["Entries"].as_array().cloned().unwrap_or_else(|| vec![call.body.clone()]);
        for message in entries.iter().filter(|_| answer.status().is_success()) {
            if self.dice.next(("double", "message", &call.subject)) < weather.doubles {
                self.count("messages that come twice");
                let text = message["MessageBody"].as_str().unwrap_or_default().to_owned();
                self.witness.was_doubled(&text);
                let group = message["MessageGroupId"].as_str().map(str::to_owned);
                let queue = call.body["QueueUrl"].as_str().unwrap_or_default().to_owned();
                self.repeat(queue, group, text, ("again", &call.subject));
            }
        }
        Ok(answer)
    }

    /// Sends a message once more, at once or up to a minute later.
    fn repeat(self: &Arc<Self>, queue: String, group: Option<String>, text: String, what: (&str, &str)) {
        let (proxy, wait) = (Arc::clone(self), self.within(what, 60));
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let mut body = json!({"QueueUrl": queue, "MessageBody": text});
            if let Some(group) = group {
                body["MessageGroupId"] = group.into();
            }
            proxy.call(&proxy.targets().emulator, "AmazonSQS.SendMessage", &body).await;
        });
    }

    /// `arn:aws:sqs:<region>:<account>:<name>` as a URL.
    fn queue_url(&self, arn: &Value) -> String {
        let mut parts = arn.as_str().unwrap_or_default().rsplit(':');
        let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        format!("{}/{account}/{name}", self.targets().emulator)
    }

    fn within(&self, what: (&str, &str), seconds: u64) -> Duration {
        Duration::from_secs(seconds).mul_f64(self.dice.next(what))
    }

    /// The tables that the stack has in the emulator are made in the other one, when they are first used.
    async fn copy_tables(&self, call: &Call) {
        let mut copied = self.copied.lock().await;
        for table in call.tables() {
            if copied.contains(&table) {
                continue;
            }
            let named = json!({"TableName": table});
            let described =
                self.call(&self.targets().emulator, "DynamoDB_20120810.DescribeTable", &named).await["Table"].take();
            self.call(&self.targets().tables, "DynamoDB_20120810.CreateTable", &definition(&described)).await;
            copied.insert(table);
        }
    }

    async fn call(&self, url: &str, target: &str, body: &Value) -> Value {
        let service = if target.starts_with("DynamoDB") { "dynamodb" } else { "sqs" };
        let request =
            self.client.post(url).header("x-amz-target", target).header("authorization", authorization(service));
        let request = request.header("content-type", "application/x-amz-json-1.0").body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn forward(&self, target: &str, head: &Parts, body: Bytes) -> Answer {
        let url = format!("{target}{}", head.uri.path_and_query().map_or("/", |path| path.as_str()));
        let mut headers = head.headers.clone();
        headers.remove("content-length");
        headers.remove("host");
        let client = if *target == self.targets().microburst { &self.fresh } else { &self.client };
        let request = client.request(head.method.clone(), url).headers(headers).body(body);
        let answer = request.send().await.map_err(|_| Broken)?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
                response = response.header(name, value);
            }
        }
        response.body(answer.bytes().await.map_err(|_| Broken)?).map_err(|_| Broken)
    }
}

async fn serve(listener: std::net::TcpListener, proxy: Arc<Proxy>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        // A connection that breaks is reset, as one that AWS breaks.
        let _ = stream.set_zero_linger();
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(Arc::clone(&proxy), peer, request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A call goes on although its caller has given up: in a task of its own.
async fn answer(
    proxy: Arc<Proxy>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Broken> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let handled = tokio::spawn(proxy.handle(peer, head, body)).await.map_err(|_| Broken)?;
    handled.map(|response| response.map(Full::new))
}

/// What a call by the emulator's own key bears; nobody here looks at a signature.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

fn json_answer(body: &Value) -> Response<Bytes> {
    let builder = Response::builder().status(200).header("content-type", "application/x-amz-json-1.0");
    builder.body(body.to_string().into()).unwrap_or_default()
}

/// What makes a table like the one described.
fn definition(table: &Value) -> Value {
    let mut new = json!({"BillingMode": "PAY_PER_REQUEST"});
    for name in ["TableName", "AttributeDefinitions", "KeySchema"] {
        new[name] = table[name].clone();
    }
    if let Some(indexes) = table["GlobalSecondaryIndexes"].as_array() {
        let index = |index: &Value| json!({"IndexName": index["IndexName"], "KeySchema": index["KeySchema"], "Projection": index["Projection"]});
        new["GlobalSecondaryIndexes"] = indexes.iter().map(index).collect();
    }
    new
}
