//! The body of `POST /v1/events`.

use pombo_domain::body::LARGEST_BODY;
use pombo_domain::event_type::EventType;
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event as an app posts it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEvent<'a> {
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// What it is about, byte for byte as it was sent.
    #[serde(borrow)]
    pub data: &'a RawValue,
    /// Whose event it is.
    pub tenant: Option<TenantId>,
    /// The app's own id: it makes a repeat safe.
    pub id: Option<EventId>,
    /// When it happened, if not now.
    pub timestamp: Option<Timestamp>,
}

impl<'a> NewEvent<'a> {
    /// Reads and checks the body of a request.
    pub fn read(request: &'a Request) -> Result<Self, Problem> {
        if request.body.len() > LARGEST_BODY {
            return Err(too_large());
        }
        let event: Self = request.json()?;
        if event.event_type.is_reserved() {
            return Err(Problem::invalid("type", "must not be pombo or below it: those are Pombo's own"));
        }
        if event.tenant.as_ref().is_some_and(TenantId::is_reserved) {
            return Err(Problem::invalid("tenant", "must not be pombo: that is Pombo's own"));
        }
        Ok(event)
    }
}

/// 413, with the limit.
pub fn too_large() -> Problem {
    Problem::new(413, "The event is too large: 350 KiB at most. Send an id, and let the receiver fetch the rest.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::request;

    #[test]
    fn what_is_wrong_is_named() {
        for (body, field) in [
            (r#"{"data":{}}"#, "type"),
            (r#"{"type":"a"}"#, "data"),
            (r#"{"type":"a b","data":{}}"#, "type"),
            (r#"{"type":"a.*","data":{}}"#, "type"),
            (r#"{"type":7,"data":{}}"#, "type"),
            (r#"{"type":"pombo.ping","data":{}}"#, "type"),
            (r#"{"type":"pombo","data":{}}"#, "type"),
            (r#"{"type":"a","data":{},"tenant":"a b"}"#, "tenant"),
            (r#"{"type":"a","data":{},"tenant":""}"#, "tenant"),
            (r#"{"type":"a","data":{},"tenant":"pombo"}"#, "tenant"),
            (r#"{"type":"a","data":{},"id":"a.b"}"#, "id"),
            (r#"{"type":"a","data":{},"id":7}"#, "id"),
            (r#"{"type":"a","data":{},"timestamp":"yesterday"}"#, "timestamp"),
            (r#"{"type":"a","data":{},"idd":"x"}"#, "idd"),
            (r#"{"type":"a","type":"b","data":{}}"#, "body"),
            (r#""text""#, "body"),
        ] {
            let problem = NewEvent::read(&request(body)).unwrap_err();
            assert_eq!(problem.status, 400, "{body}");
            assert_eq!(problem.errors.first().map(|error| error.field.as_str()), Some(field), "{body}: {problem:?}");
        }
    }

    #[test]
    fn what_is_not_json_is_said_and_what_is_too_large_refused() {
        for body in
            [b"".as_slice(), b"{", b"\xff", br#"{"type":"a","data":{"n":01}}"#, br#"{"type":"a","data":"\ud800"}x"#]
        {
            assert_eq!(NewEvent::read(&request(body)).unwrap_err().status, 400, "{body:?}");
        }
        let large = format!(r#"{{"type":"a","data":"{}"}}"#, "x".repeat(LARGEST_BODY));
        assert_eq!(NewEvent::read(&request(large)).unwrap_err().status, 413);
    }

    #[test]
    fn data_of_any_kind_is_taken_as_it_was_sent() {
        for data in ["{}", "[1, 2]", "null", "1.0", "\"x\"", r#"{ "a":1,"a":2 }"#] {
            let request = request(format!(r#"{{"type":"a", "data": {data} }}"#));
            assert_eq!(NewEvent::read(&request).unwrap().data.get(), data);
        }
    }
}
