//! The body of an event, as it goes over the wire, taken apart again: every byte of `data` is the app's own.

use pombo_domain::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// A stored body that cannot be read.
#[derive(Debug, Error)]
#[error("the stored body is damaged")]
pub(crate) struct Damaged;

/// What a body holds beside the event's type.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Wire<'a> {
    /// When it happened.
    #[serde(borrow)]
    pub(crate) timestamp: &'a RawValue,
    /// What happened.
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
}

impl<'a> Wire<'a> {
    /// From the bytes of [`unpacked`].
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Damaged> {
        serde_json::from_slice(body).map_err(|_| Damaged)
    }
}

/// The bytes that go over the wire. A damaged body is logged.
pub(crate) fn unpacked(event: &Event) -> Result<Vec<u8>, Damaged> {
    let body = event.body.unpack().ok().filter(|body| Wire::read(body).is_ok());
    body.ok_or_else(|| {
        tracing::error!(event = %event.id, tenant = %event.tenant, "The stored body of event {} is damaged.", event.id);
        Damaged
    })
}
