//! Opaque texts that carry a value through a caller and back: list cursors, and ids that are a key in disguise.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// A list that a caller reads page by page: the filters that make it.
///
/// A cursor can be read in one way only, with the list that it must be of. A caller can write one of its own: nothing in it
/// is secret, but a place that is not in the list would be a start that AWS refuses (`ValidationException`: "The provided
/// starting key does not match the range key predicate"). Such a refusal would look as if a service had failed.
pub trait Paged: Serialize + DeserializeOwned + PartialEq {
    /// A place in the list.
    type Place: Serialize + DeserializeOwned;

    /// Whether something in this list may stand at `place`. No page ends anywhere else.
    fn may_hold(&self, place: &Self::Place) -> bool;

    /// The cursor of the page behind `place`.
    #[must_use]
    fn cursor(&self, place: Self::Place) -> String {
        // The places are plain structures of texts and numbers: writing them cannot fail.
        seal(&serde_json::to_string(&Cursor { list: self, after: place }).unwrap_or_default())
    }

    /// The place behind which the page of a cursor begins.
    ///
    /// # Errors
    /// For a text that is not a cursor of this list.
    fn place(&self, cursor: &str) -> Result<Self::Place, Invalid> {
        unseal(cursor)
            .and_then(|json| serde_json::from_str::<Cursor<Self, Self::Place>>(&json).ok())
            .filter(|cursor| cursor.list == *self && self.may_hold(&cursor.after))
            .map(|cursor| cursor.after)
            .ok_or(Invalid::rule("must be the cursor of the page before, as it came, with the same filters"))
    }
}

/// The contents of a cursor. With other filters a cursor would skip or repeat rows, so it carries its own.
#[derive(Serialize, Deserialize)]
struct Cursor<L, P> {
    list: L,
    after: P,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Numbers from here on.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct From {
        least: u32,
    }

    impl Paged for From {
        type Place = (String, u32);

        fn may_hold(&self, place: &Self::Place) -> bool {
            place.1 >= self.least
        }
    }

    #[test]
    fn a_cursor_reads_back_and_anything_else_is_refused() {
        let list = From { least: 3 };
        let cursor = list.cursor(("a#b".to_owned(), 3));
        assert!(cursor.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(list.place(&cursor).unwrap(), ("a#b".to_owned(), 3));
        for wrong in ["", "x", "####", &seal("{}"), &seal("[1]"), &seal(r#"{"list":{"least":3}}"#)] {
            assert!(list.place(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_cursor_is_of_one_list_and_stands_in_it() {
        let list = From { least: 3 };
        assert!(list.place(&From { least: 2 }.cursor(("a".to_owned(), 3))).is_err(), "of another list");
        assert!(list.place(&list.cursor(("a".to_owned(), 2))).is_err(), "at a place that is not in the list");
        assert!(list.place(&seal(r#"{"list":{"least":3},"after":["a",3]}"#)).is_ok());
        assert!(list.place(&seal(r#"{"list":{"least":3},"after":["a",2]}"#)).is_err());
    }
}
