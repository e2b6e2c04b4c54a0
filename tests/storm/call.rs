//! An AWS call as the proxy reads it.

use hyper::http::request::Parts;
use pombo_domain::message::DeliveryMessage;
use serde_json::Value;

use crate::weather::Service;

/// A call.
pub struct Call {
    pub service: Service,
    pub operation: String,
    pub body: Value,
    /// What it is about: an event's id, if it names one.
    pub subject: String,
}

impl Call {
    pub fn read(head: &Parts, body: &[u8]) -> Self {
        let target = head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (service, operation) = match target.rsplit_once('.') {
            Some((service, operation)) if service.starts_with("DynamoDB") => (Service::DynamoDb, operation),
            Some((_, operation)) => (Service::Sqs, operation),
            None => (Service::Scheduler, "CreateSchedule"),
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let subject = subject(&body).unwrap_or_default();
        Self { service, operation: operation.to_owned(), body, subject }
    }

    /// The tables that it names.
    pub fn tables(&self) -> Vec<String> {
        let one = self.body["TableName"].as_str().map(str::to_owned);
        let batch = self.body["RequestItems"].as_object().into_iter().flat_map(|tables| tables.keys().cloned());
        let transaction = self.body["TransactItems"].as_array().into_iter().flatten();
        let transaction = transaction
            .flat_map(|item| item.as_object().into_iter().flat_map(|kinds| kinds.values()))
            .filter_map(|part| part["TableName"].as_str().map(str::to_owned));
        one.into_iter().chain(batch).chain(transaction).collect()
    }
}

fn subject(body: &Value) -> Option<String> {
    let key = |place: &Value| {
        let name = ["sort_key", "event_key"].into_iter().find_map(|name| place[name]["S"].as_str())?;
        Some(name.rsplit_once('#')?.1.to_owned())
    };
    let message = |text: &Value| Some(DeliveryMessage::parse(text.as_str()?).ok()?.delivery.event_id.to_string());
    key(&body["Item"])
        .or_else(|| key(&body["Key"]))
        .or_else(|| message(&body["MessageBody"]))
        .or_else(|| message(&body["Entries"][0]["MessageBody"]))
        .or_else(|| message(&body["Target"]["Input"]))
}
