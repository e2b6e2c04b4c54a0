//! Stacks that are each other's receivers: an event goes round until ingest has it five times, and no longer.

use std::time::Duration;

use local::{Answer, LocalStack};
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// Another address of the ingest URL: at its own one, no endpoint may be registered.
async fn other_address(local: &LocalStack) -> String {
    let url = &local.urls.ingest;
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (listener, host) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), host.to_owned());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let host = host.clone();
            tokio::spawn(async move {
                let mut ingest = TcpStream::connect(host).await.unwrap();
                tokio::io::copy_bidirectional(&mut caller, &mut ingest).await
            });
        }
    });
    format!("http://{address}/{path}/v1/events")
}

/// Registers an endpoint of `from` that posts all events for `to`; gives its id.
async fn forward(stack: &Stack, url: &str, from: &str, to: &str) -> String {
    let key = stack.key(&["ingest"], Some(to)).await;
    let headers = json!({"authorization": format!("Bearer {key}")});
    let endpoint = json!({"tenant": from, "url": url, "event_types": ["*"], "headers": headers,
        "retry_policy": {"delays_seconds": [1, 1]}});
    let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &endpoint).await.unwrap();
    assert_eq!(status, 201, "{endpoint}");
    stack.keep_secret(endpoint["secret"].as_str().unwrap());
    endpoint["id"].as_str().unwrap().to_owned()
}

async fn asked(stack: &Stack, path: &str) -> Value {
    let (status, answer) = stack.local.replay().get(path).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn events(stack: &Stack, tenants: [&str; 2]) -> usize {
    let mut count = 0;
    for tenant in tenants {
        count += asked(stack, &format!("/v1/events?tenant={tenant}")).await["events"].as_array().unwrap().len();
    }
    count
}

#[scenario]
async fn an_event_that_goes_round_is_refused_at_five_hops_and_no_endpoint_is_blamed() {
    let stack = Stack::calm().await;
    let (here, there) = (unique("here"), unique("there"));
    let url = other_address(&stack.local).await;
    let onward = forward(stack, &url, &here, &there).await;
    let back = forward(stack, &url, &there, &here).await;
    stack.post(&json!({"type": "student.created", "tenant": here, "data": {"n": 1}})).await;
    // Here, there, here, there, here: the fifth is sent on and refused.
    let path = format!("/v1/deliveries?tenant={here}&status=failed");
    let failed =
        eventually("the loop has ended", SOON, || async { asked(stack, &path).await["deliveries"].get(0).cloned() })
            .await;
    assert_eq!(failed["endpoint_id"], onward.as_str());
    let whole = asked(stack, &format!("/v1/deliveries/{}", failed["id"].as_str().unwrap())).await;
    let attempts = whole["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["outcome"]["kind"]), (1, &json!("loop")), "{whole}");
    let answer = attempts[0]["answer"].as_str().unwrap();
    assert!(answer.contains("goes round in a loop"), "{answer}");
    // Long enough for a retry, if there were one.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(events(stack, [&here, &there]).await, 5);
    for endpoint in [&onward, &back] {
        let health = asked(stack, &format!("/v1/health/{endpoint}")).await;
        assert_eq!(
            (&health["failing_since"], &health["circuit"]["state"]),
            (&Value::Null, &json!("closed")),
            "{health}"
        );
        assert_eq!(
            (&health["newest"]["tried"], &health["newest"]["success_rate"]),
            (&json!(2), &json!(1.0)),
            "{health}"
        );
    }
    // A replay sends the same event, which has come as far: it goes no further either.
    let order = json!({"deliveries": [failed["id"]]});
    let (status, answer) = stack.local.replay().post("/v1/replays", &order).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let path = format!("/v1/deliveries/{}", failed["id"].as_str().unwrap());
    eventually("the replay has ended", SOON, || async {
        let delivery = asked(stack, &path).await;
        let ended = delivery["status"] == "failed" && delivery["attempts"].as_array().unwrap().len() == 2;
        ended.then_some(())
    })
    .await;
    assert_eq!(events(stack, [&here, &there]).await, 5);
}

#[scenario]
async fn requests_count_the_hops_of_their_event_in_every_attempt_and_replay() {
    let options = json!({"retry_policy": {"delays_seconds": [1]}});
    let hook =
        Hook::new(Stack::calm().await, options, |received| Answer::status(if received.times < 3 { 500 } else { 200 }))
            .await;
    let key = &hook.stack.local.keys.ingest;
    let post = async |hops: Option<&str>| {
        let mut request = reqwest::Client::new().post(format!("{}/v1/events", hook.stack.local.urls.ingest));
        if let Some(hops) = hops {
            request = request.header("pombo-hops", hops);
        }
        let event = json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}}).to_string();
        let answer = request.header("authorization", format!("Bearer {key}")).body(event).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().get("pombo-hops").map(|value| value.to_str().unwrap().to_owned()))
    };
    for (hops, expected) in [("x", (400, None)), ("5", (508, Some("5".to_owned())))] {
        assert_eq!(post(Some(hops)).await, expected, "{hops}");
    }
    assert_eq!(post(Some("3")).await, (202, None));
    let failed = hook.until_status("e", "failed", SOON).await;
    hook.replay(&[failed["id"].as_str().unwrap()]).await;
    hook.until_status("e", "succeeded", SOON).await;
    let received = hook.receiver.received();
    let hops: Vec<_> = received.iter().map(|received| received.header("pombo-hops")).collect();
    assert_eq!(hops, ["4", "4", "4"]);
}
