//! Messages.

use std::collections::HashSet;

use serde_json::Value;

use super::{Violation, in_range, is_name};

/// Of a message, and of a batch.
const LARGEST: usize = 1024 * 1024;
const MOST_ENTRIES: usize = 10;

pub(super) fn check(operation: &str, request: &Value) -> Result<(), Violation> {
    match operation {
        "SendMessage" => message(request),
        "ReceiveMessage" => receive(request),
        _ => batch(operation, request["Entries"].as_array().map_or(&[], Vec::as_slice)),
    }
}

fn batch(operation: &str, entries: &[Value]) -> Result<(), Violation> {
    if entries.is_empty() {
        return Err(Violation::new("EmptyBatchRequest", "a batch has no entry"));
    }
    if entries.len() > MOST_ENTRIES {
        return Err(Violation::new("TooManyEntriesInBatchRequest", format!("a batch has {} entries", entries.len())));
    }
    let mut ids = HashSet::new();
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        if !is_name(id, 80, |c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            return Err(Violation::new("InvalidBatchEntryId", format!("an entry's id is {id:?}")));
        }
        if !ids.insert(id) {
            return Err(Violation::new("BatchEntryIdsNotDistinct", format!("two entries have the id {id:?}")));
        }
        match operation {
            "SendMessageBatch" => message(entry)?,
            _ if entry["ReceiptHandle"].as_str().is_none_or(str::is_empty) => {
                return Err(Violation::new("MissingParameter", "an entry has no ReceiptHandle"));
            }
            _ => hidden(&entry["VisibilityTimeout"])?,
        }
    }
    let bytes: usize = entries.iter().filter_map(|entry| entry["MessageBody"].as_str()).map(str::len).sum();
    if bytes > LARGEST {
        return Err(Violation::new("BatchRequestTooLong", format!("a batch has {bytes} bytes")));
    }
    Ok(())
}

fn message(message: &Value) -> Result<(), Violation> {
    let body = message["MessageBody"].as_str().unwrap_or_default();
    if body.is_empty() || body.len() > LARGEST {
        return Err(invalid(format!("a message has {} bytes", body.len())));
    }
    if let Some(c) = body.chars().find(|c| !is_allowed(*c)) {
        return Err(Violation::new("InvalidMessageContents", format!("a message has a U+{:04X}", u32::from(c))));
    }
    if !in_range(&message["DelaySeconds"], 0..=900) {
        return Err(invalid(format!("DelaySeconds is {}", message["DelaySeconds"])));
    }
    match &message["MessageGroupId"] {
        Value::Null => Ok(()),
        Value::String(group) if is_name(group, 128, |c| c.is_ascii_graphic()) => Ok(()),
        group => Err(invalid(format!("MessageGroupId is {group}"))),
    }
}

/// The characters of XML 1.0.
const fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

fn receive(request: &Value) -> Result<(), Violation> {
    if !in_range(&request["MaxNumberOfMessages"], 1..=10) || !in_range(&request["WaitTimeSeconds"], 0..=20) {
        return Err(invalid(format!("ReceiveMessage is {request}")));
    }
    hidden(&request["VisibilityTimeout"])
}

fn hidden(seconds: &Value) -> Result<(), Violation> {
    if in_range(seconds, 0..=43_200) { Ok(()) } else { Err(invalid(format!("VisibilityTimeout is {seconds}"))) }
}

