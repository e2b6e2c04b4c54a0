//! Texts: values that are written as the text they wrap, and what somebody else wrote, made fit to be shown.

use std::fmt::Write as _;

/// Stands in place of what was left out.
pub(crate) const ELLIPSIS: &str = "…";

/// Adds a character to a text that is shown to an operator: an escape for a control character, and for a mark that changes
/// the direction of text.
///
/// Example: U+202E becomes the six characters `\u202e`.
pub(crate) fn push_printable(text: &mut String, character: char) {
    if character.is_control() || changes_direction(character) {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\\u{:04x}", u32::from(character));
    } else {
        text.push(character);
    }
}

/// Unicode's bidirectional formatting characters (UAX #9, section 2).
const fn changes_direction(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text as a log or an operator gets it: in one line, with escapes for control characters, and at most `most` bytes.
#[must_use]
pub fn in_one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for character in text.chars().take(most + 1) {
        push_printable(&mut line, character);
    }
    cut(line, most)
}

/// The text, with an ellipsis in place of what is over `most` bytes.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
    text
}

/// What a library says of a text that it cannot read, without the parts of the text that it repeats. A library puts those
/// in quotation marks of one kind or another, or in braces. Names of fields are ours and stay: ``missing field `rev` ``.
///
/// Example: `invalid type: string "whsec_x", expected u64` becomes `invalid type: string …, expected u64`.
#[must_use]
pub fn without_values(message: &str) -> String {
    const MARKS: [char; 5] = ['"', '\'', '`', '{', '}'];
    if message.starts_with("missing field `") || message.starts_with("duplicate field `") {
        return message.to_owned();
    }
    match (message.find(MARKS), message.rfind(MARKS)) {
        (Some(first), Some(last)) => format!("{}{ELLIPSIS}{}", &message[..first], &message[last + 1..]),
        _ => message.to_owned(),
    }
}

/// Shows, writes and reads a type that wraps a `String` and has a `FromStr`.
macro_rules! text_traits {
    ($name:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use text_traits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_its_control_characters_are_escaped() {
        assert_eq!(in_one_line("a\nb\u{202e}c", 20), "a\\u000ab\\u202ec");
        assert_eq!(in_one_line(&"é".repeat(1000), 20), format!("{}…", "é".repeat(8)));
    }

    #[test]
    fn what_a_library_repeats_of_a_text_is_left_out() {
        for (message, shown) in [
            ("invalid type: string \"a \\\"b\\\" c\", expected u64", "invalid type: string …, expected u64"),
            ("unknown variant `x`, expected `a` or `b`", "unknown variant …"),
            ("missing field `rev` at line 1 column 9", "missing field `rev` at line 1 column 9"),
            ("Value 'x' at 'y' failed to satisfy: at most 36", "Value … failed to satisfy: at most 36"),
            ("Item: {\"s\": {\"S\": \"x\"}}", "Item: …"),
            ("must be an id", "must be an id"),
            ("it's late", "it…s late"),
        ] {
            assert_eq!(without_values(message), shown);
        }
    }
}
