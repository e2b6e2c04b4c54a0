//! How often an event has come through Pombo already: what ends a loop of stacks that post to each other.
//!
//! Two stacks can be each other's receiver: each has an endpoint whose URL is the other's ingest URL, and each posted event
//! becomes a new one there. So each request says in the header `pombo-hops` how many times its event has been sent on, this
//! time included. Ingest reads the header, stores the number with the event, and refuses an event at [`MAX_HOPS`] by the
//! status 508. The answer carries the header too: some web hosts answer 508 by themselves, when an account is out of
//! resources, and such an answer is an ordinary failure that is retried.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invalid::Invalid;

/// The header of requests to receivers, and of ingest's refusal.
pub const HOPS_HEADER: &str = "pombo-hops";

/// Number of hops at which ingest takes an event no more. An event that an app posts can be passed on through four stacks.
pub const MAX_HOPS: Hops = Hops(5);

/// The status of ingest's refusal: Loop Detected (RFC 5842 §7.2).
pub const LOOP_DETECTED: u16 = 508;

/// How many times an event has been sent on by Pombo before it was accepted; 0 for an event that came from an app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hops(u32);

impl Hops {
    /// None: the event came from an app.
    pub const NONE: Self = Self(0);

    /// Whether the event came from an app.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// The number that requests carry which send the event on. Retries and replays say the same: they send the same event.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Whether an answer with this status and this value of the header is ingest's refusal to take the event once more.
    #[must_use]
    pub fn is_refusal(status_code: u16, header: Option<&str>) -> bool {
        status_code == LOOP_DETECTED && header.is_some_and(|text| text.parse::<Self>().is_ok())
    }
}

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Hops {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Invalid::rule("must be one whole number: how many times the event has been sent on by Pombo"));
        }
        // A number that is too long for the type is far above the bound.
        Ok(Self(text.parse().unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_digits_is_read_and_nothing_else() {
        for (text, hops) in [("0", 0), ("1", 1), ("05", 5), ("4294967295", u32::MAX), ("99999999999", u32::MAX)] {
            assert_eq!(text.parse::<Hops>().unwrap(), Hops(hops), "{text:?}");
        }
        for wrong in ["", " ", "+1", "-1", "1.0", "1,1", "1, 2", "0x1", "one", "１", "1 "] {
            assert!(wrong.parse::<Hops>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_event_of_an_app_goes_through_four_stacks_more() {
        let taken = std::iter::successors(Some(Hops::NONE), |hops| Some(hops.next()).filter(|next| *next < MAX_HOPS));
        assert_eq!(taken.count(), 5);
        assert_eq!(Hops(u32::MAX).next(), Hops(u32::MAX));
    }

    #[test]
    fn only_a_508_that_counts_hops_is_ingests_refusal() {
        for (status_code, header, is_refusal) in [
            (508, Some("5"), true),
            (508, None, false),
            (508, Some(""), false),
            (508, Some("many"), false),
            (503, Some("5"), false),
        ] {
            assert_eq!(Hops::is_refusal(status_code, header), is_refusal, "{status_code} {header:?}");
        }
    }
}
