//! Ways around the address policy, tried on a stack that has the policy of production: at registration, by a change, by a
//! test, and past all of these, as a URL that was stored under another policy.

#[path = "../../shared/domain/src/address/tests/cases.rs"]
mod cases;

use std::net::TcpListener;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue::S;
use futures::StreamExt;
use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use self::cases::{ADDRESSES, LITERAL_HOSTS, NAMES, OK, URLS};

/// A name that resolves nowhere, and so is accepted.
const ACCEPTED: &str = "https://receiver.example.com/hook";

async fn strict() -> &'static Stack {
    static STRICT: OnceCell<Stack> = OnceCell::const_new();
    let parameters = [("AllowLoopback", "false"), ("IngestHosts", "events.example.com")];
    STRICT.get_or_init(|| Stack::start("strict", &parameters)).await
}

/// Every so-manieth case of the tables, as a URL with what becomes of it. Names that pass are left out, since what they
/// resolve to is not for these tests to say.
fn sample() -> Vec<(String, &'static str)> {
    let hosts = LITERAL_HOSTS.iter().chain(NAMES).map(|(host, expected)| (format!("https://{host}/hook"), *expected));
    let literal = |ip: &str| if ip.contains(':') { format!("https://[{ip}]/") } else { format!("https://{ip}/") };
    let addresses = ADDRESSES.iter().map(|(ip, expected)| (literal(ip), *expected));
    let urls = URLS.iter().map(|(url, expected)| ((*url).to_owned(), *expected)).chain(hosts).chain(addresses);
    let is_name =
        |url: &str| url.contains(".com") || url.contains(".org") || url.contains(".io") || url.contains(".dev");
    urls.filter(|(url, expected)| *expected != OK || !is_name(url)).step_by(5).collect()
}

fn wanted(tenant: &str, url: &str) -> Value {
    json!({"tenant": tenant, "url": url, "event_types": ["*"]})
}

/// Registers an endpoint at [`ACCEPTED`]; gives its id.
async fn register(stack: &Stack, tenant: &str) -> String {
    let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &wanted(tenant, ACCEPTED)).await.unwrap();
    assert_eq!(status, 201, "{endpoint}");
    endpoint["id"].as_str().unwrap().to_owned()
}

/// Changes an endpoint's URL where it is stored.
async fn store(stack: &Stack, endpoint: &str, url: &str) {
    let client = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let update = client.update_item().table_name(stack.resource("EndpointsTable"));
    let update = update.key("endpoint_id", S(endpoint.to_owned())).update_expression("SET #url = :url");
    let update = update.expression_attribute_names("#url", "url");
    update.expression_attribute_values(":url", S(url.to_owned())).send().await.unwrap();
}

fn assert_refused((status, problem): (u16, Value), rule: &str) {
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("url")), "{problem}");
    assert!(problem["errors"][0]["rule"].as_str().unwrap().contains(rule), "{rule}: {problem}");
}

#[scenario]
async fn a_strict_stack_registers_what_the_table_allows_and_nothing_else() {
    let (stack, tenant) = (strict().await, unique("t"));
    let api = stack.local.endpoints();
    let judged = futures::stream::iter(sample()).map(|(url, expected)| {
        let (api, wanted) = (&api, wanted(&tenant, &url));
        async move { (url, expected, api.post("/v1/endpoints", &wanted).await.unwrap()) }
    });
    let judged: Vec<_> = judged.buffer_unordered(8).collect().await;
    assert!(judged.len() > 70, "{}", judged.len());
    for (url, expected, (status, answer)) in judged {
        assert_eq!(status, if expected == OK { 201 } else { 400 }, "{url:?} ({expected}): {answer}");
        assert!(expected == OK || answer["errors"][0]["field"] == "url", "{url:?}: {answer}");
    }
}

