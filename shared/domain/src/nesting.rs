//! How deeply arrays and objects are nested in a JSON text.
//!
//! A parser that goes down by recursion has a limit, or crashes: a body that no receiver can read is refused when it comes in,
//! where the app hears of it.

/// Maximum number of levels in an event's `data`. The body that receivers parse has one level more. As they come, .NET's parser
/// reads 64 levels, Ruby's 100, `serde_json` 127, and Jackson and Python about 1,000.
pub const MAX_LEVELS: usize = 128;

/// The number of levels of a text that is JSON: 0 for `1`, 1 for `{"a": 1}`, 2 for `[[]]`.
#[must_use]
pub fn levels(json: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                most = most.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    most
}

/// Goes to the end of a string whose opening quote was read.
fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn levels_are_counted_outside_of_strings() {
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        for (json, expected) in [
            ("1", 0),
            ("null", 0),
            (r#""[[[{{{""#, 0),
            ("[]", 1),
            ("{}", 1),
            ("[[]]", 2),
            (r#"[{"a":[]},[],{}]"#, 3),
            (r#"{"[":"]","a\"[":["\\",[]]}"#, 3),
            (r#"["\\\"[[", []]"#, 2),
            (&deep, 5000),
        ] {
            assert_eq!(levels(json), expected, "{}", &json[..json.len().min(40)]);
        }
    }

    /// The same by recursion over the parsed value.
    fn levels_of(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(levels_of).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(levels_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i32>().prop_map(|n| json!(n)), any::<String>().prop_map(|text| json!(text))];
        leaf.prop_recursive(8, 64, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
                prop::collection::btree_map(any::<String>(), inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_parser_counts_as_many(value in values()) {
            prop_assert_eq!(levels(&value.to_string()), levels_of(&value));
            prop_assert_eq!(levels(&serde_json::to_string_pretty(&value).unwrap()), levels_of(&value));
        }
    }
}
