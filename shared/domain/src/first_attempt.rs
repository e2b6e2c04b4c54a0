//! First attempts that are made without a claim.
//!
//! A claim costs a write, and a delivery that succeeds at its first attempt gets little for it. Therefore ingest marks the
//! message of a new delivery, once. While the delivery's *window* is open, dispatch may make the attempt that a marked
//! message asks for without a claim. The window opens when the event is accepted. While the window is open, a delivery
//! without a record counts as being sent. When the window has closed, no attempt without a claim is under way any more,
//! because an invocation that would end later makes a claim.

use std::time::Duration;

use crate::delivery::Step;
use crate::endpoint::{Endpoint, EndpointStatus};
use crate::message::DeliveryMessage;
use crate::time::Timestamp;

/// Maximum difference between two clocks: one machine accepts the event, and another sends it.
const CLOCKS_DIFFER: Duration = Duration::from_secs(5);

/// How long first attempts may go without a claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstAttemptWindow(Duration);

impl FirstAttemptWindow {
    /// A window of this length.
    #[must_use]
    pub const fn new(length: Duration) -> Self {
        Self(length)
    }

    /// The end of the window of an event that was accepted at `accepted_at`: from then on, no attempt without a claim is
    /// under way.
    #[must_use]
    pub fn closes_at(self, accepted_at: Timestamp) -> Timestamp {
        accepted_at.plus(self.0)
    }

    /// The length of the window.
    #[must_use]
    pub const fn length(self) -> Duration {
        self.0
    }

    /// When the window closes, if it is open at `now`. Until then a delivery without a record counts as being sent.
    #[must_use]
    pub fn open_until(self, accepted_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
        Some(self.closes_at(accepted_at)).filter(|closes_at| now < *closes_at)
    }

    /// How long the window stays open from `now`; zero when it has closed. The result is never more than the window's length,
    /// even if this machine's clock is behind the clock of the machine that accepted the event.
    #[must_use]
    pub fn left(self, accepted_at: Timestamp, now: Timestamp) -> Duration {
        now.until(self.closes_at(accepted_at)).min(self.0)
    }

    /// Whether an invocation that ends at `ends_at` is over when the window closes, and with it each attempt that it makes.
    #[must_use]
    pub fn covers(self, accepted_at: Timestamp, ends_at: Timestamp) -> bool {
        ends_at.plus(CLOCKS_DIFFER) <= self.closes_at(accepted_at)
    }

