//! The pace of what has waited: how far apart held and replayed deliveries are sent, how many of them one leg of a job takes,
//! when an empty drain looks again, and how soon an outcome that could not be recorded is tried again.

use std::time::Duration;

use crate::job::LARGEST_PAGE;
use crate::rate_limit::RateLimit;
use crate::time::Timestamp;

/// From one released delivery to the next: a hundred a second, so that a receiver that has just come back is not run over.
pub const RELEASE_SPACING: Duration = Duration::from_millis(10);
/// From one replayed delivery to the next when they are of many endpoints and nothing else is asked for: 500 a second.
pub const REPLAY_SPACING: Duration = Duration::from_millis(2);
/// Maximum time that sending a page of a drain may take: a message can wait 15 minutes.
pub const RELEASE_PAGE_TIME: Duration = Duration::from_secs(600);
/// Maximum time that sending a page of a replay may take: a replay that is told to stop goes on until its page is sent.
pub const REPLAY_PAGE_TIME: Duration = Duration::from_secs(60);
/// How long after a failed try an outcome that could not be recorded is tried again, as a new message each time.
pub const RECORD_AGAIN: Duration = Duration::from_secs(10);
/// How many deliveries of a page a leg changes at one time.
pub const ROWS_AT_ONCE: usize = 16;

/// The shortest and the longest pause between two looks that find nothing held. A delivery that is put on hold late is
/// released at most one pause later. Most of these come, or show in the index, in the first moments.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How far apart an endpoint with this rate limit gets deliveries that have waited.
#[must_use]
pub fn release_spacing(limit: Option<&RateLimit>) -> Duration {
    let slot = limit.map_or(0, |limit| limit.per_second.interval_micros());
    Duration::from_micros(u64::try_from(slot).unwrap_or_default()).max(RELEASE_SPACING)
}

/// How many deliveries a page takes that are sent `spacing` apart: what can be sent within `longest`, at least one and at
/// most [`LARGEST_PAGE`].
#[must_use]
pub fn rows_in_page(spacing: Duration, longest: Duration) -> usize {
    let fits = (longest.as_micros() / spacing.as_micros().max(1)).max(1);
    usize::try_from(fits).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE)
}

/// How long a drain waits after an empty look that began at `began`, when its door opened at `opened_at`; `None` when the drain
/// has ended: the look began after the settling time. The pauses grow with the time since the door opened.
#[must_use]
pub fn next_look(opened_at: Timestamp, began: Timestamp, settle: Duration) -> Option<Duration> {
    let settled = opened_at.plus(settle);
    let pause = opened_at.until(began).clamp(MIN_PAUSE, MAX_PAUSE);
    (began < settled).then(|| began.until(settled).min(pause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::PerSecond;

    #[test]
    fn an_empty_look_ends_the_drain_only_when_it_began_after_the_settling_time() {
        let opened = Timestamp::from_seconds(1000);
        for (began, expected) in [
            (999, Some(1)),
            (1000, Some(1)),
            (1004, Some(4)),
            (1080, Some(30)),
            (1100, Some(20)),
            (1119, Some(1)),
            (1120, None),
            (5000, None),
        ] {
            let pause = next_look(opened, Timestamp::from_seconds(began), Duration::from_secs(120));
            assert_eq!(pause.map(|pause| pause.as_secs()), expected, "a look at {began}");
        }
    }

    #[test]
    fn what_has_waited_is_sent_at_most_a_hundred_times_a_second_and_never_faster_than_the_limit() {
        let spacing = |rate: f64| {
            let limit = PerSecond::new(rate).map(|per_second| RateLimit { per_second, since: 1 });
            release_spacing(limit.ok().as_ref()).as_millis()
        };
        assert_eq!(release_spacing(None).as_millis(), 10);
        assert_eq!([500.0, 100.0, 4.0, 0.5].map(spacing), [10, 10, 250, 2000]);
    }

    #[test]
    fn a_page_is_what_can_be_sent_in_its_time_and_at_most_the_largest() {
        let rows = |millis, longest| rows_in_page(Duration::from_millis(millis), longest);
        assert_eq!([10, 1200, 2000, 100_000].map(|ms| rows(ms, RELEASE_PAGE_TIME)), [500, 500, 300, 6]);
        assert_eq!([2, 120, 1000, 100_000].map(|ms| rows(ms, REPLAY_PAGE_TIME)), [500, 500, 60, 1]);
    }
}
