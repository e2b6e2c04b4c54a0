//! What is in `data` arrives byte for byte.

use std::time::Duration;

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

/// JSON of about this size that compresses well.
fn rows(bytes: usize) -> String {
    let rows: Vec<_> = (0..bytes / 32).map(|row| format!(r#"{{"row":{row},"name":"Jos\u00e9"}}"#)).collect();
    format!("[{}]", rows.join(", "))
}

#[scenario]
async fn ten_of_the_largest_bodies_at_a_time_fit_the_memory_of_dispatch() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200).after(Duration::from_secs(1))).await;
    for number in 1..10 {
        Hook::register(hook.stack, &hook.receiver, &hook.tenant, &format!("/{number}"), json!({})).await;
    }
    let data = rows(1_950_000);
    let body = format!(r#"{{"type":"student.created","tenant":"{}","data":{data}}}"#, hook.tenant);
    assert!((1_900_000..2 << 20).contains(&body.len()), "{}", body.len());
    let (status, answer) = post_raw(hook.stack, body).await;
    assert_eq!((status, &answer["deliveries"]), (202, &json!(10)), "{answer}");
    hook.receiver.wait_for(10, SOON).await.unwrap();
    // The template gives it 256 MB, of which Lambda needs some.
    let largest = most_memory(hook.stack.resource("DispatchFunction"));
    println!("the largest process had {largest} MB");
    assert!((20..160).contains(&largest), "{largest} MB");
}

/// The most memory in MB that any process of a function has had.
fn most_memory(function: &str) -> u64 {
    let is_it = |process: &std::path::Path| {
        std::fs::read_to_string(process.join("environ")).is_ok_and(|environment| {
            environment.split('\0').any(|variable| variable == format!("AWS_LAMBDA_FUNCTION_NAME={function}"))
        })
    };
    let peak = |process: &std::path::Path| {
        let status = std::fs::read_to_string(process.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes.filter(|process| is_it(process)).filter_map(|process| peak(&process)).max().unwrap() / 1024
}

#[scenario]
async fn a_large_body_that_compresses_arrives_byte_for_byte_and_another_is_refused() {
    const SIZE: usize = 3 * 512 * 1024;
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let event = |id: &str, data: &str| {
        let timestamp = "2026-01-31T08:30:00.500Z";
        let tenant = &hook.tenant;
        format!(r#"{{"type":"a.b","timestamp":"{timestamp}","tenant":"{tenant}","id":"{id}","data":{data}}}"#)
    };
    let data = rows(SIZE);
    assert!(data.len() > SIZE);
    let (status, answer) = post_raw(hook.stack, event("large", &data)).await;
    assert_eq!(status, 202, "{answer}");
    // Noise compresses badly.
    let mut state = 7u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'0' + (state >> 33) as u8 % 75)
    });
    let noise: String = noise.filter(|c| *c != '\\').take(SIZE).collect();
    let (status, answer) = post_raw(hook.stack, event("noise", &format!("\"{noise}\""))).await;
    let detail = answer["detail"].as_str().unwrap();
    assert_eq!(status, 413, "{answer}");
    assert!(detail.contains("is 15729") && detail.contains("at most 2097152"), "{detail}");
    assert!(detail.contains("compressed it takes 1") && detail.contains("at most 358400"), "{detail}");
    let (status, answer) = post_raw(hook.stack, event("longer", &format!("\"{}\"", "x".repeat(2 << 20)))).await;
    assert_eq!(status, 413, "{answer}");
    let received = hook.receiver.wait_for(1, SOON).await.unwrap();
    let expected = format!(r#"{{"type":"a.b","timestamp":"2026-01-31T08:30:00.500Z","data":{data}}}"#);
    assert!(received[0].body == expected.as_bytes(), "{} bytes came", received[0].body.len());
    assert_eq!(hook.receiver.count(), 1);
    hook.assert_signed();
    let (status, event) =
        hook.stack.local.replay().get(&format!("/v1/events/large?tenant={}", hook.tenant)).await.unwrap();
    assert_eq!((status, event["data"].as_array().map(Vec::len)), (200, Some(SIZE / 32)), "the whole event is shown");
}
