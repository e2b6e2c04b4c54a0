//! A proxy between the functions and the emulator: it keeps every call that passes, and spoils those it is told to.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pombo_domain::delivery::Record;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::limits;
use crate::records::record_in;

/// An AWS call that a function made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The operation: `PutItem`, `SendMessageBatch`, `CreateSchedule`.
    pub operation: String,
    /// Everything that it says; for Scheduler with the schedule's name as `Name`.
    pub body: Value,
    /// The capacity units that a DynamoDB call consumed, by what the emulator says. It takes a query for half a unit, however
    /// much that reads, and says nothing of batches.
    pub units: f64,
    /// How many rows a query looked at, or how many items a batch asked for.
    pub rows: usize,
    /// Whether it was spoilt.
    pub spoilt: bool,
    /// The access key that it is signed with. Where roles are enforced each function has its own.
    pub access_key: String,
    /// The body as text, once somebody has asked for that: every rule asks of every call.
    text: OnceLock<String>,
}

impl Call {
    /// Whether the call says this anywhere.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        self.text.get_or_init(|| self.body.to_string()).contains(text)
    }

    /// The name of the table that it reads or writes, the first of them if there are several; empty for other services.
    #[must_use]
    pub fn table(&self) -> &str {
        let of_batch = || self.body["RequestItems"].as_object()?.keys().next().map(String::as_str);
        let of_transaction = || self.body["TransactItems"][0]["Put"]["TableName"].as_str();
        self.body["TableName"].as_str().or_else(of_batch).or_else(of_transaction).unwrap_or_default()
    }

    /// The record that it puts, if it puts one alone.
    #[must_use]
    pub fn record(&self) -> Option<Record> {
        record_in(&self.body["Item"])
    }

    /// Whether it puts a record with a claim.
    #[must_use]
    pub fn claims(&self) -> bool {
        self.record().is_some_and(|record| record.claim.is_some())
    }

    /// A text attribute of the item that it puts.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.body["Item"][name]["S"].as_str().unwrap_or_default()
    }
}

/// What is done to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is refused with this status and error code, and does nothing.
    Refuse(u16, &'static str),
    /// It is carried out, but its answer is lost: a 500 comes in its place.
    LoseAnswer,
    /// It is said to be carried out, and is not: what it sent is lost on its way.
    Swallow,
    /// It is not carried out, and this is its answer.
    Answer(Value),
    /// It is carried out after a while.
    Delay(Duration),
    /// The process that made it is killed; it does nothing.
    KillBefore,
    /// It is carried out, then the process that made it is killed.
    KillAfter,
    /// What it receives is hidden for so many seconds, whatever it asks for.
    HideFor(u32),
    /// The entries of a batch at these places are refused, with whether the sender is at fault; the others are sent.
    RefuseEntries(Vec<usize>, bool),
    /// Of the items that a batch asks for only the first so many are given; the others are left to be asked for again.
    LeaveKeys(usize),
    /// A transaction is cancelled, with a reason for each of its writes.
    Cancel(Vec<&'static str>),
    /// It is carried out on the table of this name: an older copy of the one that it is about.
    ReadFrom(String),
}

type Rule = Box<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;
type Judge = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// How long a call that is not spoilt may take on a busy machine.
const LONGEST_CALL: Duration = Duration::from_secs(2);

/// A call that is being carried out, until this is dropped.
struct UnderWay<'a> {
    number: u64,
    shared: &'a Shared,
}

impl<'a> UnderWay<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        shared.under_way.lock().unwrap().insert(number);
        Self { number, shared }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.under_way.lock().unwrap().remove(&self.number);
    }
}

struct Shared {
    address: SocketAddr,
    target: OnceLock<String>,
    calls: Mutex<Vec<Arc<Call>>>,
    /// The calls that are being carried out, by their numbers.
    under_way: Mutex<BTreeSet<u64>>,
    next: AtomicU64,
    rules: Mutex<Vec<Rule>>,
    judge: OnceLock<Judge>,
    client: reqwest::Client,
}

