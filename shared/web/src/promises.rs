//! Headers by which a caller asks for a promise that Pombo does not give yet.
//!
//! The caller relies on the promise: that a repeat is recognised, or that only an unchanged thing is changed. A call that
//! ignored the header would break the promise, so the call is refused.

use pombo_domain::invalid::InvalidField;

use crate::problem::Problem;
use crate::request::Method;

const REPEAT: &str = "is not taken yet: a repeat would not be recognised by it. Leave it out. An event's id makes it safe to post the event again";
const CONDITION: &str = "is not taken yet: the call would be made whatever the condition says. Leave it out";

/// The headers with what is said of them. The last one is for caches too, where nothing is changed.
const ASKED: [(&str, &str); 4] = [
    ("idempotency-key", REPEAT),
    ("if-match", CONDITION),
    ("if-unmodified-since", CONDITION),
    ("if-none-match", CONDITION),
];

/// Refuses a request with such a header. `has` tells whether a header is there, by its name in lower case.
///
/// # Errors
/// 400 that names every one.
pub(crate) fn check(method: Method, has: impl Fn(&str) -> bool) -> Result<(), Problem> {
    let reads = matches!(method, Method::Get | Method::Options);
    let asked = ASKED.iter().filter(|(name, _)| has(name) && !(reads && *name == "if-none-match"));
    let errors: Vec<_> =
        asked.map(|(name, rule)| InvalidField { field: (*name).to_owned(), rule: (*rule).to_owned() }).collect();
    let count = errors.len();
    if count == 0 { Ok(()) } else { Err(Problem::fields(errors, count)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(method: Method, headers: &[&str]) -> Vec<String> {
        let checked = check(method, |name| headers.contains(&name));
        checked.err().map_or_else(Vec::new, |problem| {
            assert_eq!(problem.status, 400);
            problem.errors.into_iter().map(|error| error.field).collect()
        })
    }

    #[test]
    fn a_header_that_asks_for_a_promise_is_refused_by_name() {
        for method in [Method::Post, Method::Patch, Method::Delete, Method::Other] {
            for (name, _) in ASKED {
                assert_eq!(refused(method, &["content-type", name]), [name], "{method:?}");
            }
            assert_eq!(refused(method, &["if-match", "idempotency-key"]), ["idempotency-key", "if-match"]);
            assert!(refused(method, &["content-type", "authorization", "if-modified-since"]).is_empty());
        }
    }

    #[test]
    fn where_nothing_is_changed_a_caches_question_is_no_promise() {
        assert!(refused(Method::Get, &["if-none-match", "if-modified-since"]).is_empty());
        assert_eq!(refused(Method::Get, &["if-match", "if-none-match"]), ["if-match"]);
    }
}
