//! The main path: an event is posted, matching endpoints get it, signed.

use std::collections::BTreeMap;
use std::time::Duration;

use local::{Answer, Receiver, Signature};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::json;

#[scenario]
async fn an_event_is_delivered_signed_and_recorded() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({"headers": {"X-API-Key": "receivers-own"}}), |_| Answer::status(204)).await;
    let event = json!({"type": "student.created", "tenant": hook.tenant, "id": "evt-1", "data": {"name": "Zoë"}});
    let accepted = stack.post(&event).await;
    assert_eq!(
        (&accepted["id"], &accepted["deliveries"], &accepted["duplicate"]),
        (&json!("evt-1"), &json!(1), &json!(false))
    );

    let delivery = hook.until_status("evt-1", "succeeded", SOON).await;
    let received = hook.receiver.received();
    assert_eq!((received.len(), received[0].method.as_str()), (1, "POST"));
    assert_eq!(received[0].signature, Signature::Verified);
    assert_eq!(received[0].header("content-type"), "application/json");
    assert!(received[0].header("user-agent").starts_with("Pombo/"));
    assert_eq!(received[0].header("x-api-key"), "receivers-own");
    assert_eq!(received[0].webhook_id(), format!("{}~evt-1", hook.tenant));
    assert_eq!((&delivery["event_id"], &delivery["webhook_id"]), (&json!("evt-1"), &json!(received[0].webhook_id())));
    assert_eq!(received[0].header("pombo-hops"), "1");
    let body: serde_json::Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]), (&json!("student.created"), &json!({"name": "Zoë"})));
    assert_eq!(body["timestamp"], accepted["accepted_at"]);

    let attempts = delivery["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["outcome"], json!({"kind": "succeeded", "status_code": 204}));
    assert_eq!(
        (&attempts[0]["round"], &attempts[0]["attempt"], &attempts[0]["trigger"]),
        (&json!(0), &json!(1), &json!("first"))
    );
    let id = delivery["id"].as_str().unwrap();
    let (status, mut alone) = stack.local.replay().get(&format!("/v1/deliveries/{id}")).await.unwrap();
    assert_eq!(status, 200, "{alone}");
    // Alone, it comes with its event and its endpoint.
    let fields = alone.as_object_mut().unwrap();
    let (event, endpoint) = (fields.remove("event").unwrap(), fields.remove("endpoint").unwrap());
    let attempt = fields["attempts"][0].as_object_mut().unwrap();
    assert_eq!(attempt.remove("endpoint_changed_since"), Some(json!(false)));
    assert!(attempt.remove("url").unwrap().as_str().unwrap().ends_with("/hook"), "a list does not show it");
    assert_eq!(event, json!({"data": {"name": "Zoë"}, "timestamp": accepted["accepted_at"]}));
    assert_eq!((&endpoint["id"], &endpoint["status"]), (&json!(hook.endpoint), &json!("active")));
    assert_eq!(alone, delivery);
}

