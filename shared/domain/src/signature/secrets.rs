//! All that an endpoint signs with.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MOST_LIVE;
use super::generations::{Generations, Signing};
use super::key::PrivateKey;
use super::scheme::{Scheme, Schemes};
use super::secret::Secret;
use crate::invalid::Invalid;
use crate::time::Timestamp;
use crate::webhook_id::WebhookId;

/// The secrets and keys of an endpoint, and which of the two schemes sign.
///
/// A scheme that is switched off keeps what it has: switching it on again is as if it had never been off, so that a change
/// that receivers were not ready for can be undone.
///
/// As stored, these are members of the endpoint; what `v1` alone needs is as it was before there was `v1a`. A version of
/// Pombo that does not know `v1a` reads the item and goes on with `v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    secrets: Generations<Secret>,
    #[serde(default, skip_serializing_if = "Generations::is_empty")]
    signing_keys: Generations<PrivateKey>,
    #[serde(default, skip_serializing_if = "Schemes::are_default")]
    signatures: Schemes,
}

impl Secrets {
    /// A new endpoint's: signed by `v1`.
    #[must_use]
    pub fn new(secret: Secret, now: Timestamp) -> Self {
        let secrets = Generations::new(secret, now);
        Self { secrets, signing_keys: Generations::none(), signatures: Schemes::default() }
    }

    /// Those of an endpoint that is deleted: nothing is signed for it any more.
    #[must_use]
    pub fn none() -> Self {
        Self { secrets: Generations::none(), signing_keys: Generations::none(), signatures: Schemes::default() }
    }

    /// The schemes that sign.
    #[must_use]
    pub const fn signatures(&self) -> &Schemes {
        &self.signatures
    }

    /// With these schemes signing. `v1a` on an endpoint that never had it makes its first key from `random`.
    #[must_use]
    pub fn with_signatures(&self, signatures: Schemes, random: [u8; 32], now: Timestamp) -> Self {
        let mut next = Self { signatures, ..self.clone() };
        if next.signatures.contains(Scheme::V1a) && next.signing_keys.is_empty() {
            next.signing_keys = Generations::new(PrivateKey::generate(random), now);
        }
        next
    }

