//! How large the head of an answer may be, and what an operator reads about one that is larger.
//!
//! The bounds are ours: [`HEADER_LINES`] lines and [`HEAD_BYTES`] bytes, counted as HTTP/1 writes a head. The libraries
//! get larger ones, because their errors do not say which bound was passed. A complete head between our bounds and
//! theirs is named exactly. For a larger or endless one both of our bounds are named.

use pombo_domain::outcome::{Detail, Outcome};
use reqwest::header::HeaderMap;

/// Maximum number of header lines of an answer.
pub const HEADER_LINES: usize = 1_000;
/// Maximum size of the head of an answer, in bytes.
pub const HEAD_BYTES: usize = 256 * 1024;
/// Maximum number of lines that hyper takes over HTTP/1. For each line it sets 64 bytes aside while it looks at a head.
/// The maximum size of a head over HTTP/1 is fixed by `reqwest`: 408 KiB.
pub const HTTP1_HEADER_LINES: usize = 2 * HEADER_LINES;
/// Maximum size of a head that h2 takes over HTTP/2, which counts 32 bytes more for each line (RFC 9113, section 6.5.2).
///
/// h2 also derives from it how many frames one head may come in: a quarter more than frames of 16 KiB would take. So a
/// head of [`HEAD_BYTES`] may come in frames of 8 KiB.
pub const HTTP2_HEAD_BYTES: u32 = 2 * HEAD_BYTES as u32;

/// The explanation where a library does not say which of the bounds was passed.
pub const TOO_LARGE: &str = "the head of the answer is over 256 KiB or 1,000 lines";
/// The explanation where h2 does not say whether the head was too large or wrong.
pub const BROKEN_OR_TOO_LARGE: &str =
    "the answer breaks the rules of HTTP/2, or its head is over 256 KiB or 1,000 lines";

/// The outcome of an answer whose head is larger than allowed; none for any other.
#[must_use]
pub fn too_large(headers: &HeaderMap) -> Option<Outcome> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    let detail = match headers.len() {
        lines if lines > HEADER_LINES => {
            Detail::new(format_args!("the head of the answer has {lines} lines, which is over 1,000"))
        }
        _ if size > HEAD_BYTES => {
            Detail::new(format_args!("the head of the answer has {} KiB, which is over 256 KiB", size.div_ceil(1024)))
        }
        _ => return None,
    };
    Some(Outcome::InvalidResponse { detail })
}

/// Whether h2 broke the connection off because a head is too large. The errors of h2 say so in their text alone.
#[must_use]
pub fn is_too_large_for_h2(error: &h2::Error) -> bool {
    let text = error.to_string();
    // The last is h2's answer to one header that goes on beyond the whole head's bound.
    error.reason() == Some(h2::Reason::COMPRESSION_ERROR)
        || ["header_list_way_too_large", "too_many_continuations"].iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const X: HeaderName = HeaderName::from_static("x");

    /// The explanation for a head of this many lines with values of this size.
    fn detail(lines: usize, value: usize) -> Option<String> {
        let value = HeaderValue::try_from("y".repeat(value)).unwrap_or(HeaderValue::from_static(""));
        match too_large(&HeaderMap::from_iter(vec![(X, value); lines]))? {
            Outcome::InvalidResponse { detail } => Some(detail.to_string()),
            _ => None,
        }
    }

    #[test]
    fn the_bound_that_was_passed_is_named() {
        assert_eq!(detail(HEADER_LINES, 257), None, "262 bytes a line, 256 KiB less 144 bytes");
        assert_eq!(detail(1, HEAD_BYTES - 5), None, "exactly 256 KiB");
        assert_eq!(
            detail(HEADER_LINES + 1, 0).as_deref(),
            Some("the head of the answer has 1001 lines, which is over 1,000")
        );
        let large = Some("the head of the answer has 257 KiB, which is over 256 KiB");
        assert_eq!(detail(1, HEAD_BYTES - 4).as_deref(), large);
        assert_eq!(detail(HEADER_LINES, 258).as_deref(), large);
    }
}
