//! The events that are counted.

use std::sync::Arc;

use futures::StreamExt;
use local::{Answer, Receiver};
use pombo_aws::prices::assumed::LOG_LINE_BYTES;
use pombo_domain::body::{PackedBody, wire_body};
use pombo_domain::time::Timestamp;
use pombo_tests::bodies::{Bodies, USUAL};
use pombo_tests::{Call, Hook, SOON, Stack, Template, eventually};
use serde_json::{Value, json};

use super::units::{self, Tables};

/// Attempts of a delivery that fails for good.
pub const FAILING_ATTEMPTS: u32 = 4;
/// Bodies that the sizes of events are taken from.
const BODIES: usize = 100;
/// Names of a fixed length: they are part of every item.
const TENANTS: [&str; 3] = ["school-4711", "school-4712", "school-4713"];
const TYPE: &str = "student.enrolled";

/// What the deliveries of one kind of event use, for each event.
#[derive(Debug, Clone, Default)]
pub struct Used {
    /// Units for the delivery's item.
    pub item_writes: f64,
    /// Units for its rows in indexes.
    pub index_writes: f64,
    /// Units for the endpoint's health.
    pub health_writes: f64,
    /// Units for the record and the event.
    pub reads: f64,
    /// Retries: messages that dispatch sent.
    pub retries: f64,
    /// Bytes in the logs.
    pub log_bytes: f64,
    /// Bytes of the delivery's item at the end, and of its rows in indexes, with their number.
    pub stored: (usize, usize, usize),
}

/// What was counted.
#[derive(Debug, Clone)]
pub struct Run {
    /// Bytes on the wire, and packed, of each body.
    pub bodies: Vec<(usize, usize)>,
    /// Bytes of an event's item without its body, at most.
    pub event_overhead: usize,
    /// Units for an event's rows in indexes.
    pub event_index_writes: f64,
    /// Bytes of an event's rows in indexes, with their number.
    pub event_rows: (usize, usize),
    /// Units that ingest reads for an event.
    pub ingest_reads: f64,
    /// Requests by which ingest queues an event for one endpoint.
    pub ingest_sends: f64,
    /// Mean bytes of a first message.
    pub message_bytes: f64,
    /// Units for the key of a caller, which a process of ingest remembers.
    pub key_reads: f64,
    /// Units for an endpoint, which a process of dispatch remembers.
    pub endpoint_reads: f64,
    /// An event that succeeds at once.
    pub success: Used,
    /// One that is sent twice.
    pub retry: Used,
    /// One that fails for good.
    pub failure: Used,
    /// Units that a sweep reads, its requests to queues, and its bytes in the logs.
    pub sweep: (f64, f64, f64),
    /// Alarms and metrics of the template.
    pub alarms: usize,
}

struct Scene {
    stack: &'static Stack,
    endpoints: Vec<String>,
}

