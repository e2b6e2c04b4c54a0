//! What a newer version of Pombo has stored in an item beside what this one knows.
//!
//! After a rollback the older version reads such items, and writes them again as a whole. What it does not know it keeps, so
//! that the newer version finds it when it comes back.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Attributes of an item that this version does not know: texts, numbers, lists and maps. A newer version adds neither sets
/// nor bytes. `Debug` shows the names alone, for a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unknown(BTreeMap<String, Value>);

impl Unknown {
    /// None.
    #[must_use]
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// The attributes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl FromIterator<(String, Value)> for Unknown {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(attributes: T) -> Self {
        Self(attributes.into_iter().collect())
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn its_values_are_not_shown_by_debug() {
        let unknown: Unknown = serde_json::from_str(r#"{"later":"s3cret"}"#).unwrap();
        assert_eq!(format!("{unknown:?}"), r#"{"later"}"#);
    }
}
