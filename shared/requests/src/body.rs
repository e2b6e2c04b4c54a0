//! The body of a request: JSON, under whatever content type HTTP clients give it by themselves.

use pombo_domain::invalid::Invalid;
use pombo_web::{Problem, Request};
use serde_json::value::RawValue;

use crate::json::{Mistakes, Object};

/// Longest piece of a header that an answer repeats, in characters.
const MAX_REPEATED: usize = 60;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";
const UTF16_BOMS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// The body, a JSON object.
///
/// # Errors
/// 415 for another content type or any content encoding, 400 for what is no object.
pub fn object(request: &Request) -> Result<Object<'_>, Problem> {
    check_encoding(request)?;
    check_type(request)?;
    let text = text(&request.body)?;
    if text.trim_ascii().is_empty() {
        return Err(Problem::new(400, "The body is empty: this call takes a JSON object."));
    }
    if text.trim_ascii_start().starts_with('{') {
        return Object::parse("", text).map_err(|error| not_json(&error));
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Err(Mistakes::from(Invalid::rule("must be an object").in_field("body")).into()),
        Err(error) => Err(not_json(&error)),
    }
}

/// The body of a call whose fields all have defaults: it may be left out.
///
/// # Errors
/// As [`object`], for a body that is there.
pub fn optional_object(request: &Request) -> Result<Object<'_>, Problem> {
    if request.body.trim_ascii().is_empty() { Ok(Object::empty()) } else { object(request) }
}

/// Refuses a body that asks for anything, where a call takes nothing.
///
/// # Errors
/// As [`object`], and 400 for an object with a member.
pub fn nothing(request: &Request) -> Result<(), Problem> {
    Ok(optional_object(request)?.end()?)
}

/// A content type says nothing that the bytes do not say: requests carry their key in a header of its own, never in a cookie,
/// so no page of a browser can send one by a form. `curl -d` calls every body a form.
fn check_type(request: &Request) -> Result<(), Problem> {
    let given = request.header("content-type").unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = media_type.is_empty()
        || media_type == "application/json"
        || media_type.ends_with("+json")
        || media_type == "application/x-www-form-urlencoded";
    if is_json {
        return Ok(());
    }
    let detail = format!("The body must be application/json. Its content-type is {}.", beginning(given));
    Err(Problem::new(415, detail))
}

/// Nothing is decompressed: a body of a few bytes would become one of any size.
fn check_encoding(request: &Request) -> Result<(), Problem> {
    let given = request.header("content-encoding").unwrap_or_default();
    let is_plain =
        given.split(',').map(str::trim).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"));
    if is_plain {
        return Ok(());
    }
    let detail = format!(
        "The body has the content-encoding {}, which is not taken. Send the JSON itself, without content-encoding.",
        beginning(given)
    );
    Err(Problem::new(415, detail))
}

/// JSON is UTF-8 without a byte order mark (RFC 8259 §8.1). Some editors and shells write one, or UTF-16.
fn text(body: &[u8]) -> Result<&str, Problem> {
    if body.starts_with(UTF8_BOM) {
        let detail = "The body begins with a byte order mark (the bytes EF BB BF). Send it without: UTF-8 needs none.";
        return Err(Problem::new(400, detail));
    }
    if UTF16_BOMS.iter().any(|bom| body.starts_with(bom)) {
        return Err(Problem::new(400, "The body is UTF-16, by its byte order mark. Send it as UTF-8."));
    }
    std::str::from_utf8(body).map_err(|error| {
        Problem::new(400, format!("The body is not UTF-8: byte {} is no part of a character.", error.valid_up_to() + 1))
    })
}

fn not_json(error: &serde_json::Error) -> Problem {
    if error.is_eof() {
        let place = format!("line {}, column {}", error.line(), error.column());
        return Problem::new(400, format!("The body is not JSON: it ends too early, at {place}."));
    }
    Problem::new(400, format!("The body is not JSON: {error}."))
}

