//! Opaque texts that carry a value through a caller and back: list cursors, and ids that are a key in disguise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::invalid::Invalid;

/// base64url of the text, without padding.
#[must_use]
pub fn seal(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// The text behind [`seal`]; `None` when it is no such thing.
#[must_use]
pub fn unseal(sealed: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()
}

/// Where a list goes on.
#[must_use]
pub fn to_cursor<T: Serialize>(position: &T) -> String {
    // The positions are plain structures of texts and numbers: writing them cannot fail.
    seal(&serde_json::to_string(position).unwrap_or_default())
}

/// Reads a cursor that [`to_cursor`] made.
pub fn from_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T, Invalid> {
    unseal(cursor)
        .and_then(|json| serde_json::from_str(&json).ok())
        .ok_or(Invalid::rule("must be the cursor of the page before, as it came, with the same filters"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let cursor = to_cursor(&("a#b", 3));
        assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(from_cursor::<(String, u32)>(&cursor).unwrap(), ("a#b".to_owned(), 3));
        for wrong in ["", "x", "####", &seal("{}"), &seal("[1]")] {
            assert!(from_cursor::<(String, u32)>(wrong).is_err(), "{wrong:?}");
        }
    }
}
