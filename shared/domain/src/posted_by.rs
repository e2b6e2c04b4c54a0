//! Who posted an event, as it is stored with the event: short, since each event has it.

use std::str::FromStr;

use crate::ids::KeyId;
use crate::invalid::Invalid;
use crate::text::text_traits;

/// Maximum number of bytes.
const MAX_BYTES: usize = 20;

/// Who posted an event: an API key's id, or the start of a signer's name (`role/enrolments`, `user/ana`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedBy(String);

impl PostedBy {
    /// The holder of an API key.
    #[must_use]
    pub fn key(id: &KeyId) -> Self {
        Self(id.to_string())
    }

    /// The signer of a request, by its ARN. Role and user names may be longer; their first characters are kept. The
    /// session of a role is left out: `CloudTrail` has it.
    ///
    /// `arn:aws:sts::123456789012:assumed-role/enrolments/i-0abc` is `role/enrolments`.
    #[must_use]
    pub fn arn(arn: &str) -> Self {
        let resource = arn.splitn(6, ':').last().unwrap_or_default();
        let name = match resource.strip_prefix("assumed-role/") {
            Some(role) => format!("role/{}", role.split('/').next().unwrap_or_default()),
            None => resource.to_owned(),
        };
        Self(name[..name.floor_char_boundary(MAX_BYTES)].to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PostedBy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_BYTES {
            return Err(Invalid::rule("must be at most 20 bytes"));
        }
        Ok(Self(text.to_owned()))
    }
}

text_traits!(PostedBy);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_signer_is_named_by_role_or_user() {
        for (arn, name) in [
            ("arn:aws:sts::123456789012:assumed-role/enrolments/i-0abc", "role/enrolments"),
            ("arn:aws:sts::123456789012:assumed-role/the-enrolments-of-students/x", "role/the-enrolments-"),
            ("arn:aws:iam::123456789012:user/ana", "user/ana"),
            ("arn:aws:iam::123456789012:user/staff:it/ana", "user/staff:it/ana"),
            ("arn:aws:iam::123456789012:root", "root"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(PostedBy::arn(arn).as_str(), name);
        }
    }

    #[test]
    fn a_key_is_named_by_its_id() {
        let by = PostedBy::key(&KeyId::generate([1; 10]));
        assert_eq!((by.as_str(), by.as_str().parse().ok()), ("aeaqcaibaeaqcaib", Some(by.clone())));
    }

    proptest! {
        #[test]
        fn no_signer_takes_more_than_20_bytes(arn in "\\PC{0,80}") {
            let by = PostedBy::arn(&arn);
            prop_assert!(by.as_str().len() <= MAX_BYTES);
            prop_assert_eq!(by.as_str().parse::<PostedBy>().unwrap(), by);
        }
    }
}
