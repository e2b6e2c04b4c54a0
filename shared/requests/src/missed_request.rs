//! The body of `POST /v1/missed`.

use pombo_domain::ids::EndpointId;
use pombo_domain::invalid::Invalid;
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};

use crate::body;
use crate::json::{Mistakes, Value};

/// What the body must say that it is, so that nothing else that a receiver ever signed can be taken for it.
const TYPE: &str = "pombo.missed.request";
/// The largest body in bytes.
const LARGEST_BODY: usize = 4096;

/// What a receiver signs.
#[derive(Debug)]
pub struct MissedRequest {
    /// The endpoint whose receiver asks.
    pub endpoint: EndpointId,
    /// From when on.
    pub since: Timestamp,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// Whether all of it is to be sent again.
    pub replay: bool,
}

impl MissedRequest {
    /// What a receiver asks for.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule, 413 for a body that is too long.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let length = request.body.len();
        if length > LARGEST_BODY {
            return Err(Problem::new(
                413,
                format!("The body is {length} bytes, and at most {LARGEST_BODY} are taken."),
            ));
        }
        let mut body = body::object(request)?;
        let kind = body.required("type", kind);
        let endpoint = body.required("endpoint", Value::parsed);
        let since = body.required("since", Value::parsed);
        let cursor = body.optional("cursor", Value::string);
        let replay = body.optional("replay", Value::boolean).map(Option::unwrap_or_default);
        if replay == Ok(true) && cursor != Ok(None) {
            body.note("cursor", Invalid::rule("must not be given with replay: that is of all since then"));
        }
        body.end()?;
        kind?;
        Ok(Self { endpoint: endpoint?, since: since?, cursor: cursor?, replay: replay? })
    }
}

fn kind(value: &Value<'_>) -> Result<(), Mistakes> {
    if value.string()? == TYPE { Ok(()) } else { Err(value.wrong(Invalid::from(format!("must be {TYPE}")))) }
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
            (with(TYPE, r#","replay":true,"replay":true"#), "replay"),
            (with(TYPE, r#","type":"pombo.missed.request""#), "type"),
            (with(TYPE, r#","replay":true,"cursor":"x""#), "cursor"),
            (format!(r#"{{"type":"{TYPE}","endpoint":"ep_x","since":"2026-01-01T00:00:00Z"}}"#), "endpoint"),
            (format!(r#"{{"type":"{TYPE}","endpoint":"{ENDPOINT}"}}"#), "since"),
        ] {
            let problem = MissedRequest::read(&request(body.as_str())).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, field), "{body}");
        }
        let large = with(TYPE, &" ".repeat(LARGEST_BODY));
        let problem = MissedRequest::read(&request(large.clone())).unwrap_err();
        assert_eq!(problem.status, 413);
        assert!(problem.detail.contains(&format!("is {} bytes, and at most 4096", large.len())), "{}", problem.detail);
        assert!(!MissedRequest::read(&request(with(TYPE, ""))).unwrap().replay);
    }
}
