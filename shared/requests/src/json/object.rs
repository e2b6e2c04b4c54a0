//! A JSON object whose members are taken out one by one.

use std::collections::BTreeSet;
use std::fmt;

use pombo_domain::invalid::Invalid;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Mistakes, Noted, Value};

/// A JSON object. The mistakes of its members are noted while they are read; [`end`](Self::end) refuses the object for them.
#[derive(Debug)]
pub struct Object<'a> {
    /// Where it stands in the body: `filter`; empty for the body itself.
    path: String,
    /// The members that nobody has asked for yet, in the order in which they came.
    members: Vec<(String, &'a RawValue)>,
    /// The names that were asked for.
    known: Vec<&'static str>,
    mistakes: Mistakes,
}

impl<'a> Object<'a> {
    /// Reads a text that begins as an object. Of members with one name the first is kept, and the repetition is a mistake:
    /// parsers differ about which of them counts (RFC 8259 §4).
    ///
    /// # Errors
    /// Serde's, for a text that is not JSON.
    pub fn parse(path: &str, text: &'a str) -> Result<Self, serde_json::Error> {
        let Members(all) = serde_json::from_str(text)?;
        let mut object =
            Self { path: path.to_owned(), members: Vec::new(), known: Vec::new(), mistakes: Mistakes::none() };
        let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for (name, value) in all {
            if seen.insert(name.clone()) {
                object.members.push((name, value));
            } else if repeated.insert(name.clone()) {
                object.note(&name, Invalid::rule("must be given once"));
            }
        }
        Ok(object)
    }

    /// An object without members.
    #[must_use]
    pub const fn empty() -> Self {
        Self { path: String::new(), members: Vec::new(), known: Vec::new(), mistakes: Mistakes::none() }
    }

