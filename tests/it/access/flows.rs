//! One stack on which every function does all that it ever does, with the roles enforced and with secrets wherever a secret
//! can be. What its calls to AWS were, and what it logged, is looked at by the tests of roles and of logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use local::{Answer, LocalOptions, Receiver};
use pombo_aws::clock;
use pombo_domain::signature::Secret;
use pombo_tests::{Call, Fault, Hook, SOON, Stack, eventually, unique};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::access::echoing::{self, Authority};

/// Since then everything was accepted.
const SINCE: &str = "2026-01-31T09:30:00Z";

/// The lowest level that Lambda's console offers. The template's `LogLevel` allows DEBUG at most.
const LOWEST_LEVEL: &str = "TRACE";

/// The limit of events for each key.
pub const EVENTS_PER_SECOND: &str = "10000";

/// The stack, when everything on it has been done once.
pub async fn driven() -> &'static Stack {
    static DRIVEN: OnceCell<&'static Stack> = OnceCell::const_new();
    DRIVEN.get_or_init(drive).await
}

async fn drive() -> &'static Stack {
    let options = LocalOptions {
        enforce_iam: true,
        // The template allows no such level.
        environment: vec![
            ("AWS_LAMBDA_LOG_LEVEL".into(), LOWEST_LEVEL.into()),
            ("RUST_LOG".into(), LOWEST_LEVEL.into()),
            Authority::get().environment(),
        ],
        ..LocalOptions::default()
    };
    let quick = [
        ("CircuitFailures", "6"),
        ("CircuitSeconds", "2"),
        ("ProbeSeconds", "1"),
        ("OverdueSeconds", "1"),
        ("SettleSeconds", "1"),
        // More than all that comes here: what is limited is counted.
        ("KeyEventsPerSecond", EVENTS_PER_SECOND),
    ];
    let stack: &'static Stack = Box::leak(Box::new(Stack::start_with("driven", &quick, options).await));
    // Who subscribes is told of everything: with that, each change writes an event too.
    let operators = Receiver::start().unwrap();
    Hook::register(stack, &operators, "pombo", "/ops", json!({"event_types": ["pombo.*"]})).await;
    futures::join!(
        endpoints_and_keys(stack),
        deliveries_that_fail(stack),
        echoing::attempts(stack),
        a_circuit(stack),
        an_endpoint_that_is_gone(stack),
        searches_and_replays(stack),
        what_was_missed(stack),
        refusals(stack),
    );
    stuck_things(stack).await;
    stack
}

/// A secret that is nothing but a text; it is kept.
pub fn secret(stack: &Stack, what: &str) -> String {
    let secret = unique(&format!("secret-{what}"));
    stack.keep_secret(&secret);
    secret
}

/// The fields of an endpoint that may hold secrets: its URL's query, its headers, its own signing secret.
fn with_secrets(stack: &Stack, receiver: &Receiver, options: Value) -> (String, Value) {
    let path = format!("/hook?token={}", secret(stack, "query"));
    let own = Secret::generate(std::array::from_fn(|_| clock::random::<1>().unwrap()[0]));
    let mut wanted = options;
    wanted["headers"] = json!({"x-api-key": secret(stack, "header")});
    wanted["secret"] = own.reveal().into();
    stack.keep_secret(own.reveal());
    receiver.expect_secret(&path, &own.reveal());
    (path, wanted)
}

/// An endpoint full of secrets. What it answers is secret too, and so is what it is sent.
async fn hook(stack: &'static Stack, options: Value, status: Arc<AtomicU16>) -> Hook {
    let answer = secret(stack, "answer");
    let receiver = Receiver::start_with(move |request| {
        let body = [answer.as_bytes(), b" to ", &request.body].concat();
        Answer::status(status.load(Ordering::SeqCst)).with_body(body).with_header("location", &request.path)
    })
    .unwrap();
    let tenant = unique("t");
    let (path, options) = with_secrets(stack, &receiver, options);
    let endpoint = Hook::register(stack, &receiver, &tenant, &path, options).await;
    Hook { stack, receiver, tenant, endpoint }
}

async fn steady(stack: &'static Stack, options: Value, status: u16) -> Hook {
    hook(stack, options, Arc::new(AtomicU16::new(status))).await
}

async fn post(hook: &Hook) -> String {
    let data = json!({"password": secret(hook.stack, "data")});
    let event = json!({"type": "student.created", "tenant": hook.tenant, "data": data});
    hook.stack.post(&event).await["id"].as_str().unwrap().to_owned()
}

