//! The body of `POST /v1/events`.

use std::time::Duration;

use pombo_domain::body::{MAX_BODY, MAX_PACKED_BODY, wire_body};
use pombo_domain::event_type::EventType;
use pombo_domain::hops::{HOPS_HEADER, Hops, LOOP_DETECTED, MAX_HOPS};
use pombo_domain::ids::{EventId, TenantId};
use pombo_domain::invalid::Invalid;
use pombo_domain::nesting::{MAX_LEVELS, levels};
use pombo_domain::time::Timestamp;
use pombo_web::{Problem, Request};
use serde_json::value::RawValue;

use crate::json::{Mistakes, Value};
use crate::{body, fields};

/// How far ahead of now a timestamp may be: clocks differ. An event is sent when it is posted, so a later time is a mistake.
const MAX_AHEAD: Duration = Duration::from_secs(5 * 60);

/// An event as an app posts it.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// What happened.
    pub event_type: EventType,
    /// What it is about, byte for byte as it was sent.
    pub data: &'a RawValue,
    /// Whose event it is.
    pub tenant: Option<TenantId>,
    /// The app's own id: it makes a repeat safe.
    pub id: Option<EventId>,
    /// When it happened, if not now.
    pub timestamp: Option<Timestamp>,
    /// How many times Pombo has sent it on before, by the header `pombo-hops`.
    pub hops: Hops,
}

impl<'a> NewEvent<'a> {
    /// Reads and checks the body of a request that comes in at `now`.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule, or for a wrong `pombo-hops`; 413 for a body that is too long; 415 as
    /// [`body::object`]; 508 for an event that goes round in a loop.
    pub fn read(request: &'a Request, now: Timestamp) -> Result<Self, Problem> {
        let hops = hops(request)?;
        let length = request.body.len();
        if length > MAX_BODY {
            return Err(too_large(&format!(
                "the request body is {length} bytes; at most {MAX_BODY} are taken, and at most {MAX_PACKED_BODY} when it is compressed"
            )));
        }
        let mut body = body::object(request)?;
        let event_type = body.required("type", event_type);
        let data = body.required("data", data);
        let tenant = body.optional("tenant", fields::tenant);
        let id = body.optional("id", Value::parsed);
        let timestamp = body.optional("timestamp", |value| timestamp(value, now));
        body.end()?;
        Ok(Self { event_type: event_type?, data: data?, tenant: tenant?, id: id?, timestamp: timestamp?, hops })
    }

    /// The body that receivers get of an event that is accepted at `accepted_at`.
    ///
    /// # Errors
    /// 413 for a body that is too long. This body may be longer than the request's, because it always has a timestamp.
    pub fn wire_body(&self, accepted_at: Timestamp) -> Result<Vec<u8>, Problem> {
        let body = wire_body(&self.event_type, self.timestamp.unwrap_or(accepted_at), self.data);
        let length = body.len();
        if length > MAX_BODY {
            return Err(too_large(&format!(
                "the body for receivers, {{\"type\", \"timestamp\", \"data\"}}, is {length} bytes; at most {MAX_BODY} are sent, \
                 and at most {MAX_PACKED_BODY} are stored of it, compressed"
            )));
        }
        Ok(body)
    }
}

/// 413, with what was measured: which bytes, how many there are, and how many there may be.
pub fn too_large(measured: &str) -> Problem {
    Problem::new(
        413,
        format!("The event is too large: {measured}. Put an id into data, and let the receiver fetch the rest."),
    )
}

/// How many times Pombo has sent the event on before.
fn hops(request: &Request) -> Result<Hops, Problem> {
    let Some(text) = request.header(HOPS_HEADER) else { return Ok(Hops::NONE) };
    let hops: Hops = text.parse().map_err(|rule: Invalid| rule.in_field(HOPS_HEADER))?;
    if hops < MAX_HOPS {
        return Ok(hops);
    }
    let detail = format!(
        "The event goes round in a loop: it has been sent on by Pombo {hops} times, and is taken below {MAX_HOPS} times. \
         Look for endpoints whose URL is an ingest URL. An app that posts events of its own after a webhook must not copy the \
         webhook's header {HOPS_HEADER}."
    );
    Err(Problem::new(LOOP_DETECTED, detail))
}

fn event_type(value: &Value<'_>) -> Result<EventType, Mistakes> {
    let event_type: EventType = value.parsed()?;
    if event_type.is_reserved() {
        return Err(value.wrong(Invalid::rule("must not be pombo or below it: those are Pombo's own")));
    }
    Ok(event_type)
}

fn data<'a>(value: &Value<'a>) -> Result<&'a RawValue, Mistakes> {
    let data = value.raw()?;
    let levels = levels(data.get());
    if levels > MAX_LEVELS {
        let rule = format!("must be at most {MAX_LEVELS} levels of arrays and objects deep; these are {levels}");
        return Err(value.wrong(Invalid::from(rule)));
    }
    Ok(data)
}

