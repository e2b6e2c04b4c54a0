//! API keys: `pk_<key id>_<secret><checksum>`. Only a digest of the secret is stored.
//!
//! The checksum covers everything before it. A text that was cut, mistyped or made up fails it, and is refused without a
//! read. The checksum is no secret: it proves nothing about who holds the key.
//!
//! A key id has no dot, so there is room for a prefix in front of it (`pk_<cell>.<key id>_…`), should one address ever
//! serve several stacks. Today such a key is refused like any other unknown one.

mod ring;
mod scope;
mod stored;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::ids::{KeyId, base32};
use crate::invalid::Invalid;

pub use self::ring::{KeyRing, RingIsFull, RingKey};
pub use self::scope::Scope;
pub use self::stored::StoredKey;

/// Characters of the secret: 256 bits in base32.
const SECRET_CHARS: usize = 52;
/// Characters of the checksum: 30 bits in base32.
const CHECKSUM_CHARS: usize = 6;

/// An API key as its holder presents it. Its `Debug` shows the id alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part, under which the key is stored.
    pub id: KeyId,
    secret: String,
}

impl ApiKey {
    /// A new key, from 80 random bits for its id and 256 for its secret.
    #[must_use]
    pub fn generate(id: [u8; 10], secret: [u8; 32]) -> Self {
        Self { id: KeyId::generate(id), secret: base32(&secret) }
    }

    /// The whole key, shown once to the caller who made it.
    #[must_use]
    pub fn reveal(&self) -> String {
        let key = format!("pk_{}_{}", self.id, self.secret);
        let checksum = checksum(&key);
        key + &checksum
    }

    /// The digest that is stored in place of the secret. The secret has 256 random bits, so nobody can find it by
    /// computing the digests of likely secrets.
    #[must_use]
    pub fn digest(&self) -> String {
        STANDARD.encode(Sha256::digest(&self.secret))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}, …)", self.id)
    }
}

impl FromStr for ApiKey {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or(Invalid::rule("must be an API key: pk_<key id>_<secret><checksum>"))
    }
}

fn parse(text: &str) -> Option<ApiKey> {
    let (id, rest) = text.strip_prefix("pk_")?.split_once('_')?;
    let well_formed = rest.len() == SECRET_CHARS + CHECKSUM_CHARS
        && rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    if !well_formed {
        return None;
    }
    let (key, given) = text.split_at(text.len() - CHECKSUM_CHARS);
    if given != checksum(key) {
        return None;
    }
    Some(ApiKey { id: id.parse().ok()?, secret: rest[..SECRET_CHARS].to_owned() })
}

/// The first 30 bits of the SHA-256 of the text, in base32.
fn checksum(text: &str) -> String {
    let mut checksum = base32(&Sha256::digest(text)[..4]);
    checksum.truncate(CHECKSUM_CHARS);
    checksum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_reads_back_and_debug_hides_its_secret() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        assert_eq!(
            key.reveal(),
            "pk_aeaqcaibaeaqcaib_aibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaziz7l6",
            "callers have keys in their configuration: the format stays"
        );
        assert_eq!(key.reveal().parse::<ApiKey>().unwrap(), key);
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = ApiKey::generate([1; 10], [2; 32]).reveal();
        for wrong in ["", "pk_", "pk_a_b", &key[3..], &key[..key.len() - 1], &key.to_uppercase(), &format!("{key}a")] {
            assert!(wrong.parse::<ApiKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn there_is_room_for_a_cell_before_the_id() {
        let key = ApiKey::generate([1; 10], [2; 32]);
        let of_a_cell = format!("pk_eu1.{}_{}", key.id, key.secret);
        let of_a_cell = format!("{of_a_cell}{}", checksum(&of_a_cell));
        let (id, rest) = of_a_cell.strip_prefix("pk_").unwrap().split_once('_').unwrap();
        assert_eq!((id.split_once('.'), rest.len()), (Some(("eu1", key.id.as_str())), SECRET_CHARS + CHECKSUM_CHARS));
        assert!(of_a_cell.parse::<ApiKey>().is_err(), "another cell's key is not ours");
    }

    proptest! {
        #[test]
        fn a_key_with_another_character_fails_its_checksum(
            id: [u8; 10], secret: [u8; 32], at in 0..80_usize, to in "[a-z2-7]"
        ) {
            let key = ApiKey::generate(id, secret).reveal();
            let at = at % key.len();
            let other = format!("{}{to}{}", &key[..at], &key[at + 1..]);
            prop_assume!(other != key);
            prop_assert!(other.parse::<ApiKey>().is_err());
        }
    }
}
