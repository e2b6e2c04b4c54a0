//! `v1a`: ed25519. The receiver gets the public key, so that what it knows lets nobody sign in the sender's name.
//!
//! A private key is made here, kept with its endpoint and used by dispatch. Nobody else has a use for it, so no call shows
//! one or takes one from outside: a signature under it is this stack's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::prefix;
use crate::webhook_id::WebhookId;

/// A private key. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// A new key from 32 random bytes: the private key of RFC 8032 §5.1.5.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&random))
    }

    /// What the receiver verifies with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// One item of the signature header: `v1a,` and the base64 of the signature.
    #[must_use]
    pub fn sign(&self, id: &WebhookId, timestamp: i64, body: &[u8]) -> String {
        let mut content = prefix(id, timestamp).into_bytes();
        content.extend_from_slice(body);
        format!("v1a,{}", STANDARD.encode(self.0.sign(&content).to_bytes()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// As it is stored: `whsk_` and the base64 of its 32 bytes.
impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("whsk_{}", STANDARD.encode(self.0.as_bytes())))
    }
}

impl<'de> Deserialize<'de> for PrivateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.strip_prefix("whsk_").and_then(|encoded| STANDARD.decode(encoded).ok());
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Self::generate).ok_or_else(|| de::Error::custom("must be whsk_ and the base64 of 32 bytes"))
    }
}

/// A public key, for everybody. Written as `whpk_` and the base64 of its 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whpk_{}", STANDARD.encode(self.0.as_bytes()))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ed25519_dalek::Signature;
    use proptest::prelude::*;

    use super::*;

    fn stored(text: &str) -> Result<PrivateKey, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn signs_as_the_specifications_example() {
        // The `v1a` item in the specification's section on headers; its key and content are those of its authors' tests.
        let key = stored("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=").unwrap();
        assert_eq!(key.public().to_string(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap();
        assert_eq!(
            key.sign(&id, 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
    }

    #[test]
    fn the_public_key_is_that_of_the_rfc() {
        // RFC 8032 §7.1, tests 1 and 3.
        for (private, public) in [
            ("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
            ("xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc=", "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU="),
        ] {
            let key = stored(&format!("whsk_{private}")).unwrap();
            assert_eq!(key.public().to_string(), format!("whpk_{public}"));
        }
    }

    #[test]
    fn a_stored_key_reads_back_and_a_damaged_one_does_not() {
        let key = PrivateKey::generate([7; 32]);
        let text = serde_json::to_value(&key).unwrap();
        assert_eq!(stored(text.as_str().unwrap()).unwrap(), key);
        for bytes in [0, 31, 33, 64] {
            assert!(stored(&format!("whsk_{}", STANDARD.encode(vec![1; bytes]))).is_err(), "{bytes} bytes");
        }
        for wrong in ["", "whsk_", "whsk_not base64", "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="] {
            assert!(stored(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", PrivateKey::generate([1; 32])), "PrivateKey(…)");
    }

    proptest! {
        // Each case takes three curve operations, which are slow where nothing is optimized.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_public_key_verifies_the_raw_parts_and_nothing_else(
            seed in any::<[u8; 32]>(),
            timestamp in 0..=253_402_207_199_i64,
            body in any::<Vec<u8>>(),
        ) {
            let key = PrivateKey::generate(seed);
            let item = key.sign(&"evt_1".parse().unwrap(), timestamp, &body);
            let signature = STANDARD.decode(item.strip_prefix("v1a,").unwrap()).unwrap();
            let signature = Signature::from_slice(&signature).unwrap();
            let content = [b"evt_1.", timestamp.to_string().as_bytes(), b".", &body].concat();
            prop_assert!(key.public().0.verify_strict(&content, &signature).is_ok());
            prop_assert!(key.public().0.verify_strict(&[&content, &b" "[..]].concat(), &signature).is_err());
            prop_assert!(PrivateKey::generate([0; 32]).public().0.verify_strict(&content, &signature).is_err());
        }
    }
}
