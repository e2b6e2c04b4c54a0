use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use pombo_domain::delivery::{DeliveryKey, Step};
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use tracing::Instrument as _;
use tracing::field::Empty;
use tracing::level_filters::STATIC_MAX_LEVEL;

use super::*;

/// Lines in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `work` logs at this level, in this format.
fn written(level: &str, format: &str, work: impl FnOnce()) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let settings = LogSettings::new(Some(level), Some(format));
    tracing::subscriber::with_default(subscriber(settings, move || writer.clone()), work);
    let lines = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&lines).into_owned()
}

/// The same as JSON, each line without its time.
fn lines(level: &str, work: impl FnOnce()) -> String {
    written(level, "JSON", work).lines().map(without_time).collect()
}

/// A line without its time, which is held to the form that Lambda reads.
fn without_time(line: &str) -> String {
    let rest = line.strip_prefix("{\"timestamp\":\"").unwrap();
    let (time, rest) = rest.split_once("\",").unwrap();
    assert!(time.parse::<Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
    format!("{{{rest}\n")
}

/// The runtime's span of a request.
fn request() -> tracing::Span {
    tracing::info_span!(target: "lambda_runtime::layers::trace", "invoke", requestId = "r-1", xrayTraceId = "t-1")
}

fn delivery(event: &str) -> DeliveryKey {
    DeliveryKey {
        endpoint_id: EndpointId::generate([1; 10]),
        accepted_at: Timestamp::from_seconds(1_769_851_800),
        event_id: event.parse().unwrap(),
    }
}

#[test]
fn a_line_is_flat_and_has_the_ids_of_its_request_once_at_every_level() {
    for level in ["DEBUG", "INFO", "WARN", "ERROR"] {
        let logged = lines(level, || {
            request().in_scope(|| spans::message("m-1").in_scope(|| tracing::error!(count = 7, late = true, "ours")));
        });
        let expected = r#"{"level":"ERROR","message":"ours","requestId":"r-1","xrayTraceId":"t-1","message_id":"m-1","count":7,"late":true}"#;
        assert_eq!(logged, format!("{expected}\n"), "{level}");
    }
}

#[test]
fn of_two_values_with_one_name_the_inner_one_is_logged() {
    let logged = lines("INFO", || {
        let outer = tracing::error_span!("outer", key = "outer", job = "j", seen = Empty);
        outer.record("seen", true);
        let inner = outer.in_scope(|| tracing::error_span!("inner", key = "inner"));
        // As a span that is entered by hand, and as that of a line itself.
        inner.in_scope(|| tracing::info!("in the span"));
        tracing::info!(parent: &inner, key = "own", "of the span");
    });
    let expected = [
        r#"{"level":"INFO","message":"in the span","key":"inner","job":"j","seen":true}"#,
        r#"{"level":"INFO","message":"of the span","key":"own","job":"j","seen":true}"#,
    ];
    assert_eq!(logged.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn no_field_can_take_the_place_of_the_time_the_level_or_the_text() {
    let logged = lines("INFO", || {
        let span = tracing::error_span!("span", message = "not this", level = "FATAL", timestamp = "yesterday");
        span.in_scope(|| tracing::info!(level = "DEBUG", target = "elsewhere", "this"));
    });
    assert_eq!(logged, "{\"level\":\"INFO\",\"message\":\"this\"}\n");
}

#[test]
fn whatever_a_text_holds_the_line_is_one_json_object_in_one_line() {
    let text = "a\n\"b\"\\\u{1}\u{2028}é";
    let logged = written("INFO", "JSON", || {
        tracing::error_span!("span", text).in_scope(|| tracing::info!(debug = ?text, display = %text, "{text}"));
    });
    assert_eq!((logged.matches('\n').count(), logged.ends_with('\n')), (1, true));
    let line: serde_json::Value = serde_json::from_str(&logged).unwrap();
    assert_eq!((&line["message"], &line["text"], &line["display"]), (&text.into(), &text.into(), &text.into()));
    assert_eq!(line["debug"], format!("{text:?}"));
}

#[tokio::test]
async fn work_at_the_same_time_keeps_its_own_ids() {
    let memory = Memory::default();
    let writer = memory.clone();
    let settings = LogSettings::new(Some("ERROR"), Some("JSON"));
    let logging = tracing::subscriber::set_default(subscriber(settings, move || writer.clone()));
    let work = ["a", "b", "c"].map(|event| {
        async move {
            spans::note_delivery(&delivery(event), Step { round: 1, attempt: 2 });
            tokio::task::yield_now().await;
            tracing::error!(said = event, "failed");
        }
        .instrument(spans::message(event))
    });
    futures::future::join_all(work).await;
    drop(logging);
    let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
    assert_eq!(written.lines().count(), 3);
    for line in written.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let key = delivery(line["said"].as_str().unwrap());
        for (name, value) in [
            ("message_id", key.event_id.to_string()),
            ("event", key.event_id.to_string()),
            ("delivery", key.to_string()),
            ("endpoint", key.endpoint_id.to_string()),
            ("step", "1.2".to_owned()),
        ] {
            assert_eq!(line[name], value, "{line}");
        }
    }
}

#[test]
fn libraries_are_heard_only_where_they_say_nothing_of_what_is_sent() {
    let logged = |level| {
        lines(level, || {
            tracing::info!(delivery = "d", "ours");
            tracing::debug!(target: "dispatch::deliver", "ours, in detail");
            tracing::trace!(target: "dispatch::deliver", "ours, whole");
            tracing::error!(target: "h2::proto::connection", "theirs");
            tracing::debug!(target: "hyper_util::client::legacy::client", "theirs, in detail");
            tracing::debug!(target: "hyper_util::client::legacy::pool", "used again");
            tracing::debug!(target: "hyper_util::client::legacy::connect::http", "connected");
            tracing::trace!(target: "aws_smithy_runtime::client", "theirs, whole");
        })
    };
    let ours = "{\"level\":\"INFO\",\"message\":\"ours\",\"delivery\":\"d\"}\n";
    assert_eq!(logged("INFO"), ours);
    let detailed = concat!(
        "{\"level\":\"DEBUG\",\"message\":\"ours, in detail\"}\n",
        "{\"level\":\"DEBUG\",\"message\":\"connected\",\"target\":\"hyper_util::client::legacy::connect::http\"}\n",
    );
    assert_eq!(logged("DEBUG"), [ours, detailed].concat());
    assert_eq!(logged("ERROR"), "");
    assert_eq!(logged("TRACE"), logged("DEBUG"));
    assert_eq!(STATIC_MAX_LEVEL, LevelFilter::DEBUG);
}

#[test]
fn plain_text_has_the_time_and_the_ids_too() {
    let logged = written("INFO", "Text", || request().in_scope(|| tracing::info!("ours")));
    assert!(logged.contains("requestId=\"r-1\"") && logged.contains("INFO"), "{logged}");
    let (time, _) = logged.split_once(' ').unwrap();
    assert!(time.parse::<Timestamp>().is_ok(), "{logged}");
}

#[test]
fn levels_and_formats_are_those_of_lambda() {
    let level = |level| LogSettings::new(level, None).level;
    for (name, wanted) in [
        (Some("TRACE"), LevelFilter::DEBUG),
        (Some("DEBUG"), LevelFilter::DEBUG),
        (Some("warn"), LevelFilter::WARN),
        (Some("FATAL"), LevelFilter::ERROR),
        (Some("h2=trace"), LevelFilter::INFO),
        (None, LevelFilter::INFO),
    ] {
        assert_eq!(level(name), wanted, "{name:?}");
    }
    for (format, json) in [(Some("JSON"), true), (Some("Text"), false), (None, false)] {
        assert_eq!(LogSettings::new(None, format).json, json, "{format:?}");
    }
}