/// Makes a call that has to succeed.
pub async fn done(api: &local::Api, method: Method, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = api.call(method, path, body.as_ref()).await.unwrap();
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

async fn endpoints_and_keys(stack: &'static Stack) {
    let api = stack.local.endpoints();
    let hook = steady(stack, json!({"signatures": ["v1", "v1a"]}), 200).await;
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    done(&api, Method::GET, &path, None).await;
    for list in [&*format!("/v1/endpoints?tenant={}", hook.tenant), "/v1/endpoints", "/v1/tenants"] {
        done(&api, Method::GET, list, None).await;
    }
    let headers = json!({"headers": {"authorization": secret(stack, "patched")}});
    done(&api, Method::PATCH, &path, Some(headers)).await;
    let rotated = done(&api, Method::POST, &format!("{path}/rotate-secret"), None).await;
    stack.keep_secret(rotated["secret"].as_str().unwrap());
    let shown = done(&api, Method::GET, &format!("{path}/secret"), None).await;
    for secret in shown["secrets"].as_array().unwrap() {
        stack.keep_secret(secret["secret"].as_str().unwrap());
    }
    done(&api, Method::GET, &format!("{path}/keys.json"), None).await;
    done(&api, Method::POST, &format!("{path}/test"), None).await;
    for missed in ["leave", "replay"] {
        done(&api, Method::POST, &format!("{path}/pause"), None).await;
        done(&api, Method::POST, &format!("{path}/resume"), Some(json!({"missed": missed}))).await;
    }
    done(&api, Method::DELETE, &path, None).await;

    let key = stack.key(&["admin"], Some(&hook.tenant)).await;
    let made = Some(json!({"name": "made", "scopes": ["ops"]}));
    done(&Stack::api(&stack.local.urls.endpoints, &key), Method::POST, "/v1/keys", made).await;
    done(&api, Method::GET, &format!("/v1/keys?tenant={}", hook.tenant), None).await;
    done(&api, Method::DELETE, &format!("/v1/keys/{}?with_made=true", key.split('_').nth(1).unwrap()), None).await;
}

/// Retries by the queue and by Scheduler, an endpoint with a rate limit, and names and ports that nobody answers at.
async fn deliveries_that_fail(stack: &'static Stack) {
    let quick = steady(stack, json!({"retry_policy": {"delays_seconds": [1]}, "rate_limit": 50}), 500).await;
    let event = post(&quick).await;
    quick.until_status(&event, "failed", SOON).await;
    let slow = steady(stack, json!({}), 500).await;
    let event = post(&slow).await;
    slow.until_status(&event, "retrying", SOON).await;
    let closed = steady(stack, json!({"retry_policy": {"delays_seconds": [600]}}), 200).await;
    for host in ["127.0.0.1:1", "nobody.pombo-nowhere.com:8443"] {
        let scheme = if host.starts_with("127") { "http" } else { "https" };
        let url = format!("{scheme}://{host}/?token={}", secret(stack, "url"));
        let headers = json!({"authorization": secret(stack, "moved")});
        let patch = json!({"url": url, "name": unique("n"), "headers": headers});
        done(&stack.local.endpoints(), Method::PATCH, &format!("/v1/endpoints/{}", closed.endpoint), Some(patch)).await;
        let event = post(&closed).await;
        closed.until_status(&event, "retrying", SOON).await;
    }
}

/// A circuit opens, its drain probes, and so does an operator; what is held is let go when the endpoint is back.
async fn a_circuit(stack: &'static Stack) {
    let status = Arc::new(AtomicU16::new(500));
    let hook = hook(stack, json!({"retry_policy": {"delays_seconds": [1, 1, 600]}}), Arc::clone(&status)).await;
    let held = eventually("a held delivery", SOON, || async {
        post(&hook).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let path = format!("/v1/deliveries?endpoint_id={}&status=held", hook.endpoint);
        let page = done(&stack.local.replay(), Method::GET, &path, None).await;
        page["deliveries"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    eventually("a replay that is the probe", SOON, || async {
        // While the drain's own probe is under way, it is held like any other.
        let order = Some(json!({"deliveries": [held]}));
        let replay = done(&stack.local.replay(), Method::POST, "/v1/replays", order).await;
        (replay["deliveries"][0]["result"] == "probe").then_some(())
    })
    .await;
    status.store(200, Ordering::SeqCst);
    eventually("what was held", SOON, || async {
        let path = format!("/v1/deliveries/{held}");
        let delivery = done(&stack.local.replay(), Method::GET, &path, None).await;
        (delivery["status"] == "succeeded").then_some(())
    })
    .await;
}

/// It says so for two events, and is paused.
async fn an_endpoint_that_is_gone(stack: &'static Stack) {
    let hook = steady(stack, json!({"retry_policy": {"delays_seconds": [1, 1, 1]}}), 410).await;
    eventually("the pause", SOON, || async {
        post(&hook).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let path = format!("/v1/endpoints/{}", hook.endpoint);
        let endpoint = done(&stack.local.endpoints(), Method::GET, &path, None).await;
        (endpoint["status"] == "paused").then_some(())
    })
    .await;
}

async fn searches_and_replays(stack: &'static Stack) {
    let api = stack.local.replay();
    let hook = steady(stack, json!({"retry_policy": {"delays_seconds": [600]}}), 500).await;
    let (event, other) = (post(&hook).await, post(&hook).await);
    let id = |delivery: Value| delivery["id"].as_str().unwrap().to_owned();
    let delivery = id(hook.until_status(&event, "retrying", SOON).await);
    let other = id(hook.until_status(&other, "retrying", SOON).await);
    for path in [
        "/v1/deliveries?status=retrying".to_owned(),
        format!("/v1/deliveries?status=retrying&tenant={}", hook.tenant),
        format!("/v1/deliveries?status=retrying&endpoint_id={}", hook.endpoint),
        format!("/v1/deliveries?endpoint_id={}", hook.endpoint),
        format!("/v1/deliveries/{delivery}"),
        format!("/v1/events?tenant={}", hook.tenant),
        format!("/v1/health/{}", hook.endpoint),
    ] {
        done(&api, Method::GET, &path, None).await;
    }
    done(&api, Method::POST, &format!("/v1/deliveries/{other}/cancel"), None).await;
    done(&api, Method::POST, "/v1/replays", Some(json!({"deliveries": [delivery]}))).await;
    // A new endpoint has had none of the events.
    let new = Hook::register(stack, &hook.receiver, &hook.tenant, "/new", json!({})).await;
    for (endpoint, dry_run) in [(&new, true), (&hook.endpoint, false)] {
        let filter = json!({"endpoint_id": endpoint, "since": SINCE});
        let missing = json!({"filter": filter, "include": ["missing"], "dry_run": dry_run});
        done(&api, Method::POST, "/v1/replays", Some(missing)).await;
    }
    let of_the_stack = json!({"filter": {"stack": true, "since": SINCE, "type": "nothing.is.of.this.type"}});
    done(&api, Method::POST, "/v1/replays", Some(of_the_stack)).await;
    let order =
        json!({"filter": {"tenant": hook.tenant, "since": SINCE}, "include": ["cancelled"], "rate_per_second": 1});
    let job = id(done(&api, Method::POST, "/v1/replays", Some(order)).await);
    for path in ["/v1/replays".to_owned(), format!("/v1/replays?tenant={}", hook.tenant), format!("/v1/replays/{job}")]
    {
        done(&api, Method::GET, &path, None).await;
    }
    done(&api, Method::POST, &format!("/v1/replays/{job}/cancel"), None).await;
    missed(&hook).await;
}

/// The receiver asks for what it missed, signed with its secret.
async fn missed(hook: &Hook) {
    let path = format!("/v1/endpoints/{}/secret", hook.endpoint);
    let secrets = done(&hook.stack.local.endpoints(), Method::GET, &path, None).await;
    let secret: Secret = secrets["secrets"][0]["secret"].as_str().unwrap().parse().unwrap();
    let body = json!({"type": "pombo.missed.request", "endpoint": hook.endpoint, "since": SINCE}).to_string();
    let (id, now) = (unique("req"), clock::now().as_seconds());
    let signature = secret.sign(&id.parse().unwrap(), now, body.as_bytes());
    let request = reqwest::Client::new().post(format!("{}/v1/missed", hook.stack.local.urls.replay));
    let request = request.header("content-type", "application/json").header("webhook-id", &id);
    let request = request.header("webhook-timestamp", now).header("webhook-signature", signature).body(body);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

/// An event that came while its endpoint was paused is sent when that is back.
async fn what_was_missed(stack: &'static Stack) {
    let hook = steady(stack, json!({}), 200).await;
    hook.change("pause").await;
    let event = post(&hook).await;
    let path = format!("/v1/endpoints/{}/resume", hook.endpoint);
    done(&stack.local.endpoints(), Method::POST, &path, Some(json!({"missed": "replay"}))).await;
    eventually("what was missed", SOON, || async {
        let event = stack.event(&hook.tenant, &event).await;
        (event["deliveries"][0]["status"] == "succeeded").then_some(())
    })
    .await;
}

/// Requests that are refused, with a secret in what is wrong about them.
async fn refusals(stack: &'static Stack) {
    let urls = &stack.local.urls;
    let keys = &stack.local.keys;
    let text = |what: &str| secret(stack, what);
    for (url, path, key) in [
        (&urls.ingest, "/v1/events", &keys.ingest),
        (&urls.endpoints, "/v1/endpoints", &keys.admin),
        (&urls.endpoints, "/v1/keys", &keys.admin),
        (&urls.replay, "/v1/replays", &keys.ops),
        (&urls.replay, "/v1/missed", &keys.ops),
    ] {
        for body in [
            format!("{{\"secret\": \"{}\"", text("cut")),
            text("nojson"),
            format!("{{\"{}\": 1}}", text("field")),
            json!({"type": text("type"), "url": text("url"), "scopes": [text("scope")], "data": text("data")}).to_string(),
            json!({"url": format!("ftp://u:{}@h/", text("userinfo")), "event_types": ["*"]}).to_string(),
            json!({"url": "https://example.com/", "event_types": ["*"], "headers": {"x-key": format!("{}\n", text("line"))}})
                .to_string(),
            json!({"url": "https://example.com/", "event_types": ["*"], "secret": text("import")}).to_string(),
        ] {
            for key in [key.clone(), format!("pk_{}", text("key")), format!("{key}x")] {
                let request = reqwest::Client::new().post(format!("{url}{path}")).bearer_auth(key);
                let request = request.header("content-type", "application/json").body(body.clone());
                let status = request.send().await.unwrap().status();
                assert!(status.is_client_error(), "{path}: {status}: {body}");
            }
        }
    }
    for payload in [json!({"create_admin_key": {"name": text("name"), "key": text("payload")}}), json!(text("plain"))] {
        let client = aws_sdk_lambda::Client::new(&stack.local.sdk_config().await);
        let function = stack.resource("EndpointsFunction");
        let answer =
            client.invoke().function_name(function).payload(payload.to_string().into_bytes().into()).send().await;
        assert!(answer.unwrap().function_error.is_some());
    }
    stack.send("DeliveriesQueue", &json!({"v": 1, "what": text("message")}).to_string()).await;
    stack.send("JobsQueue", &json!({"v": 1, "what": text("job")}).to_string()).await;
}

/// What the sweep is for: a message that got lost, dead letters of each kind, and an event that nobody queued.
async fn stuck_things(stack: &'static Stack) {
    let lost = steady(stack, json!({"retry_policy": {"delays_seconds": [1]}}), 500).await;
    let endpoint = lost.endpoint.clone();
    stack.proxy.spoil_times(1, move |call: &Call| {
        (call.operation == "SendMessage" && call.mentions(&endpoint)).then_some(Fault::Swallow)
    });
    let overdue = post(&lost).await;
    lost.until_status(&overdue, "retrying", SOON).await;

    let waiting = steady(stack, json!({}), 500).await;
    let (ensured, dead) = (post(&waiting).await, post(&waiting).await);
    for (event, attempt) in [(&ensured, 1), (&dead, 2)] {
        let delivery = waiting.until_status(event, "retrying", SOON).await;
        let letter = json!({"v": 1, "delivery": delivery["id"], "round": 0, "attempt": attempt}).to_string();
        stack.send("DeliveriesDeadLetterQueue", &letter).await;
    }
    stack.send("JobsDeadLetterQueue", r#"{"v":1,"sweep":true}"#).await;
    done(&stack.local.replay(), Method::GET, "/v1/dead-letters", None).await;
    eventually("what was stuck", SOON, || async {
        stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let swept = lost.delivery(&overdue).await["status"] == "failed"
            && waiting.delivery(&dead).await["status"] == "failed"
            && stack.queue_length("JobsDeadLetterQueue").await == 0;
        swept.then_some(())
    })
    .await;
    eventually("a sweep's line in the log", SOON, || async {
        // The emulator has an invocation's lines at the next one, at the latest.
        stack.send("JobsQueue", r#"{"v":1,"sweep":true}"#).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let lines = stack.log_lines("JobsLogGroup").await;
        lines.iter().any(|line| line.contains("Sweep ended.")).then_some(())
    })
    .await;
}
