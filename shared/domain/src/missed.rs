//! Requests of receivers for what they missed, as far as they have to be remembered.
//!
//! A receiver proves itself by a signature, and a signature can be copied. So it holds for a few minutes, and the id that it
//! is over is taken once in that time. An id has to be remembered until its signature holds no longer; how many are
//! remembered is also how many an endpoint may make in that time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{EndpointId, EventId};
use crate::time::Timestamp;

/// How far the time of a signature may be from now, either way: the specification's recommendation for receivers.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A signature from a clock that is ahead holds until its time and the tolerance have passed.
const REMEMBERED_FOR: Duration = Duration::from_secs(2 * TOLERANCE.as_secs());

/// The most requests in that time: one a minute, several at once now and then.
pub const MOST_REQUESTS: usize = 10;

/// What is remembered of an endpoint's requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// The recent ones, the oldest first.
    #[serde(default)]
    pub recent: Vec<Admitted>,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// Who wrote this revision.
    pub writer: String,
    /// When nothing of it needs to be remembered any more, in Unix seconds.
    pub expires_at: i64,
}

/// A request that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
}

/// Why a request is not taken, although its signature holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Its id was taken already: it is a copy.
    Repeated,
    /// There were as many as there may be.
    TooMany {
        /// When there may be one more.
        until: Timestamp,
    },
}

impl Requests {
    /// The key of what is remembered, beside the endpoint.
    #[must_use]
    pub fn key(endpoint_id: &EndpointId) -> String {
        format!("{endpoint_id}#missed")
    }

    /// What is to be remembered once the request of this id is taken.
    ///
    /// # Errors
    /// The request is a copy, or one too many.
    pub fn admit(&self, id: &EventId, now: Timestamp) -> Result<Self, NotAdmitted> {
        let is_recent = |request: &&Admitted| request.at.plus(REMEMBERED_FOR) > now;
        let mut recent: Vec<_> = self.recent.iter().filter(is_recent).cloned().collect();
        if recent.iter().any(|request| request.id == *id) {
            return Err(NotAdmitted::Repeated);
        }
        if let Some(oldest) = recent.first().filter(|_| recent.len() >= MOST_REQUESTS) {
            return Err(NotAdmitted::TooMany { until: oldest.at.plus(REMEMBERED_FOR) });
        }
        recent.push(Admitted { id: id.clone(), at: now });
        Ok(Self { recent, expires_at: now.plus(REMEMBERED_FOR).as_seconds_rounded_up(), ..self.clone() })
    }
}

/// Whether a signature of this time, in Unix seconds, still holds.
#[must_use]
pub fn is_current(timestamp: i64, now: Timestamp) -> bool {
    now.as_seconds().abs_diff(timestamp) <= TOLERANCE.as_secs()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> EventId {
        format!("r{number}").parse().unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn an_id_is_taken_once_for_as_long_as_any_signature_over_it_can_hold() {
        let one = Requests::default().admit(&id(1), at(0)).unwrap();
        for seconds in [0, 1, 300, 599] {
            assert_eq!(one.admit(&id(1), at(seconds)), Err(NotAdmitted::Repeated), "{seconds}");
        }
        // Its time may have been five minutes ahead, and it holds for five more.
        let timestamp = at(300).as_seconds();
        assert!(is_current(timestamp, at(0)) && is_current(timestamp, at(599)) && is_current(timestamp, at(600)));
        assert!(!is_current(timestamp, at(601)));
    }

    #[test]
    fn a_signature_holds_for_five_minutes_either_way() {
        let now = at(0).as_seconds();
        for (timestamp, holds) in
            [(now, true), (now - 300, true), (now + 300, true), (now - 301, false), (now + 301, false), (0, false)]
        {
            assert_eq!(is_current(timestamp, at(0)), holds, "{timestamp}");
        }
        assert!(!is_current(i64::MAX, at(0)) && !is_current(i64::MIN, at(0)));
    }

    #[test]
    fn ten_requests_are_taken_in_ten_minutes_and_then_one_for_each_that_is_forgotten() {
        let mut requests = Requests::default();
        for number in 0..MOST_REQUESTS {
            requests = requests.admit(&id(number), at(number as u64)).unwrap();
        }
        assert_eq!(requests.admit(&id(99), at(20)), Err(NotAdmitted::TooMany { until: at(600) }));
        assert_eq!(requests.admit(&id(3), at(20)), Err(NotAdmitted::Repeated), "a copy takes no other's place");
        let next = requests.admit(&id(99), at(601)).unwrap();
        assert_eq!(next.admit(&id(98), at(601)).map(|next| next.recent.len()), Ok(MOST_REQUESTS));
        assert_eq!(next.expires_at, at(1201).as_seconds());
    }

    proptest! {
        #[test]
        fn no_ten_minutes_have_more_than_ten_and_no_id_is_taken_twice_in_them(
            asked in prop::collection::vec((0usize..40, 0u64..200), 0..200),
        ) {
            let (mut requests, mut now, mut taken) = (Requests::default(), 0, Vec::new());
            for (number, pause) in asked {
                now += pause;
                if let Ok(next) = requests.admit(&id(number), at(now)) {
                    requests = next;
                    taken.push((number, now));
                }
            }
            for (number, time) in &taken {
                let within: Vec<_> = taken.iter().filter(|(_, other)| (*time..*time + 600).contains(other)).collect();
                prop_assert!(within.len() <= MOST_REQUESTS);
                prop_assert_eq!(within.iter().filter(|(other, _)| other == number).count(), 1);
            }
        }
    }
}