fn invalid(what: impl Into<String>) -> Violation {
    Violation::new("InvalidParameterValue", what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(operation: &str, request: &Value) -> Option<&'static str> {
        check(operation, request).err().map(|violation| violation.code)
    }

    #[test]
    fn what_aws_takes_passes() {
        let body = "\t\r\n ü\u{fffd}\u{10ffff}";
        let group = "!~".repeat(64);
        let message = json!({"MessageBody": body, "DelaySeconds": 900, "MessageGroupId": group});
        assert_eq!(code("SendMessage", &message), None);
        assert_eq!(code("SendMessage", &json!({"MessageBody": "x".repeat(LARGEST)})), None);
        let entries: Vec<_> = (0..10).map(|n| json!({"Id": n.to_string(), "MessageBody": "x"})).collect();
        assert_eq!(code("SendMessageBatch", &json!({"Entries": entries})), None);
        let entry = json!({"Id": "0", "ReceiptHandle": "x", "VisibilityTimeout": 0});
        assert_eq!(code("ChangeMessageVisibilityBatch", &json!({"Entries": [entry]})), None);
        assert_eq!(code("DeleteMessageBatch", &json!({"Entries": [entry]})), None);
        assert_eq!(code("ReceiveMessage", &json!({"MaxNumberOfMessages": 10, "VisibilityTimeout": 43_200})), None);
    }

    #[test]
    fn each_rule_of_a_message_finds_what_breaks_it() {
        for (message, expected) in [
            (json!({"MessageBody": ""}), "InvalidParameterValue"),
            (json!({}), "InvalidParameterValue"),
            (json!({"MessageBody": "x".repeat(LARGEST + 1)}), "InvalidParameterValue"),
            (json!({"MessageBody": "\u{0}"}), "InvalidMessageContents"),
            (json!({"MessageBody": "\u{ffff}"}), "InvalidMessageContents"),
            (json!({"MessageBody": "x", "DelaySeconds": 901}), "InvalidParameterValue"),
            (json!({"MessageBody": "x", "DelaySeconds": -1}), "InvalidParameterValue"),
            (json!({"MessageBody": "x", "DelaySeconds": "1"}), "InvalidParameterValue"),
            (json!({"MessageBody": "x", "MessageGroupId": ""}), "InvalidParameterValue"),
            (json!({"MessageBody": "x", "MessageGroupId": "x".repeat(129)}), "InvalidParameterValue"),
            (json!({"MessageBody": "x", "MessageGroupId": "ü"}), "InvalidParameterValue"),
        ] {
            assert_eq!(code("SendMessage", &message), Some(expected), "{message:.80}");
            let mut entry = message;
            entry["Id"] = "0".into();
            assert_eq!(code("SendMessageBatch", &json!({"Entries": [entry]})), Some(expected));
        }
    }

    #[test]
    fn each_rule_of_a_batch_finds_what_breaks_it() {
        let entry = |id: &str, bytes: usize| json!({"Id": id, "MessageBody": "x".repeat(bytes), "ReceiptHandle": "x"});
        let eleven: Vec<_> = (0..11).map(|n| entry(&n.to_string(), 1)).collect();
        for (entries, expected) in [
            (json!([]), "EmptyBatchRequest"),
            (json!(eleven), "TooManyEntriesInBatchRequest"),
            (json!([entry("0", 1), entry("0", 1)]), "BatchEntryIdsNotDistinct"),
            (json!([entry("a b", 1)]), "InvalidBatchEntryId"),
            (json!([entry(&"x".repeat(81), 1)]), "InvalidBatchEntryId"),
            (json!([entry("0", LARGEST / 2), entry("1", LARGEST / 2 + 1)]), "BatchRequestTooLong"),
        ] {
            assert_eq!(code("SendMessageBatch", &json!({"Entries": entries})), Some(expected));
        }
        let no_handle = json!({"Entries": [{"Id": "0"}]});
        assert_eq!(code("DeleteMessageBatch", &no_handle), Some("MissingParameter"));
        let too_long = json!({"Entries": [{"Id": "0", "ReceiptHandle": "x", "VisibilityTimeout": 43_201}]});
        assert_eq!(code("ChangeMessageVisibilityBatch", &too_long), Some("InvalidParameterValue"));
    }

    #[test]
    fn each_rule_of_a_receive_finds_what_breaks_it() {
        for request in [
            json!({"MaxNumberOfMessages": 0}),
            json!({"MaxNumberOfMessages": 11}),
            json!({"WaitTimeSeconds": 21}),
            json!({"VisibilityTimeout": 43_201}),
        ] {
            assert_eq!(code("ReceiveMessage", &request), Some("InvalidParameterValue"), "{request}");
        }
    }
}