impl Run {
    /// Sends the events, and counts.
    pub async fn new(template: &Template) -> Self {
        let level = template.json["Parameters"]["LogLevel"]["Default"].as_str().unwrap();
        let stack = Stack::own("priced", &[("LogLevel", level)]).await;
        let receiver = Receiver::start_with(|received| {
            let fails = received.path == "/2" || (received.path == "/1" && received.times == 1);
            if fails {
                Answer::status(500).with_body(format!("<html><body><p>{}</p></body></html>", "Failure. ".repeat(130)))
            } else {
                Answer::status(200).with_body(r#"{"received":true}"#)
            }
        })
        .unwrap();
        let mut endpoints = Vec::new();
        for (number, tenant) in TENANTS.iter().enumerate() {
            let policy = json!({"retry_policy": {"delays_seconds": [1, 1, 1]}});
            endpoints.push(Hook::register(stack, &receiver, tenant, &format!("/{number}"), policy).await);
        }
        let scene = Scene { stack, endpoints };
        let before = stack.proxy.count();
        let bodies: Vec<_> = Bodies::seeded(USUAL).take(BODIES).collect();
        let events = bodies.iter().map(|data| (0, data)).chain([(1, &bodies[0]), (2, &bodies[0])]);
        let posts = events.map(|(number, data)| async move {
            stack.post(&json!({"type": TYPE, "tenant": TENANTS[number], "data": data})).await;
        });
        futures::stream::iter(posts).buffer_unordered(16).collect::<Vec<()>>().await;
        let ended = |call: &Call| ["succeeded", "failed"].contains(&call.attribute("status"));
        eventually("all outcomes", SOON, || async { (stack.proxy.calls(ended).len() >= BODIES + 2).then_some(()) })
            .await;
        let logs = scene.log_bytes().await;
        let calls = stack.proxy.calls_after(before, |call| !call.spoilt);
        let sweep = scene.sweep().await;
        scene.count(template, &calls, logs, sweep, bodies.iter().map(sizes).collect())
    }

    /// The same with other bodies.
    pub fn with_bodies(&self, bodies: Vec<(usize, usize)>) -> Self {
        let packed =
            |bodies: &[(usize, usize)]| bodies.iter().map(|body| body.1 as f64).sum::<f64>() / bodies.len() as f64;
        // In a message a packed body is base64.
        let message_bytes = self.message_bytes + (packed(&bodies) - packed(&self.bodies)) * 4.0 / 3.0;
        Self { bodies, message_bytes, ..self.clone() }
    }
}

/// Bytes of a body on the wire, and packed. The time in it is always the same: a digit can change how far a body packs.
pub fn sizes(data: &Value) -> (usize, usize) {
    let data = serde_json::value::to_raw_value(data).unwrap();
    let wire = wire_body(&TYPE.parse().unwrap(), Timestamp::from_millis(1_764_288_123_456), &data);
    (wire.len(), PackedBody::pack(&wire).bytes.len())
}

impl Scene {
    /// Which of the three a text is about.
    fn scene_of(&self, mentions: impl Fn(&str) -> bool) -> Option<usize> {
        (0..TENANTS.len()).find(|number| mentions(TENANTS[*number]) || mentions(&self.endpoints[*number]))
    }

    /// Bytes in the logs for the events of each of the three. A line of metrics names nothing; of these events, only a final
    /// failure writes one.
    async fn log_bytes(&self) -> [f64; 3] {
        let expected = 1 + FAILING_ATTEMPTS as usize;
        let lines = eventually("the log lines", SOON, || async {
            let lines = self.stack.lines_of("Dispatch").await;
            let attempts = lines.iter().filter(|line| line.contains("Attempt made.")).count();
            let metrics = lines.iter().any(|line| line.contains("DeliveriesFailed"));
            (attempts >= expected && metrics).then_some(lines)
        })
        .await;
        let mut bytes = [0.0; 3];
        for line in lines.into_iter().chain(self.stack.lines_of("Ingest").await) {
            let scene = self.scene_of(|name| line.contains(name)).unwrap_or_else(|| {
                assert!(line.contains("DeliveriesFailed"), "whose line is this? {line}");
                2
            });
            bytes[scene] += line.len() as f64 + LOG_LINE_BYTES;
        }
        bytes
    }

    /// What a sweep costs that finds nothing: units read, requests to queues, bytes in the logs.
    async fn sweep(&self) -> (f64, f64, f64) {
        let before = self.stack.proxy.count();
        self.stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
        let lines = eventually("the sweep", SOON, || async {
            let lines = self.stack.lines_of("Jobs").await;
            lines.iter().any(|line| line.contains("SweepsCompleted")).then_some(lines)
        })
        .await;
        let bytes = lines.iter().map(|line| line.len() as f64 + LOG_LINE_BYTES).sum();
        let calls = self.stack.proxy.calls_after(before, |_| true);
        let reads = calls.iter().filter(|call| call.operation == "Query").map(|call| units::read_units(call)).sum();
        let requests = calls.iter().filter(|call| ["ReceiveMessage", "GetQueueAttributes"].contains(&&*call.operation));
        (reads, requests.count() as f64, bytes)
    }

