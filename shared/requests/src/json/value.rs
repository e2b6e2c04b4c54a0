//! A JSON value and where it stands.

use std::collections::BTreeSet;

use pombo_domain::invalid::Invalid;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StringDeserializer};
use serde_json::value::RawValue;

use super::{Mistakes, Object};

/// The kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number, however large.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value, and its place in the body: `event_types[1]`. A mistake names the place and the rule and never repeats the value,
/// which may be a secret.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    place: String,
    raw: &'a RawValue,
}

impl<'a> Value<'a> {
    /// The value of a text that was found to be JSON.
    pub(super) const fn new(place: String, raw: &'a RawValue) -> Self {
        Self { place, raw }
    }

    /// The kind of the value.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.raw.get().as_bytes().first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// That it breaks a rule.
    #[must_use]
    pub fn wrong(&self, rule: Invalid) -> Mistakes {
        rule.in_field(&self.place).into()
    }

    /// The text of the value, byte for byte as it was sent.
    pub const fn raw(&self) -> Result<&'a RawValue, Mistakes> {
        Ok(self.raw)
    }

    /// A string.
    pub fn string(&self) -> Result<String, Mistakes> {
        if self.kind() != Kind::String {
            return Err(self.wrong(Invalid::rule("must be a string")));
        }
        // A string that was found to be JSON may still hold half of a surrogate pair.
        serde_json::from_str(self.raw.get())
            .map_err(|_| self.wrong(Invalid::rule("must be text: one of its \\u escapes stands for no character")))
    }

    /// A string that a type of the domain reads, by that type's rule.
    pub fn parsed<T: DeserializeOwned>(&self) -> Result<T, Mistakes> {
        let text = StringDeserializer::<Error>::new(self.string()?);
        T::deserialize(text).map_err(|error| self.wrong(rule_of(&error.to_string())))
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, Mistakes> {
        match self.raw.get() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.wrong(Invalid::rule("must be true or false"))),
        }
    }

    /// A number; infinite when it is beyond what a double holds, so that it breaks every bound.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        (self.kind() == Kind::Number).then(|| serde_json::from_str(self.raw.get()).unwrap_or(f64::INFINITY))
    }

    /// A whole number that is not negative, written without a fraction.
    #[must_use]
    pub fn whole_number(&self) -> Option<u64> {
        serde_json::from_str(self.raw.get()).ok()
    }

    /// An array whose items are all read alike. The mistakes of every item are given.
    pub fn list<T>(&self, read: impl Fn(&Self) -> Result<T, Mistakes>) -> Result<Vec<T>, Mistakes> {
        let not_an_array = || self.wrong(Invalid::rule("must be an array"));
        if self.kind() != Kind::Array {
            return Err(not_an_array());
        }
        let items: Vec<&'a RawValue> = serde_json::from_str(self.raw.get()).map_err(|_| not_an_array())?;
        let (mut list, mut mistakes) = (Vec::with_capacity(items.len()), Mistakes::none());
        for (index, raw) in items.into_iter().enumerate() {
            match read(&Self::new(format!("{}[{index}]", self.place), raw)) {
                Ok(item) => list.push(item),
                Err(wrong) => mistakes.append(wrong),
            }
        }
        if mistakes.is_empty() { Ok(list) } else { Err(mistakes) }
    }

    /// Refuses an array that has an item twice; every repetition is named.
    pub fn check_different<T: Ord>(&self, items: &[T]) -> Result<(), Mistakes> {
        let (mut seen, mut mistakes) = (BTreeSet::new(), Mistakes::none());
        for (index, item) in items.iter().enumerate() {
            if !seen.insert(item) {
                mistakes.add(Invalid::rule("must be given once").in_field(format!("{}[{index}]", self.place)));
            }
        }
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// An object.
    pub fn object(&self) -> Result<Object<'a>, Mistakes> {
        if self.kind() != Kind::Object {
            return Err(self.wrong(Invalid::rule("must be an object")));
        }
        Object::parse(&self.place, self.raw.get())
            .map_err(|_| self.wrong(Invalid::rule("must have names without \\u escapes that stand for no character")))
    }
}

