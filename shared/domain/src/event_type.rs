//! Event types, and the patterns that an endpoint subscribes with.

use std::str::FromStr;

use crate::invalid::Invalid;
use crate::text::text_traits;

/// The longest event type or pattern, in bytes.
const LONGEST: usize = 128;

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
}

fn is_pombos(text: &str) -> bool {
    text == "pombo" || text.starts_with("pombo.")
}

/// What happened, as a dot-separated name: `student.created`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(String);

impl EventType {
    /// One of Pombo's own, below `pombo.`.
    pub(crate) fn of_pombo(name: &'static str) -> Self {
        Self(format!("pombo.{name}"))
    }

    /// The type of the event with which an operator tries an endpoint.
    #[must_use]
    pub fn ping() -> Self {
        Self::of_pombo("ping")
    }

    /// Whether an operator tries an endpoint with it: it is sent although the endpoint's circuit is open.
    #[must_use]
    pub fn is_ping(&self) -> bool {
        self.0 == "pombo.ping"
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the type is one of Pombo's own (`pombo` and all below it), which no app may post.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_pombos(&self.0)
    }
}

impl FromStr for EventType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::rule(
                "must be a dot-separated name such as student.created: parts of A-Z, a-z, 0-9, - and _, at most 128 characters",
            ))
        }
    }
}

/// Which event types an endpoint wants: one type (`student.created`), all below a name at any depth (`student.*`), or
/// all (`*`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern matches Pombo's own types alone: `pombo` and all below it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_pombos(&self.0)
    }

    /// Whether an endpoint with this pattern gets events of the type.
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self.0.strip_suffix('*') {
            None => self.0 == event_type.0,
            Some(stem) => event_type.0.len() > stem.len() && event_type.0.starts_with(stem),
        }
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let stem_valid = match text.strip_suffix(".*") {
            Some(stem) => is_name(stem),
            None => text == "*" || is_name(text),
        };
        if stem_valid && text.len() <= LONGEST {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::rule("must be an event type (student.created), a pattern (student.*) or *"))
        }
    }
}

text_traits!(EventType);
text_traits!(Pattern);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_matches_its_type_and_what_lies_below_its_star() {
        let cases = [
            ("student.created", "student.created", true),
            ("student.created", "student.created.late", false),
            ("student.created", "student.create", false),
            ("student.*", "student.created", true),
            ("student.*", "student.course.left", true),
            ("student.*", "student", false),
            ("student.*", "students.created", false),
            ("*", "student", true),
            ("*", "a.b.c.d", true),
        ];
        for (pattern, event_type, expected) in cases {
            let (pattern, event_type) = (pattern.parse::<Pattern>().unwrap(), event_type.parse().unwrap());
            assert_eq!(pattern.matches(&event_type), expected, "{pattern} on {event_type}");
        }
    }

    #[test]
    fn types_and_patterns_keep_to_their_grammar() {
        let long = format!("a.{}", "b".repeat(127));
        for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a.*.b", "é", "a.*", "*", long.as_str()] {
            assert!(wrong.parse::<EventType>().is_err(), "{wrong:?}");
        }
        for wrong in ["", "a.", "*.a", "a*", "a.**", "**", ".*", "a.*.b", long.as_str()] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_name_pombo_is_reserved() {
        for (event_type, reserved) in
            [("pombo", true), ("pombo.ping", true), ("pombos.ping", false), ("a.pombo", false)]
        {
            assert_eq!(event_type.parse::<EventType>().unwrap().is_reserved(), reserved, "{event_type}");
        }
    }

    proptest! {
        #[test]
        fn every_type_is_matched_by_itself_its_ancestors_and_star(parts in prop::collection::vec("[A-Za-z0-9_-]{1,8}", 1..6)) {
            let event_type: EventType = parts.join(".").parse().unwrap();
            prop_assert!("*".parse::<Pattern>().unwrap().matches(&event_type));
            prop_assert!(event_type.as_str().parse::<Pattern>().unwrap().matches(&event_type));
            for depth in 1..parts.len() {
                let pattern = format!("{}.*", parts[..depth].join("."));
                prop_assert!(pattern.parse::<Pattern>().unwrap().matches(&event_type));
            }
        }
    }
}