/// A running proxy. It runs on a thread of its own until the process ends.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A proxy that has no target yet.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the proxy cannot listen");
        listener.set_nonblocking(true).expect("the proxy cannot listen");
        let address = listener.local_addr().expect("the proxy has no address");
        let shared = Arc::new(Shared {
            address,
            target: OnceLock::new(),
            calls: Mutex::default(),
            under_way: Mutex::default(),
            next: AtomicU64::new(0),
            rules: Mutex::default(),
            judge: OnceLock::new(),
            client: reqwest::Client::builder().no_proxy().build().expect("no HTTP client"),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("no runtime");
            runtime.block_on(serve(listener, serving));
        });
        Self { address, shared }
    }

    /// Where the functions send their calls.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the calls go.
    pub fn set_target(&self, url: String) {
        self.shared.target.set(url).expect("the proxy has a target already");
    }

    /// Forgets all calls and rules, for another stack.
    pub fn reset(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.calls.lock().unwrap().clear();
    }

    /// Spoils the calls for which `rule` names a fault. Rules stay for good, so each must be about its test's own things.
    pub fn spoil(&self, rule: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        self.shared.rules.lock().unwrap().push(Box::new(rule));
    }

    /// Spoils the first `times` calls for which `rule` names a fault.
    pub fn spoil_times(&self, times: usize, rule: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        let left = Mutex::new(times);
        self.spoil(move |call| {
            let fault = rule(call)?;
            let mut left = left.lock().unwrap();
            *left = left.checked_sub(1)?;
            Some(fault)
        });
    }

    /// Hears from functions that are built with crash points where they are, and says whether they die there.
    pub fn judge(&self, judge: impl Fn(&str) -> bool + Send + Sync + 'static) {
        assert!(self.shared.judge.set(Box::new(judge)).is_ok(), "the proxy has a judge already");
    }

    /// The calls that passed and that `wanted` wants, in order.
    #[must_use]
    pub fn calls(&self, wanted: impl Fn(&Call) -> bool) -> Vec<Arc<Call>> {
        self.calls_after(0, wanted)
    }

    /// The same without the first so many of all calls.
    #[must_use]
    pub fn calls_after(&self, first: usize, wanted: impl Fn(&Call) -> bool) -> Vec<Arc<Call>> {
        limits::assert_kept();
        self.wait_for_calls_under_way();
        self.shared.calls.lock().unwrap().iter().skip(first).filter(|call| wanted(call)).cloned().collect()
    }

    /// A call is kept when its answer has come. Its effect may be seen before that, and whoever sees it expects the call here.
    fn wait_for_calls_under_way(&self) {
        let before = self.shared.under_way.lock().unwrap().clone();
        let started = Instant::now();
        while !self.shared.under_way.lock().unwrap().is_disjoint(&before) && started.elapsed() < LONGEST_CALL {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How many calls have passed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.calls.lock().unwrap().len()
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the proxy cannot listen");
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| handle(&shared, peer, request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(
    shared: &Shared,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if head.uri.path() == "/crash-points" {
        let dies = shared.judge.get().is_some_and(|judge| judge(&String::from_utf8_lossy(&body)));
        return Ok(Response::new(Bytes::from(if dies { "die" } else { "go" }).into()));
    }
    let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut call = read_call(target, head.uri.path(), &body);
    let fault = shared.rules.lock().unwrap().iter().find_map(|rule| rule(&call));
    call.spoilt = fault.is_some();
    let _under_way = (!call.spoilt).then(|| UnderWay::begin(shared));
    call.access_key = access_key(&head.headers);
    if let Err(code) = limits::judge(&call) {
        return Ok(error(400, code).map(Full::new));
    }
    let counted = target.starts_with("DynamoDB");
    let body = match &fault {
        Some(Fault::RefuseEntries(places, _)) => without_entries(&call.body, places),
        Some(Fault::HideFor(seconds)) => hidden_for(&call.body, *seconds),
        Some(Fault::LeaveKeys(kept)) => with_keys(&call.body, |keys| keys.drain(*kept..).count()),
        Some(Fault::ReadFrom(table)) => with_field(&call.body, "TableName", table),
        _ if counted => with_capacity(&body),
        _ => body,
    };
    let answer = match &fault {
        Some(Fault::Refuse(status, code)) => error(*status, code),
        Some(Fault::Cancel(reasons)) => cancelled(reasons),
        Some(Fault::KillBefore) => {
            kill(peer, shared.address);
            error(500, "InternalError")
        }
        Some(Fault::Swallow) => {
            let answer = json!({"MessageId": "lost", "ScheduleArn": "lost"}).to_string();
            Response::builder().status(200).body(answer.into()).unwrap_or_default()
        }
        Some(Fault::Answer(answer)) => {
            Response::builder().status(200).body(answer.to_string().into()).unwrap_or_default()
        }
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(*delay).await;
            forward(shared, &head, body).await
        }
        _ => forward(shared, &head, body).await,
    };
    let answer = match fault {
        Some(Fault::LoseAnswer) => error(500, "InternalServerError"),
        Some(Fault::KillAfter) => {
            kill(peer, shared.address);
            error(500, "InternalError")
        }
        Some(Fault::RefuseEntries(places, senders_fault)) => with_refused(answer, &places, senders_fault),
        Some(Fault::LeaveKeys(kept)) => with_unprocessed(answer, &call.body, kept),
        _ => answer,
    };
    if counted {
        let counts = Counts::read(answer.body());
        call.units = counts.units();
        call.rows = asked_for(&call) + counts.scanned;
    }
    shared.calls.lock().unwrap().push(Arc::new(call));
    Ok(answer.map(Full::new))
}

/// The AWS JSON protocols name the operation in a header; Scheduler's REST protocol, by its path.
pub(crate) fn read_call(target: &str, path: &str, body: &[u8]) -> Call {
    let mut json: Value = serde_json::from_slice(body).unwrap_or_default();
    let operation = match (target.rsplit_once('.'), path.strip_prefix("/schedules/")) {
        (Some((_, operation)), _) => operation.to_owned(),
        (None, Some(name)) => {
            json["Name"] = name.into();
            "CreateSchedule".to_owned()
        }
        (None, None) => path.to_owned(),
    };
    let (access_key, text) = (String::new(), OnceLock::new());
    Call { operation, body: json, units: 0.0, rows: 0, spoilt: false, access_key, text }
}

/// From `AWS4-HMAC-SHA256 Credential=<access key>/<date>/…`.
fn access_key(headers: &hyper::HeaderMap) -> String {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let credential = authorization.split_once("Credential=").map_or("", |(_, rest)| rest);
    credential.split('/').next().unwrap_or_default().to_owned()
}

async fn forward(shared: &Shared, head: &hyper::http::request::Parts, body: Bytes) -> Response<Bytes> {
    let target = shared.target.get().expect("the proxy has no target");
    let url = format!("{target}{}", head.uri.path_and_query().map_or("/", |path| path.as_str()));
    let mut headers = head.headers.clone();
    headers.remove("content-length");
    headers.remove("host");
    match shared.client.request(head.method.clone(), url).headers(headers).body(body).send().await {
        Err(_) => error(502, "BadGateway"),
        Ok(answer) => {
            let mut response = Response::builder().status(answer.status());
            for (name, value) in answer.headers() {
                // The body may be another one; a checksum of the first is no use then.
                if !["content-length", "transfer-encoding", "connection", "x-amz-crc32"].contains(&name.as_str()) {
                    response = response.header(name, value);
                }
            }
            response.body(answer.bytes().await.unwrap_or_default()).unwrap_or_default()
        }
    }
}

fn error(status: u16, code: &str) -> Response<Bytes> {
    let body = json!({"__type": code, "message": "spoilt by the test"}).to_string();
    let builder = Response::builder().status(status).header("x-amzn-errortype", code);
    builder.header("content-type", "application/x-amz-json-1.0").body(body.into()).unwrap_or_default()
}

fn cancelled(reasons: &[&str]) -> Response<Bytes> {
    let reasons: Vec<_> = reasons.iter().map(|code| json!({"Code": code})).collect();
    let body = json!({"__type": "TransactionCanceledException", "CancellationReasons": reasons}).to_string();
    error(400, "TransactionCanceledException").map(|_| body.into())
}

/// The request with the wish to be told its capacity units. It is written in front, since every request is an object with a
/// field, and most are long.
fn with_capacity(body: &[u8]) -> Bytes {
    let fields = body.strip_prefix(b"{").unwrap_or_default();
    [br#"{"ReturnConsumedCapacity":"TOTAL","#.as_slice(), fields].concat().into()
}

fn with_field(body: &Value, field: &str, value: &str) -> Bytes {
    let mut body = body.clone();
    body[field] = value.into();
    body.to_string().into()
}

/// A batch's request after something was done to its only table's keys.
fn with_keys<T>(body: &Value, change: impl FnOnce(&mut Vec<Value>) -> T) -> Bytes {
    let mut body = body.clone();
    let tables = body["RequestItems"].as_object_mut().into_iter().flat_map(|tables| tables.values_mut());
    if let Some(keys) = tables.filter_map(|wanted| wanted["Keys"].as_array_mut()).next() {
        change(keys);
    }
    body.to_string().into()
}

/// With all but the first `kept` keys of the request left over.
fn with_unprocessed(answer: Response<Bytes>, request: &Value, kept: usize) -> Response<Bytes> {
    let left = with_keys(request, |keys| keys.drain(..kept).count());
    let left: Value = serde_json::from_slice(&left).unwrap_or_default();
    // Asked for nothing, the service would have refused the request.
    let mut body =
        if kept == 0 { json!({"Responses": {}}) } else { serde_json::from_slice(answer.body()).unwrap_or_default() };
    body["UnprocessedKeys"] = left["RequestItems"].clone();
    let builder = Response::builder().status(200).header("content-type", "application/x-amz-json-1.0");
    builder.body(body.to_string().into()).unwrap_or_default()
}

/// The parts of an answer that are counted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    #[serde(rename = "ConsumedCapacity")]
    consumed: Option<OneOrMany>,
    #[serde(rename = "ScannedCount")]
    scanned: usize,
}

/// A batch and a transaction tell of each table, other calls of the only one.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Consumed),
    Many(Vec<Consumed>),
}

#[derive(Deserialize)]
struct Consumed {
    #[serde(rename = "CapacityUnits", default)]
    units: f64,
}

impl Counts {
    fn read(answer: &[u8]) -> Self {
        serde_json::from_slice(answer).unwrap_or_default()
    }

    fn units(&self) -> f64 {
        match &self.consumed {
            None => 0.0,
            Some(OneOrMany::One(one)) => one.units,
            Some(OneOrMany::Many(many)) => many.iter().map(|one| one.units).sum(),
        }
    }
}

/// How many items a batch asks for.
fn asked_for(call: &Call) -> usize {
    let tables = call.body["RequestItems"].as_object().into_iter().flatten();
    tables.filter_map(|(_, wanted)| Some(wanted["Keys"].as_array()?.len())).sum()
}

fn hidden_for(body: &Value, seconds: u32) -> Bytes {
    let mut body = body.clone();
    body["VisibilityTimeout"] = seconds.into();
    body.to_string().into()
}

fn without_entries(body: &Value, places: &[usize]) -> Bytes {
    let mut body = body.clone();
    if let Some(entries) = body["Entries"].as_array_mut() {
        let mut place = 0;
        entries.retain(|_| {
            place += 1;
            !places.contains(&(place - 1))
        });
    }
    body.to_string().into()
}

fn with_refused(answer: Response<Bytes>, places: &[usize], senders_fault: bool) -> Response<Bytes> {
    let mut body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let code = if senders_fault { "InvalidMessageContents" } else { "InternalError" };
    let failed =
        places.iter().map(|place| json!({"Id": place.to_string(), "Code": code, "SenderFault": senders_fault}));
    body["Failed"] = failed.collect::<Vec<_>>().into();
    if !body["Successful"].is_array() {
        body = json!({"Successful": [], "Failed": body["Failed"]});
    }
    let builder = Response::builder().status(200).header("content-type", "application/x-amz-json-1.0");
    builder.body(body.to_string().into()).unwrap_or_default()
}

/// Kills the process at the other end of a connection, as a sandbox that is gone from one moment to the next.
fn kill(peer: SocketAddr, proxy: SocketAddr) {
    let pid = owner_of(peer, proxy).expect("nobody has the other end of the connection");
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "the process {pid} could not be killed");
}

