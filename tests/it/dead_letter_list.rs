//! Dead letters are seen without being taken away.

use pombo_tests::{Stack, scenario};
use serde_json::{Value, json};

/// Letters are hidden while somebody looks, so these tests share no stack with others that look or sweep.
async fn list(stack: &Stack) -> Value {
    let (status, answer) = stack.local.replay().get("/v1/dead-letters").await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

#[scenario]
async fn dead_letters_are_listed_with_their_reason_again_and_again_and_stay() {
    let stack = Stack::own("letters", &[]).await;
    assert_eq!(list(stack).await, json!({"dead_letters": [], "not_shown": 0}));
    let delivery = pombo_domain::cursor::seal("ep_aaaaaaaaaaaaaaaa/2026-01-31T09:30:00.050Z#e");
    let plain = json!({"v": 1, "delivery": delivery, "round": 0, "attempt": 2}).to_string();
    let markup = "</script><b>nonsense";
    stack.send("DeliveriesDeadLetterQueue", markup).await;
    stack.send("DeliveriesDeadLetterQueue", &plain).await;
    stack.send("JobsDeadLetterQueue", r#"{"v":1,"what":"is this?"}"#).await;
    for number in 0..12 {
        stack.send("JobsDeadLetterQueue", &format!("more {number}")).await;
    }
    for look in 1..=3 {
        let answer = list(stack).await;
        let letters = answer["dead_letters"].as_array().unwrap();
        assert_eq!((letters.len(), &answer["not_shown"]), (15, &json!(0)), "look {look}: {answer}");
        let of = |text: &str| letters.iter().find(|letter| letter["message"] == text).unwrap();
        let unreadable = of(markup);
        assert_eq!((&unreadable["queue"], &unreadable["waits_for"]), (&json!("deliveries"), &json!("operator")));
        assert!(unreadable["reason"].as_str().unwrap().starts_with("The message cannot be read"), "{unreadable}");
        assert_eq!((&unreadable["received"], &unreadable["message_bytes"]), (&json!(look), &json!(markup.len())));
        assert!(unreadable["sent_at"].is_string() && unreadable["message_id"].is_string(), "{unreadable}");
        let readable = of(&plain);
        assert_eq!((&readable["waits_for"], &readable["delivery_id"]), (&json!("sweep"), &json!(delivery)));
        assert!(letters.is_sorted_by(|a, b| a["sent_at"].as_str() >= b["sent_at"].as_str()), "{answer}");
    }
    assert_eq!(stack.queue_length("DeliveriesDeadLetterQueue").await, 2);

    // The sweep finds them though somebody has looked. What it leaves is hidden from both for a while, and counted.
    stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
    pombo_tests::eventually("the sweep", pombo_tests::SOON, || async {
        (stack.queue_length("DeliveriesDeadLetterQueue").await == 1).then_some(())
    })
    .await;
    let answer = list(stack).await;
    let shown = answer["dead_letters"].as_array().unwrap().len() as u64;
    assert_eq!(shown + answer["not_shown"].as_u64().unwrap(), 14, "{answer}");
}

#[scenario]
async fn a_tenants_key_sees_none() {
    let stack = Stack::calm().await;
    let key = stack.key(&["admin"], Some("somebody")).await;
    let (status, problem) = Stack::api(&stack.local.urls.replay, &key).get("/v1/dead-letters").await.unwrap();
    assert_eq!(status, 403, "{problem}");
}