/// The beginning of a header's value.
fn beginning(value: &str) -> String {
    match value.char_indices().nth(MAX_REPEATED) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::request;

    fn refused(body: impl Into<Vec<u8>>) -> Problem {
        object(&request(body)).unwrap_err()
    }

    fn with_header(name: &str, value: &str) -> Request {
        let mut request = request("{}");
        request.headers.insert(name.to_owned(), value.to_owned());
        request
    }

    #[test]
    fn what_is_no_json_object_is_told_what_it_is() {
        for (body, words) in [
            (&b""[..], "The body is empty: this call takes a JSON object."),
            (b" \n", "The body is empty: this call takes a JSON object."),
            (b"{", "it ends too early, at line 1, column 1"),
            (b"{\"type\":\"a\"", "it ends too early, at line 1, column 11"),
            (b"[1,", "it ends too early"),
            (b"{\"type\":\"a\"} x", "not JSON: trailing characters at line 1 column 14"),
            (b"{'a':1}", "not JSON: key must be a string"),
            (b"{\"a\":01}", "not JSON: invalid number"),
            (b"nonsense", "not JSON"),
            (b"a=1&b=2", "not JSON"),
            (b"\xef\xbb\xbf{}", "a byte order mark (the bytes EF BB BF)"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b"\xfe\xff\0{\0}", "UTF-16"),
            (b"{\"a\":\"\xff\"}", "not UTF-8: byte 7"),
        ] {
            let problem = refused(body);
            assert_eq!((problem.status, problem.errors.len()), (400, 0), "{problem:?}");
            assert!(problem.detail.contains(words), "{}", problem.detail);
        }
        for body in ["[]", " [\"a\"]", "\"a\"", "7", "null", "true"] {
            assert_eq!(refused(body).detail, "body: must be an object", "{body}");
        }
    }

    #[test]
    fn json_is_taken_without_a_content_type_and_under_that_of_curl() {
        for (media_type, status) in [
            ("", 0),
            ("application/json", 0),
            ("Application/JSON; charset=utf-8", 0),
            ("application/x+json", 0),
            ("application/x-www-form-urlencoded", 0),
            ("application/x-www-form-urlencoded; charset=utf-8", 0),
            ("text/plain", 415),
            ("text/json", 415),
            ("multipart/form-data; boundary=x", 415),
            ("application/octet-stream", 415),
        ] {
            let read = object(&with_header("content-type", media_type)).map_or_else(|problem| problem.status, |_| 0);
            assert_eq!(read, status, "{media_type}");
        }
        assert!(object(&request("{}")).is_ok(), "without the header");
        let problem = object(&with_header("content-type", "text/plain; charset=utf-8")).unwrap_err();
        assert!(problem.detail.contains("text/plain"), "{}", problem.detail);
        let long = object(&with_header("content-type", &"text/x".repeat(1000))).unwrap_err();
        assert!(long.detail.len() < 200, "{}", long.detail);
    }

    #[test]
    fn a_content_encoding_is_refused_by_name() {
        for coding in ["gzip", "GZIP", "br", "identity, gzip", "deflate"] {
            let problem = object(&with_header("content-encoding", coding)).unwrap_err();
            assert_eq!(problem.status, 415);
            assert!(problem.detail.contains(coding), "{}", problem.detail);
        }
        for plain in ["", "identity", "Identity"] {
            assert!(object(&with_header("content-encoding", plain)).is_ok(), "{plain}");
        }
        let mut compressed = with_header("content-encoding", "gzip");
        compressed.body = vec![0x1f, 0x8b, 8, 0];
        assert_eq!(nothing(&compressed).unwrap_err().status, 415, "where a call takes nothing, too");
    }

    #[test]
    fn a_body_of_defaults_may_be_left_out_but_not_be_wrong() {
        for empty in ["", " \n", "{}"] {
            assert_eq!(nothing(&request(empty)), Ok(()), "{empty:?}");
        }
        assert_eq!(nothing(&request("null")).unwrap_err().errors[0].field, "body");
        assert_eq!(nothing(&request(r#"{"a":1}"#)).unwrap_err().errors[0].field, "a");
    }
}
