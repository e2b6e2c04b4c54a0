//! The log of a request: the span that its lines are in, and the one line that says how it was answered.

use std::time::Instant;

use tracing::field::{Empty, display};
use tracing::{Instrument as _, Level, Span, error_span};

use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::Request;
use crate::response::Response;
use crate::route::{self, Route};

/// Answers a request, and logs that: at the level `success`, which is DEBUG or INFO, at INFO if it is refused, and at WARN if
/// Pombo could not do its part. Every line that is written meanwhile has the request's route, and the key of its caller.
pub async fn answer<O: Copy, K: Copy>(
    routes: &[Route<O, K>],
    request: Result<Box<Request>, Problem>,
    success: Level,
    respond: impl AsyncFnOnce(&Request) -> Result<Response, Problem>,
) -> Response {
    let request = match request {
        Ok(request) => request,
        Err(problem) => {
            tracing::info!(status = problem.status, "A request that cannot be read was refused.");
            return problem.into();
        }
    };
    let answered = async {
        let started = Instant::now();
        // In a box, or the types of the futures around it would nest deeper than the compiler follows.
        let response = Box::pin(respond(&request)).await.unwrap_or_else(Response::from);
        log(response.status, success, started);
        response
    };
    answered.instrument(span(routes, &request)).await
}

/// The span of a request. It has the level ERROR, so that it is there however the log is set. Who calls, and for which event,
/// is added when that is known.
fn span<O: Copy, K: Copy>(routes: &[Route<O, K>], request: &Request) -> Span {
    let (method, path, route) = (request.method.as_str(), request.logged_path(), route::name(routes, request));
    error_span!(
        "request",
        method,
        path,
        route,
        key = Empty,
        caller = Empty,
        endpoint = Empty,
        tenant = Empty,
        event = Empty,
        "type" = Empty,
        deliveries = Empty,
        duplicate = Empty
    )
}

fn log(status: u16, success: Level, started: Instant) {
    let duration_ms = started.elapsed().as_millis() as u64;
    match status {
        500.. => tracing::warn!(status, duration_ms, "Request answered."),
        ..400 if success == Level::DEBUG => tracing::debug!(status, duration_ms, "Request answered."),
        _ => tracing::info!(status, duration_ms, "Request answered."),
    }
}

/// Adds to the request's span who makes it: the id of the key, never the key.
pub fn note_caller(caller: &Caller) {
    let (name, span) = (if caller.key_id.is_some() { "key" } else { "caller" }, Span::current());
    span.record(name, display(&caller.name));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::{Arc, Mutex};

    use pombo_aws::logs::{LogSettings, subscriber};
    use pombo_domain::api_key::Scope;
    use serde_json::{Value, json};

    use super::*;
    use crate::request::Method;

    const ROUTES: [Route<(), ()>; 1] = [Route::key(Method::Get, "/v1/things/{id}", &[Scope::Ops], ())];

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn request(path: &str) -> Box<Request> {
        let (query, headers) = (BTreeMap::new(), BTreeMap::new());
        let (path, body) = (path.to_owned(), Vec::new());
        Box::new(Request { method: Method::Get, path, query, headers, body, identity: None })
    }

    /// The lines of a request that is answered with this status, without their time and how long it took.
    async fn lines(level: &str, success: Level, path: &str, status: u16) -> Vec<Value> {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = LogSettings::new(Some(level), Some("JSON"));
        let logging = tracing::subscriber::set_default(subscriber(settings, move || writer.clone()));
        let response = answer(&ROUTES, Ok(request(path)), success, async |_: &Request| {
            note_caller(&Caller { key_id: "aaaaaaaaaaaaaaaa".parse().ok(), ..caller("aaaaaaaaaaaaaaaa") });
            tokio::task::yield_now().await;
            if status >= 500 {
                tracing::error!("An AWS call failed.");
            }
            Ok(Response::json(status, &json!({})))
        });
        assert_eq!(response.await.status, status);
        drop(logging);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let line_fields = line.as_object_mut().unwrap();
            line_fields.remove("timestamp").unwrap();
            line_fields.remove("duration_ms");
            line
        };
        written.lines().map(line).collect()
    }

    fn caller(name: &str) -> Caller {
        Caller::without_key(name.into(), None, Scope::Ops)
    }

    #[tokio::test]
    async fn each_line_of_a_request_has_its_route_and_key_also_where_only_errors_are_logged() {
        let ids = |level, message| {
            json!({
                "level": level, "message": message, "method": "GET", "path": "/v1/things/7",
                "route": "GET /v1/things/{id}", "key": "aaaaaaaaaaaaaaaa",
            })
        };
        let mut answered = ids("WARN", "Request answered.");
        answered["status"] = json!(503);
        let failed = ids("ERROR", "An AWS call failed.");
        assert_eq!(lines("INFO", Level::INFO, "/v1/things/7", 503).await, [failed.clone(), answered]);
        assert_eq!(lines("ERROR", Level::INFO, "/v1/things/7", 503).await, [failed]);
    }

    #[tokio::test]
    async fn a_success_is_logged_at_its_level_and_a_refusal_at_info() {
        for (success, status, level) in [
            (Level::INFO, 200, "INFO"),
            (Level::DEBUG, 202, "DEBUG"),
            (Level::DEBUG, 400, "INFO"),
            (Level::INFO, 404, "INFO"),
            (Level::DEBUG, 429, "INFO"),
        ] {
            let lines = lines("DEBUG", success, "/v1/other", status).await;
            assert_eq!((lines.len(), &lines[0]["level"]), (1, &json!(level)), "{success} {status}");
            assert_eq!((&lines[0]["path"], lines[0].get("route")), (&json!("/v1/other"), None));
        }
    }

    #[tokio::test]
    async fn a_caller_without_a_key_is_not_logged_as_one() {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = LogSettings::new(None, Some("JSON"));
        let _logging = tracing::subscriber::set_default(subscriber(settings, move || writer.clone()));
        let _ = answer(&ROUTES, Ok(request("/")), Level::INFO, async |_: &Request| {
            note_caller(&caller("arn:aws:iam::1:user/u"));
            Ok(Response::json(200, &json!({})))
        })
        .await;
        let line: Value = serde_json::from_slice(&memory.0.lock().unwrap()).unwrap();
        assert_eq!((line.get("key"), &line["caller"]), (None, &json!("arn:aws:iam::1:user/u")));
    }
}
