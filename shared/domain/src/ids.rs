//! Names of things, each a type of its own with one validated constructor.

use std::str::FromStr;

use crate::invalid::Invalid;
use crate::text::text_traits;

/// What a tenant's and an event's id may look like.
const ID_RULE: &str = "must be 1 to 64 characters out of A-Z, a-z, 0-9, - and _";

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

pub(crate) fn is_generated(text: &str, prefix: &str, length: usize) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| rest.len() == length && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')))
}

/// Lower-case base32 (RFC 4648 §6, unpadded): no character that a URL, a key or an eye would mistake.
#[must_use]
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[((bits >> held) & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[((bits << (5 - held)) & 31) as usize]));
    }
    text
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(Invalid::rule($rule)) }
            }
        }

        text_traits!($name);
    };
}

id_type!(
    /// Who owns endpoints and events. `default` when the app has no tenants; `pombo` is Pombo's own.
    TenantId,
    ID_RULE,
    is_id
);
id_type!(
    /// An event's id, unique within its tenant: the app's own, or generated.
    EventId,
    ID_RULE,
    is_id
);
id_type!(
    /// An endpoint's id: `ep_` and 16 generated characters, never chosen by a caller.
    EndpointId,
    "must be an endpoint's id: ep_ and 16 characters",
    |text| is_generated(text, "ep_", 16)
);
id_type!(
    /// The public part of an API key: 16 generated characters.
    KeyId,
    "must be an API key's id: 16 characters",
    |text| is_generated(text, "", 16)
);

impl TenantId {
    /// The tenant of an app that has only one.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// The tenant of Pombo's own operational events.
    #[must_use]
    pub fn pombo() -> Self {
        Self("pombo".to_owned())
    }

    /// Whether this is the tenant of an app that has only one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    /// Whether this is the tenant of Pombo's own operational events, which no app may post for.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0 == "pombo"
    }
}

impl EventId {
    /// An id for an event whose app gave none: `evt_` and 128 random bits.
    #[must_use]
    pub fn generate(random: [u8; 16]) -> Self {
        Self(format!("evt_{}", base32(&random)))
    }

    /// The id of the event that counts an endpoint's failed deliveries in a minute, by its number since the epoch.
    #[must_use]
    pub(crate) fn of_failures(endpoint_id: &EndpointId, minute: i64) -> Self {
        Self(format!("failed_{}_{minute}", endpoint_id.suffix()))
    }
}

impl EndpointId {
    /// A new endpoint's id, from 80 bits that no other endpoint has.
    #[must_use]
    pub fn generate(unique: [u8; 10]) -> Self {
        Self(format!("ep_{}", base32(&unique)))
    }

    /// The 16 characters behind the prefix.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.0[3..]
    }

    /// The 80 bits that the id was generated from: the shortest form to store.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        for (place, letter) in self.suffix().bytes().enumerate() {
            // An id has no other characters.
            let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'a' };
            for bit in (0..5).filter(|bit| value >> (4 - bit) & 1 == 1) {
                let at = place * 5 + bit;
                bytes[at / 8] |= 0x80 >> (at % 8);
            }
        }
        bytes
    }

    /// From the 16 characters behind the prefix.
    pub fn from_suffix(suffix: &str) -> Result<Self, Invalid> {
        format!("ep_{suffix}").parse()
    }
}

impl KeyId {
    /// A new key's id, from 80 random bits.
    #[must_use]
    pub fn generate(random: [u8; 10]) -> Self {
        Self(base32(&random))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn chosen_ids_keep_to_their_alphabet_and_length() {
        for right in ["a", "A-b_9", "x".repeat(64).as_str()] {
            assert_eq!(right.parse::<TenantId>().unwrap().as_str(), right);
            assert_eq!(right.parse::<EventId>().unwrap().as_str(), right);
        }
        for wrong in ["", "a b", "a.b", "a~b", "a#b", "é", "a/b", "x".repeat(65).as_str()] {
            assert!(wrong.parse::<TenantId>().is_err(), "{wrong:?}");
            assert!(wrong.parse::<EventId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn generated_ids_read_back_and_others_do_not() {
        let id = EndpointId::generate([255; 10]);
        assert_eq!(id.as_str(), "ep_7777777777777777");
        assert_eq!(EndpointId::from_suffix(id.suffix()).unwrap(), id);
        for unique in [[0; 10], [255; 10], [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x13, 0x57]] {
            assert_eq!(EndpointId::generate(unique).to_bytes(), unique);
        }
        assert!(EventId::generate([7; 16]).as_str().parse::<EventId>().is_ok());
        for wrong in ["ep_", "ep_777777777777777", "ep_77777777777777777", "ep_777777777777777A", "xx_7777777777777777"]
        {
            assert!(wrong.parse::<EndpointId>().is_err(), "{wrong:?}");
        }
        assert!(KeyId::generate([1; 10]).as_str().parse::<KeyId>().is_ok());
    }
}