    /// The secrets that sign at `now`, the current one first.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Signing<Secret>> {
        self.secrets.live(now).filter(|_| self.signatures.contains(Scheme::V1))
    }

    /// The keys that sign at `now`, the current one first.
    pub fn live_keys(&self, now: Timestamp) -> impl Iterator<Item = &Signing<PrivateKey>> {
        self.signing_keys.live(now).filter(|_| self.signatures.contains(Scheme::V1a))
    }

    /// The current secret, if `v1` signs.
    #[must_use]
    pub fn current_secret(&self) -> Option<&Secret> {
        self.secrets.current().filter(|_| self.signatures.contains(Scheme::V1))
    }

    /// The current key, if `v1a` signs.
    #[must_use]
    pub fn current_key(&self) -> Option<&PrivateKey> {
        self.signing_keys.current().filter(|_| self.signatures.contains(Scheme::V1a))
    }

    /// Gives each of `schemes` a new current secret or key, `secret` and one made from `random`; those before go on
    /// signing for `grace`. The other scheme stays as it is.
    pub fn rotate(
        &self,
        schemes: &Schemes,
        secret: Secret,
        random: [u8; 32],
        grace: Duration,
        now: Timestamp,
    ) -> Result<Self, Invalid> {
        let mut next = self.clone();
        if schemes.contains(Scheme::V1) {
            next.secrets = self.secrets.rotate(secret, grace, now)?;
        }
        if schemes.contains(Scheme::V1a) {
            next.signing_keys = self.signing_keys.rotate(PrivateKey::generate(random), grace, now)?;
        }
        Ok(next)
    }

    /// The value of `webhook-signature` for one attempt at `now`.
    #[must_use]
    pub fn sign(&self, id: &WebhookId, now: Timestamp, body: &[u8]) -> String {
        let timestamp = now.as_seconds();
        let symmetric = self.live(now).map(|live| live.secret.sign(id, timestamp, body));
        let asymmetric = self.live_keys(now).map(|live| live.secret.sign(id, timestamp, body));
        symmetric.chain(asymmetric).collect::<Vec<_>>().join(" ")
    }

    /// Whether the receiver signed a request of its own, of this time in Unix seconds: one item of `header` is under a secret
    /// that is live at `now`. Only `v1` tells: of `v1a` the receiver has no private key.
    #[must_use]
    pub fn verifies(&self, id: &WebhookId, timestamp: i64, body: &[u8], header: &str, now: Timestamp) -> bool {
        // A receiver signs with the secrets that it has, and has no more than are live.
        let items: Vec<_> = header.split(' ').take(MOST_LIVE).collect();
        self.live(now).any(|live| items.iter().any(|item| live.secret.verifies(id, timestamp, body, item)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const START: Timestamp = Timestamp::from_seconds(1_000_000);

    fn schemes(names: &[Scheme]) -> Schemes {
        names.to_vec().try_into().unwrap()
    }

    fn both() -> Schemes {
        schemes(&[Scheme::V1, Scheme::V1a])
    }

    fn secret(byte: u8) -> Secret {
        Secret::generate([byte; 32])
    }

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::generate([byte; 32])
    }

    fn header(secrets: &Secrets, after: Duration) -> String {
        secrets.sign(&"e".parse().unwrap(), START.plus(after), b"x")
    }

    /// What the header must be at a time: of these secrets, then of these keys.
    fn expected(after: Duration, by_secrets: &[u8], by_keys: &[u8]) -> String {
        let (id, at) = ("e".parse().unwrap(), START.plus(after).as_seconds());
        let first = by_secrets.iter().map(|byte| secret(*byte).sign(&id, at, b"x"));
        first.chain(by_keys.iter().map(|byte| key(*byte).sign(&id, at, b"x"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_header_has_each_live_secret_then_each_live_key_newest_first() {
        let secrets = Secrets::new(secret(1), START).with_signatures(both(), [11; 32], START);
        let secrets = secrets.rotate(&both(), secret(2), [12; 32], HOUR * 24, START).unwrap();
        assert_eq!(header(&secrets, HOUR), expected(HOUR, &[2, 1], &[12, 11]));
        assert_eq!(header(&secrets, HOUR * 24), expected(HOUR * 24, &[2], &[12]));
    }

    #[test]
    fn one_scheme_rotates_without_the_other() {
        let secrets = Secrets::new(secret(1), START).with_signatures(both(), [11; 32], START);
        let one = secrets.rotate(&schemes(&[Scheme::V1]), secret(2), [12; 32], HOUR, START).unwrap();
        assert_eq!(header(&one, Duration::ZERO), expected(Duration::ZERO, &[2, 1], &[11]));
        let other = secrets.rotate(&schemes(&[Scheme::V1a]), secret(2), [12; 32], HOUR, START).unwrap();
        assert_eq!(header(&other, Duration::ZERO), expected(Duration::ZERO, &[1], &[12, 11]));
    }

    #[test]
    fn a_scheme_that_is_switched_off_signs_nothing_and_comes_back_with_its_key() {
        let start = Secrets::new(secret(1), START);
        assert_eq!((start.current_key(), start.live_keys(START).count()), (None, 0));
        let both_on = start.with_signatures(both(), [11; 32], START);
        assert_eq!((both_on.current_secret(), both_on.current_key()), (Some(&secret(1)), Some(&key(11))));
        let v1a = both_on.with_signatures(schemes(&[Scheme::V1a]), [13; 32], START);
        assert_eq!(header(&v1a, HOUR), expected(HOUR, &[], &[11]));
        assert_eq!((v1a.current_secret(), v1a.live(START).count()), (None, 0));
        let v1 = v1a.with_signatures(Schemes::default(), [14; 32], START);
        assert_eq!(header(&v1, HOUR), expected(HOUR, &[1], &[]));
        assert_eq!((v1.current_key(), v1.live_keys(START).count()), (None, 0));
        assert_eq!(v1.with_signatures(both(), [15; 32], START), both_on, "no other key is made");
    }

    #[test]
    fn five_of_each_sign_at_most() {
        let mut secrets = Secrets::new(secret(0), START).with_signatures(both(), [20; 32], START);
        for byte in 1..5 {
            secrets = secrets.rotate(&both(), secret(byte), [20 + byte; 32], HOUR, START).unwrap();
        }
        assert_eq!(header(&secrets, Duration::ZERO).split(' ').count(), 10);
        assert!(secrets.rotate(&both(), secret(9), [29; 32], HOUR, START).is_err());
        assert!(secrets.rotate(&schemes(&[Scheme::V1a]), secret(9), [29; 32], HOUR, START).is_err());
    }

    #[test]
    fn a_receiver_proves_itself_with_any_live_secret_and_with_no_other() {
        let secrets =
            Secrets::new(secret(1), START).rotate(&schemes(&[Scheme::V1]), secret(2), [0; 32], HOUR, START).unwrap();
        let id = "req-1".parse().unwrap();
        let at = START.as_seconds();
        let signed =
            |bytes: &[u8]| bytes.iter().map(|byte| secret(*byte).sign(&id, at, b"x")).collect::<Vec<_>>().join(" ");
        for (header, after, holds) in [
            (signed(&[2]), Duration::ZERO, true),
            (signed(&[1]), Duration::ZERO, true),
            (signed(&[9, 2]), Duration::ZERO, true),
            (signed(&[1]), HOUR, false),
            (signed(&[9]), Duration::ZERO, false),
            (signed(&[9, 9, 9, 9, 9, 2]), Duration::ZERO, false),
            (String::new(), Duration::ZERO, false),
        ] {
            assert_eq!(secrets.verifies(&id, at, b"x", &header, START.plus(after)), holds, "{header}");
        }
        assert!(!Secrets::none().verifies(&id, at, b"x", &signed(&[2]), START), "of a deleted endpoint");
        let v1a = secrets.with_signatures(schemes(&[Scheme::V1a]), [11; 32], START);
        assert!(!v1a.verifies(&id, at, b"x", &signed(&[2]), START), "its secret is switched off");
        assert!(!v1a.verifies(&id, at, b"x", &key(11).sign(&id, at, b"x"), START));
    }

    #[test]
    fn what_v1_alone_needs_is_stored_as_before_and_read_by_both_versions() {
        let old = json!({"secrets": [{"secret": secret(1).reveal(), "created_at": START}]});
        let v1 = Secrets::new(secret(1), START);
        assert_eq!(json!(v1), old);
        assert_eq!(serde_json::from_value::<Secrets>(old.clone()).unwrap(), v1);
        let both_on = v1.with_signatures(both(), [11; 32], START);
        let mut stored = json!(both_on);
        assert_eq!(serde_json::from_value::<Secrets>(stored.clone()).unwrap(), both_on);
        for added in ["signing_keys", "signatures"] {
            assert!(stored.as_object_mut().unwrap().remove(added).is_some(), "{added}");
        }
        assert_eq!(stored, old, "an older version passes over what is new");
    }

    #[test]
    fn nothing_of_it_is_shown_by_debug() {
        let shown = format!("{:?}", Secrets::new(secret(1), START).with_signatures(both(), [11; 32], START));
        assert!(shown.contains("Secret(…)") && shown.contains("PrivateKey(…)") && !shown.contains("wh"), "{shown}");
    }
}
