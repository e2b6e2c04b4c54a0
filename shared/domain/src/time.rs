//! Points in time, to the millisecond, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::invalid::Invalid;

/// Milliseconds since the Unix epoch.
///
/// Written and stored as RFC 3339 with exactly three fractional digits and `Z`, so that the text sorts as the time does:
/// it is the leading part of sort keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last instant that the time library writes, at the end of 9999; a later one would not sort as text.
const LAST_MILLIS: i64 = 253_402_207_199_999;

impl Timestamp {
    /// From milliseconds since the epoch, clamped to the years 1970 to 9999.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis < 0 {
            Self(0)
        } else if millis > LAST_MILLIS {
            Self(LAST_MILLIS)
        } else {
            Self(millis)
        }
    }

    /// From whole seconds since the epoch, clamped like [`Timestamp::from_millis`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since the epoch, rounded up.
    #[must_use]
    pub const fn as_seconds_rounded_up(self) -> i64 {
        (self.0 + 999).div_euclid(1000)
    }

    /// This time and `duration` later, rounded up to a millisecond.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self::from_millis(self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    /// This time and `duration` earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long from `self` until `later`; zero when `later` is not later.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Whether this is a time of a list that begins at `since` and ends before `until`, where it has these bounds.
    #[must_use]
    pub fn is_within(self, since: Option<Self>, until: Option<Self>) -> bool {
        since.is_none_or(|since| since <= self) && until.is_none_or(|until| self < until)
    }

    /// As EventBridge Scheduler writes it in `at()`: `yyyy-mm-ddThh:mm:ss`, rounded up to a second.
    #[must_use]
    pub fn to_at_expression(self) -> String {
        let whole = Self::from_seconds(self.as_seconds_rounded_up()).to_string();
        format!("at({})", &whole[..19])
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{time:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    /// Reads RFC 3339 with any offset and any precision; finer than a millisecond is dropped.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| Invalid::rule("must be an RFC 3339 time, such as 2026-01-31T09:30:00Z"))?;
        let millis = time.as_millisecond();
        if (0..=LAST_MILLIS).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(Invalid::rule("must be a time between the years 1970 and 9999"))
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
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
    fn is_written_with_three_digits_and_z() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_769_851_800_050).to_string(), "2026-01-31T09:30:00.050Z");
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), "9999-12-30T21:59:59.999Z");
    }

    #[test]
    fn reads_offsets_and_drops_what_is_finer_than_a_millisecond() {
        let time: Timestamp = "2026-01-31T10:30:00.0509+01:00".parse().unwrap();
        assert_eq!(time.as_millis(), 1_769_851_800_050);
        for wrong in ["", "yesterday", "2026-01-31", "2026-13-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_list_begins_with_its_first_time_and_ends_before_its_last() {
        let at = Timestamp::from_millis;
        for (millis, since, until, expected) in [
            (5, None, None, true),
            (5, Some(5), None, true),
            (4, Some(5), None, false),
            (5, None, Some(6), true),
            (6, None, Some(6), false),
            (6, Some(5), Some(7), true),
        ] {
            assert_eq!(at(millis).is_within(since.map(at), until.map(at)), expected, "{millis} {since:?} {until:?}");
        }
    }

    #[test]
    fn an_at_expression_is_rounded_up_and_has_neither_fraction_nor_zone() {
        let time = Timestamp::from_millis(1_769_851_800_001);
        assert_eq!(time.to_at_expression(), "at(2026-01-31T09:30:01)");
        assert_eq!(Timestamp::from_millis(1_769_851_800_000).to_at_expression(), "at(2026-01-31T09:30:00)");
    }

    proptest! {
        #[test]
        fn text_sorts_as_time_and_reads_back(a in 0..LAST_MILLIS, b in 0..LAST_MILLIS) {
            let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.to_string().parse::<Timestamp>().unwrap(), a);
        }
    }
}