/// The process that has the socket from `peer` to the proxy, by what Linux says of its sockets. Both ends count: another
/// process may have a connection from the same port to somewhere else.
fn owner_of(peer: SocketAddr, proxy: SocketAddr) -> Option<u32> {
    let [from, to] = [peer, proxy].map(|address| format!(":{:04X}", address.port()));
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = *fields.get(9)?;
        let is_ours = fields.get(1)?.ends_with(&from) && fields.get(2)?.ends_with(&to);
        (is_ours && inode != "0").then(|| format!("socket:[{inode}]"))
    })?;
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
        files
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket.as_str()))
            .then_some(pid)
    })
}

/// Whether a process exists and is not stopped.
fn runs(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state follows the name, which stands in parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['T', 'Z', 'X']))
}

/// A process that is stopped, to be killed, and the connections of that moment.
#[derive(Debug)]
pub struct Stopped {
    /// The process.
    pub process: u32,
    /// The local ports of its connections.
    pub ports: Vec<u16>,
    /// The local ports of all connections of all processes.
    pub all_ports: Vec<u16>,
}

/// Stops the process at the other end of a connection to `proxy`, so that it opens and closes no further connection.
#[must_use]
pub fn stop_process_of(peer: SocketAddr, proxy: SocketAddr) -> Option<Stopped> {
    let process = owner_of(peer, proxy)?;
    std::process::Command::new("kill").args(["-STOP", &process.to_string()]).status().ok()?;
    // The signal takes effect when the process is next about to run.
    while runs(process) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten();
    let sockets: Vec<_> = files.filter_map(|file| std::fs::read_link(file.path()).ok()).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    // A connection that is closed belongs to no process, and has the number 0.
    let owned = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let socket = *fields.get(9).filter(|socket| **socket != "0")?;
        Some((format!("socket:[{socket}]"), u16::from_str_radix(port, 16).ok()?))
    });
    let owned: Vec<_> = owned.collect();
    let is_ours = |socket: &str| sockets.iter().any(|path| path.as_os_str() == socket);
    let ports = owned.iter().filter(|(socket, _)| is_ours(socket)).map(|(_, port)| *port).collect();
    Some(Stopped { process, ports, all_ports: owned.iter().map(|(_, port)| *port).collect() })
}
