//! A delivery: one event on its way to one endpoint, and the protocol that brings it to an end.
//!
//! Every message about a delivery may be a repeat, late or out of order, and the process that handles it may die at any
//! point. What holds nevertheless follows from the record alone: [`verdict`] says what a message may do, and the methods
//! of [`Record`] say what a process may write. Each write replaces the record that was seen and no other (its `rev`), so
//! these functions are the only place where the rules are written.

mod record;
mod settling;
mod verdict;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

pub use self::record::{Claim, Listing, MOST_ATTEMPTS, NewDelivery, Record};
pub use self::settling::{Settling, settling};
pub use self::verdict::{DropReason, Head, Verdict, verdict};
use crate::cursor::{seal, unseal};
use crate::ids::{EndpointId, EventId};
use crate::invalid::Invalid;
use crate::time::Timestamp;

/// Over how many partitions the lists and timers of a table are spread.
pub const SHARDS: u8 = 8;

const STEP_RULE: Invalid = Invalid::rule("must be a round and an attempt, such as 0.1");

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No outcome yet.
    Pending,
    /// An attempt failed, or a replay was ordered; the next attempt is due.
    Retrying,
    /// The endpoint is paused, or its circuit open.
    Held,
    /// The receiver took it.
    Succeeded,
    /// Every attempt of the round failed.
    Failed,
    /// An operator, or the endpoint's deletion, ended it.
    Cancelled,
}

impl Status {
    /// Every status that puts a delivery on the lists of what did not succeed.
    pub const LISTED: [Self; 4] = [Self::Retrying, Self::Held, Self::Failed, Self::Cancelled];

    /// Whether the delivery has come to an end, until a replay opens the next round.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The status as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for Status {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Pending, Self::Retrying, Self::Held, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(Invalid::rule("must be pending, retrying, held, succeeded, failed or cancelled"))
    }
}

/// A place in a delivery's history: the last outcome recorded, or the attempt that a message asks for.
///
/// Round 0 is the first run through the retry policy; each replay begins the next. Attempts count from 1 within a round;
/// `(n, 0)` is round *n* just opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Step {
    /// The round, from 0.
    pub round: u32,
    /// The attempt in the round, from 1; 0 before the first.
    pub attempt: u32,
}

impl Step {
    /// The first attempt of a delivery.
    pub const FIRST: Self = Self { round: 0, attempt: 1 };

    /// The attempt after this step, in the same round.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { round: self.round, attempt: self.attempt.saturating_add(1) }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.round, self.attempt)
    }
}

impl FromStr for Step {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (round, attempt) = text.split_once('.').ok_or(STEP_RULE)?;
        let number = |text: &str| text.parse().map_err(|_| STEP_RULE);
        Ok(Self { round: number(round)?, attempt: number(attempt)? })
    }
}

/// The key of a delivery. It is known from the event and the endpoint, so a delivery needs no id of its own to be stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// When its event was accepted.
    pub accepted_at: Timestamp,
    /// The event.
    pub event_id: EventId,
}

impl DeliveryKey {
    /// The sort key below the endpoint: by time, then by event.
    #[must_use]
    pub fn sort_key(&self) -> String {
        format!("{}#{}", self.accepted_at, self.event_id)
    }

    /// From the two parts of the table's key.
    pub fn from_parts(endpoint_id: EndpointId, sort_key: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid::rule("must be a delivery's id");
        let (accepted_at, event_id) = sort_key.split_once('#').ok_or(RULE)?;
        let key = Self {
            endpoint_id,
            accepted_at: accepted_at.parse().map_err(|_| RULE)?,
            event_id: event_id.parse().map_err(|_| RULE)?,
        };
        // A time written another way would be another key.
        if key.sort_key() == sort_key { Ok(key) } else { Err(RULE) }
    }

    /// The position in a list that spans endpoints: as [`DeliveryKey::sort_key`], then by endpoint.
    #[must_use]
    pub fn list_key(&self) -> String {
        format!("{}#{}#{}", self.accepted_at, self.event_id, self.endpoint_id)
    }

    /// Which of the [`SHARDS`] of a list or of the timers holds the delivery.
    #[must_use]
    pub fn shard(&self) -> u8 {
        shard_of(&self.list_key(), SHARDS)
    }
}

/// Spreads keys evenly over `shards`; the same key always on the same one.
#[must_use]
pub fn shard_of(key: &str, shards: u8) -> u8 {
    Sha256::digest(key)[0] % shards.max(1)
}

/// The id of a delivery: its key as base64url.
impl fmt::Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seal(&format!("{}/{}", self.endpoint_id, self.sort_key())))
    }
}

impl FromStr for DeliveryKey {
    type Err = Invalid;

    fn from_str(id: &str) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid::rule("must be a delivery's id");
        let text = unseal(id).ok_or(RULE)?;
        let (endpoint_id, sort_key) = text.split_once('/').ok_or(RULE)?;
        Self::from_parts(endpoint_id.parse().map_err(|_| RULE)?, sort_key)
    }
}

impl Serialize for DeliveryKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key() -> DeliveryKey {
        DeliveryKey {
            endpoint_id: EndpointId::generate([3; 10]),
            accepted_at: Timestamp::from_millis(1_769_851_800_050),
            event_id: "evt_1".parse().unwrap(),
        }
    }

    #[test]
    fn an_id_is_the_key_and_reads_back() {
        let id = key().to_string();
        assert_eq!(id.parse::<DeliveryKey>().unwrap(), key());
        let ep = key().endpoint_id;
        for wrong in [
            String::new(),
            "x".into(),
            seal("ep_x/2026-01-31T09:30:00.050Z#evt_1"),
            seal(&format!("{ep}/2026-01-31T09:30:00.050Z")),
            seal(&format!("{ep}/2026-01-31T09:30:00Z#evt_1")),
            seal(&format!("{ep}/2026-01-31T09:30:00.050Z#a b")),
        ] {
            assert!(wrong.parse::<DeliveryKey>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_key_is_written_into_the_table_by_time_then_event() {
        assert_eq!(key().sort_key(), "2026-01-31T09:30:00.050Z#evt_1");
        assert_eq!(DeliveryKey::from_parts(key().endpoint_id, &key().sort_key()).unwrap(), key());
        assert!(key().shard() < SHARDS);
    }

    #[test]
    fn steps_are_ordered_by_round_then_attempt() {
        let step = |round, attempt| Step { round, attempt };
        assert!(step(0, 9) < step(1, 0) && step(1, 0) < step(1, 1));
        assert_eq!(step(2, 3).next(), step(2, 4));
        assert_eq!(step(2, 30).to_string().parse::<Step>().unwrap(), step(2, 30));
        for wrong in ["", "1", "1.", ".1", "1.2.3", "-1.1", "0.4294967296"] {
            assert!(wrong.parse::<Step>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_status_reads_back_and_three_are_settled() {
        let all =
            [Status::Pending, Status::Retrying, Status::Held, Status::Succeeded, Status::Failed, Status::Cancelled];
        for status in all {
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
        }
        assert_eq!(all.iter().filter(|status| status.is_settled()).count(), 3);
    }
}
