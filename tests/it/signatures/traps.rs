//! Where the specification says that implementations go wrong: ids, sizes of keys, times, bodies that are not JSON. And
//! that the programs that accept every request refuse what is not right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::Answer;
use pombo_aws::clock;
use pombo_domain::signature::{Scheme, Secret, Secrets};
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, Signed, Stack, assert_accepted, scenario, verdicts};
use serde_json::json;

use super::{SOON, known, seconds, signed};

/// A request signed at a time by both schemes, with no receiver between.
fn request(id: &str, at: Timestamp, body: &[u8]) -> Signed {
    let secret = Secret::generate([7; 32]);
    let both = vec![Scheme::V1, Scheme::V1a].try_into().unwrap();
    let secrets = Secrets::new(secret.clone(), at).with_signatures(both, [8; 32], at);
    let headers = [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", at.as_seconds().to_string()),
        ("webhook-signature", secrets.sign(&id.parse().unwrap(), at, body)),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let public = secrets.current_key().unwrap().public().to_string();
    Signed::new(headers, body, &[&secret.reveal()], &[&public])
}

/// Seconds from now.
fn at(offset: i64) -> Timestamp {
    Timestamp::from_seconds(clock::now().as_seconds() + offset)
}

#[scenario]
async fn an_id_with_a_dot_is_refused_and_one_of_every_other_character_is_signed() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let event = |id: &str| json!({"type": "a.b", "tenant": hook.tenant, "id": id, "data": {}});
    for id in ["a.b", ".", "evt_1.1700000000", "a.1700000000.{}"] {
        let (status, answer) = hook.stack.local.ingest().post("/v1/events", &event(id)).await.unwrap();
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("id")), "{id}: {answer}");
    }
    let ids = ["-", "_", "0", "AZaz09-_", &"x".repeat(64)];
    for id in ids {
        hook.stack.post(&event(id)).await;
    }
    let received = hook.receiver.wait_for(ids.len(), SOON).await.unwrap();
    assert_eq!(received.len(), ids.len());
    assert_accepted(&signed(hook.stack, &hook.endpoint, &received).await).await;
}

#[scenario]
async fn an_imported_secret_of_24_to_64_bytes_signs_and_no_other_is_taken() {
    let stack = Stack::calm().await;
    let secret = |bytes: Vec<u8>| format!("whsec_{}", STANDARD.encode(bytes));
    // 0xfb and 0xff come out as `+` and `/`, which differ between the alphabets of base64.
    let mostly = |byte: u8, length: usize| (0..7).chain(std::iter::repeat_n(byte, length - 7)).collect::<Vec<u8>>();
    let sizes =
        [(0..24).collect(), mostly(0xff, 24), mostly(0xfb, 25), (1..=32).collect(), mostly(b'a', 63), mostly(0xff, 64)];
    let mut requests = Vec::new();
    for bytes in sizes.clone() {
        let hook = Hook::new(stack, json!({"secret": secret(bytes.clone())}), |_| Answer::status(200)).await;
        hook.post().await;
        let received = hook.receiver.wait_for(1, SOON).await.unwrap();
        requests.push(Signed::received(&received[0], &[&secret(bytes)], &[]));
    }
    assert_eq!(requests.len(), sizes.len());
    assert_accepted(&requests).await;
    let private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=".to_owned();
    let weak = [secret(vec![0; 32]), secret(vec![b'a'; 24]), secret(b"abc".repeat(8))];
    let no_secret =
        [secret((0..23).collect()), secret((0..65).collect()), secret(vec![]), "whsec_-_-_".into(), "x".into()];
    for wrong in no_secret.into_iter().chain(weak).chain([private]) {
        let wanted = json!({"url": "http://127.0.0.1:9/", "event_types": ["*"], "secret": wrong});
        let (status, answer) = stack.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap();
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("secret")), "{wrong}: {answer}");
    }
}

#[scenario]
async fn any_body_verifies_whether_json_or_empty_or_looking_like_a_signature() {
    let bodies =
        ["", " ", "\n", "{}", "{}\r\n", ".", "1700000000.{}", "é 🐦 \u{feff}", "\0", "null", "v1,AAAA v1a,AAAA"];
    let requests: Vec<_> = bodies.iter().map(|body| request("evt_1", at(0), body.as_bytes())).collect();
    assert_accepted(&requests).await;
}

#[scenario]
async fn a_time_is_accepted_within_five_minutes_and_refused_beyond() {
    assert_accepted(&[-240, -1, 0, 240].map(|offset| request("evt_1", at(offset), b"{}"))).await;
    for verdicts in verdicts(&[-400, 400].map(|offset| request("evt_1", at(offset), b"{}"))).await {
        for verdict in verdicts {
            assert!(verdict.secrets[0].is_some() && verdict.public_keys[0].is_some(), "{verdict:?}");
        }
    }
}

#[scenario]
async fn what_was_changed_on_its_way_is_refused() {
    let hook = Hook::new(Stack::calm().await, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    let other = Hook::new(hook.stack, json!({"signatures": ["v1", "v1a"]}), |_| Answer::status(200)).await;
    hook.post().await;
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    let right = signed(hook.stack, &hook.endpoint, &received).await.remove(0);
    let later = (seconds(received[0].at) + 1).to_string();
    let (secrets, public_keys) = known(hook.stack, &other.endpoint).await;
    let header = received[0].header("webhook-signature").to_owned();
    let (v1, v1a) = header.split_once(' ').unwrap();
    // Each signature said to be of the other scheme.
    let swapped = format!("v1,{} v1a,{}", v1a.split_once(',').unwrap().1, v1.split_once(',').unwrap().1);
    let wrong = [
        right.clone().with_header("webhook-id", "another"),
        right.clone().with_header("webhook-timestamp", &later),
        right.clone().with_header("webhook-signature", &swapped),
        right.clone().with_header("webhook-signature", &header.to_lowercase()),
        Signed { body: [right.body.as_slice(), b" "].concat(), ..right.clone() },
        Signed { secrets, public_keys, ..right.clone() },
    ];
    for (request, verdicts) in wrong.iter().zip(verdicts(&wrong).await) {
        for verdict in verdicts {
            assert!(verdict.secrets[0].is_some() && verdict.public_keys[0].is_some(), "{verdict:?} of {request:?}");
        }
    }
    assert_accepted(&[right]).await;
}
