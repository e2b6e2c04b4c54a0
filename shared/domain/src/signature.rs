//! Standard Webhooks signatures: the secrets and keys of an endpoint, and what they sign.
//!
//! Source: the Standard Webhooks specification 1.0.0. The signed content is `id.timestamp.body` over the raw bytes. Two
//! schemes sign it: `v1`, an HMAC under a secret that the receiver has too, and `v1a`, ed25519, of which the receiver has
//! the public key alone. An endpoint uses either or both; each live secret and key contributes one item to the header,
//! `v1` before `v1a`, newest first, separated by one space. Receivers take what they know and pass over the rest.

mod generations;
mod key;
mod scheme;
mod secret;
mod secrets;

pub use generations::{Generations, Signing};
pub use key::{PrivateKey, PublicKey};
pub use scheme::{Scheme, Schemes};
pub use secret::Secret;
pub use secrets::Secrets;

use std::time::Duration;

use crate::webhook_id::WebhookId;

/// The most secrets, and the most keys, that sign at once: the current one and those in their grace period.
pub const MOST_LIVE: usize = 5;

/// How long a rotated secret goes on signing unless the caller says otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// The longest grace period that a caller may ask for.
pub const LONGEST_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What comes before the body in the signed content: `id.timestamp.`.
///
/// Neither part can hold a dot ([`WebhookId`] refuses it), so no two requests have the same content: without that rule, the
/// end of an id could be taken for a timestamp, and the end of a timestamp for the beginning of a body.
fn prefix(id: &WebhookId, timestamp: i64) -> String {
    format!("{id}.{timestamp}.")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_with_a_dot_is_none() {
        for id in ["a.b", ".a", "a.", "a.b~c", "a~b.c", "evt_1.1700000000", "evt_1.1700000000.{}"] {
            assert!(id.parse::<WebhookId>().is_err(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn the_signed_content_can_be_read_in_one_way_only(
            id in "[A-Za-z0-9_-]{1,64}",
            timestamp in 0..=253_402_207_199_i64,
            body in any::<Vec<u8>>(),
        ) {
            let mut content = prefix(&id.parse().unwrap(), timestamp).into_bytes();
            content.extend_from_slice(&body);
            let mut parts = content.splitn(3, |byte| *byte == b'.');
            prop_assert_eq!(parts.next().unwrap(), id.as_bytes());
            let timestamp = timestamp.to_string();
            prop_assert_eq!(parts.next().unwrap(), timestamp.as_bytes());
            prop_assert_eq!(parts.next().unwrap(), body);
        }
    }
}
