//! The endpoint as it was at an attempt.

use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::text::cut;

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
        Self { version: endpoint.version, url: Some(cut(endpoint.url.without_query().to_owned(), MAX_URL)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_to_120_bytes_and_the_cut_is_seen() {
        let fits = format!("https://example.com/{}", "x".repeat(100));
        assert_eq!(cut(fits.clone(), MAX_URL), fits);
        let cut = cut(format!("{fits}y"), MAX_URL);
        assert_eq!((cut.len(), cut.ends_with("xxx…")), (120, true), "{cut}");
    }
}
