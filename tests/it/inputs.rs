//! Every rejected input of each API: what is sent, the status, the field that the problem names.

use local::Api;
use pombo_aws::clock;
use pombo_tests::{Stack, scenario, unique};
use serde_json::{Value, json};

/// Method, path, body, status, field (empty when no field is at fault).
type Case = (&'static str, String, Value, u16, &'static str);

async fn assert_refused(api: &Api, cases: Vec<Case>) {
    for (method, path, body, status, field) in cases {
        let body = (!body.is_null()).then_some(body);
        let (got, problem) = api.call(method.parse().unwrap(), &path, body.as_ref()).await.unwrap();
        let sent = format!("{method} {path} {}", body.unwrap_or_default());
        assert_eq!(got, status, "{sent}: {problem}");
        let named = problem["errors"][0]["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{sent}: {problem}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{sent}: {problem}");
        }
        assert_eq!(problem["status"], status, "{sent}: {problem}");
    }
}

fn with(base: &Value, field: &str, value: Value) -> Value {
    let mut body = base.clone();
    body[field] = value;
    body
}

#[scenario]
async fn ingest_refuses() {
    let stack = Stack::calm().await;
    let event = json!({"type": "a", "data": {}});
    let post = |body: Value, field| ("POST", "/v1/events".to_owned(), body, 400, field);
    let cases = vec![
        post(json!({}), "type"),
        post(json!([]), "body"),
        post(json!({"type": "a"}), "data"),
        post(with(&event, "type", json!("")), "type"),
        post(with(&event, "type", json!("a..b")), "type"),
        post(with(&event, "type", json!("a.*")), "type"),
        post(with(&event, "type", json!("x".repeat(129))), "type"),
        post(with(&event, "type", json!("pombo.ping")), "type"),
        post(with(&event, "tenant", json!("pombo")), "tenant"),
        post(with(&event, "tenant", json!("a/b")), "tenant"),
        post(with(&event, "tenant", json!("x".repeat(65))), "tenant"),
        post(with(&event, "id", json!("a.b")), "id"),
        post(with(&event, "id", json!("")), "id"),
        post(with(&event, "timestamp", json!("31.1.2026")), "timestamp"),
        post(with(&event, "extra", json!(1)), "extra"),
        ("POST", "/v1/events?tenant=acme".into(), event.clone(), 400, "tenant"),
        ("GET", "/v1/events".into(), Value::Null, 405, ""),
        ("POST", "/v1/endpoints".into(), event.clone(), 404, ""),
        ("POST", "/v1/events/batch".into(), event.clone(), 404, ""),
        ("POST", "/".into(), event.clone(), 404, ""),
        ("POST", "/v1/events".into(), with(&event, "data", json!("x".repeat(2 * 1024 * 1024))), 413, ""),
    ];
    assert_refused(&stack.local.ingest(), cases).await;
}

