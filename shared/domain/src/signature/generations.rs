//! A secret or key with those that it replaced, while they go on signing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LONGEST_GRACE, MOST_LIVE};
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// A secret or key with the time it was made and, once it is rotated out, the time it stops signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signing<K> {
    /// The secret or private key.
    pub secret: K,
    /// When the endpoint got it.
    pub created_at: Timestamp,
    /// When it stops signing; `None` for the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The secrets or keys of an endpoint, the current one first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generations<K>(Vec<Signing<K>>);

impl<K> Generations<K> {
    /// The first.
    #[must_use]
    pub fn new(secret: K, now: Timestamp) -> Self {
        Self(vec![Signing { secret, created_at: now, expires_at: None }])
    }

    /// None at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there is none at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The current one.
    #[must_use]
    pub fn current(&self) -> Option<&K> {
        self.0.first().map(|signing| &signing.secret)
    }

    /// Those that sign at `now`, the current one first.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Signing<K>> {
        self.0.iter().filter(move |signing| signing.expires_at.is_none_or(|expiry| expiry > now))
    }
}

impl<K: Clone + PartialEq> Generations<K> {
    /// Makes `secret` the current one; the one before goes on signing for `grace`. Fails when [`MOST_LIVE`] would sign.
    pub fn rotate(&self, secret: K, grace: Duration, now: Timestamp) -> Result<Self, Invalid> {
        if grace > LONGEST_GRACE {
            return Err(Invalid::rule("must be at most 168 hours"));
        }
        if self.live(now).any(|live| live.secret == secret) {
            return Err(Invalid::rule("must differ from the secrets that sign now"));
        }
        let mut next = Self::new(secret, now).0;
        for old in self.live(now) {
            let end = now.plus(grace);
            let expires_at = Some(old.expires_at.map_or(end, |expiry| expiry.min(end)));
            if expires_at > Some(now) {
                next.push(Signing { expires_at, ..old.clone() });
            }
        }
        if next.len() > MOST_LIVE {
            return Err(Invalid::rule(
                "must wait: 5 secrets sign already; the oldest stops at the end of its grace period",
            ));
        }
        Ok(Self(next))
    }
}

impl<K> Default for Generations<K> {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_rotated_one_signs_until_its_grace_ends() {
        let start = Timestamp::from_seconds(1_000_000);
        let two = Generations::new('a', start).rotate('b', HOUR * 24, start).unwrap();
        let live = |after| two.live(start.plus(after)).map(|live| live.secret).collect::<String>();
        assert_eq!((live(HOUR), live(HOUR * 24), two.current()), ("ba".into(), "b".into(), Some(&'b')));
    }

    #[test]
    fn at_most_five_sign_and_no_grace_ends_at_once() {
        let now = Timestamp::from_seconds(1_000_000);
        let mut all = Generations::new('0', now);
        for secret in '1'..'5' {
            all = all.rotate(secret, HOUR, now).unwrap();
        }
        assert_eq!(all.live(now).count(), MOST_LIVE);
        assert!(all.rotate('9', HOUR, now).is_err());
        assert!(all.rotate('4', Duration::ZERO, now).is_err(), "the current one again");
        assert!(all.rotate('9', LONGEST_GRACE + HOUR, now).is_err());
        assert_eq!(all.rotate('9', Duration::ZERO, now).unwrap().live(now).count(), 1);
        assert_eq!(all.rotate('9', HOUR, now.plus(HOUR)).unwrap().live(now.plus(HOUR)).count(), 2, "four are over");
    }

    #[test]
    fn a_grace_period_is_never_made_longer() {
        let now = Timestamp::from_seconds(1_000_000);
        let three = Generations::new('a', now).rotate('b', HOUR, now).unwrap().rotate('c', HOUR * 9, now).unwrap();
        let ends: Vec<_> = three.live(now).map(|live| live.expires_at).collect();
        assert_eq!(ends, [None, Some(now.plus(HOUR * 9)), Some(now.plus(HOUR))]);
    }
}