    /// A member that has to be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Mistakes>,
    ) -> Result<T, Noted> {
        self.given(name, read)?.ok_or_else(|| self.note(name, Invalid::rule("is required")))
    }

    /// A member that may be left out or be `null`.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Mistakes>,
    ) -> Result<Option<T>, Noted> {
        let value = self.given(name, |value| if value.is_null() { Ok(None) } else { read(value).map(Some) })?;
        Ok(value.flatten())
    }

    /// A member that may be left out, where `null` is a value like any other.
    pub fn given<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Mistakes>,
    ) -> Result<Option<T>, Noted> {
        self.known.push(name);
        let Some(place) = self.members.iter().position(|(member, _)| member == name) else { return Ok(None) };
        let (_, raw) = self.members.remove(place);
        self.noting(read(&Value::new(self.place_of(name), raw))).map(Some)
    }

    /// All members that are left, whatever their names.
    pub fn rest(&mut self) -> Vec<(String, Value<'a>)> {
        let members = std::mem::take(&mut self.members);
        members.into_iter().map(|(name, raw)| (name.clone(), Value::new(self.place_of(&name), raw))).collect()
    }

    /// Notes that a member breaks a rule.
    pub fn note(&mut self, name: &str, rule: Invalid) -> Noted {
        self.mistakes.add(rule.in_field(self.place_of(name)));
        Noted
    }

    /// Notes that the object as a whole breaks a rule.
    pub fn note_whole(&mut self, rule: Invalid) -> Noted {
        self.mistakes.add(rule.in_field(if self.path.is_empty() { "body" } else { &self.path }));
        Noted
    }

    /// Passes on a right value, and notes the mistakes of a wrong one.
    pub fn noting<T>(&mut self, read: Result<T, Mistakes>) -> Result<T, Noted> {
        read.map_err(|mistakes| {
            self.mistakes.append(mistakes);
            Noted
        })
    }

    /// Refuses the object if a member is wrong or unknown. After it, every value that was read is a right one.
    pub fn end(mut self) -> Result<(), Mistakes> {
        let rule = match self.known.as_slice() {
            [] => "is not a field here; there are none".to_owned(),
            known => format!("is not a field here; expected {}", known.join(", ")),
        };
        for (name, _) in std::mem::take(&mut self.members) {
            self.note(&name, Invalid::from(rule.clone()));
        }
        if self.mistakes.is_empty() { Ok(()) } else { Err(self.mistakes) }
    }

    fn place_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// All members of an object, repeated names too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::invalid::InvalidField;

    use super::*;

    fn mistakes(object: Object<'_>) -> Vec<(String, String)> {
        let problem = pombo_web::Problem::from(object.end().unwrap_err());
        problem.errors.into_iter().map(|InvalidField { field, rule }| (field, rule)).collect()
    }

    fn named(object: Object<'_>) -> Vec<String> {
        mistakes(object).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn every_mistake_is_named_in_the_order_of_reading_and_unknown_members_last() {
        let mut object = Object::parse("", r#"{"more":1,"d":1,"b":7,"c":[]}"#).unwrap();
        assert_eq!(object.required("a", Value::string), Err(Noted));
        assert_eq!(object.required("b", Value::string), Err(Noted));
        assert_eq!(object.optional("c", Value::boolean), Err(Noted));
        assert_eq!(object.optional("d", Value::raw).unwrap().unwrap().get(), "1");
        assert_eq!(object.optional("e", Value::string), Ok(None));
        let rules = [
            ("a", "is required"),
            ("b", "must be a string"),
            ("c", "must be true or false"),
            ("more", "is not a field here; expected a, b, c, d, e"),
        ];
        assert_eq!(mistakes(object), rules.map(|(field, rule)| (field.to_owned(), rule.to_owned())));
    }

    #[test]
    fn a_name_is_there_once_however_it_is_written() {
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#, vec!["a"]),
            (r#"{"a":1,"b":2,"a":3,"a":4}"#, vec!["a"]),
            (r#"{"a":1,"\u0061":2}"#, vec!["a"]),
            (r#"{"a":1,"x":2,"x":3}"#, vec!["x", "x"]),
        ] {
            let mut object = Object::parse("", text).unwrap();
            object.given("a", Value::raw).unwrap();
            object.given("b", Value::raw).unwrap();
            assert_eq!(named(object), expected, "{text}");
        }
        let mut object = Object::parse("", r#"{"a":{"b":1,"b":2},"A":1}"#).unwrap();
        object.given("A", Value::raw).unwrap();
        let inner = object.required("a", |value| {
            let mut inner = value.object()?;
            inner.required("b", Value::raw).map_err(Mistakes::from)?;
            inner.end()
        });
        assert_eq!((inner, named(object)), (Err(Noted), vec!["a.b".to_owned()]));
    }

    #[test]
    fn null_is_absent_only_where_a_member_may_be_left_out() {
        let text = r#"{"a":null,"b":null,"c":null}"#;
        let mut object = Object::parse("", text).unwrap();
        assert_eq!(object.optional("a", Value::string), Ok(None));
        assert_eq!(object.given("b", Value::string), Err(Noted));
        assert_eq!(object.required("c", Value::string), Err(Noted));
        assert_eq!(named(object), ["b", "c"]);
    }

    #[test]
    fn what_takes_no_member_says_so() {
        let object = Object::parse("", r#"{"a":1}"#).unwrap();
        assert_eq!(mistakes(object), [("a".to_owned(), "is not a field here; there are none".to_owned())]);
        assert_eq!(Object::empty().end(), Ok(()));
    }

    #[test]
    fn of_very_many_mistakes_some_are_named_and_all_are_counted() {
        let many: Vec<_> = (0..10_000).map(|n| format!("\"{n}\":1")).collect();
        let many = format!("{{{}}}", many.join(","));
        let problem = pombo_web::Problem::from(Object::parse("", &many).unwrap().end().unwrap_err());
        assert_eq!((problem.errors.len(), problem.detail.contains("10000 mistakes")), (20, true), "{}", problem.detail);
    }
}
