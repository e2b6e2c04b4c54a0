//! The calls of a URL as data: what finds a request's call is what a test of who may make it goes through.

use pombo_domain::api_key::Scope;

use crate::request::{Method, Request};

/// What a call asks of its caller. The calls of either kind are a type of their own, so that what takes a key cannot be
/// answered without a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access<O, K> {
    /// No API key: the call is for anybody, or asks for another proof itself.
    Open(O),
    /// An API key with one of these scopes, or with one that includes it.
    Key(&'static [Scope], K),
}

/// A call that a URL serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<O, K> {
    /// Its method.
    pub method: Method,
    /// Its path; `{id}` stands for one segment, whatever that is.
    pub path: &'static str,
    /// Which call it is, and who may make it.
    pub access: Access<O, K>,
}

impl<O, K> Route<O, K> {
    /// A call that takes no key.
    #[must_use]
    pub const fn open(method: Method, path: &'static str, call: O) -> Self {
        Self { method, path, access: Access::Open(call) }
    }

    /// A call that takes a key with one of these scopes.
    #[must_use]
    pub const fn key(method: Method, path: &'static str, scopes: &'static [Scope], call: K) -> Self {
        Self { method, path, access: Access::Key(scopes, call) }
    }

    /// What stands for `{id}` in a path of this route: nothing when the route has none. `None` for another path.
    #[must_use]
    pub fn id<'p>(&self, path: &'p str) -> Option<&'p str> {
        id_in(self.path, path)
    }
}

/// The part of a path that stands for `{id}`, if the path is one of `route`; see [`Route::id`].
pub(crate) fn id_in<'p>(route: &str, path: &'p str) -> Option<&'p str> {
    let (wanted, given) = (route.trim_end_matches('/').split('/'), path.split('/'));
    if wanted.clone().count() != given.clone().count() {
        return None;
    }
    let mut id = "";
    for (wanted, given) in wanted.zip(given) {
        match wanted {
            "{id}" => id = given,
            wanted if wanted == given => {}
            _ => return None,
        }
    }
    Some(id)
}

/// The call that a request is, and the id in its path.
#[must_use]
pub fn find<'a, O: Copy, K: Copy>(routes: &[Route<O, K>], request: &'a Request) -> Option<(Access<O, K>, &'a str)> {
    let mut served = routes.iter().filter(|route| route.method == request.method);
    served.find_map(|route| Some((route.access, route.id(&request.path)?)))
}

/// The name of the call that a request is: its method and its path, with `{id}` for the segment that varies.
#[must_use]
pub fn name<O, K>(routes: &[Route<O, K>], request: &Request) -> Option<String> {
    let mut served = routes.iter().filter(|route| route.method == request.method);
    let route = served.find(|route| route.id(&request.path).is_some())?;
    Some(format!("{} {}", route.method.as_str(), route.path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ROUTES: [Route<&str, &str>; 4] = [
        Route::open(Method::Get, "/", "page"),
        Route::key(Method::Get, "/v1/things", &[Scope::Ops], "list"),
        Route::key(Method::Get, "/v1/things/{id}", &[Scope::Ops], "get"),
        Route::key(Method::Post, "/v1/things/{id}/stop", &[Scope::Admin], "stop"),
    ];

    #[test]
    fn a_request_is_the_call_of_its_method_and_path() {
        for (method, path, expected) in [
            (Method::Get, "", Some((Access::Open("page"), ""))),
            (Method::Get, "/v1/things", Some((Access::Key(&[Scope::Ops], "list"), ""))),
            (Method::Get, "/v1/things/a", Some((Access::Key(&[Scope::Ops], "get"), "a"))),
            (Method::Get, "/v1/things/{id}", Some((Access::Key(&[Scope::Ops], "get"), "{id}"))),
            (Method::Post, "/v1/things/a/stop", Some((Access::Key(&[Scope::Admin], "stop"), "a"))),
            (Method::Post, "/v1/things/a", None),
            (Method::Post, "", None),
            (Method::Get, "/v1/things/a/stop", None),
            (Method::Get, "/v1/things/a/b", None),
            (Method::Get, "/v1", None),
            (Method::Get, "v1/things", None),
            (Method::Get, "/v2/things", None),
        ] {
            let request = Request {
                method,
                path: path.to_owned(),
                query: BTreeMap::new(),
                headers: BTreeMap::new(),
                body: Vec::new(),
                identity: None,
            };
            assert_eq!(find(&ROUTES, &request), expected, "{method:?} {path}");
            assert_eq!(name(&ROUTES, &request).is_some(), expected.is_some(), "{method:?} {path}");
        }
    }
}
