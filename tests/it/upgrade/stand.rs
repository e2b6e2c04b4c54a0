//! A stack at rest in the middle of its work: its items, and the messages and schedules that are still to come.

use std::collections::BTreeMap;

use local::Receiver;
use pombo_aws::clock;
use pombo_tests::Stack;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::upgrade::made;

/// The tables, by their names in the template.
pub const TABLES: [&str; 6] =
    ["ApiKeysTable", "DeliveriesTable", "EndpointsTable", "EventsTable", "JobsTable", "RoutingTable"];

const RETENTION_SECONDS: i64 = 30 * 86_400;

/// What a stack holds. Items are as DynamoDB writes them in JSON.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Stand {
    /// The items of each table.
    pub tables: BTreeMap<String, Vec<Value>>,
    /// Messages of the Deliveries queue.
    pub deliveries: Vec<Value>,
    /// Messages of the Jobs queue.
    pub jobs: Vec<Value>,
    /// What schedules send to the Deliveries queue.
    pub schedules: Vec<Value>,
    /// An API key of the tenant `keys`, with the scope `ops`.
    pub key: String,
}

impl Stand {
    /// The frozen one of version 1.
    pub fn v1() -> Self {
        serde_json::from_str(include_str!("v1/stand.json")).unwrap()
    }

    /// The items of a stack as they are.
    pub async fn items_of(stack: &Stack) -> BTreeMap<String, Vec<Value>> {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            tables.insert(table.to_owned(), scan(stack, table).await);
        }
        tables
    }

    /// The same as if its retention began now, and with every retry due: it was frozen long ago.
    pub fn unexpired(mut self) -> Self {
        let due = clock::now();
        for item in self.tables.get_mut("DeliveriesTable").into_iter().flatten() {
            if item["tenant"]["S"] != made::TENANT && item["n"]["M"].is_object() {
                item["n"]["M"]["t"]["N"] = due.as_millis().to_string().into();
                item["due_at"]["N"] = due.as_millis().to_string().into();
            }
        }
        let expires_at = clock::now().as_seconds() + RETENTION_SECONDS;
        for item in self.tables.values_mut().flatten() {
            if item["expires_at"]["N"].is_string() {
                item["expires_at"]["N"] = expires_at.to_string().into();
            }
        }
        for message in self.deliveries.iter_mut().filter(|message| message["event"].is_object()) {
            message["event"]["expires_at"] = expires_at.into();
        }
        self
    }

    /// Puts the items into a stack, with all endpoints at this receiver, which checks their signatures.
    pub async fn put_items(&self, stack: &Stack, receiver: &Receiver) {
        for (table, items) in &self.tables {
            for item in items {
                let mut item = item.clone();
                if let Some(url) = item["url"]["S"].as_str() {
                    let path = path_of(url);
                    if let Some(secret) = item["secrets"]["L"][0]["M"]["secret"]["S"].as_str() {
                        receiver.expect_secret(&path, secret);
                    }
                    item["url"]["S"] = receiver.url(&path).into();
                }
                put(stack, table, &item).await;
            }
        }
    }

    /// Sends everything that was still to come.
    pub async fn send(&self, stack: &Stack) {
        for message in self.deliveries.iter().chain(&self.schedules) {
            stack.send("DeliveriesQueue", &message.to_string()).await;
        }
        for message in &self.jobs {
            stack.send("JobsQueue", &message.to_string()).await;
        }
    }

    /// The items of a table for which an attribute has this text.
    pub fn find(&self, table: &str, attribute: &str, text: &str) -> Vec<&Value> {
        self.tables[table].iter().filter(|item| item[attribute]["S"] == text).collect()
    }

    /// The endpoint of a tenant.
    pub fn endpoint_of(&self, tenant: &str) -> String {
        let endpoints = self.find("EndpointsTable", "tenant", tenant);
        assert_eq!(endpoints.len(), 1, "{tenant}");
        endpoints[0]["endpoint_id"]["S"].as_str().unwrap().to_owned()
    }
}

/// The path of a URL at a receiver.
pub fn path_of(url: &str) -> String {
    format!("/{}", url.splitn(4, '/').nth(3).unwrap())
}

/// Every item of a table.
pub async fn scan(stack: &Stack, table: &str) -> Vec<Value> {
    let answer = dynamodb(stack, "Scan", json!({"TableName": stack.resource(table), "ConsistentRead": true})).await;
    assert!(answer["LastEvaluatedKey"].is_null(), "{table} is larger than a page");
    answer["Items"].as_array().unwrap().clone()
}

/// Writes an item as it is.
pub async fn put(stack: &Stack, table: &str, item: &Value) {
    dynamodb(stack, "PutItem", json!({"TableName": stack.resource(table), "Item": item})).await;
}

/// A call to DynamoDB in its own JSON.
async fn dynamodb(stack: &Stack, operation: &str, body: Value) -> Value {
    const SIGNED: &str =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let request =
        reqwest::Client::builder().no_proxy().build().unwrap().post(stack.local.endpoint_url.as_ref().unwrap());
    let request = request
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("authorization", SIGNED);
    let answer = request.body(body.to_string()).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{operation}: {status} {text}");
    serde_json::from_str(&text).unwrap()
}
