//! Answers of a Function URL.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: BTreeMap<&'static str, String>,
    /// The body: text, or bytes as base64.
    pub body: String,
    /// Whether the body is base64.
    pub base64: bool,
}

impl Response {
    /// A JSON answer.
    #[must_use]
    pub fn json<T: Serialize>(status: u16, body: &T) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self { body, ..Self::empty(status) }.with_header("content-type", "application/json"),
            // The answers are plain structures with text keys: writing them cannot fail.
            Err(error) => Self { body: error.to_string(), ..Self::empty(500) },
        }
        .with_header("cache-control", "no-store")
    }

    /// An answer without a body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: BTreeMap::new(), body: String::new(), base64: false }
    }

    /// The answer with a header set.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl From<Response> for serde_json::Value {
    /// The payload that a Function URL expects. No answer is to be taken for another type than it says it is of.
    fn from(response: Response) -> Self {
        let response = response.with_header("x-content-type-options", "nosniff");
        json!({
            "statusCode": response.status,
            "headers": response.headers,
            "body": response.body,
            "isBase64Encoded": response.base64,
            "cookies": [],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn every_answer_forbids_to_guess_its_type() {
        for response in [Response::json(200, &1), Response::empty(204), Problem::new(404, "x").into()] {
            let payload = serde_json::Value::from(response);
            assert_eq!(payload["headers"]["x-content-type-options"], "nosniff", "{payload}");
        }
    }
}
