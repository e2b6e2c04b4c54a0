//! First attempts that are made without a claim.
//!
//! A claim costs a write, and a delivery that succeeds at its first attempt gets little for it. So ingest marks the message
//! of a new delivery, once, and dispatch may make the attempt that a marked message asks for without a claim, for as long
//! as the delivery's *window* is open. The window opens when the event is accepted. While it is open, a delivery without a
//! record counts as being sent. When it has closed, no attempt without a claim is under way any more: an invocation that
//! would end later claims.

use std::time::Duration;

use crate::time::Timestamp;

/// How much two clocks may differ: the event was accepted by one machine, and is sent by another.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// How long first attempts may go without a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstAttemptWindow(Duration);

impl FirstAttemptWindow {
    /// A window of this length.
    #[must_use]
    pub const fn new(length: Duration) -> Self {
        Self(length)
    }

    /// When no attempt without a claim can be under way any more, of an event that was accepted at `accepted_at`.
    #[must_use]
    pub fn closes_at(self, accepted_at: Timestamp) -> Timestamp {
        accepted_at.plus(self.0)
    }

    /// How long the window stays open from `now`; zero when it has closed.
    #[must_use]
    pub fn left(self, accepted_at: Timestamp, now: Timestamp) -> Duration {
        now.until(self.closes_at(accepted_at))
    }

    /// Whether an attempt of an invocation that ends at `ends_at` is over when the window closes.
    #[must_use]
    pub fn covers(self, accepted_at: Timestamp, ends_at: Timestamp) -> bool {
        ends_at.plus(CLOCKS_DIFFER) <= self.closes_at(accepted_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ACCEPTED: Timestamp = Timestamp::from_seconds(1000);

    #[test]
    fn an_invocation_that_ends_5_s_before_the_window_closes_is_covered_and_a_later_one_is_not() {
        let window = FirstAttemptWindow::new(SECOND * 180);
        assert!(window.covers(ACCEPTED, ACCEPTED.plus(SECOND * 175)));
        assert!(!window.covers(ACCEPTED, ACCEPTED.plus(SECOND * 175 + Duration::from_millis(1))));
    }

    #[test]
    fn a_window_that_has_closed_has_no_time_left() {
        let window = FirstAttemptWindow::new(SECOND * 180);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 60)), SECOND * 120);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 180)), Duration::ZERO);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 999)), Duration::ZERO);
    }
}