fn timestamp(value: &Value<'_>, now: Timestamp) -> Result<Timestamp, Mistakes> {
    let timestamp: Timestamp = value.parsed()?;
    if timestamp > now.plus(MAX_AHEAD) {
        let rule =
            format!("must be at most 5 minutes ahead of now, which is {now}: an event is sent when it is posted");
        return Err(value.wrong(Invalid::from(rule)));
    }
    Ok(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{NOW, request};

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
            (r#"{"type":"a","type":"b","data":{}}"#, "type"),
            (r#"{"type":"a","data":{},"data":{}}"#, "data"),
            (r#"{"type":"a","data":{},"tenant":"a","tenant":"a"}"#, "tenant"),
            (r#""text""#, "body"),
        ] {
            let problem = NewEvent::read(&request(body), NOW).unwrap_err();
            assert_eq!(problem.status, 400, "{body}");
            assert_eq!(problem.errors.first().map(|error| error.field.as_str()), Some(field), "{body}: {problem:?}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let body = r#"{"type":"a b","tenant":["x"],"id":"a.b","timestamp":7,"idd":"x","id":"y"}"#;
        let problem = NewEvent::read(&request(body), NOW).unwrap_err();
        let fields: Vec<_> = problem.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["id", "type", "data", "tenant", "id", "timestamp", "idd"], "{problem:?}");
        assert_eq!(problem.detail, "id: must be given once (7 mistakes in all: see errors)");
    }

    #[test]
    fn an_event_that_has_been_sent_on_is_taken_below_five_hops() {
        let read = |hops: Option<&str>| {
            let mut request = request(r#"{"type":"a","data":{}}"#);
            request.headers.extend(hops.map(|hops| (HOPS_HEADER.to_owned(), hops.to_owned())));
            NewEvent::read(&request, NOW).map(|event| event.hops.to_string())
        };
        for (hops, taken) in [(None, "0"), (Some("0"), "0"), (Some("1"), "1"), (Some("4"), "4")] {
            assert_eq!(read(hops).unwrap(), taken, "{hops:?}");
        }
        for hops in ["5", "6", "99999999999999999999"] {
            let problem = read(Some(hops)).unwrap_err();
            assert_eq!((problem.status, problem.errors.len()), (508, 0), "{problem:?}");
            assert!(problem.detail.starts_with("The event goes round in a loop"), "{}", problem.detail);
        }
        for wrong in ["", "-1", "1,1", "1.0", "many", "\u{fffd}"] {
            let problem = read(Some(wrong)).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, "pombo-hops"), "{wrong:?}");
        }
    }

    #[test]
    fn a_timestamp_is_at_most_five_minutes_ahead() {
        let read = |at: Timestamp| {
            let body = format!(r#"{{"type":"a","data":{{}},"timestamp":"{at}"}}"#);
            NewEvent::read(&request(body), NOW).map(|event| event.timestamp.unwrap())
        };
        let ahead = |millis: i64| Timestamp::from_millis(NOW.as_millis() + millis);
        for right in [ahead(-365 * 86_400_000), NOW, ahead(300_000)] {
            assert_eq!(read(right).unwrap(), right);
        }
        for wrong in [ahead(300_001), ahead(365 * 86_400_000)] {
            let problem = read(wrong).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, "timestamp"), "{problem:?}");
            assert!(problem.detail.contains("at most 5 minutes ahead of now, which is 2026-01-31T09:30:00.050Z"));
        }
    }

    #[test]
    fn data_is_at_most_128_levels_deep() {
        let read = |levels: usize| {
            let body = format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
            NewEvent::read(&request(body), NOW).map(drop)
        };
        assert_eq!((read(0).is_err(), read(1), read(128)), (true, Ok(()), Ok(())));
        for wrong in [129, 5000, 100_000] {
            let problem = read(wrong).unwrap_err();
            assert_eq!((problem.status, problem.errors[0].field.as_str()), (400, "data"));
            assert!(problem.detail.contains(&format!("128 levels of arrays and objects deep; these are {wrong}")));
        }
    }

    #[test]
    fn what_is_too_large_is_told_which_bytes_were_measured_and_how_many_there_are() {
        let sized = |length: usize| {
            let (head, tail) = (r#"{"type":"a","data":""#, r#""}"#);
            request(format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len())))
        };
        let posted = sized(MAX_BODY + 1);
        let problem = NewEvent::read(&posted, NOW).unwrap_err();
        assert_eq!(problem.status, 413);
        let measured =
            "the request body is 2097153 bytes; at most 2097152 are taken, and at most 358400 when it is compressed";
        assert!(problem.detail.contains(measured), "{}", problem.detail);
        // As long as may be posted; for receivers a timestamp is added.
        let posted = sized(MAX_BODY);
        let problem = NewEvent::read(&posted, NOW).unwrap().wire_body(NOW).unwrap_err();
        assert_eq!(problem.status, 413);
        let added = r#""timestamp":"2026-01-31T09:30:00.050Z","#.len();
        let measured =
            format!("the body for receivers, {{\"type\", \"timestamp\", \"data\"}}, is {} bytes", MAX_BODY + added);
        assert!(problem.detail.contains(&measured), "{}", problem.detail);
        let posted = sized(MAX_BODY - added);
        assert_eq!(NewEvent::read(&posted, NOW).unwrap().wire_body(NOW).unwrap().len(), MAX_BODY);
    }

    #[test]
    fn what_is_not_json_is_said_and_what_is_too_large_refused() {
        for body in
            [b"".as_slice(), b"{", b"\xff", br#"{"type":"a","data":{"n":01}}"#, br#"{"type":"a","data":"\ud800"}x"#]
        {
            assert_eq!(NewEvent::read(&request(body), NOW).unwrap_err().status, 400, "{body:?}");
        }
        let large = format!(r#"{{"type":"a","data":"{}"}}"#, "x".repeat(MAX_BODY));
        assert_eq!(NewEvent::read(&request(large), NOW).unwrap_err().status, 413);
    }

    #[test]
    fn data_of_any_kind_is_taken_as_it_was_sent() {
        for data in ["{}", "[1, 2]", "null", "1.0", "\"x\"", r#"{ "a":1,"a":2 }"#] {
            let request = request(format!(r#"{{"type":"a", "data": {data} }}"#));
            assert_eq!(NewEvent::read(&request, NOW).unwrap().data.get(), data);
        }
    }
}
