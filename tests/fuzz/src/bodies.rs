//! Bytes that are packed, unpacked and signed; and the start of an answer, which is whatever a receiver says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use pombo_domain::body::{Encoding, MAX_BODY, PackedBody};
use pombo_domain::delivery::Step;
use pombo_domain::outcome::{Attempt, Detail, OLDER_ANSWER, Outcome, Trigger};
use pombo_domain::signature::{PrivateKey, Secret};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use standardwebhooks::Webhook;

/// Bodies, and what they are packed to.
pub fn seeds() -> Vec<Vec<u8>> {
    let bodies =
        [br#"{"type":"a","timestamp":"x","data":{"n":1.0}}"#.to_vec(), b"pombo ".repeat(200), "é😀".repeat(90).into()];
    let packed = bodies.iter().map(|body| PackedBody::pack(body).bytes);
    packed.chain([PackedBody::pack(&vec![b' '; 2 << 20]).bytes]).chain(bodies.clone()).collect()
}

/// Takes the bytes as each of them.
pub fn hold_for(bytes: &[u8]) {
    let packed = PackedBody::pack(bytes);
    assert!(packed.bytes.len() <= bytes.len());
    assert_eq!(packed.unpack().expect("what was packed"), bytes);
    let stored = PackedBody { encoding: Encoding::Deflate1, bytes: bytes.to_vec() };
    if let Ok(body) = stored.unpack() {
        assert!(body.len() <= MAX_BODY + 1024, "a bomb of {} bytes", body.len());
    }
    answer(&String::from_utf8_lossy(bytes));
    if let Some((secret, body)) = bytes.split_first_chunk::<32>() {
        signed(*secret, body);
    }
}

fn answer(text: &str) {
    let detail = Detail::new("it said ").quoting(text, 100).and("; ").and(text);
    assert!(detail.as_str().len() <= 200 && !detail.as_str().contains(char::is_control), "{detail}");
    assert!(format!("{detail:?}").len() <= 200 + 2, "{detail:?}");
    let outcome = Outcome::InvalidResponse { detail };
    let mut attempt = Attempt {
        step: Step::FIRST,
        started_at: Timestamp::from_millis(0),
        duration_ms: 1,
        outcome,
        answer: Some(text.into()),
        sent_to: None,
        redelivered: false,
        trigger: Trigger::First,
    };
    attempt.shorten_answer(OLDER_ANSWER);
    assert!(attempt.answer.is_some_and(|answer| answer.text.len() <= OLDER_ANSWER && text.starts_with(&answer.text)));
}

/// As the specification's own library signs, and as the receiver of an ed25519 signature verifies.
fn signed(secret: [u8; 32], body: &[u8]) {
    let id: WebhookId = "acme~evt_1".parse().expect("an id");
    let time = 1_769_851_800;
    let ours = Secret::generate(secret);
    let item = ours.sign(&id, time, body);
    assert!(ours.verifies(&id, time, body, &item));
    assert!(!ours.verifies(&id, time + 1, body, &item) && !ours.verifies(&id, time, &[body, b" "].concat(), &item));
    // It signs texts alone.
    if let Ok(reference) = Webhook::from_bytes(secret.to_vec()).expect("a key").sign(&id.to_string(), time, body) {
        assert_eq!(item, reference);
    }
    let key = PrivateKey::generate(secret);
    let decoded =
        |text: &str, prefix: &str| STANDARD.decode(text.strip_prefix(prefix).expect("its prefix")).expect("base64");
    let signature = decoded(&key.sign(&id, time, body), "v1a,");
    let public = decoded(&key.public().to_string(), "whpk_");
    let public = VerifyingKey::from_bytes(&public.try_into().expect("32 bytes")).expect("a key");
    let signature = Signature::from_slice(&signature).expect("64 bytes");
    let content = [format!("{id}.{time}.").as_bytes(), body].concat();
    assert!(public.verify_strict(&content, &signature).is_ok());
}