    fn count(
        &self,
        template: &Template,
        calls: &[Arc<Call>],
        logs: [f64; 3],
        sweep: (f64, f64, f64),
        bodies: Vec<(usize, usize)>,
    ) -> Run {
        let mut tables = Tables::of(template, self.stack);
        let [success, retry, failure] = logs.map(|log_bytes| Used { log_bytes, ..Used::default() });
        let first = |operation: &str, table: &str| {
            let is_it = |call: &&Arc<Call>| call.operation == operation && call.table() == self.stack.resource(table);
            units::read_units(calls.iter().find(is_it).unwrap_or_else(|| panic!("no {operation} {table}")))
        };
        let mut used = [success, retry, failure];
        let mut run = Run {
            bodies,
            event_overhead: 0,
            event_index_writes: 0.0,
            event_rows: (0, 0),
            ingest_reads: 0.0,
            ingest_sends: 0.0,
            message_bytes: 0.0,
            key_reads: first("GetItem", "ApiKeysTable"),
            endpoint_reads: first("BatchGetItem", "EndpointsTable"),
            success: Used::default(),
            retry: Used::default(),
            failure: Used::default(),
            sweep,
            alarms: template.names("AWS::CloudWatch::Alarm").len(),
        };
        for call in calls {
            let Some(scene) = self.scene_of(|name| call.mentions(name)) else { continue };
            self.count_call(call, scene, &mut tables, &mut run, &mut used[scene]);
        }
        let events = BODIES as f64;
        run.event_index_writes /= events;
        run.ingest_reads /= events;
        run.message_bytes /= events;
        run.ingest_sends /= events;
        [run.success, run.retry, run.failure] = used;
        run.success.divide(events);
        run
    }

    fn count_call(&self, call: &Call, scene: usize, tables: &mut Tables, run: &mut Run, used: &mut Used) {
        let name = |table| self.stack.resource(table) == call.table();
        let is_first = scene == 0;
        match call.operation.as_str() {
            "PutItem" if name("EventsTable") => {
                let item = &call.body["Item"];
                units::assert_is_one_read(item);
                run.event_overhead = run.event_overhead.max(units::size(item) - units::largest_binary(item));
                run.event_rows = run.event_rows.max(tables.rows(call));
                let written = tables.put(call);
                run.event_index_writes += if is_first { written.indexes as f64 } else { 0.0 };
            }
            "PutItem" if name("DeliveriesTable") => {
                assert!(call.units > 0.0, "a write was refused: {:?}", call.body);
                let rows = tables.rows(call);
                let written = tables.put(call);
                used.item_writes += written.item as f64;
                used.index_writes += written.indexes as f64;
                let stored = (units::size(&call.body["Item"]), rows.0, rows.1);
                used.stored = if is_first { used.stored.max(stored) } else { stored };
            }
            // The health of the endpoint. The endpoint itself was put before.
            "PutItem" if name("EndpointsTable") && call.mentions("#health") => {
                let written = tables.put(call);
                used.health_writes += (written.item + written.indexes) as f64;
            }
            "GetItem" if name("EventsTable") || name("DeliveriesTable") => used.reads += units::read_units(call),
            "GetItem" if name("RoutingTable") && is_first => run.ingest_reads += units::read_units(call),
            "SendMessageBatch" if is_first => {
                let entries = call.body["Entries"].as_array().unwrap();
                assert_eq!(entries.len(), 1, "one endpoint");
                run.message_bytes += entries[0]["MessageBody"].as_str().unwrap().len() as f64;
                run.ingest_sends += 1.0;
            }
            "SendMessage" => used.retries += 1.0,
            _ => {}
        }
    }
}

impl Used {
    fn divide(&mut self, events: f64) {
        for sum in [
            &mut self.item_writes,
            &mut self.index_writes,
            &mut self.health_writes,
            &mut self.reads,
            &mut self.retries,
            &mut self.log_bytes,
        ] {
            *sum /= events;
        }
    }

    /// Attempts that were made: one for the first message, and one for each that dispatch sent.
    pub fn all_attempts(&self) -> f64 {
        1.0 + self.retries
    }
}