#[scenario]
async fn a_listed_network_is_open_and_what_is_beside_it_is_not() {
    let stack = Stack::own("listing", &[("AllowLoopback", "false"), ("AllowedCidrs", "10.1.0.0/16")]).await;
    let tenant = unique("t");
    let api = stack.local.endpoints();
    for url in ["https://10.1.2.3/hook", "https://0x0a010203:8443/hook", "https://orders.internal/hook"] {
        let (status, answer) = api.post("/v1/endpoints", &wanted(&tenant, url)).await.unwrap();
        assert_eq!(status, 201, "{url}: {answer}");
    }
    for (url, rule) in [
        ("https://10.2.0.1/hook", "RFC 1918"),
        ("http://10.1.2.3/hook", "https"),
        ("https://[::ffff:10.1.2.3]/hook", "IPv4-mapped"),
        ("https://127.0.0.1/hook", "Loopback"),
        ("https://169.254.169.254/latest/meta-data/", "Instance metadata"),
        ("https://localhost/hook", "RFC 6761"),
    ] {
        assert_refused(api.post("/v1/endpoints", &wanted(&tenant, url)).await.unwrap(), rule);
    }
    let of_tenant = Stack::api(&stack.local.urls.endpoints, &stack.key(&["endpoints"], Some(&tenant)).await);
    for url in ["https://10.1.2.3/hook", "https://orders.internal/hook"] {
        let refused = of_tenant.post("/v1/endpoints", &wanted(&tenant, url)).await.unwrap();
        assert_refused(refused, "must be a public https URL");
    }
}

#[scenario]
async fn a_listed_network_is_closed_to_deliveries_once_a_tenant_has_set_the_url() {
    const LISTED: &str = "https://10.1.2.3/hook";
    let stack = Stack::own("closing", &[("AllowLoopback", "false"), ("AllowedCidrs", "10.1.0.0/16")]).await;
    let tenant = unique("t");
    let new = json!({"tenant": tenant, "url": LISTED, "event_types": ["*"], "retry_policy": {"delays_seconds": [600]}});
    let (status, endpoint) = stack.local.endpoints().post("/v1/endpoints", &new).await.unwrap();
    assert_eq!((status, &endpoint["url_set_by"]), (201, &json!("stack")), "{endpoint}");
    let id = endpoint["id"].as_str().unwrap();
    let outcome = async || {
        let event = stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
        eventually("an attempt", Duration::from_secs(30), || async {
            let delivery = stack.delivery(&tenant, event["id"].as_str().unwrap()).await;
            delivery["attempts"].as_array()?.first().map(|attempt| attempt["outcome"].clone())
        })
        .await
    };
    let of_the_stack = outcome().await;
    assert_ne!(of_the_stack["kind"], "refused", "the request was made, whatever is there: {of_the_stack}");
    let of_tenant = Stack::api(&stack.local.urls.endpoints, &stack.key(&["endpoints"], Some(&tenant)).await);
    let (status, patched) = of_tenant.patch(&format!("/v1/endpoints/{id}"), &json!({"url": ACCEPTED})).await.unwrap();
    assert_eq!((status, &patched["url_set_by"]), (200, &json!("tenant")), "{patched}");
    // As if the name led there.
    store(stack, id, LISTED).await;
    let of_the_tenant = outcome().await;
    assert_eq!((&of_the_tenant["kind"], &of_the_tenant["by"]), (&json!("refused"), &json!("url")), "{of_the_tenant}");
}