    /// Whether the attempt that `message` asks for may be made without a claim, in an invocation that ends at `ends_at`. The
    /// caller passes the message as [`DeliveryMessage::received`] gives it, because the mark is not valid for a second
    /// receive, and passes an `endpoint` whose circuit is closed. A message that has waited needs a claim.
    #[must_use]
    pub fn spares_claim(self, message: &DeliveryMessage, endpoint: &Endpoint, ends_at: Timestamp) -> bool {
        let is_first = message.first && message.step == Step::FIRST && message.event.is_some();
        let has_waited = message.hops > 0 || message.not_before.is_some() || message.slot.is_some();
        let is_plain = message.probe.is_none() && message.record.is_none() && !has_waited;
        let takes_all = endpoint.status == EndpointStatus::Active && endpoint.rate_limit.is_none();
        is_first && is_plain && takes_all && self.covers(message.delivery.accepted_at, ends_at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::delivery::{DeliveryKey, NewDelivery};
    use crate::hops::Hops;
    use crate::ids::EndpointId;
    use crate::message::EventPart;
    use crate::rate_limit::Slot;

    const SECOND: Duration = Duration::from_secs(1);
    const ACCEPTED: Timestamp = Timestamp::from_seconds(1000);

    #[test]
    fn an_invocation_that_ends_5_s_before_the_window_closes_is_covered_and_a_later_one_is_not() {
        let window = FirstAttemptWindow::new(SECOND * 180);
        assert!(window.covers(ACCEPTED, ACCEPTED.plus(SECOND * 175)));
        assert!(!window.covers(ACCEPTED, ACCEPTED.plus(SECOND * 175 + Duration::from_millis(1))));
    }

    #[test]
    fn a_window_is_open_until_the_moment_at_which_it_closes() {
        let (window, closes_at) = (FirstAttemptWindow::new(SECOND * 180), ACCEPTED.plus(SECOND * 180));
        assert_eq!(window.open_until(ACCEPTED, closes_at.minus(Duration::from_millis(1))), Some(closes_at));
        assert_eq!(window.open_until(ACCEPTED, closes_at), None);
        assert_eq!(FirstAttemptWindow::default().open_until(ACCEPTED, ACCEPTED), None, "no window at all");
    }

    #[test]
    fn a_window_that_has_closed_has_no_time_left() {
        let window = FirstAttemptWindow::new(SECOND * 180);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 60)), SECOND * 120);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 180)), Duration::ZERO);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.plus(SECOND * 999)), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_behind_leaves_no_more_than_the_window() {
        let window = FirstAttemptWindow::new(SECOND * 900);
        assert_eq!(window.left(ACCEPTED, ACCEPTED.minus(SECOND * 3)), SECOND * 900);
    }

    const SLOT: Slot = Slot { at: ACCEPTED, since: 1, missed: 0 };
    const WINDOW: FirstAttemptWindow = FirstAttemptWindow::new(Duration::from_secs(180));

    fn endpoint() -> Endpoint {
        let json = json!({
            "endpoint_id": EndpointId::generate([1; 10]), "tenant": "acme", "name": "", "url": "https://example.com/",
            "event_types": ["*"], "headers": {}, "retry_policy": "standard", "timeout_seconds": 15, "secrets": [],
            "status": "active", "version": 1, "created_at": ACCEPTED, "updated_at": ACCEPTED,
        });
        serde_json::from_value(json).unwrap()
    }

    /// A first message with the mark.
    fn marked() -> DeliveryMessage {
        let endpoint_id = endpoint().id;
        let key = DeliveryKey { endpoint_id, accepted_at: ACCEPTED, event_id: "e".parse().unwrap() };
        let new = NewDelivery { tenant: "acme".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 7 };
        let event = EventPart { new, endpoint_version: None, body: None, hops: Hops::NONE };
        DeliveryMessage::first(key, event).marked()
    }

    /// Whether the attempt goes without a claim, in an invocation that ends `ends_after` seconds after the event was
    /// accepted.
    fn goes(message: DeliveryMessage, received: Option<u32>, endpoint: &Endpoint, ends_after: u32) -> bool {
        WINDOW.spares_claim(&message.received(received), endpoint, ACCEPTED.plus(SECOND * ends_after))
    }

    #[test]
    fn a_marked_message_goes_without_a_claim_at_its_first_receive_in_an_invocation_that_the_window_covers() {
        assert!(goes(marked(), Some(1), &endpoint(), 65));
        assert!(goes(marked(), Some(1), &endpoint(), 175));
        assert!(!goes(marked(), Some(1), &endpoint(), 176), "the window does not cover the invocation");
        for received in [None, Some(0), Some(2), Some(30)] {
            assert!(!goes(marked(), received, &endpoint(), 65), "{received:?}");
        }
    }

    #[test]
    fn a_message_without_the_mark_or_that_has_waited_or_asks_for_something_else_needs_a_claim() {
        let with = |change: fn(&mut DeliveryMessage)| {
            let mut message = marked();
            change(&mut message);
            message
        };
        for (what, message) in [
            ("unmarked", marked().unmarked()),
            ("repeated", marked().repeated()),
            ("has waited", marked().waiting_until(ACCEPTED)),
            ("has hops", with(|message| message.hops = 1)),
            ("says when it is due", marked().due_at(ACCEPTED)),
            ("has a slot", with(|message| message.slot = Some(SLOT))),
            ("is a probe", with(|message| message.probe = Some(ACCEPTED))),
            ("asks for a retry", with(|message| message.step.attempt = 2)),
            ("says nothing of the event", with(|message| message.event = None)),
        ] {
            assert!(!goes(message, Some(1), &endpoint(), 65), "{what}");
        }
    }

    #[test]
    fn an_endpoint_that_takes_nothing_or_has_a_rate_limit_needs_a_claim() {
        let mut limited = serde_json::to_value(endpoint()).unwrap();
        limited["rate_limit"] = json!({"per_second": 10.0, "since": 1});
        for (what, endpoint) in [
            ("paused", Endpoint { status: EndpointStatus::Paused, ..endpoint() }),
            ("deleted", Endpoint { status: EndpointStatus::Deleted, ..endpoint() }),
            ("limited", serde_json::from_value(limited).unwrap()),
        ] {
            assert!(!goes(marked(), Some(1), &endpoint, 65), "{what}");
        }
    }
}
