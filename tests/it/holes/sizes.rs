//! As much as there may be of everything: endpoints of a tenant, bytes of a body, both together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue::{N, S};
use futures::StreamExt as _;
use local::{Answer, Receiver};
use pombo_aws::clock;
use pombo_aws::endpoints::EndpointsTable;
use pombo_aws::routing::RoutingTable;
use pombo_domain::endpoint::Endpoint;
use pombo_domain::ids::EndpointId;
use pombo_domain::routing::{LARGEST_ROUTES, Route, RoutingRecord};
use pombo_tests::{Call, Fault, Hook, Stack, scenario};
use serde_json::{Value, json};

/// Size of a noise body whose packed form is just below the limit of 350 KiB, and of one whose packed form is just above.
const LARGEST: usize = 420 * 1024;
const TOO_LARGE: usize = 440 * 1024;

fn new_id() -> EndpointId {
    EndpointId::generate(clock::random().unwrap())
}

fn dynamodb(config: &aws_config::SdkConfig) -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(config)
}

async fn routing(hook: &Hook) -> RoutingRecord {
    let client = dynamodb(&hook.stack.local.sdk_config().await);
    let table = RoutingTable::new(client, hook.stack.resource("RoutingTable").to_owned());
    table.get(&hook.tenant.parse().unwrap()).await.unwrap()
}

/// Writes the tenant's routing record with these endpoints more; gives all of it. Registering them one by one would take
/// minutes.
pub(super) async fn put_routes(hook: &Hook, more: impl IntoIterator<Item = Route>) -> RoutingRecord {
    let mut record = routing(hook).await;
    record.routes.extend(more);
    let client = dynamodb(&hook.stack.local.sdk_config().await);
    let put = client.put_item().table_name(hook.stack.resource("RoutingTable"));
    let put = put.item("tenant", S(hook.tenant.clone())).item("version", N(record.version.to_string()));
    put.item("routes", S(record.routes_json())).send().await.unwrap();
    record
}

/// Routes like that of the hook's own endpoint.
pub(super) async fn like_the_first(hook: &Hook, count: usize) -> Vec<Route> {
    let first = routing(hook).await.routes[0].clone();
    (0..count).map(|_| Route { endpoint_id: new_id(), ..first.clone() }).collect()
}

/// Loses all messages to these endpoints, so that nothing comes of them.
fn lose(hook: &Hook, record: &RoutingRecord) {
    let ids: BTreeSet<_> = record.routes.iter().map(|route| route.endpoint_id.to_string()).collect();
    hook.stack.proxy.spoil(move |call| {
        let group = call.body["Entries"][0]["MessageGroupId"].as_str()?;
        ids.contains(group).then(|| Fault::Answer(json!({"Successful": [], "Failed": []})))
    });
}

/// A request of this length, whose data compresses badly, and whose body is shorter than itself.
fn request(hook: &Hook, id: &str, length: usize) -> String {
    let head = format!(
        r#"{{"type":"a","timestamp":"2026-01-31T09:30:00.000Z","tenant":"{}","id":"{id}","data":""#,
        hook.tenant
    );
    let mut state = 7u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'#' + (state >> 33) as u8 % 90)
    });
    let noise: String = noise.filter(|c| *c != '\\').take(length - head.len() - 2).collect();
    format!(r#"{head}{noise}"}}"#)
}

async fn post(hook: &Hook, body: String) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/v1/events", hook.stack.local.urls.ingest));
    let answer = request.bearer_auth(&hook.stack.local.keys.ingest).body(body).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