#[scenario]
async fn an_endpoint_at_the_stack_s_own_ingest_url_is_refused_as_a_loop() {
    const LOOP: &str = "each delivery would come back as a call of Pombo";
    let (stack, tenant) = (strict().await, unique("t"));
    let api = stack.local.endpoints();
    let path = format!("/v1/endpoints/{}", register(stack, &tenant).await);
    let ingest = format!("{}v1/events", stack.local.outputs["IngestUrl"]);
    assert!(ingest.starts_with("https://"), "{ingest}");
    let spelt = [
        ingest.clone(),
        ingest.to_uppercase().replace("HTTPS", "https"),
        ingest.replace("/v1", ":443/v1"),
        ingest.replace("/v1", "./v1"),
        "https://events.example.com/anything".to_owned(),
    ];
    for url in &spelt {
        assert_refused(api.post("/v1/endpoints", &wanted(&tenant, url)).await.unwrap(), LOOP);
        assert_refused(api.patch(&path, &json!({"url": url})).await.unwrap(), LOOP);
    }
    // A stack that may call this machine is at an address of it.
    let calm = Stack::calm().await;
    let here = format!("{}/v1/events", calm.local.urls.ingest);
    for url in [here.clone(), here.replace("127.0.0.1", "localhost"), here.replace("127.0.0.1", "0x7f.1")] {
        assert_refused(calm.local.endpoints().post("/v1/endpoints", &wanted(&tenant, &url)).await.unwrap(), LOOP);
    }
}

#[scenario]
async fn a_url_that_got_past_registration_is_neither_tested_nor_delivered_to_and_its_delivery_says_why() {
    let (stack, tenant) = (strict().await, unique("t"));
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    let ingest = format!("{}v1/events", stack.local.outputs["IngestUrl"]);
    let others = ["ReplayUrl", "EndpointsUrl"].map(|name| format!("{}v1/missed", stack.local.outputs[name]));
    let mut endpoints = Vec::new();
    for (url, rule) in [
        (format!("https://127.0.0.1:{port}/"), "loopback"),
        (format!("http://127.0.0.1:{port}/"), "scheme"),
        (format!("https://2130706433:{port}/"), "loopback"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "ipv4-mapped"),
        (format!("https://localhost:{port}/"), "localhost-domain"),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), "cloud-metadata"),
        ("https://10.2.0.1/".to_owned(), "private-use"),
        ("https://hooks.example.com:22/".to_owned(), "port"),
        (ingest, "own-url"),
        (others[0].clone(), "own-url"),
        (others[1].clone(), "own-url"),
    ] {
        let endpoint = register(stack, &tenant).await;
        store(stack, &endpoint, &url).await;
        let path = format!("/v1/endpoints/{endpoint}/test");
        if others.contains(&url) {
            // The template cannot tell the endpoints function of them.
            endpoints.push((endpoint, url, rule));
            continue;
        }
        assert_refused(stack.local.endpoints().post(&path, &json!({})).await.unwrap(), "must be a public https URL");
        endpoints.push((endpoint, url, rule));
    }
    let event = stack.post(&json!({"type": "a", "tenant": tenant, "data": {}})).await;
    assert_eq!(event["deliveries"], endpoints.len());
    for (endpoint, url, rule) in endpoints {
        let delivery = eventually("a failed delivery", SOON, || async {
            let event = stack.event(&tenant, event["id"].as_str().unwrap()).await;
            let mut deliveries = event["deliveries"].as_array().unwrap().iter();
            deliveries.find(|one| one["endpoint_id"] == *endpoint && one["status"] == "failed").cloned()
        })
        .await;
        let attempts = delivery["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "another attempt would have the same URL: {delivery}");
        let outcome = &attempts[0]["outcome"];
        assert_eq!((&outcome["kind"], &outcome["rule"]), (&json!("refused"), &json!(rule)), "{url}: {delivery}");
        assert!(outcome["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{delivery}");
    }
    door.set_nonblocking(true).unwrap();
    assert!(door.accept().is_err(), "nothing came to this machine");
}

#[scenario]
async fn a_delivery_that_was_refused_is_replayed_once_its_endpoint_is_right() {
    let stack = Stack::calm().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    store(stack, &hook.endpoint, "https://10.0.0.1/hook").await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let (status, answer) =
        stack.local.endpoints().patch(&path, &json!({"url": hook.receiver.url("/hook")})).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    // Dispatch remembers an endpoint for some seconds.
    eventually("a replay that succeeds", SOON, || async {
        hook.replay(&[failed["id"].as_str().unwrap()]).await;
        (hook.delivery(&event).await["status"] == "succeeded").then_some(())
    })
    .await;
    hook.assert_signed();
}
