//! Upgrades and rollbacks: what one version left in tables, queues and schedules is handled by the next one, and the other
//! way round.
//!
//! `v1/stand.json` is a stack of version 1 in the middle of its work, with every kind of item, message and schedule. It was
//! caught by [`scene::play`]. Until version 1 is released, it is written again when the forms change
//! (`POMBO_WRITE_STAND=v1/stand.json`, then as below). From then on it is frozen.
//!
//! A test compares the forms that today's functions write with those in it. Where they differ, there is a new version: keep
//! `v1`, play the scene into a new directory
//! (`POMBO_WRITE_STAND=v2/stand.json cargo test -p tests --test it -- upgrade::forms`), and let the tests take both.
//!
//! **What a version may change**, so that the one before can be rolled back to:
//!
//! - It may add fields to messages and attributes to items: texts, numbers, lists and maps, neither sets nor bytes. What is
//!   added to a message, or deeper in an item, must not be needed: the older version passes over it, and drops it where it
//!   writes that part again. What is added at the top of a delivery, an endpoint, a job or a routing record, or at the end of
//!   a route, is kept.
//! - It may add to a replay's `filter`: the older version does not run such a job, which waits for the newer one.
//! - It must not need what it adds to an endpoint's health, an API key or an event that counts failures. The older version
//!   drops it: health is a summary that the next attempts make anew, of a key only the revocation is ever written, and the
//!   count of a minute is closed within it.
//! - A new kind of value (a status, a job's kind, a scheme) makes the item unreadable to the older version, unless
//!   `newer.rs` says otherwise. Nothing is lost: its messages come again, then wait as dead letters, until a version reads it.

mod forms;
mod made;
mod newer;
mod older;
mod scene;
mod stand;
mod swap;

use pombo_tests::Stack;

/// Circuits open after 3 failures over 4 seconds.
const QUICK: [(&str, &str); 6] = [
    ("CircuitFailures", "3"),
    ("CircuitSeconds", "4"),
    ("ProbeSeconds", "1"),
    ("SettleSeconds", "2"),
    ("JobsTimeoutSeconds", "15"),
    ("JobsVisibilitySeconds", "16"),
];

/// A stack of the test's own.
async fn stack(name: &str) -> &'static Stack {
    Stack::own(name, &QUICK).await
}