#[scenario(multi_thread, drill)]
async fn a_thousand_endpoints_all_get_an_event() {
    let stack = Stack::own("thousand", &[]).await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let config = stack.local.sdk_config().await;
    let table = EndpointsTable::new(dynamodb(&config), stack.resource("EndpointsTable").to_owned());
    let first = table.get(&hook.endpoint.parse().unwrap()).await.unwrap().unwrap();
    let more = like_the_first(&hook, 999).await;
    let receiver: &Receiver = &hook.receiver;
    let client = dynamodb(&config);
    futures::stream::iter(&more)
        .for_each_concurrent(8, async |route| {
            // Each at a path of its own.
            let mut item = serde_json::to_value(Endpoint { id: route.endpoint_id.clone(), ..first.clone() }).unwrap();
            item["url"] = receiver.url(&format!("/{}", route.endpoint_id)).into();
            let item = serde_dynamo::to_item(item).unwrap();
            client.put_item().table_name(stack.resource("EndpointsTable")).set_item(Some(item)).send().await.unwrap();
        })
        .await;
    let all = put_routes(&hook, more).await;
    let started = Instant::now();
    let event = json!({"type": "a", "tenant": hook.tenant, "id": "e", "data": {}});
    let accepted = stack.post(&event).await;
    println!("ingest took {:?} for {} endpoints", started.elapsed(), all.routes.len());
    assert_eq!(accepted["deliveries"], 1000, "{accepted}");
    assert!(started.elapsed() < Duration::from_secs(25), "within ingest's time, with some to spare");
    let received = receiver.wait_for(1000, Duration::from_secs(120)).await.unwrap();
    println!("the last was delivered after {:?}", started.elapsed());
    let paths: BTreeSet<_> = received.iter().map(|received| received.path.as_str()).collect();
    assert_eq!((received.len(), paths.len()), (1000, 1000), "each once");
}

#[scenario]
async fn when_a_tenants_routes_are_full_the_next_endpoint_is_refused_and_those_there_are_can_be_paused() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let one = serde_json::to_string(&routing(&hook).await.routes[0]).unwrap().len() + 1;
    let more = like_the_first(&hook, LARGEST_ROUTES / one - 1).await;
    let full = put_routes(&hook, more).await;
    println!("{} endpoints in {} bytes", full.routes.len(), full.routes_json().len());
    let api = hook.stack.local.endpoints();
    let long = "x".repeat(100);
    let wanted = json!({"tenant": hook.tenant, "url": hook.receiver.url("/more"), "event_types": [long]});
    let (status, problem) = api.post("/v1/endpoints", &wanted).await.unwrap();
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("event_types")), "{problem}");
    assert!(problem["errors"][0]["rule"].as_str().unwrap().contains("100 KiB"), "{problem}");
    let path = format!("/v1/endpoints/{}", hook.endpoint);
    let (status, problem) = api.patch(&path, &json!({"event_types": ["*", long]})).await.unwrap();
    assert_eq!((status, &problem["errors"][0]["field"]), (400, &json!("event_types")), "{problem}");
    hook.change("pause").await;
    hook.change("resume").await;
    hook.change("delete").await;
    assert_eq!(routing(&hook).await.routes.len(), full.routes.len() - 1);
}

#[scenario]
async fn the_largest_body_goes_to_hundreds_of_endpoints_by_reference() {
    let hook = Hook::new(Stack::calm().await, json!({}), |_| Answer::status(200)).await;
    let more = like_the_first(&hook, 299).await;
    lose(&hook, &put_routes(&hook, more).await);
    let (status, accepted) = post(&hook, request(&hook, "largest", LARGEST)).await;
    assert_eq!((status, &accepted["deliveries"]), (202, &json!(300)), "{accepted}");
    let (tenant, stack) = (hook.tenant.clone(), hook.stack);
    let is_batch =
        |call: &Call| call.operation == "SendMessageBatch" && call.mentions(&format!(r#"\"tenant\":\"{tenant}\""#));
    let batches = stack.proxy.calls(is_batch);
    assert_eq!(batches.len(), 30);
    for batch in &batches {
        assert!(batch.body.to_string().len() < 8 * 1024, "ten messages by reference");
    }
    let (status, problem) = post(&hook, request(&hook, "too-large", TOO_LARGE)).await;
    assert_eq!(status, 413, "{problem}");
}
