//! What is in `data` arrives byte for byte.

use local::Answer;
use pombo_tests::{Hook, SOON, Stack, scenario};
use serde_json::json;

async fn post_raw(stack: &Stack, body: String) -> (u16, serde_json::Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{}/v1/events", stack.local.urls.ingest))
        .bearer_auth(&stack.local.keys.ingest)
        .body(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

#[scenario]
async fn numbers_key_order_unicode_and_white_space_arrive_byte_for_byte() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let large = format!("{{\"x\":\"{}\"}}", "ab ".repeat(80_000));
    let data = [
        r#"{"z":1.0,"a":1e2,"m":12345678901234567890123456789,"neg":-0.0,"exp":1E+400}"#,
        "{ \"b\" : [ 1 ,2,\t3 ] ,\n\"a\":{ } }",
        "\"\u{ffff}\u{fffe}\u{0}\u{1f426} é \u{2028}\"".trim_matches('\u{0}'),
        r#""\u0000 \uFFFF \ud83d\ude00 \ud800 \/ \u00e9""#,
        r#"{"same":1,"same":2}"#,
        "null",
        "[]",
        large.as_str(),
    ];
    let data = data.map(|data| data.replace('\u{0}', ""));
    for (number, data) in data.iter().enumerate() {
        let body = format!(
            r#"{{"data":{data} ,"type":"a.b","tenant":"{}","id":"{number}","timestamp":"2026-01-31T09:30:00.5+01:00"}}"#,
            hook.tenant
        );
        let (status, answer) = post_raw(hook.stack, body).await;
        assert_eq!(status, 202, "{number}: {answer}");
    }
    let received = hook.receiver.wait_for(data.len(), SOON).await.unwrap();
    for received in received {
        let data = &data[received.event_id().parse::<usize>().unwrap()];
        let expected = format!(r#"{{"type":"a.b","timestamp":"2026-01-31T08:30:00.500Z","data":{data}}}"#);
        assert!(received.body == expected.as_bytes(), "event {} differs", received.event_id());
    }
    hook.assert_signed();
}

#[scenario]
async fn a_body_at_the_limit_is_delivered_and_one_above_is_refused() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    // What compresses badly, so that the stored item is as large as can be.
    let mut state = 7u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 75)
    })
    .filter(|c| *c != '\\')
    .take(360 * 1024)
    .collect();
    let event = |length: usize| {
        let data = &noise[..length];
        format!(r#"{{"type":"a.b","tenant":"{}","id":"n{length}","data":"{data}"}}"#, hook.tenant)
    };
    let envelope = event(0).len();
    let wire = r#"{"type":"a.b","timestamp":"2026-01-31T08:30:00.500Z","data":""}"#.len();
    let largest = 350 * 1024 - envelope.max(wire) - 4;
    let (status, answer) = post_raw(hook.stack, event(largest)).await;
    assert_eq!(status, 202, "{answer}");
    let (status, answer) = post_raw(hook.stack, event(largest + 100)).await;
    assert_eq!(status, 413, "{answer}");
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    assert!(received[0].body.len() > 349 * 1024);
    hook.assert_signed();
}
