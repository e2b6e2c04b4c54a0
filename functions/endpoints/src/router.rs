//! Which call a request is.

use pombo_domain::api_key::Scope;
use pombo_web::{Method, Problem, Request, Response};
use serde::de::DeserializeOwned;

use crate::{App, create, keys, lifecycle, list, patch, public_keys, secrets, test_endpoint};

/// Authenticates and serves a request, or serves what is for anybody; `key` tells the log who called.
pub async fn route(app: &App, request: &Request, key: &mut Option<String>) -> Result<Response, Problem> {
    let segments = request.segments();
    let Some(methods) = methods(&segments) else { return Err(unknown(request, &segments)) };
    if !methods.contains(&request.method) {
        return Ok(method_not_allowed(methods));
    }
    if let ["endpoints", id, "keys.json"] = segments.as_slice() {
        return public_keys::show(app, id, request).await;
    }
    let caller = &app.authenticator.authenticate(request, Scope::Admin).await?;
    *key = Some(caller.name.clone());
    if !matches!((request.method, segments.len()), (Method::Get, 1)) {
        request.only_query(&[])?;
    }
    match (request.method, segments.as_slice()) {
        (Method::Post, ["endpoints"]) => create::create(app, caller, request).await,
        (Method::Get, ["endpoints"]) => list::list(app, caller, request).await,
        (Method::Get, ["endpoints", id]) => list::get(app, caller, id).await,
        (Method::Patch, ["endpoints", id]) => patch::patch(app, caller, id, request).await,
        (Method::Delete, ["endpoints", id]) => lifecycle::delete(app, caller, id).await,
        (Method::Post, ["endpoints", id, "pause"]) => lifecycle::pause(app, caller, id, request).await,
        (Method::Post, ["endpoints", id, "resume"]) => lifecycle::resume(app, caller, id, request).await,
        (Method::Get, ["endpoints", id, "secret"]) => secrets::show(app, caller, id).await,
        (Method::Post, ["endpoints", id, "rotate-secret"]) => secrets::rotate(app, caller, id, request).await,
        (Method::Post, ["endpoints", id, "test"]) => test_endpoint::send(app, caller, id, request).await,
        (Method::Post, ["keys"]) => keys::create(app, caller, request).await,
        (Method::Get, ["keys"]) => keys::list(app, caller, request).await,
        (Method::Delete, ["keys", id]) => keys::revoke(app, caller, id).await,
        _ => Err(unknown(request, &segments)),
    }
}

/// The methods that a path has; `None` for a path that is not served here.
fn methods(segments: &[&str]) -> Option<&'static [Method]> {
    match segments {
        ["endpoints"] | ["keys"] => Some(&[Method::Get, Method::Post]),
        ["endpoints", _] => Some(&[Method::Delete, Method::Get, Method::Patch]),
        ["endpoints", _, "pause" | "resume" | "rotate-secret" | "test"] => Some(&[Method::Post]),
        ["endpoints", _, "keys.json" | "secret"] => Some(&[Method::Get]),
        ["keys", _] => Some(&[Method::Delete]),
        _ => None,
    }
}

fn method_not_allowed(methods: &[Method]) -> Response {
    let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
    let problem = Problem::new(405, format!("This path has the methods {allow}."));
    Response::from(problem).with_header("allow", allow)
}

/// 404 that names the URL of the stack where such a path is served, unless that is this one.
fn unknown(request: &Request, segments: &[&str]) -> Problem {
    match segments {
        ["endpoints" | "keys", ..] => {
            Problem::new(404, format!("{} {} is not served.", request.method.as_str(), request.path))
        }
        _ => request.no_route(),
    }
}

/// The body of a call whose fields all have defaults: it may be left out.
pub fn optional_body<T: DeserializeOwned + Default>(request: &Request) -> Result<T, Problem> {
    if request.body.trim_ascii().is_empty() { Ok(T::default()) } else { request.json() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn segments(path: &str) -> Vec<&str> {
        path.trim_start_matches("/v1/").split('/').collect()
    }

    #[test]
    fn every_path_has_its_methods() {
        for (path, expected) in [
            ("/v1/endpoints", "GET, POST"),
            ("/v1/endpoints/ep_x", "DELETE, GET, PATCH"),
            ("/v1/endpoints/ep_x/pause", "POST"),
            ("/v1/endpoints/ep_x/resume", "POST"),
            ("/v1/endpoints/ep_x/rotate-secret", "POST"),
            ("/v1/endpoints/ep_x/keys.json", "GET"),
            ("/v1/endpoints/ep_x/secret", "GET"),
            ("/v1/endpoints/ep_x/test", "POST"),
            ("/v1/keys", "GET, POST"),
            ("/v1/keys/x", "DELETE"),
        ] {
            let response = method_not_allowed(methods(&segments(path)).unwrap());
            assert_eq!((response.status, response.header("allow")), (405, Some(expected)), "{path}");
        }
        for path in ["/v1/endpoints/ep_x/other", "/v1/endpoints/ep_x/pause/x", "/v1/keys/x/y", "/v1/events", "/v1/"] {
            assert_eq!(methods(&segments(path)), None, "{path}");
        }
    }

    #[test]
    fn a_path_of_another_url_is_named_and_one_of_this_url_is_not() {
        let detail = |path: &str| {
            let request = Request { path: path.into(), ..samples::request("") };
            unknown(&request, &request.segments()).detail
        };
        assert!(detail("/v1/events").contains("ingest URL"));
        assert!(detail("/v1/deliveries").contains("replay URL"));
        assert!(!detail("/v1/endpoints/ep_x/other").contains("URL"));
    }

    #[test]
    fn a_body_of_defaults_may_be_left_out_but_not_be_wrong() {
        #[derive(Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            number: Option<u32>,
        }
        for empty in ["", " \n", "{}"] {
            assert_eq!(optional_body::<Body>(&samples::request(empty)).unwrap(), Body::default());
        }
        assert_eq!(optional_body::<Body>(&samples::request(r#"{"number":3}"#)).unwrap().number, Some(3));
        assert_eq!(optional_body::<Body>(&samples::request(r#"{"numbr":3}"#)).unwrap_err().errors[0].field, "numbr");
    }
}
