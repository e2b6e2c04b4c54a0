//! The path of a request as the log has it.

use pombo_domain::text::in_one_line;

use crate::request::Request;

/// Maximum size of a path in the log, in bytes: that of a delivery has about 200.
const MAX_PATH: usize = 300;

impl Request {
    /// The path for a line of the log, cut to 300 bytes: anybody may ask for any path, without a key.
    #[must_use]
    pub fn logged_path(&self) -> String {
        in_one_line(&self.path, MAX_PATH)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::request::Method;

    #[test]
    fn a_long_path_is_logged_with_an_ellipsis_and_a_usual_one_whole() {
        let logged = |path: String| {
            let (query, headers) = (BTreeMap::new(), BTreeMap::new());
            Request { method: Method::Get, path, query, headers, body: Vec::new(), identity: None }.logged_path()
        };
        let usual = format!("/v1/deliveries/{}/cancel", "x".repeat(250));
        assert_eq!(logged(usual.clone()), usual);
        assert_eq!(logged("/".repeat(100_000)), format!("{}…", "/".repeat(297)));
    }
}