#[scenario]
async fn endpoints_refuses() {
    let stack = Stack::calm().await;
    let api = stack.local.endpoints();
    let tenant = unique("t");
    let endpoint = json!({"tenant": tenant, "url": "https://93.184.216.34/hook", "event_types": ["a"]});
    let (status, created) = api.post("/v1/endpoints", &endpoint).await.unwrap();
    assert_eq!(status, 201, "{created}");
    let one = format!("/v1/endpoints/{}", created["id"].as_str().unwrap());
    let create = |field: &str, value: Value, named| {
        ("POST", "/v1/endpoints".to_owned(), with(&endpoint, field, value), 400, named)
    };
    let mut cases = vec![
        ("POST", "/v1/endpoints".to_owned(), json!({}), 400, "url"),
        ("POST", "/v1/endpoints".to_owned(), json!({"url": "https://93.184.216.34/"}), 400, "event_types"),
        create("tenant", json!("a b"), "tenant"),
        create("id", json!("ep_mine"), "id"),
        create("event_types", json!([]), "event_types"),
        create("event_types", json!(["a", "b*"]), "event_types[1]"),
        create("event_types", json!((0..33).map(|n| format!("t{n}")).collect::<Vec<_>>()), "event_types"),
        create("headers", json!({"host": "x"}), "headers.host"),
        create("headers", json!({"webhook-id": "x"}), "headers.webhook-id"),
        create("headers", json!({"x-a": "a\nb"}), "headers.x-a"),
        create("retry_policy", json!("never"), "retry_policy"),
        create("retry_policy", json!({"delays_seconds": []}), "retry_policy.delays_seconds"),
        create("retry_policy", json!({"delays_seconds": [0.5]}), "retry_policy.delays_seconds"),
        create("timeout_seconds", json!(0), "timeout_seconds"),
        create("timeout_seconds", json!(31), "timeout_seconds"),
        create("rate_limit", json!(0), "rate_limit"),
        create("secret", json!("whsec_short"), "secret"),
        create("secret", json!("hello"), "secret"),
        create("event_types", json!(["*", "pombo.delivery.failed"]), "event_types[1]"),
        ("PATCH", one.clone(), json!({"event_types": []}), 400, "event_types"),
        ("PATCH", one.clone(), json!({"url": "https://10.0.0.1/"}), 400, "url"),
        ("PATCH", one.clone(), json!({"tenant": "b"}), 400, "tenant"),
        ("PATCH", one.clone(), json!({"rate_limit": 501}), 400, "rate_limit"),
        ("PATCH", one.clone(), json!({"headers": {"x-a": "********"}}), 400, "headers.x-a"),
        ("POST", format!("{one}/resume"), json!({"missed": "some"}), 400, "missed"),
        ("POST", format!("{one}/rotate-secret"), json!({"grace_hours": 169}), 400, "grace_hours"),
        ("POST", format!("{one}/rotate-secret"), json!({"secret": "x"}), 400, "secret"),
        ("GET", "/v1/endpoints?limit=0".into(), Value::Null, 400, "limit"),
        ("GET", "/v1/endpoints?limit=101".into(), Value::Null, 400, "limit"),
        ("GET", "/v1/endpoints?cursor=x".into(), Value::Null, 400, "cursor"),
        ("GET", "/v1/endpoints?tennant=x".into(), Value::Null, 400, "tennant"),
        ("GET", "/v1/endpoints?tenant=a&tenant=b".into(), Value::Null, 400, "tenant"),
        ("GET", "/v1/tenants?tenant=a".into(), Value::Null, 400, "tenant"),
        ("GET", "/v1/tenants?cursor=x".into(), Value::Null, 400, "cursor"),
        ("DELETE", "/v1/endpoints".into(), Value::Null, 405, ""),
        ("PATCH", one.clone(), json!({"event_types": ["pombo.delivery.failed"]}), 400, "event_types[0]"),
        ("GET", "/v1/endpoints/ep_7777777777777777".into(), Value::Null, 404, ""),
        ("GET", "/v1/endpoints/nonsense".into(), Value::Null, 404, ""),
        ("GET", "/v1/deliveries".into(), Value::Null, 404, ""),
        ("POST", "/v1/keys".into(), json!({"name": "x"}), 400, "scopes"),
        ("POST", "/v1/keys".into(), json!({"name": "x", "scopes": []}), 400, "scopes"),
        ("POST", "/v1/keys".into(), json!({"name": "x", "scopes": ["root"]}), 400, "scopes[0]"),
        ("POST", "/v1/keys".into(), json!({"scopes": ["ops"]}), 400, "name"),
        (
            "POST",
            "/v1/keys".into(),
            json!({"name": "x", "scopes": ["ops"], "expires_at": "2020-01-01T00:00:00Z"}),
            400,
            "expires_at",
        ),
        ("DELETE", "/v1/keys/aaaaaaaaaaaaaaaa".into(), Value::Null, 404, ""),
    ];
    for url in [
        "http://93.184.216.34/",
        "ftp://93.184.216.34/",
        "https://user@93.184.216.34/",
        "https://93.184.216.34:22/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/",
        "https://0x0a000001/",
        "https://metadata.internal/",
        "https://printer.local/",
        "https://intranet/",
        "nonsense",
        "",
    ] {
        cases.push(create("url", json!(url), "url"));
    }
    assert_refused(&api, cases).await;
}

