//! The calls of the stack's three URLs, and the refusal of a request that is none of them.
//!
//! A caller who takes the wrong URL, leaves out `/v1` or misspells a path is told which call was probably meant and where
//! it is served. Each function knows its own calls by its routes; a test of each holds them against this table.

use crate::problem::Problem;
use crate::request::{Method, Request};
use crate::route;

/// A URL of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Url {
    /// Events come in here.
    Ingest,
    /// Operators look and replay here.
    Replay,
    /// Endpoints and API keys are managed here.
    Endpoints,
}

impl Url {
    /// The URL's name, as the documents have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Replay => "replay",
            Self::Endpoints => "endpoints",
        }
    }
}

/// A call of the stack: on which URL, with which method, at which path.
pub type Served = (Url, Method, &'static str);

/// Every call of the stack.
pub const SERVED: [Served; 29] = {
    use Method::{Delete, Get, Patch, Post};
    use Url::{Endpoints, Ingest, Replay};
    [
        (Ingest, Post, "/v1/events"),
        (Replay, Get, "/"),
        (Replay, Post, "/v1/missed"),
        (Replay, Get, "/v1/events"),
        (Replay, Get, "/v1/events/{id}"),
        (Replay, Get, "/v1/deliveries"),
        (Replay, Get, "/v1/deliveries/{id}"),
        (Replay, Post, "/v1/deliveries/{id}/cancel"),
        (Replay, Get, "/v1/health/{id}"),
        (Replay, Get, "/v1/dead-letters"),
        (Replay, Post, "/v1/replays"),
        (Replay, Get, "/v1/replays"),
        (Replay, Get, "/v1/replays/{id}"),
        (Replay, Post, "/v1/replays/{id}/cancel"),
        (Endpoints, Get, "/v1/endpoints"),
        (Endpoints, Post, "/v1/endpoints"),
        (Endpoints, Delete, "/v1/endpoints/{id}"),
        (Endpoints, Get, "/v1/endpoints/{id}"),
        (Endpoints, Patch, "/v1/endpoints/{id}"),
        (Endpoints, Post, "/v1/endpoints/{id}/pause"),
        (Endpoints, Post, "/v1/endpoints/{id}/resume"),
        (Endpoints, Post, "/v1/endpoints/{id}/rotate-secret"),
        (Endpoints, Post, "/v1/endpoints/{id}/test"),
        (Endpoints, Get, "/v1/endpoints/{id}/keys.json"),
        (Endpoints, Get, "/v1/endpoints/{id}/secret"),
        (Endpoints, Get, "/v1/keys"),
        (Endpoints, Post, "/v1/keys"),
        (Endpoints, Delete, "/v1/keys/{id}"),
        (Endpoints, Get, "/v1/tenants"),
    ]
};

/// The calls of one URL, in the order of the table.
pub fn served_by(url: Url) -> impl Iterator<Item = (Method, &'static str)> {
    SERVED.into_iter().filter(move |call| call.0 == url).map(|(_, method, path)| (method, path))
}

/// The longest path for which the nearest call is looked for, in bytes.
const MAX_COMPARED: usize = 200;

/// Costs, in hundredths of a segment of the path.
const SEGMENT: usize = 100;
/// A missing `/v1`.
const VERSION: usize = 25;
/// A segment that stands for `{id}`.
const AS_ID: usize = 10;
/// Another method, or another URL, than the request's.
const OTHER_METHOD_OR_URL: usize = 50;

/// The refusal of a request that is no call of the URL `here`: 405 with `Allow` where the path has other methods here, else
/// 404. Both name the call that was probably meant, if there is one.
#[must_use]
pub fn not_served(here: Url, request: &Request) -> Problem {
    let path = request.path.as_str();
    let is_here = |call: &&Served| call.0 == here && route::id_in(call.2, path).is_some();
    let allowed: Vec<_> = SERVED.iter().filter(is_here).map(|call| call.1.as_str()).collect();
    let elsewhere = SERVED.iter().find(|call| call.1 == request.method && route::id_in(call.2, path).is_some());
    if !allowed.is_empty() {
        let allow = allowed.join(", ");
        let mut detail = format!("This path of the {} URL has the methods {allow}.", here.name());
        if let Some((url, method, _)) = elsewhere {
            detail.push_str(&format!(" {} {path} is a call of the {} URL.", method.as_str(), url.name()));
        }
        return Problem { allow: Some(allow), ..Problem::new(405, detail) };
    }
    let asked = format!("{} {}", request.method.as_str(), Problem::shortened(path_or_root(path)));
    let name = here.name();
    let detail = match (elsewhere, nearest(here, request.method, path)) {
        (Some((url, ..)), _) => format!("{asked} is a call of the {} URL; this is the {name} URL.", url.name()),
        (None, Some((url, method, path))) if url == here => {
            format!("{asked} is not a call of the {name} URL. The nearest one is {} {path}.", method.as_str())
        }
        (None, Some((url, method, path))) => format!(
            "{asked} is not a call of the {name} URL. The nearest one is {} {path} of the {} URL.",
            method.as_str(),
            url.name()
        ),
        (None, None) => format!("{asked} is not a call of the {name} URL, nor of another one of this stack."),
    };
    Problem::new(404, detail)
}

/// The path as the caller wrote it: a request's has no slash at the end.
const fn path_or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// The call that a path resembles most; none where less than half of it is alike.
fn nearest(here: Url, method: Method, path: &str) -> Option<Served> {
    if path.len() > MAX_COMPARED {
        return None;
    }
    let asked: Vec<_> = path.split('/').skip(1).collect();
    let cost = |call: &Served| {
        let wanted: Vec<_> = call.2.split('/').skip(1).filter(|segment| !segment.is_empty()).collect();
        let path = distance(&asked, &wanted, |segment| if *segment == "v1" { VERSION } else { SEGMENT }, unlike);
        let other = usize::from(call.1 != method) + usize::from(call.0 != here);
        (path, path + other * OTHER_METHOD_OR_URL)
    };
    let nearest = SERVED.iter().filter(|call| call.2 != "/").min_by_key(|call| cost(call).1)?;
    // To the root there is nothing nearer than what the URL itself serves.
    let most = if asked.is_empty() { usize::MAX } else { asked.len().max(2) * SEGMENT / 2 };
    (cost(nearest).0 <= most).then_some(*nearest)
}

/// How unlike two segments are, in hundredths. Any segment may stand for `{id}`, though a name is the better match.
fn unlike(asked: &&str, wanted: &&str) -> usize {
    if *wanted == "{id}" && !asked.is_empty() {
        return AS_ID;
    }
    let (asked, wanted): (Vec<_>, Vec<_>) = (asked.to_lowercase().chars().collect(), wanted.chars().collect());
    let edits = distance(&asked, &wanted, |_| 1, |asked, wanted| usize::from(asked != wanted));
    // More than half of the letters: another word altogether, which costs as much as leaving one out and adding the other.
    let longest = asked.len().max(wanted.len());
    if 2 * edits > longest { 2 * SEGMENT } else { edits * SEGMENT / longest }
}

/// The least that it costs to make one sequence of another by leaving out, adding and replacing (Levenshtein).
fn distance<T>(from: &[T], to: &[T], gap: impl Fn(&T) -> usize, replace: impl Fn(&T, &T) -> usize) -> usize {
    let mut row = vec![0];
    for added in to {
        row.push(row[row.len() - 1] + gap(added));
    }
    for left_out in from {
        let mut diagonal = row[0];
        row[0] += gap(left_out);
        for (column, added) in to.iter().enumerate() {
            let replaced = diagonal + replace(left_out, added);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column + 1] + gap(left_out)).min(row[column] + gap(added));
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Url::{Endpoints, Ingest, Replay};
    use super::*;

    fn refused(url: Url, method: Method, path: &str) -> Problem {
        let request = Request {
            method,
            path: path.trim_end_matches('/').to_owned(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            identity: None,
        };
        not_served(url, &request)
    }

    #[test]
    fn a_wrong_method_is_refused_with_the_right_ones() {
        for (url, method, path, allow) in [
            (Ingest, Method::Get, "/v1/events", "POST"),
            (Ingest, Method::Other, "/v1/events/", "POST"),
            (Replay, Method::Post, "/", "GET"),
            (Replay, Method::Delete, "/v1/events/x", "GET"),
            (Replay, Method::Get, "/v1/missed", "POST"),
            (Replay, Method::Get, "/v1/deliveries/d/cancel", "POST"),
            (Replay, Method::Patch, "/v1/replays", "POST, GET"),
            (Endpoints, Method::Other, "/v1/endpoints/ep_x", "DELETE, GET, PATCH"),
            (Endpoints, Method::Patch, "/v1/keys", "GET, POST"),
        ] {
            let problem = refused(url, method, path);
            assert_eq!(
                (problem.status, problem.allow.as_deref()),
                (405, Some(allow)),
                "{method:?} {path}: {problem:?}"
            );
            assert!(problem.detail.contains(url.name()), "{}", problem.detail);
        }
    }

    #[test]
    fn a_call_of_another_url_is_named_with_its_url() {
        for (url, method, path, says) in [
            (
                Endpoints,
                Method::Post,
                "/v1/events",
                "POST /v1/events is a call of the ingest URL; this is the endpoints URL.",
            ),
            (Replay, Method::Post, "/v1/events", "has the methods GET. POST /v1/events is a call of the ingest URL."),
            (Ingest, Method::Get, "/v1/events", "has the methods POST. GET /v1/events is a call of the replay URL."),
            (Ingest, Method::Get, "/v1/events/x", "GET /v1/events/x is a call of the replay URL"),
            (Ingest, Method::Get, "/", "GET / is a call of the replay URL; this is the ingest URL."),
            (Replay, Method::Patch, "/v1/endpoints/x", "is a call of the endpoints URL; this is the replay URL."),
        ] {
            let detail = refused(url, method, path).detail;
            assert!(detail.contains(says), "{detail}");
        }
    }

    #[test]
    fn the_nearest_call_is_named_and_nothing_where_none_is_near() {
        for (url, method, path, nearest) in [
            (Ingest, Method::Post, "/", Some("POST /v1/events.")),
            (Ingest, Method::Post, "/events", Some("POST /v1/events.")),
            (Ingest, Method::Post, "/v1/events/batch", Some("POST /v1/events.")),
            (Ingest, Method::Post, "/v1/event", Some("POST /v1/events.")),
            (Ingest, Method::Post, "/V1/Events", Some("POST /v1/events.")),
            (Ingest, Method::Post, "/v2/events", Some("POST /v1/events.")),
            (Replay, Method::Get, "/deliveries", Some("GET /v1/deliveries.")),
            (Replay, Method::Get, "/v1/delivery/d", Some("GET /v1/deliveries/{id}.")),
            (Replay, Method::Get, "/v1/deliveries/d/e", Some("GET /v1/deliveries/{id}.")),
            (Replay, Method::Post, "/v1/replay", Some("POST /v1/replays.")),
            (Replay, Method::Get, "/v1/health", Some("GET /v1/health/{id}.")),
            (Replay, Method::Post, "/endpoints", Some("POST /v1/endpoints of the endpoints URL.")),
            (Endpoints, Method::Get, "/v1/endpoints/ep_x/secrets", Some("GET /v1/endpoints/{id}/secret.")),
            (Endpoints, Method::Post, "/v1/endpoints/ep_x/rotate", Some("/v1/endpoints/{id}")),
            (Ingest, Method::Get, "/favicon.ico", None),
            (Replay, Method::Get, "/robots.txt", None),
            (Endpoints, Method::Post, "/wp-admin/setup/index.php", None),
        ] {
            let problem = refused(url, method, path);
            let found = problem.detail.split_once("The nearest one is ").map(|(_, nearest)| nearest);
            let right = match (found, nearest) {
                (Some(found), Some(nearest)) => found.contains(nearest),
                (found, nearest) => found == nearest,
            };
            assert!(right && problem.status == 404, "{path}: {}", problem.detail);
        }
    }

    #[test]
    fn of_a_long_path_the_beginning_is_repeated() {
        let long = format!("/{}", "é/".repeat(1_000_000));
        let problem = refused(Replay, Method::Get, &long);
        assert!(problem.detail.contains("é/é") && problem.detail.len() < 400, "{}", problem.detail.len());
    }
}
