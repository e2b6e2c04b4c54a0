//! The endpoint as it was at an attempt.

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// Maximum size of a kept URL, in bytes.
const MAX_URL: usize = 120;

/// Where an attempt went: the endpoint's version, and the URL of this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTo {
    /// The endpoint's version, which each change of the endpoint counts up.
    #[serde(rename = "endpoint_version")]
    pub version: u64,
    /// The URL without its query, which may hold a token, and cut to 120 bytes, with an ellipsis in place of the rest.
    /// `None` within a record, which keeps the URL of each version once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl SentTo {
    /// The endpoint as it is now.
    #[must_use]
    pub fn now(endpoint: &Endpoint) -> Self {
        Self { version: endpoint.version, url: Some(shortened(endpoint.url.without_query())) }
    }
}

/// The start of a URL.
fn shortened(url: &str) -> String {
    const ELLIPSIS: &str = "…";
    if url.len() <= MAX_URL {
        return url.to_owned();
    }
    url[..url.floor_char_boundary(MAX_URL - ELLIPSIS.len())].to_owned() + ELLIPSIS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_to_120_bytes_and_the_cut_is_seen() {
        let fits = format!("https://example.com/{}", "x".repeat(100));
        assert_eq!(shortened(&fits), fits);
        let cut = shortened(&format!("{fits}y"));
        assert_eq!((cut.len(), cut.ends_with("xxx…")), (120, true), "{cut}");
    }
}