#[scenario]
async fn replay_refuses() {
    let stack = Stack::calm().await;
    let get = |path: &str, field| ("GET", path.to_owned(), Value::Null, 400, field);
    let id = pombo_domain::cursor::seal("ep_7777777777777777/2026-01-31T09:30:00.050Z#e");
    let post = |body: Value, field| ("POST", "/v1/replays".to_owned(), body, 400, field);
    let until = clock::now().plus(std::time::Duration::from_secs(3600));
    let cases = vec![
        get("/v1/deliveries?status=lost", "status"),
        get("/v1/deliveries?status=succeeded", "status"),
        get("/v1/deliveries?tenant=a&status=pending", "status"),
        get("/v1/deliveries?endpoint_id=ep_1", "endpoint_id"),
        get("/v1/deliveries?endpoint_id=ep_7777777777777777&status=succeeded", "status"),
        get("/v1/deliveries?tenant=a%20b", "tenant"),
        get("/v1/deliveries?since=yesterday", "since"),
        get("/v1/deliveries?until=1", "until"),
        get("/v1/deliveries?limit=1000", "limit"),
        get("/v1/deliveries?cursor=x", "cursor"),
        get("/v1/deliveries?state=failed", "state"),
        get("/v1/deliveries?status=failed&status=lost", "status"),
        get("/v1/deliveries?limit=3&limit=4", "limit"),
        get("/v1/events?type=a&type=b", "type"),
        get("/v1/replays?cursor=x&cursor=y", "cursor"),
        ("POST", "/v1/events".into(), json!({}), 405, ""),
        ("DELETE", "/v1/events/x".into(), Value::Null, 405, ""),
        ("GET", "/v1/deliveries/nonsense".into(), Value::Null, 404, ""),
        ("GET", format!("/v1/deliveries/{id}"), Value::Null, 404, ""),
        ("GET", "/v1/events/a.b".into(), Value::Null, 404, ""),
        ("GET", "/v1/events/none".into(), Value::Null, 404, ""),
        ("GET", "/v1/replays/nonsense".into(), Value::Null, 404, ""),
        ("GET", "/v1/endpoints".into(), Value::Null, 404, ""),
        post(json!({}), "filter"),
        post(json!({"deliveries": []}), "deliveries"),
        post(json!({"deliveries": ["x"]}), "deliveries[0]"),
        post(json!({"deliveries": [id, id]}), "deliveries[1]"),
        post(json!({"deliveries": vec![&id; 101]}), "deliveries"),
        post(json!({"deliveries": [id], "all": true}), "all"),
        post(json!({"filter": {"stack": true, "since": "2026-01-31T09:30:00Z", "until": until}}), "filter.until"),
    ];
    assert_refused(&stack.local.replay(), cases).await;
}

#[scenario]
async fn a_body_is_json_under_the_content_type_of_curl_and_what_a_header_asks_for_is_not_ignored() {
    let stack = Stack::calm().await;
    let (urls, keys) = (&stack.local.urls, &stack.local.keys);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let event = json!({"type": "a", "tenant": unique("t"), "data": {}}).to_string();
    let order =
        json!({"filter": {"tenant": unique("t"), "since": "2026-01-01T00:00:00Z"}, "dry_run": true}).to_string();
    let (events, replays) = (format!("{}/v1/events", urls.ingest), format!("{}/v1/replays", urls.replay));
    let endpoints = format!("{}/v1/endpoints", urls.endpoints);
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    for (url, key, body, header, status) in [
        (&events, &keys.ingest, &event, Some(FORM), 202),
        (&events, &keys.ingest, &event, None, 202),
        (&events, &keys.ingest, &event, Some(("content-type", "text/plain")), 415),
        (&events, &keys.ingest, &event, Some(("content-encoding", "gzip")), 415),
        (&events, &keys.ingest, &event, Some(("idempotency-key", "x")), 400),
        (&replays, &keys.ops, &order, Some(FORM), 200),
        (&replays, &keys.ops, &order, Some(("content-encoding", "br")), 415),
        (&endpoints, &keys.admin, &event, Some(("if-match", "\"1\"")), 400),
    ] {
        let mut request = client.post(url).bearer_auth(key).body(body.clone());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let (got, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(got, status, "{url} {header:?}: {text}");
        let named = header
            .filter(|_| status >= 400)
            .is_none_or(|(name, value)| text.contains(name) && (status == 400 || text.contains(value)));
        assert!(named, "{url} {header:?}: {text}");
    }
}
