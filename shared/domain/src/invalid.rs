//! What is wrong with a value that came from outside: which rule it breaks, and in which field.

use std::borrow::Cow;

use thiserror::Error;

/// A value that breaks a rule. The rule is written for the caller who sent the value: "must be …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Invalid(pub Cow<'static, str>);

impl Invalid {
    /// A rule with no values in it.
    #[must_use]
    pub const fn rule(rule: &'static str) -> Self {
        Self(Cow::Borrowed(rule))
    }

    /// Names the field that holds the value, as the caller wrote it (`headers.x-api-key`).
    #[must_use]
    pub fn in_field(self, field: impl Into<String>) -> InvalidField {
        InvalidField { field: field.into(), rule: self.0.into_owned() }
    }
}

impl From<String> for Invalid {
    fn from(rule: String) -> Self {
        Self(Cow::Owned(rule))
    }
}

/// A field of a request that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {rule}")]
pub struct InvalidField {
    /// The field's path in the request.
    pub field: String,
    /// The rule that it breaks: "must be …".
    pub rule: String,
}
