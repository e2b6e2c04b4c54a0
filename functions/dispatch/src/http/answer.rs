//! Reads a receiver's answer and decides how much of it is kept.

use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use pombo_aws::clock;
use pombo_domain::outcome::{Answer, NEWEST_ANSWER};
use pombo_domain::retry::parse_retry_after;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};

/// Maximum number of bytes of an answer's body that are read.
const READ_BYTES: usize = 16 * 1024;
/// Minimum size that a piece of a body counts for, so that a body which comes byte by byte ends, too.
const PIECE_BYTES: usize = 64;
/// Maximum number of bytes of a body that are decoded: in UTF-16, the text of [`NEWEST_ANSWER`] bytes takes twice as many.
const DECODED_BYTES: usize = 2 * NEWEST_ANSWER + 4;

/// Reads the body until `deadline` at most, and keeps its start, and the `location` of a redirect.
pub async fn read(response: &mut Response, deadline: Instant) -> Answer {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    let location = location.map(|value| Answer::printable_location(value.as_bytes()));
    let encoding = declared_encoding(response.headers());
    let declared = response.content_length();
    let mut body = Body::default();
    let _ = timeout_at(deadline, body.collect(response)).await;
    Answer { location, ..body.into_answer(encoding, declared) }
}

/// How long the receiver asked to be left alone: the first `Retry-After` that can be read.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = clock::now();
    headers.get_all(RETRY_AFTER).iter().find_map(|value| parse_retry_after(value.to_str().ok()?, now))
}

/// The encoding that `content-type` declares; UTF-8 without one, or with one that the Encoding Standard does not know.
///
/// Example: `text/html; charset="ISO-8859-1"`.
fn declared_encoding(headers: &HeaderMap) -> &'static Encoding {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| {
        let label = value.to_str().ok()?.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches(['"', '\'']))
        })?;
        Encoding::for_label(label.as_bytes())
    });
    declared.unwrap_or(UTF_8)
}

/// The part of a body that has come so far.
#[derive(Default)]
struct Body {
    /// The body's start, at most [`DECODED_BYTES`].
    start: Vec<u8>,
    /// The body's size so far, in bytes.
    size: u64,
    /// Whether its end was seen.
    ended: bool,
}

impl Body {
    /// Reads up to the end, its breaking, or [`READ_BYTES`].
    async fn collect(&mut self, response: &mut Response) {
        let mut read = 0;
        while read < READ_BYTES {
            match response.chunk().await {
                Ok(Some(data)) => {
                    read += data.len().max(PIECE_BYTES);
                    self.size += data.len() as u64;
                    let room = DECODED_BYTES - self.start.len();
                    self.start.extend_from_slice(&data[..data.len().min(room)]);
                }
                Ok(None) => {
                    self.ended = true;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// The text that is kept; bytes that are no text in `encoding` are replaced.
    fn into_answer(self, encoding: &'static Encoding, declared: Option<u64>) -> Answer {
        let whole = self.ended && self.size == self.start.len() as u64;
        let mut text = String::with_capacity(3 * self.start.len() + 16);
        // A character that is cut through is left out, unless the body itself ends in it.
        let _ = encoding.new_decoder().decode_to_string(&self.start, &mut text, whole);
        let size = if self.ended { Some(self.size) } else { declared };
        let cut = !whole && size != Some(self.start.len() as u64);
        let bytes = size.filter(|size| *size != text.len() as u64);
        let mut answer = Answer { text, cut, bytes, ..Answer::default() };
        answer.shorten(NEWEST_ANSWER);
        answer
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn encoding(content_type: &str) -> &'static str {
        let value = HeaderValue::try_from(content_type).unwrap_or(HeaderValue::from_static(""));
        declared_encoding(&HeaderMap::from_iter([(CONTENT_TYPE, value)])).name()
    }

    #[test]
    fn the_charset_that_the_receiver_declares_is_decoded() {
        assert_eq!(declared_encoding(&HeaderMap::new()).name(), "UTF-8");
        for (content_type, name) in [
            ("text/html", "UTF-8"),
            ("text/html; charset=utf-8", "UTF-8"),
            ("text/html; charset=ISO-8859-1", "windows-1252"),
            ("text/plain;format=flowed; Charset=\"Shift_JIS\"", "Shift_JIS"),
            ("text/plain; charset=klingon", "UTF-8"),
            ("text/plain; charset", "UTF-8"),
        ] {
            assert_eq!(encoding(content_type), name, "{content_type}");
        }
    }

    fn body(start: &[u8], size: u64, ended: bool) -> Body {
        Body { start: start.to_vec(), size, ended }
    }

    #[test]
    fn a_cut_is_marked_with_the_bodys_size_if_it_is_known() {
        let seen = |body: Body, encoding, declared| {
            let answer = body.into_answer(encoding, declared);
            (answer.text.len(), answer.cut, answer.bytes)
        };
        let latin = encoding_rs::WINDOWS_1252;
        assert_eq!(seen(body(b"busy", 4, true), UTF_8, None), (4, false, None));
        assert_eq!(seen(body(b"caf\xe9", 4, true), latin, None), (5, false, Some(4)));
        assert_eq!(seen(body(b"bu", 2, false), UTF_8, Some(4)), (2, true, Some(4)), "it broke");
        assert_eq!(seen(body(b"bu", 2, false), UTF_8, None), (2, true, None), "it broke, who knows where");
        assert_eq!(seen(body(&[b'x'; DECODED_BYTES], 9000, true), UTF_8, None), (NEWEST_ANSWER, true, Some(9000)));
        assert_eq!(seen(body(&[b'x'; 1500], 1500, true), UTF_8, None), (NEWEST_ANSWER, true, Some(1500)));
        assert_eq!(seen(body(&[0xe9; 1000], 1000, true), latin, None), (NEWEST_ANSWER, true, Some(1000)));
        assert_eq!(seen(body("xé".as_bytes(), 3, true), UTF_8, Some(3)), (3, false, None));
        assert_eq!(seen(body(b"x\xc3", 2, false), UTF_8, None), (1, true, None), "half a character is left out");
    }
}