/// The rule in a type's refusal. Serde's own refusal of a name that is none of an enum's repeats that name, which is the
/// caller's and may be a secret; what it expected is the rule.
fn rule_of(message: &str) -> Invalid {
    match message.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("unknown variant `") => {
            Invalid::from(format!("must be {}", expected.replace('`', "")))
        }
        _ => Invalid::from(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::event_type::Pattern;
    use pombo_web::Problem;
    use serde::Deserialize;

    use super::*;

    fn value(text: &str) -> Value<'_> {
        Value::new("f".to_owned(), serde_json::from_str(text).unwrap())
    }

    fn mistakes<T: std::fmt::Debug>(read: Result<T, Mistakes>) -> Vec<(String, String)> {
        let problem = Problem::from(read.unwrap_err());
        problem.errors.into_iter().map(|error| (error.field, error.rule)).collect()
    }

    fn rule<T: std::fmt::Debug>(read: Result<T, Mistakes>) -> String {
        let all = mistakes(read);
        assert_eq!((all.len(), all[0].0.as_str()), (1, "f"));
        all[0].1.clone()
    }

    #[test]
    fn a_value_of_another_kind_is_refused_in_the_words_of_json() {
        let all = ["null", "true", "-1.5e3", "\"true\"", "[]", "{}"];
        let kinds = [Kind::Null, Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object];
        for (text, kind) in all.into_iter().zip(kinds) {
            let value = value(text);
            assert_eq!(value.kind(), kind);
            let refused = [
                (Kind::String, value.string().map(drop), "must be a string"),
                (Kind::Boolean, value.boolean().map(drop), "must be true or false"),
                (Kind::Array, value.list(Value::raw).map(drop), "must be an array"),
                (Kind::Object, value.object().map(drop), "must be an object"),
            ];
            for (wanted, read, expected) in refused {
                assert_eq!(read.is_ok(), wanted == kind, "{text} as {wanted:?}");
                if wanted != kind {
                    assert_eq!(rule(read), expected, "{text}");
                }
            }
            assert_eq!(value.number().is_some(), kind == Kind::Number, "{text}");
        }
    }

    #[test]
    fn every_wrong_item_of_a_list_is_named() {
        let read = value(r#"["a", "a b", 7, "b.*", ""]"#).list(Value::parsed::<Pattern>);
        let fields: Vec<_> = mistakes(read).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["f[1]", "f[2]", "f[4]"]);
        assert_eq!(value(r#" [ "a" , "b" ] "#).list(Value::string).unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_number_beyond_a_double_is_beyond_every_bound() {
        for (text, expected) in [("1e400", f64::INFINITY), ("-1e400", f64::INFINITY), ("0.5", 0.5), ("7", 7.0)] {
            assert_eq!(value(text).number(), Some(expected), "{text}");
        }
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("-1", None),
            ("7.0", None),
            ("1e2", None),
            ("\"7\"", None),
            ("null", None),
        ] {
            assert_eq!(value(text).whole_number(), expected, "{text}");
        }
    }

    #[test]
    fn half_a_character_is_refused_where_text_is_due() {
        assert!(rule(value(r#""\ud800""#).string()).contains("\\u escapes"));
        assert!(rule(value(r#"{"\ud800":1}"#).object()).contains("\\u escapes"));
        assert_eq!(value(r#""\ud83d\udc26\u0000""#).string().unwrap(), "🐦\0");
    }

    #[test]
    fn what_stands_in_a_wrong_place_is_not_repeated() {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum One {
            Of,
            Two,
        }
        assert_eq!(
            rule(value(r#""whsec_x, expected y""#).parsed::<One>()),
            "must be of or two",
            "{:?}",
            (One::Of, One::Two)
        );
        for read in [value(r#""whsec_x y""#).parsed::<Pattern>().map(drop), value(r#""whsec_x""#).boolean().map(drop)] {
            assert!(!rule(read).contains("whsec_x"));
        }
    }
}
