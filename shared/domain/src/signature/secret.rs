//! `v1`: HMAC-SHA256 under a secret that sender and receiver share. The key is the *decoded* secret.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

use super::prefix;
use crate::invalid::Invalid;
use crate::webhook_id::WebhookId;

/// Minimum number of different bytes in a secret that a receiver chose. Of 24 random bytes, the shortest secret, fewer are
/// different once in 10²⁴ times; what is no random secret at all, such as zeros, has one.
const MIN_DIFFERENT_BYTES: usize = 8;

/// A symmetric signing secret. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new secret from 32 random bytes.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// A secret that the receiver chose, as [`from_str`](Self::from_str) reads it, unless it is plainly not random.
    pub fn import(text: &str) -> Result<Self, Invalid> {
        let secret: Self = text.parse()?;
        let different: BTreeSet<u8> = secret.0.iter().copied().collect();
        if different.len() < MIN_DIFFERENT_BYTES {
            return Err(Invalid::rule("must be random: this one is the same few bytes again and again"));
        }
        Ok(secret)
    }

    /// The secret as it is handed to the receiver: `whsec_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// One item of the signature header: `v1,` and the base64 of the HMAC.
    #[must_use]
    pub fn sign(&self, id: &WebhookId, timestamp: i64, body: &[u8]) -> String {
        let Some(mac) = self.mac(id, timestamp, body) else { return String::new() };
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    /// Whether an item of the signature header is one under this secret. Takes as long for a wrong signature as for a right
    /// one.
    #[must_use]
    pub fn verifies(&self, id: &WebhookId, timestamp: i64, body: &[u8], item: &str) -> bool {
        let signature = item.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
        let mac = self.mac(id, timestamp, body);
        mac.zip(signature).is_some_and(|(mac, signature)| mac.verify_slice(&signature).is_ok())
    }

    /// HMAC takes keys of any length (RFC 2104 §2), so there is always one.
    fn mac(&self, id: &WebhookId, timestamp: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(prefix(id, timestamp).as_bytes());
        mac.update(body);
        Some(mac)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Invalid;

    /// Reads `whsec_` and the base64 of 24 to 64 bytes, the specification's bounds.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        const RULE: &str = "must be whsec_ and the base64 of 24 to 64 bytes";
        let encoded = text.strip_prefix("whsec_").ok_or(Invalid::rule(RULE))?;
        let bytes = STANDARD.decode(encoded).map_err(|_| Invalid::rule(RULE))?;
        if (24..=64).contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(Invalid::rule(RULE)) }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.reveal())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signs_like_the_reference_library() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let reference = standardwebhooks::Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let id: WebhookId = "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap();
        for body in [r#"{"test": "é￿ 2432232314"}"#, "", ".", "1614265330.{}", "\u{feff}{}", "{}\n", "\0"] {
            let expected = reference.sign(&id.to_string(), 1_614_265_330, body.as_bytes()).unwrap();
            assert_eq!(secret.sign(&id, 1_614_265_330, body.as_bytes()), expected, "{body:?}");
        }
    }

    #[test]
    fn an_imported_secret_has_24_to_64_bytes() {
        for (length, valid) in [(0, false), (23, false), (24, true), (32, true), (64, true), (65, false)] {
            let text = format!("whsec_{}", STANDARD.encode(vec![1; length]));
            assert_eq!(text.parse::<Secret>().is_ok(), valid, "{length} bytes");
        }
        for wrong in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_not base64", "whsk_MfKQ9r8GKYqrTwjUPD8ILPZI"]
        {
            assert!(wrong.parse::<Secret>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_imported_secret_is_not_the_same_few_bytes_again_and_again() {
        let import = |bytes: &[u8]| Secret::import(&format!("whsec_{}", STANDARD.encode(bytes)));
        let few: Vec<u8> = (0..7).cycle().take(64).collect();
        for weak in [&[0; 32][..], &[0xff; 24], &[b'a'; 64], &b"ab".repeat(16)[..], &few[..]] {
            let error = import(weak).unwrap_err().to_string();
            assert!(error.starts_with("must be random"), "{weak:?}: {error}");
            assert!(format!("whsec_{}", STANDARD.encode(weak)).parse::<Secret>().is_ok(), "one that is stored is read");
        }
        for right in [&b"correct horse battery staple"[..], &(0..8).cycle().take(24).collect::<Vec<u8>>()[..]] {
            assert!(import(right).is_ok(), "{right:?}");
        }
        assert!(Secret::import("whsec_").unwrap_err().to_string().contains("24 to 64 bytes"));
    }

    #[test]
    fn what_is_no_signature_of_this_scheme_verifies_nothing() {
        let (secret, id) = (Secret::generate([1; 32]), "evt_1".parse().unwrap());
        let right = secret.sign(&id, 7, b"{}");
        assert!(secret.verifies(&id, 7, b"{}", &right));
        let encoded = right.strip_prefix("v1,").unwrap();
        for wrong in
            ["", "v1", "v1,", encoded, &format!("v1a,{encoded}"), &format!("v2,{encoded}"), &right[..20], "v1,é"]
        {
            assert!(!secret.verifies(&id, 7, b"{}", wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", Secret::generate([1; 32])), "Secret(…)");
    }

    proptest! {
        #[test]
        fn the_reference_library_agrees_for_every_body_time_and_length_of_key(
            body in any::<String>(),
            timestamp in 0..=253_402_207_199_i64,
            key in proptest::collection::vec(any::<u8>(), 24..=64),
        ) {
            let secret: Secret = format!("whsec_{}", STANDARD.encode(&key)).parse().unwrap();
            let reference = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
            let id = "evt_1".parse().unwrap();
            let ours = secret.sign(&id, timestamp, body.as_bytes());
            prop_assert_eq!(&ours, &reference.sign("evt_1", timestamp, body.as_bytes()).unwrap());
            prop_assert!(secret.verifies(&id, timestamp, body.as_bytes(), &ours));
            prop_assert!(!secret.verifies(&id, timestamp + 1, body.as_bytes(), &ours));
            let longer = [body.as_bytes(), b" "].concat();
            prop_assert!(!secret.verifies(&id, timestamp, &longer, &ours));
            prop_assert!(!Secret::generate([0; 32]).verifies(&id, timestamp, body.as_bytes(), &ours));
        }
    }
}
