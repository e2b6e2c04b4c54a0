//! What a receiver gets, and what it gives.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::HeaderMap;

/// What a signature was worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// No secret was given for this path.
    Unchecked,
    /// It is valid under the path's secret.
    Verified,
    /// It is not, and why.
    Refused(String),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST`, if all is well.
    pub method: String,
    /// The path, and the query if there is one.
    pub path: String,
    /// The headers; names in lower case.
    pub headers: HeaderMap,
    /// The body's bytes, untouched.
    pub body: Bytes,
    /// When its body had come.
    pub at: SystemTime,
    /// The sender's port.
    pub port: u16,
    /// How often this `webhook-id` has come to this path, this time included.
    pub times: usize,
    /// What its signature was worth.
    pub signature: Signature,
}

impl Received {
    /// A header's value; empty if it is not there or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The name that the event has in its whole stack: its id and, unless that is `default`, its tenant.
    #[must_use]
    pub fn webhook_id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The event's id within its tenant.
    #[must_use]
    pub fn event_id(&self) -> &str {
        let webhook_id = self.webhook_id();
        webhook_id.split_once('~').map_or(webhook_id, |(_, id)| id)
    }
}

/// What a receiver answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// More headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long it takes until it answers.
    pub delay: Duration,
    /// Whether it closes the connection instead.
    pub hang_up: bool,
}

impl Answer {
    /// A status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), delay: Duration::ZERO, hang_up: false }
    }

    /// No answer: the connection is closed.
    #[must_use]
    pub fn hang_up() -> Self {
        Self { hang_up: true, ..Self::status(500) }
    }

    /// With a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a while.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}
