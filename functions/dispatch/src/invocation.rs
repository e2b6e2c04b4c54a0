//! One invocation and its time.

use std::time::Duration;

use lambda_runtime::Context;
use pombo_aws::clock;
use pombo_aws::settings::CALL_TIMEOUT;
use pombo_domain::time::Timestamp;

/// The answer to a batch goes out so long before the invocation is ended.
const ANSWER_BEFORE_END: Duration = Duration::from_secs(3);

/// How much time of an invocation an attempt leaves: for its record, and for the answer.
pub const AFTER_ATTEMPT: Duration = ANSWER_BEFORE_END.saturating_add(CALL_TIMEOUT);

/// An invocation with less than this behind it is fresh: another one would have no more time.
const FRESH: Duration = Duration::from_secs(2);

/// One invocation of the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    request_id: String,
    started_at: Timestamp,
    ends_at: Timestamp,
}

/// Whether there is time for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is, for at most so long.
    For(Duration),
    /// Not in this invocation, but there will be in the next.
    Later,
}

impl Invocation {
    /// From what Lambda says of it.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let ends_at = Timestamp::from_millis(i64::try_from(context.deadline).unwrap_or(i64::MAX));
        Self { request_id: context.request_id.clone(), started_at: clock::now(), ends_at }
    }

    /// Who claims deliveries for a message: this invocation, and the message in it.
    #[must_use]
    pub fn holder(&self, message_id: &str) -> String {
        format!("{}/{message_id}", self.request_id)
    }

    /// When Lambda ends the invocation: then its claims end.
    #[must_use]
    pub const fn ends_at(&self) -> Timestamp {
        self.ends_at
    }

    /// How long until the answer has to go out.
    #[must_use]
    pub fn until_answer(&self) -> Duration {
        clock::now().until(self.ends_at.minus(ANSWER_BEFORE_END))
    }

    /// Whether an attempt with this deadline fits, with what has to follow it. A fresh invocation takes it all the same
    /// and shortens the deadline: waiting for a longer one would go on for ever.
    #[must_use]
    pub fn room(&self, wanted: Duration, now: Timestamp) -> Room {
        let left = now.until(self.ends_at).saturating_sub(AFTER_ATTEMPT);
        if left >= wanted {
            Room::For(wanted)
        } else if self.started_at.until(now) < FRESH {
            Room::For(left.max(Duration::from_secs(1)))
        } else {
            Room::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_attempt_begins_only_when_it_and_its_record_fit() {
        let started_at = Timestamp::from_seconds(1000);
        let invocation = Invocation { request_id: "r".into(), started_at, ends_at: started_at.plus(SECOND * 65) };
        let room = |wanted, after| invocation.room(SECOND * wanted, started_at.plus(SECOND * after));
        assert_eq!(room(30, 0), Room::For(SECOND * 30));
        assert_eq!(room(30, 27), Room::For(SECOND * 30), "3 s for the answer and 5 s for the record are left");
        assert_eq!(room(30, 28), Room::Later);
        assert_eq!(room(1, 57), Room::Later);
    }

    #[test]
    fn a_fresh_invocation_that_is_too_short_shortens_the_deadline() {
        let started_at = Timestamp::from_seconds(1000);
        let invocation = Invocation { request_id: "r".into(), started_at, ends_at: started_at.plus(SECOND * 20) };
        assert_eq!(invocation.room(SECOND * 30, started_at), Room::For(SECOND * 12));
        let invocation = Invocation { ends_at: started_at.plus(SECOND * 3), ..invocation };
        assert_eq!(invocation.room(SECOND * 30, started_at), Room::For(SECOND));
    }
}
