//! Which signatures an endpoint's requests carry.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::invalid::Invalid;

/// A signature scheme, by the identifier that begins its items in the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Scheme {
    /// HMAC-SHA256 under a secret that the receiver has too.
    V1,
    /// ed25519, of which the receiver has the public key.
    V1a,
}

impl TryFrom<String> for Scheme {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "v1" => Ok(Self::V1),
            "v1a" => Ok(Self::V1a),
            _ => Err(Invalid::rule("must be v1 or v1a")),
        }
    }
}

/// One scheme or both; `v1` unless the endpoint asks for more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scheme>")]
pub struct Schemes(BTreeSet<Scheme>);

impl Schemes {
    /// Whether the scheme is one of them.
    #[must_use]
    pub fn contains(&self, scheme: Scheme) -> bool {
        self.0.contains(&scheme)
    }

    /// Whether all of them are among `others`.
    #[must_use]
    pub fn are_among(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Whether they are what an endpoint has that did not ask.
    #[must_use]
    pub fn are_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Schemes {
    fn default() -> Self {
        Self([Scheme::V1].into())
    }
}

impl TryFrom<Vec<Scheme>> for Schemes {
    type Error = Invalid;

    fn try_from(schemes: Vec<Scheme>) -> Result<Self, Invalid> {
        let count = schemes.len();
        let schemes: BTreeSet<_> = schemes.into_iter().collect();
        if count == 0 || count != schemes.len() {
            return Err(Invalid::rule(r#"must be ["v1"], ["v1a"] or ["v1", "v1a"]"#));
        }
        Ok(Self(schemes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Schemes, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn there_is_at_least_one_and_each_once_in_any_order() {
        for (given, written) in [
            (json!(["v1"]), json!(["v1"])),
            (json!(["v1a"]), json!(["v1a"])),
            (json!(["v1", "v1a"]), json!(["v1", "v1a"])),
            (json!(["v1a", "v1"]), json!(["v1", "v1a"])),
        ] {
            assert_eq!(json!(read(given).unwrap()), written);
        }
        for wrong in [json!([]), json!(["v1", "v1"]), json!(["v2"]), json!(["V1"]), json!("v1"), json!([1]), json!({})]
        {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(Schemes::default().are_default() && !read(json!(["v1", "v1a"])).unwrap().are_default());
    }
}
