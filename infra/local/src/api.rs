//! Where the stack's own APIs are, and a small client of them: a URL, a key, JSON both ways.

use anyhow::{Context, Result};
use reqwest::{Client, Method};
use serde_json::Value;

/// The Function URLs, without a slash at the end: add `/v1/...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// Events in.
    pub ingest: String,
    /// Endpoints and keys.
    pub endpoints: String,
    /// Deliveries and replays.
    pub replay: String,
}

/// One of the stack's Function URLs, called with an API key.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    key: String,
    client: Client,
}

impl Api {
    /// Calls the API at `base` (no slash at the end) with `key`.
    #[must_use]
    pub fn new(base: impl Into<String>, key: impl Into<String>) -> Self {
        let base = base.into();
        let mut client = Client::builder();
        if base.starts_with("http://") {
            // To read the authorities that the system trusts takes longer than a call, and nobody here is asked for one.
            client = client.tls_certs_only([]);
        }
        Self { base, key: key.into(), client: client.build().unwrap_or_default() }
    }

    /// `GET`: the status and the answer.
    ///
    /// # Errors
    /// When no answer comes, or one that is not JSON. A status that tells of a failure is no error. The same holds for the
    /// other calls.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        self.call(Method::GET, path, None).await
    }

    /// `POST`: the status and the answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// `PATCH`: the status and the answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn patch(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE`: the status and the answer.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn delete(&self, path: &str) -> Result<(u16, Value)> {
        self.call(Method::DELETE, path, None).await
    }

    /// Any call. An empty answer is `null`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let url = format!("{}{path}", self.base);
        let what = format!("{method} {url}");
        let mut request = self.client.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("{what} got no answer"))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.with_context(|| format!("the answer to {what} broke off"))?;
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        let answer = serde_json::from_slice(&bytes).with_context(|| {
            format!("{what} answered {status} with what is not JSON: {}", String::from_utf8_lossy(&bytes))
        })?;
        Ok((status, answer))
    }
}
