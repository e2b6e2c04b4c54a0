//! DynamoDB and SQS, as far as a success needs them: strongly consistent reads by key, conditional puts, and a queue.
//!
//! Conditions are judged, so a protocol that writes a record twice, or once, finds what it would find in AWS. Anything else
//! that is asked for ends the run with an error, which names it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::serve::{Request, Response, answer};

/// The keys of the tables.
const KEYS: [(&str, &[&str]); 5] = [
    ("ApiKeys", &["partition", "row"]),
    ("Deliveries", &["endpoint_id", "sort_key"]),
    ("Endpoints", &["endpoint_id"]),
    ("Events", &["event_key"]),
    ("Routing", &["tenant"]),
];

/// The tables and the queue.
#[derive(Debug, Default)]
pub struct Aws {
    state: Mutex<State>,
    /// Told of each message that is sent.
    pub sent: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: HashMap<String, Value>,
    queue: VecDeque<String>,
    calls: BTreeMap<String, usize>,
    fault: Option<String>,
}

/// Why a call is refused: an error's code, and for a failed condition the item that stands.
enum Refusal {
    Condition(Value),
    Unknown(String),
}

impl Aws {
    /// With these items.
    pub fn with(items: &[(&str, Value)]) -> Self {
        let aws = Self::default();
        for (table, item) in items {
            if let Some(place) = place(table, item) {
                aws.lock().items.insert(place, item.clone());
            }
        }
        aws
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At most `limit` messages, if there are that many, or if `rest` says that no more will come.
    pub fn receive(&self, limit: usize, rest: bool) -> Vec<String> {
        let mut state = self.lock();
        if state.queue.len() < limit && !rest {
            return Vec::new();
        }
        let count = limit.min(state.queue.len());
        state.queue.drain(..count).collect()
    }

    /// The calls since this was asked last, by name.
    pub fn take_calls(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.lock().calls)
    }

    /// What was asked for that there is not, if anything was.
    pub fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Answers a call.
    pub fn call(&self, request: &Request) -> Response {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let mut state = self.lock();
        let table = body["TableName"].as_str().unwrap_or_default();
        *state.calls.entry(format!("{operation} {table}").trim_end().to_owned()).or_default() += 1;
        let result = match operation {
            "GetItem" => Ok(state.get(table, &body["Key"]).map_or_else(|| json!({}), |item| json!({"Item": item}))),
            "BatchGetItem" => Ok(state.get_many(&body["RequestItems"])),
            "PutItem" => state.put(table, &body),
            "SendMessageBatch" => {
                let answer = state.send(&body);
                self.sent.notify_one();
                Ok(answer)
            }
            _ => Err(Refusal::Unknown(format!("{operation} is not implemented: {body}"))),
        };
        let (status, body) = match result {
            Ok(body) => (200, body),
            Err(Refusal::Condition(item)) => {
                let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                (400, json!({"__type": code, "message": "The conditional request failed", "Item": item}))
            }
            Err(Refusal::Unknown(what)) => {
                state.fault.get_or_insert(what);
                (400, json!({"__type": "ValidationException", "message": "not implemented"}))
            }
        };
        let headers = [
            ("content-type", "application/x-amz-json-1.0".to_owned()),
            ("x-amzn-requestid", "IVAHQT4KV5B2TBDUIU4J6ILORRVV4KQNSO5AEMVJF66Q9ASUAAJG".to_owned()),
        ];
        answer(status, &headers, body.to_string())
    }
}

impl State {
    fn get(&self, table: &str, key: &Value) -> Option<Value> {
        self.items.get(&place(table, key)?).cloned()
    }

    fn get_many(&self, wanted: &Value) -> Value {
        let tables = wanted.as_object().into_iter().flatten().map(|(table, part)| {
            let keys = part["Keys"].as_array().into_iter().flatten();
            (table.clone(), keys.filter_map(|key| self.get(table, key)).collect())
        });
        json!({"Responses": tables.collect::<serde_json::Map<String, Value>>(), "UnprocessedKeys": {}})
    }

    fn put(&mut self, table: &str, body: &Value) -> Result<Value, Refusal> {
        let unknown = |what: &str| Refusal::Unknown(format!("{what}: PutItem {table} {}", body["ConditionExpression"]));
        let place = place(table, &body["Item"]).ok_or_else(|| unknown("the key is unknown"))?;
        let standing = self.items.get(&place);
        let condition = body["ConditionExpression"].as_str().unwrap_or_default();
        let holds = match (standing, condition.split_once(" = ")) {
            (_, None) if condition.is_empty() => true,
            // An item of this benchmark never expires, so the other half of such a condition never holds.
            (standing, _) if condition.starts_with("attribute_not_exists(") => standing.is_none(),
            (standing, Some((name, value))) => {
                let name = body["ExpressionAttributeNames"][name].as_str().unwrap_or(name);
                standing.is_some_and(|item| item[name] == body["ExpressionAttributeValues"][value])
            }
            _ => return Err(unknown("the condition is unknown")),
        };
        if !holds {
            return Err(Refusal::Condition(standing.cloned().unwrap_or_default()));
        }
        self.items.insert(place, body["Item"].clone());
        Ok(json!({}))
    }

    fn send(&mut self, body: &Value) -> Value {
        let entries = body["Entries"].as_array().into_iter().flatten();
        let sent: Vec<Value> = entries
            .map(|entry| {
                self.queue.push_back(entry["MessageBody"].as_str().unwrap_or_default().to_owned());
                let id = "5fea7756-0ea4-451a-a703-a558b933e274";
                json!({"Id": entry["Id"], "MessageId": id, "MD5OfMessageBody": "fafb00f5732ab283681e124bf8747ed1"})
            })
            .collect();
        json!({"Successful": sent, "Failed": []})
    }
}

/// Where an item of a table is kept: its key as text.
fn place(table: &str, item: &Value) -> Option<String> {
    let (_, names) = KEYS.iter().find(|(name, _)| *name == table)?;
    let mut place = table.to_owned();
    for name in *names {
        place.push('\n');
        place.push_str(item[name]["S"].as_str()?);
    }
    Some(place)
}
