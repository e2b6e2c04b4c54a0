//! What became of an attempt.

mod answer;
mod detail;
mod sent_to;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::answer::Answer;
pub use self::detail::Detail;
pub use self::sent_to::SentTo;
use crate::address::Refusal;
use crate::delivery::Step;
use crate::hops::LOOP_DETECTED;
use crate::time::Timestamp;

/// How much of the newest attempt's answer is kept, in bytes.
pub const NEWEST_ANSWER: usize = 1024;

/// How much of an older attempt's answer is kept, in bytes.
pub const OLDER_ANSWER: usize = 224;

/// How much of a success's answer is kept, in bytes.
pub const SUCCESS_ANSWER: usize = 512;

/// The outcome of one attempt. Everything but [`Outcome::Succeeded`] is a failure.
///
/// Its `Debug` is what the log says of an attempt: a few hundred bytes at most, and nothing that a receiver said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// A 2xx status line came; what the body did then changes nothing.
    Succeeded {
        /// The status code.
        status_code: u16,
    },
    /// Another status line came; redirects are not followed.
    HttpStatus {
        /// The status code.
        status_code: u16,
    },
    /// The deadline passed before a status line came.
    TimedOut,
    /// No connection, or it broke before an answer.
    Connection {
        /// What broke.
        detail: Detail,
    },
    /// The TLS handshake failed: versions, ciphers, or the certificate.
    Tls {
        /// What failed.
        detail: Detail,
    },
    /// The host's name did not resolve.
    Dns {
        /// What failed.
        detail: Detail,
    },
    /// The address policy refused the URL or an address of its host; nothing was sent.
    Refused {
        /// The rule's id.
        #[serde(default)]
        rule: String,
        /// What it was judged by.
        #[serde(default)]
        by: RefusedBy,
        /// The rule, as the operator reads it.
        detail: Detail,
    },
    /// What came is not an HTTP response, or its head is too large.
    InvalidResponse {
        /// What was wrong.
        detail: Detail,
    },
    /// The receiver is the ingest URL of a Pombo, and refused the event because it has been sent on too often ([`crate::hops`]).
    Loop,
    /// The event's body has passed its retention; there is nothing left to send.
    Expired,
    /// The message could not be processed and went to the dead-letter queue.
    DeadLettered,
    /// An outcome that a newer version recorded.
    #[serde(other)]
    Unknown,
}

impl Outcome {
    /// A refusal of the address policy.
    #[must_use]
    pub fn refused(refusal: &Refusal, by: RefusedBy) -> Self {
        Self::Refused { rule: refusal.rule.id().to_owned(), by, detail: Detail::new(refusal) }
    }

    /// The outcome for a reader who must not learn what names resolve to in a private network.
    #[must_use]
    pub fn without_addresses(self) -> Self {
        match self {
            Self::Refused { by: RefusedBy::Addresses, .. } => Self::Refused {
                rule: "not-public".to_owned(),
                by: RefusedBy::Addresses,
                detail: "the receiver's name has an address that is not public".into(),
            },
            other => other,
        }
    }

    /// Whether the receiver took the event.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    /// The status code, where a status line came.
    #[must_use]
    pub const fn status_code(&self) -> Option<u16> {
        match self {
            Self::Succeeded { status_code } | Self::HttpStatus { status_code } => Some(*status_code),
            Self::Loop => Some(LOOP_DETECTED),
            _ => None,
        }
    }

    /// Whether the attempt says something of its endpoint. An attempt says nothing of it when nothing was sent, or when
    /// the receiver refused an event that goes round in a loop: neither is a failure of the endpoint.
    #[must_use]
    pub const fn tells_of_endpoint(&self) -> bool {
        !matches!(self, Self::Expired | Self::Loop)
    }
}

/// What the address policy judged when it refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBy {
    /// The URL alone. It says the same at each attempt, so there is no other one: the delivery fails, and is there to be
    /// replayed once the URL, or what the stack allows, is changed.
    Url,
    /// What the host's name resolved to. Names are moved, and resolvers err, so it is retried like any failure, though the
    /// receiver saw no request.
    #[default]
    #[serde(other)]
    Addresses,
}

/// Why a round was begun or an attempt made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The event came in.
    #[default]
    First,
    /// The attempt before it failed.
    Retry,
    /// An operator asked for the round.
    Replay,
    /// The circuit of the endpoint is open, and this delivery was to tell whether it is back.
    Probe,
    /// A trigger that a newer version recorded.
    #[serde(other)]
    Unknown,
}

/// One HTTP request of a delivery, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The round and the attempt's number in it, from 1.
    #[serde(flatten)]
    pub step: Step,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The endpoint as it was then; `None` where nothing was to be sent.
    #[serde(flatten)]
    pub sent_to: Option<SentTo>,
    /// The parts of the receiver's answer that are kept, next to the status code.
    #[serde(flatten)]
    pub answer: Option<Answer>,
    /// Whether the receiver may have had the same attempt before: from a process that died without recording it, or on a
    /// kept connection that broke before an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// Why it was made.
    #[serde(default)]
    pub trigger: Trigger,
}

impl Attempt {
    /// When the attempt ended.
    #[must_use]
    pub fn ended_at(&self) -> Timestamp {
        self.started_at.plus(Duration::from_millis(self.duration_ms))
    }

    /// The endpoint's version at the attempt, if it was sent to one.
    #[must_use]
    pub fn endpoint_version(&self) -> Option<u64> {
        self.sent_to.as_ref().map(|sent_to| sent_to.version)
    }

    /// Cuts the answer to at most `bytes`, at a character's boundary.
    pub fn shorten_answer(&mut self, bytes: usize) {
        if let Some(answer) = &mut self.answer {
            answer.shorten(bytes);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::address::AddressPolicy;

    #[test]
    fn only_a_2xx_is_a_success() {
        assert!(Outcome::Succeeded { status_code: 204 }.is_success());
        for failure in [Outcome::HttpStatus { status_code: 301 }, Outcome::TimedOut, Outcome::Expired, Outcome::Unknown]
        {
            assert!(!failure.is_success());
        }
    }

    #[test]
    fn a_refusal_names_its_rule_and_an_older_one_is_read_too() {
        let refusal = AddressPolicy::production().judge_ip([10, 0, 0, 1].into()).unwrap_err();
        let outcome = Outcome::refused(&refusal, RefusedBy::Url);
        let json = r#"{"kind":"refused","rule":"private-use","by":"url","detail":"10.0.0.1 is in 10.0.0.0/8 (Private use, RFC 1918)"}"#;
        assert_eq!(serde_json::to_string(&outcome).unwrap(), json);
        assert_eq!(serde_json::from_str::<Outcome>(json).unwrap(), outcome);
        let older: Outcome = serde_json::from_str(r#"{"kind":"refused","detail":"x"}"#).unwrap();
        assert_eq!(older, Outcome::Refused { rule: String::new(), by: RefusedBy::Addresses, detail: "x".into() });
    }

    #[test]
    fn an_unknown_kind_is_read_as_a_failure() {
        let outcome: Outcome = serde_json::from_str(r#"{"kind":"from_the_future","detail":"x"}"#).unwrap();
        assert_eq!(outcome, Outcome::Unknown);
    }
}
