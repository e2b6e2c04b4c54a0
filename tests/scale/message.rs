//! Messages of the Deliveries queue, and deliveries that wait without one.

use pombo_domain::rate_limit::Slot;
use pombo_domain::retry::Decision;
use pombo_domain::time::Timestamp;

use crate::agenda::Micros;
use crate::tables::{Delivery, Rows};

/// A message of the Deliveries queue.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// The delivery.
    pub delivery: Delivery,
    /// The work that the message asks for.
    pub asks: Asks,
    /// The attempt that the message asks for, from 1.
    pub attempt: u32,
    /// How often the message was received.
    pub receives: u32,
    /// Not to be acted on before this time.
    pub not_before: Option<Micros>,
    /// The rows of the delivery's record in the indexes.
    pub rows: Rows,
    /// The slot that it has reserved, at an endpoint with a rate limit.
    pub slot: Option<Slot>,
}

impl Message {
    /// The message of a delivery that was released or replayed.
    pub const fn released(delivery: Delivery, attempt: u32, rows: Rows) -> Self {
        Self { delivery, asks: Asks::Released, attempt, receives: 0, not_before: None, rows, slot: None }
    }
}

/// The work that a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// The first attempt, with ingest's mark.
    First,
    /// An attempt.
    Attempt,
    /// An attempt of a delivery that was held or replayed.
    Released,
    /// The probe that was ordered at this time.
    Probe(Timestamp),
    /// The record of an outcome.
    Record(Decision),
}

/// A delivery that waits for its endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// The delivery.
    pub delivery: Delivery,
    /// The attempt that it waits for.
    pub attempt: u32,
    /// The rows in the indexes; `None` while those of a delivery that was held at the beginning are not known yet.
    pub rows: Option<Rows>,
}
