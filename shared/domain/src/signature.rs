//! Standard Webhooks signatures: the secrets of an endpoint and what they sign.
//!
//! Source: the Standard Webhooks specification 1.0.0. The signed content is `id.timestamp.body` over the raw bytes; the
//! HMAC key is the *decoded* secret; each live secret contributes one item, newest first, separated by one space.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

use crate::ids::EventId;
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// The most secrets that sign at once: the current one and those in their grace period.
pub const MOST_LIVE: usize = 5;

/// How long a rotated secret goes on signing unless the caller says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// The longest grace period that a caller may ask for.
pub const LONGEST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A symmetric signing secret. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new secret from 32 random bytes.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// The secret as it is handed to the receiver: `whsec_` and base64.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// One item of the signature header: `v1,` and the base64 of the HMAC.
    #[must_use]
    pub fn sign(&self, id: &EventId, timestamp: i64, body: &[u8]) -> String {
        // HMAC takes keys of any length (RFC 2104 §2), so this cannot fail.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(id.as_str().as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
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

/// A secret with the time it was made and, once it is rotated out, the time it stops signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningSecret {
    /// The secret.
    pub secret: Secret,
    /// When the endpoint got it.
    pub created_at: Timestamp,
    /// When it stops signing; `None` for the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The secrets of an endpoint, the current one first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(Vec<SigningSecret>);

impl Secrets {
    /// A new endpoint's.
    #[must_use]
    pub fn new(secret: Secret, now: Timestamp) -> Self {
        Self(vec![SigningSecret { secret, created_at: now, expires_at: None }])
    }

    /// Those of an endpoint that is deleted: nothing is signed for it any more.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Those that sign at `now`, the current one first.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &SigningSecret> {
        self.0.iter().filter(move |secret| secret.expires_at.is_none_or(|expiry| expiry > now))
    }

    /// Makes `secret` the current one; the one before goes on signing for `grace`. Fails when [`MOST_LIVE`] would sign.
    pub fn rotate(&self, secret: Secret, grace: Duration, now: Timestamp) -> Result<Self, Invalid> {
        if grace > LONGEST_GRACE {
            return Err(Invalid::rule("must be at most 168 hours"));
        }
        if self.live(now).any(|live| live.secret == secret) {
            return Err(Invalid::rule("must differ from the secrets that sign now"));
        }
        let mut secrets = vec![SigningSecret { secret, created_at: now, expires_at: None }];
        for old in self.live(now) {
            let end = now.plus(grace);
            let expires_at = Some(old.expires_at.map_or(end, |expiry| expiry.min(end)));
            if expires_at > Some(now) {
                secrets.push(SigningSecret { expires_at, ..old.clone() });
            }
        }
        if secrets.len() > MOST_LIVE {
            return Err(Invalid::rule(
                "must wait: 5 secrets sign already; the oldest stops at the end of its grace period",
            ));
        }
        Ok(Self(secrets))
    }

    /// The value of `webhook-signature` for one attempt at `now`.
    #[must_use]
    pub fn sign(&self, id: &EventId, now: Timestamp, body: &[u8]) -> String {
        let items: Vec<String> = self.live(now).map(|live| live.secret.sign(id, now.as_seconds(), body)).collect();
        items.join(" ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn secret(byte: u8) -> Secret {
        Secret::generate([byte; 32])
    }

    #[test]
    fn signs_like_the_reference_library() {
        let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let reference = standardwebhooks::Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": "é￿ 2432232314"}"#;
        let id: EventId = "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap();
        let expected = reference.sign(id.as_str(), 1_614_265_330, body.as_bytes()).unwrap();
        assert_eq!(secret.sign(&id, 1_614_265_330, body.as_bytes()), expected);
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
    fn a_rotated_secret_signs_until_its_grace_ends() {
        let start = Timestamp::from_seconds(1_000_000);
        let secrets = Secrets::new(secret(1), start).rotate(secret(2), HOUR * 24, start).unwrap();
        let id: EventId = "e".parse().unwrap();
        let during = secrets.sign(&id, start.plus(HOUR), b"x");
        let at = start.plus(HOUR).as_seconds();
        assert_eq!(during, format!("{} {}", secret(2).sign(&id, at, b"x"), secret(1).sign(&id, at, b"x")));
        assert_eq!(secrets.live(start.plus(HOUR * 24)).count(), 1);
    }

    #[test]
    fn at_most_five_sign_and_no_grace_ends_at_once() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut secrets = Secrets::new(secret(0), now);
        for byte in 1..5 {
            secrets = secrets.rotate(secret(byte), HOUR, now).unwrap();
        }
        assert_eq!(secrets.live(now).count(), MOST_LIVE);
        assert!(secrets.rotate(secret(9), HOUR, now).is_err());
        assert!(secrets.rotate(secret(4), Duration::ZERO, now).is_err(), "the current secret again");
        assert_eq!(secrets.rotate(secret(9), Duration::ZERO, now).unwrap().live(now).count(), 1);
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", secret(1)), "Secret(…)");
    }

    proptest! {
        #[test]
        fn the_reference_library_accepts_every_signature(body in any::<String>(), key in any::<[u8; 32]>()) {
            let secret = Secret::generate(key);
            let reference = standardwebhooks::Webhook::new(&secret.reveal()).unwrap();
            let id: EventId = "evt_1".parse().unwrap();
            let ours = secret.sign(&id, 1_700_000_000, body.as_bytes());
            prop_assert_eq!(ours, reference.sign("evt_1", 1_700_000_000, body.as_bytes()).unwrap());
        }
    }
}
