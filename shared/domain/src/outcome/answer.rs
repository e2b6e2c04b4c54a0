//! The parts of a receiver's answer that are kept with an attempt.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::text::{ELLIPSIS, push_printable};

/// Maximum size of a kept `location`, in bytes.
const MAX_LOCATION: usize = 200;

/// The parts of a receiver's answer that are kept, next to the status code. The fields are written next to those of the
/// attempt, so an attempt without an answer takes no bytes for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The start of the body, decoded; empty when there was none.
    #[serde(rename = "answer")]
    pub text: String,
    /// Whether the body went on after the text.
    #[serde(rename = "answer_cut", default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// The size of the whole body in bytes, where it is known and not the size of the text.
    #[serde(rename = "answer_bytes", default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where a redirect leads to, as [`Answer::printable_location`] writes it. Redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The wait that the receiver asked for by `Retry-After`, in seconds, where it set the time of the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Answer {
    /// The answer unless it says nothing.
    #[must_use]
    pub fn if_any(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Cuts the text so that text and location together take at most `bytes`, and marks the cut.
    pub fn shorten(&mut self, bytes: usize) {
        let room = bytes.saturating_sub(self.location.as_ref().map_or(0, String::len));
        if self.text.len() <= room {
            return;
        }
        if !self.cut {
            self.bytes.get_or_insert(self.text.len() as u64);
        }
        self.cut = true;
        self.text.truncate(self.text.floor_char_boundary(room));
    }

    /// A `location` header as an operator may read it: at most 200 bytes, an ellipsis where it was cut, and escapes for
    /// control characters and for marks that change the direction of text.
    ///
    /// Example: the bytes `/a\u{202e}b` become the ten characters `/a\\u202eb`.
    #[must_use]
    pub fn printable_location(value: &[u8]) -> String {
        let value: Cow<'_, str> = String::from_utf8_lossy(value);
        let mut printable = String::new();
        for character in value.chars() {
            push_printable(&mut printable, character);
            if printable.len() > MAX_LOCATION {
                printable.truncate(printable.floor_char_boundary(MAX_LOCATION - ELLIPSIS.len()));
                return printable + ELLIPSIS;
            }
        }
        printable
    }
}

impl From<&str> for Answer {
    /// An answer that has this text as its whole body.
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_marked_with_the_original_size_once() {
        let mut answer = Answer::from(&*"é".repeat(300));
        answer.shorten(600);
        assert_eq!((answer.text.len(), answer.cut, answer.bytes), (600, false, None), "it fits");
        for most in [257, 101] {
            answer.shorten(most);
            assert_eq!((answer.text.len(), answer.cut, answer.bytes), (most - 1, true, Some(600)));
        }
        let mut unknown = Answer { text: "x".repeat(300), cut: true, ..Answer::default() };
        unknown.shorten(100);
        assert_eq!((unknown.text.len(), unknown.bytes), (100, None), "the body was longer than the text");
        let mut latin = Answer { text: "é".repeat(300), bytes: Some(300), ..Answer::default() };
        latin.shorten(100);
        assert_eq!((latin.cut, latin.bytes), (true, Some(300)), "the body's size, not the text's");
    }

    #[test]
    fn a_location_takes_its_room_from_the_text() {
        let location = Answer::printable_location("x".repeat(1000).as_bytes());
        let mut answer = Answer { text: "y".repeat(300), location: Some(location.clone()), ..Answer::default() };
        answer.shorten(256);
        assert_eq!((location.len(), answer.text.len(), answer.location), (200, 56, Some(location)));
    }

    #[test]
    fn a_location_is_cut_and_its_control_characters_are_escaped() {
        for (value, printable) in [
            (&b"https://example.com/a?b=c"[..], "https://example.com/a?b=c".to_owned()),
            (b"/a\tb\x1b[31m\x7f", "/a\\u0009b\\u001b[31m\\u007f".to_owned()),
            ("/\u{202e}evil\u{85}".as_bytes(), "/\\u202eevil\\u0085".to_owned()),
            (b"/caf\xe9", "/caf\u{fffd}".to_owned()),
            ("é".repeat(100).as_bytes(), "é".repeat(100)),
            ("é".repeat(101).as_bytes(), format!("{}…", "é".repeat(98))),
        ] {
            assert_eq!(Answer::printable_location(value), printable);
        }
    }

    #[test]
    fn an_attempt_without_an_answer_is_read_as_it_was_written() {
        use crate::outcome::{Attempt, Outcome, Trigger};

        let attempt = |answer| Attempt {
            step: crate::delivery::Step { round: 0, attempt: 1 },
            started_at: crate::time::Timestamp::from_millis(0),
            duration_ms: 1,
            outcome: Outcome::HttpStatus { status_code: 301 },
            answer,
            sent_to: None,
            redelivered: false,
            trigger: Trigger::First,
        };
        let location = Answer { location: Some("/x".to_owned()), ..Answer::default() };
        let older = Answer::from("busy");
        for (answer, fields) in
            [(None, ""), (Some(older), r#""answer":"busy","#), (Some(location), r#""answer":"","location":"/x","#)]
        {
            let json = serde_json::to_string(&attempt(answer.clone())).unwrap();
            assert!(json.contains(&format!(r#""status_code":301}},{fields}"trigger""#)), "{json}");
            assert_eq!(serde_json::from_str::<Attempt>(&json).unwrap(), attempt(answer));
        }
    }
}
