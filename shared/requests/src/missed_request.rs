//! The body of `POST /v1/missed`.

use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};
use serde::Deserialize;

/// What the body must say that it is, so that nothing else that a receiver ever signed can be taken for it.
const TYPE: &str = "pombo.missed.request";
/// The largest body in bytes.
const LARGEST_BODY: usize = 4096;

/// What a receiver signs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissedRequest {
    #[serde(rename = "type")]
    kind: String,
    /// The endpoint whose receiver asks.
    pub endpoint: EndpointId,
    /// From when on.
    pub since: Timestamp,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Whether all of it is to be sent again.
    #[serde(default)]
    pub replay: bool,
}

impl MissedRequest {
    /// What a receiver asks for.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        if request.body.len() > LARGEST_BODY {
            return Err(Problem::new(413, format!("The body must be at most {LARGEST_BODY} bytes.")));
        }
        let body: Self = request.json()?;
        if body.kind != TYPE {
            return Err(Problem::invalid("type", format!("must be {TYPE}")));
        }
        if body.replay && body.cursor.is_some() {
            return Err(Problem::invalid("cursor", "must not be given with replay: that is of all since then"));
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::request;

    const ENDPOINT: &str = "ep_aaaaaaaaaaaaaaaa";

    #[test]
    fn a_body_of_another_kind_or_with_other_fields_is_refused() {
        let with = |kind: &str, more: &str| {
            format!(r#"{{"type":"{kind}","endpoint":"{ENDPOINT}","since":"2026-01-01T00:00:00Z"{more}}}"#)
        };
        for (body, field) in [
            (with("student.created", ""), "type"),
            (with(TYPE, r#","until":"2026-01-02T00:00:00Z""#), "until"),
            (with(TYPE, r#","tenant":"other""#), "tenant"),
            (with(TYPE, r#","replay":"yes""#), "replay"),
            (with(TYPE, r#","replay":true,"cursor":"x""#), "cursor"),
            (format!(r#"{{"type":"{TYPE}","endpoint":"ep_x","since":"2026-01-01T00:00:00Z"}}"#), "endpoint"),
            (format!(r#"{{"type":"{TYPE}","endpoint":"{ENDPOINT}"}}"#), "since"),
        ] {
            let problem = MissedRequest::read(&request(body.as_str())).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{body}");
        }
        assert_eq!(MissedRequest::read(&request(with(TYPE, &" ".repeat(LARGEST_BODY)))).unwrap_err().status, 413);
        assert!(!MissedRequest::read(&request(with(TYPE, ""))).unwrap().replay);
    }
}
