//! Why an attempt failed, in words.

use std::fmt::{self, Display, Write as _};

use serde::{Deserialize, Deserializer, Serialize};

use crate::text::{ELLIPSIS, cut, in_one_line, push_printable};

/// Maximum size of an explanation, in bytes.
const MAX_DETAIL: usize = 200;

/// Why an attempt failed, as an operator reads it: at most 200 bytes in one line.
///
/// Words of Pombo's own, and in quotation marks what somebody else said, such as the names in a receiver's certificate.
/// There is no quotation mark in either but those, so nobody can put words into Pombo's mouth.
///
/// `Debug` is for the log, and leaves out what is quoted: `only for …`. `Display` is for the operator, and has it all.
///
/// Example: `the receiver's certificate is not for "a.example", only for "b.example"`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Detail(String);

impl Detail {
    /// Pombo's own words. Nothing in them may come from a receiver or an app.
    #[must_use]
    pub fn new(words: impl Display) -> Self {
        Self(String::new()).and(words)
    }

    /// The explanation with more of Pombo's own words.
    #[must_use]
    pub fn and(self, words: impl Display) -> Self {
        let mut printable = Printable { text: String::new(), most: MAX_DETAIL };
        // Its only error says that there is no room for more.
        let _ = write!(printable, "{words}");
        self.with(&printable.text)
    }

    /// The explanation with what somebody else said, in quotation marks, of which at most `most` bytes are kept.
    #[must_use]
    pub fn quoting(self, said: &str, most: usize) -> Self {
        let mut printable = Printable { text: String::new(), most };
        let _ = printable.write_str(said);
        self.with(&format!("\"{}\"", printable.text))
    }

    /// The whole explanation.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn with(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self.0 = cut(self.0, MAX_DETAIL);
        self
    }
}

impl From<&'static str> for Detail {
    fn from(words: &'static str) -> Self {
        Self::new(words)
    }
}

impl Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each of these characters takes one byte, however often a line is escaped.
        let is_plain = |character: char| character.is_ascii_graphic() && character != '\\' || character == ' ';
        let parts = self.0.split('"').enumerate();
        let own_words: String = parts.map(|(at, part)| if at % 2 == 0 { part } else { ELLIPSIS }).collect();
        let plain = |character| if is_plain(character) || ELLIPSIS.starts_with(character) { character } else { '?' };
        write!(f, "\"{}\"", own_words.chars().map(plain).collect::<String>())
    }
}

/// One that is stored may be of a version that kept to other rules; it is held to the size and to one line.
impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(in_one_line(&String::deserialize(deserializer)?, MAX_DETAIL)))
    }
}

/// Takes text up to a size, with escapes for control characters and an apostrophe for each quotation mark.
struct Printable {
    text: String,
    most: usize,
}

impl fmt::Write for Printable {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            push_printable(&mut self.text, if character == '"' { '\'' } else { character });
            if self.text.len() > self.most {
                self.text = cut(std::mem::take(&mut self.text), self.most);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(text: &str) -> Detail {
        serde_json::from_value(text.into()).unwrap()
    }

    #[test]
    fn what_somebody_else_said_stands_in_quotation_marks_and_not_in_the_log() {
        let detail = Detail::new("only for ").quoting("b\"\n\u{202e}é", 40).and(" and ").and(97).and(" more");
        assert_eq!(detail.as_str(), "only for \"b'\\u000a\\u202eé\" and 97 more");
        assert_eq!(format!("{detail:?}"), "\"only for … and 97 more\"");
    }

    #[test]
    fn own_words_have_no_quotation_mark_that_could_end_a_quotation() {
        assert_eq!(Detail::new("no \"x\"\r\n").as_str(), "no 'x'\\u000d\\u000a");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(Detail::new("é".repeat(100)).as_str(), "é".repeat(100));
        assert_eq!(Detail::new("é".repeat(101)).as_str(), format!("{}…", "é".repeat(98)));
        assert_eq!(Detail::new("x").quoting(&"y".repeat(99), 10).as_str(), "x\"yyyyyyy…\"");
        let cut_in_a_quotation = Detail::new("x".repeat(150)).quoting(&"y".repeat(99), 99).and("own");
        assert_eq!(cut_in_a_quotation.as_str(), format!("{}\"{}…", "x".repeat(150), "y".repeat(46)));
        assert_eq!(format!("{cut_in_a_quotation:?}"), format!("\"{}…\"", "x".repeat(150)));
    }

    #[test]
    fn one_of_an_older_version_is_read_within_the_same_bounds() {
        assert_eq!(stored("received (b\"x\")\n").as_str(), "received (b\"x\")\\u000a");
        assert_eq!(stored(&"x".repeat(10_000)).as_str(), format!("{}…", "x".repeat(197)));
    }

    proptest! {
        #[test]
        fn whatever_is_said_the_text_and_its_log_have_their_bounds(
            own in "\\PC{0,40}|.{0,300}", said in "(?s:.{0,300})|[\"\\\\\u{0}\u{300}\u{2028}]{0,300}", more in ".{0,300}", most in 0usize..400,
        ) {
            let detail = Detail::new(&own).quoting(&said, most).and(more);
            for detail in [detail, stored(&said)] {
                prop_assert!(detail.as_str().len() <= MAX_DETAIL);
                prop_assert!(!detail.as_str().contains(char::is_control));
                prop_assert_eq!(&stored(detail.as_str()), &detail, "it reads back");
                let logged = serde_json::to_string(&format!("{detail:?}")).unwrap();
                prop_assert!(logged.len() <= 2 * MAX_DETAIL, "{} bytes: {logged}", logged.len());
            }
        }

        #[test]
        fn nothing_that_is_quoted_is_in_the_log(own in "[a-y ]{0,80}", said in "z{1,400}", most in 1usize..400) {
            let detail = Detail::new(own).quoting(&said, most).and(" more").quoting(&said, most);
            let logged = format!("{detail:?}");
            prop_assert!(!logged.contains('z'), "{logged}");
        }
    }
}