#[scenario]
async fn the_start_of_a_successs_answer_is_kept() {
    let answer = || Answer::status(200).with_body(format!("{}{}", r#"{"ok":false,"error":""#, "x".repeat(900)));
    let hook = Hook::new(Stack::calm().await, json!({}), move |_| answer()).await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "succeeded", SOON).await;
    let attempt = &delivery["attempts"][0];
    let kept = attempt["answer"].as_str().unwrap();
    assert!(kept.starts_with(r#"{"ok":false,"error":"xxx"#) && kept.len() == 512, "{attempt}");
    assert_eq!((&attempt["answer_cut"], &attempt["answer_bytes"]), (&json!(true), &json!(921)));
}

#[scenario]
async fn each_attempt_shows_the_url_that_it_was_sent_to() {
    // A process may remember the endpoint of before for ten seconds.
    let hook = Hook::new(
        Stack::calm().await,
        json!({"retry_policy": {"delays_seconds": [4, 4, 4, 4, 4, 4, 4, 4]}}),
        |received| Answer::status(if received.path.starts_with("/new") { 200 } else { 500 }),
    )
    .await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "retrying", SOON).await;
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let api = hook.stack.local.endpoints();
    let (_, before) = api.get(&path).await.unwrap();
    let url = before["url"].as_str().unwrap().to_owned();
    let new = format!("{}/new/place?token=secret", &url[..url.rfind('/').unwrap()]);
    let (status, changed) = api.patch(&path, &json!({"url": new})).await.unwrap();
    assert_eq!(status, 200, "{changed}");
    let id = failed["id"].as_str().unwrap();
    hook.until_status(&event, "succeeded", SOON).await;
    let local = &hook.stack.local;
    let of = async |key: &str| {
        let (status, delivery) =
            Stack::api(&local.urls.replay, key).get(&format!("/v1/deliveries/{id}")).await.unwrap();
        assert_eq!(status, 200, "{delivery}");
        let attempts = delivery["attempts"].as_array().unwrap().clone();
        move |field: &str| [attempts[0][field].clone(), attempts.last().unwrap()[field].clone()]
    };
    let (shown, to_ops) = (of(&local.keys.admin).await, of(&local.keys.ops).await);
    assert_eq!(shown("url"), [json!(url), json!(new.strip_suffix("?token=secret"))]);
    assert_eq!(
        to_ops("url"),
        [json!(url), json!(new.replace("place?token=secret", "…"))],
        "without a token in the path"
    );
    assert_eq!(shown("endpoint_version"), [before["version"].clone(), changed["version"].clone()]);
    assert_eq!(shown("endpoint_changed_since"), [json!(true), json!(false)]);
}

#[scenario]
async fn ten_endpoints_get_what_their_patterns_match() {
    let patterns: [&[&str]; 10] = [
        &["*"],
        &["student.*"],
        &["student.created"],
        &["student.created", "course.*"],
        &["course.*"],
        &["course.assignment.*"],
        &["course.assignment.published"],
        &["student.left", "teacher.left"],
        &["student"],
        &["*", "student.*", "student.created"],
    ];
    let events = [
        ("student.created", vec![0, 1, 2, 3, 9]),
        ("student.left", vec![0, 1, 7, 9]),
        ("course.assignment.published", vec![0, 3, 4, 5, 6, 9]),
        ("course.assignment", vec![0, 3, 4, 9]),
        ("student", vec![0, 8, 9]),
        ("students.created", vec![0, 9]),
    ];
    let stack = Stack::calm().await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    for (number, patterns) in patterns.iter().enumerate() {
        Hook::register(stack, &receiver, &tenant, &format!("/{number}"), json!({"event_types": patterns})).await;
    }
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (event_type, matching) in &events {
        let accepted = stack.post(&json!({"type": event_type, "tenant": tenant, "data": {}})).await;
        assert_eq!(accepted["deliveries"], matching.len(), "{event_type}");
        expected.insert(accepted["id"].as_str().unwrap().into(), matching.iter().map(|n| format!("/{n}")).collect());
    }
    let all = events.iter().map(|(_, matching)| matching.len()).sum();
    for received in receiver.wait_for(all, SOON).await.unwrap() {
        assert_eq!(received.signature, Signature::Verified);
        let paths = expected.get_mut(received.event_id()).unwrap();
        let place =
            paths.iter().position(|path| *path == received.path).expect("it came twice, or to the wrong endpoint");
        paths.remove(place);
    }
    assert!(expected.values().all(Vec::is_empty), "{expected:?}");
}

#[scenario]
async fn an_event_posted_the_moment_after_an_endpoint_was_registered_reaches_it() {
    let stack = Stack::calm().await;
    for _ in 0..3 {
        let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
        let event = hook.post().await;
        hook.until_status(&event, "succeeded", SOON).await;
        assert_eq!(hook.receiver.count(), 1);
    }
}

#[scenario]
async fn a_fan_out_to_a_hundred_and_one_endpoints_reaches_each_once() {
    let stack = Stack::calm().await;
    let (receiver, tenant) = (Receiver::start().unwrap(), unique("t"));
    for number in 0..101 {
        Hook::register(stack, &receiver, &tenant, &format!("/{number}"), json!({})).await;
    }
    let accepted = stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
    assert_eq!(accepted["deliveries"], 101);
    let received = receiver.wait_for(101, SOON).await.unwrap();
    let paths: std::collections::BTreeSet<_> = received.iter().map(|received| received.path.clone()).collect();
    assert_eq!((paths.len(), received.len()), (101, 101));
    let id = accepted["id"].as_str().unwrap();
    eventually("all succeeded", SOON, || async {
        let event = stack.event(&tenant, id).await;
        let deliveries = event["deliveries"].as_array().unwrap();
        (deliveries.len() == 101 && deliveries.iter().all(|delivery| delivery["status"] == "succeeded")).then_some(())
    })
    .await;
}

#[scenario]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let hook = Hook::new(Stack::calm().await, json!({"retry_policy": {"delays_seconds": [1]}}), |received| {
        match received.path.as_str() {
            "/hook" => Answer::status(302).with_header("location", "/elsewhere"),
            _ => Answer::status(200),
        }
    })
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "failed", SOON).await;
    assert_eq!(delivery["attempts"][0]["outcome"], json!({"kind": "http_status", "status_code": 302}));
    assert!(hook.receiver.received().iter().all(|received| received.path == "/hook"));
}

#[scenario]
async fn the_reason_of_a_failure_is_kept_with_the_start_of_the_answer() {
    let hook = Hook::new(
        Stack::calm().await,
        json!({"retry_policy": {"delays_seconds": [1]}, "timeout_seconds": 1}),
        |received| match received.times {
            1 => Answer::status(500).with_body(format!("out of order: {}", "x".repeat(20_000))),
            _ => Answer::status(200).after(Duration::from_secs(4)),
        },
    )
    .await;
    let event = hook.post().await;
    let delivery = hook.until_status(&event, "failed", SOON).await;
    let attempts = delivery["attempts"].as_array().unwrap();
    let answer = attempts[0]["answer"].as_str().unwrap();
    assert!(answer.starts_with("out of order: xxx") && answer.len() <= 1024, "{} bytes", answer.len());
    assert_eq!(attempts[1]["outcome"], json!({"kind": "timed_out"}));
    let duration = attempts[1]["duration_ms"].as_u64().unwrap();
    assert!((1000..1500).contains(&duration), "{duration} ms");
}
