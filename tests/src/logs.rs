//! What a stack's functions write to their logs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::stack::Stack;

impl Stack {
    /// The lines of a log group, given by its name in the template. The emulator has those of an invocation when that has
    /// ended, or with the next one.
    pub async fn log_lines(&self, log_group: &str) -> Vec<String> {
        self.log_lines_since(log_group, UNIX_EPOCH).await
    }

    /// As [`Stack::log_lines`], but only what was logged from a time on.
    pub async fn log_lines_since(&self, log_group: &str, since: SystemTime) -> Vec<String> {
        let since = since.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let request = json!({"logGroupName": self.resource(log_group), "startTime": since});
        let answer = self.ask_emulator("logs", "Logs_20140328.FilterLogEvents", &request).await;
        let lines = answer["events"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        lines.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Calls a service for which there is no client here: one is too much to build for a call or two.
    pub async fn ask_emulator(&self, service: &str, target: &str, request: &Value) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let authorization = format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
        let url = self.local.emulator().unwrap().url();
        let request = client
            .post(url)
            .header("x-amz-target", target)
            .header("authorization", authorization)
            .header("content-type", "application/x-amz-json-1.1")
            .body(request.to_string());
        serde_json::from_slice(&request.send().await.unwrap().bytes().await.unwrap()).unwrap()
    }
}
