//! The limits on what a tenant has: exact, whoever calls at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use local::{Answer, Receiver};
use pombo_domain::job::JobKey;
use pombo_tests::{Fault, Hook, SOON, Stack, eventually, scenario, unique};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// A stack with limits that a test can reach.
async fn stack() -> &'static Stack {
    static LIMITED: OnceCell<Stack> = OnceCell::const_new();
    let limits = [
        ("MaxEndpointsPerTenant", "5"),
        ("MaxEndpointsPerHost", "3"),
        ("MaxEndpointsRegisteredPerDay", "9"),
        ("MaxRunningReplays", "4"),
    ];
    LIMITED.get_or_init(|| Stack::start("limits", &limits)).await
}

async fn register(tenant: &str, url: &str) -> (u16, Value) {
    let wanted = json!({"tenant": tenant, "url": url, "event_types": ["a"]});
    stack().await.local.endpoints().post("/v1/endpoints", &wanted).await.unwrap()
}

/// Registers an endpoint, which must be possible; gives its path.
async fn registered(tenant: &str, url: &str) -> String {
    let (status, endpoint) = register(tenant, url).await;
    assert_eq!(status, 201, "{endpoint}");
    format!("/v1/endpoints/{}", endpoint["id"].as_str().unwrap())
}

/// Fails unless so many of the answers are `taken`, and all others refuse with this status and these words.
fn assert_exactly(answers: &[(u16, Value)], count: usize, taken: u16, refused: u16, words: &str) {
    let (yes, no): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == taken);
    assert_eq!(yes.len(), count, "{answers:?}");
    for (status, problem) in no {
        assert!(*status == refused && problem["detail"].as_str().unwrap().contains(words), "{status} {problem}");
    }
}

#[scenario]
async fn of_twenty_endpoints_registered_at_once_a_tenant_gets_five_and_a_deletion_makes_room() {
    let (tenant, api) = (unique("t"), stack().await.local.endpoints());
    let urls: Vec<_> = (0..20).map(|number| format!("https://93.184.215.{number}/hook")).collect();
    let answers = join_all(urls.iter().map(|url| register(&tenant, url))).await;
    let words = format!("The tenant {tenant} has 5 endpoints, and at most 5 are allowed");
    assert_exactly(&answers, 5, 201, 409, &words);
    let (_, list) = api.get(&format!("/v1/endpoints?tenant={tenant}")).await.unwrap();
    assert_eq!(list["endpoints"].as_array().unwrap().len(), 5, "{list}");
    let refused = answers.iter().find(|(status, _)| *status == 409).unwrap();
    assert!(refused.1["detail"].as_str().unwrap().contains("MaxEndpointsPerTenant"), "{refused:?}");

    let path = format!("/v1/endpoints/{}", list["endpoints"][0]["id"].as_str().unwrap());
    assert_eq!(api.post(&format!("{path}/pause"), &json!({})).await.unwrap().0, 200);
    assert_eq!(register(&tenant, "https://93.184.216.1/").await.0, 409, "a paused one counts");
    assert_eq!(api.delete(&path).await.unwrap().0, 204);
    assert_eq!(register(&tenant, "https://93.184.216.1/").await.0, 201, "at once");
    assert_eq!(register(&tenant, "https://93.184.216.2/").await.0, 409);
    assert_eq!(register(&unique("other"), "https://93.184.216.2/").await.0, 201);
}

#[scenario]
async fn a_tenant_has_three_endpoints_at_a_host_however_it_is_written_and_a_patch_moves_one() {
    let (tenant, api) = (unique("t"), stack().await.local.endpoints());
    let urls: Vec<_> = (0..12)
        .map(|number| match number % 3 {
            0 => format!("https://93.184.215.14/{number}"),
            1 => format!("https://93.184.215.14:8443/{number}"),
            _ => format!("https://1572394766/{number}"),
        })
        .collect();
    let answers = join_all(urls.iter().map(|url| register(&tenant, url))).await;
    assert_exactly(&answers, 3, 201, 409, "3 endpoints at 93.184.215.14, and at most 3 at one host");
    let first = answers.iter().find(|(status, _)| *status == 201).unwrap().1["id"].as_str().unwrap();
    let first = format!("/v1/endpoints/{first}");

    let elsewhere = registered(&tenant, "https://93.184.215.15/").await;
    let here = json!({"url": "https://93.184.215.14:9443/moved"});
    let (status, problem) = api.patch(&elsewhere, &here).await.unwrap();
    assert_eq!(status, 409, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("MaxEndpointsPerHost"), "{problem}");
    assert_eq!(api.patch(&first, &here).await.unwrap().0, 200, "it stays at its host");
    // One moves away: its place is taken by the one that could not come.
    let away = json!({"url": "https://93.184.215.16/"});
    assert_eq!(api.patch(&first, &away).await.unwrap().0, 200);
    assert_eq!(api.patch(&elsewhere, &here).await.unwrap().0, 200);
    assert_eq!(register(&tenant, "https://93.184.215.14/one-more").await.0, 409);
    assert_eq!(api.patch(&first, &json!({"url": "https://93.184.215.14/back"})).await.unwrap().0, 409);
    // A deletion makes room for a move.
    assert_eq!(api.delete(&elsewhere).await.unwrap().0, 204);
    assert_eq!(api.patch(&first, &json!({"url": "https://93.184.215.14/back"})).await.unwrap().0, 200);
    assert_eq!(register(&unique("other"), "https://93.184.215.14/").await.0, 201, "each tenant has its own");
}

#[scenario]
async fn endpoints_that_are_registered_and_deleted_in_a_loop_are_bounded_by_the_day() {
    let (tenant, api) = (unique("t"), stack().await.local.endpoints());
    for number in 0..9 {
        let path = registered(&tenant, &format!("https://93.184.215.14/{number}")).await;
        assert_eq!(api.delete(&path).await.unwrap().0, 204);
    }
    let (status, problem) = register(&tenant, "https://93.184.215.14/").await;
    let detail = problem["detail"].as_str().unwrap();
    assert_eq!(status, 429, "{problem}");
    assert!(detail.contains("registered 9 endpoints today") && detail.contains("MaxEndpointsRegisteredPerDay"));
}

/// Orders a replay of all that failed at the hook's endpoint.
async fn order(hook: &Hook) -> (u16, Value) {
    let filter = json!({"endpoint_id": hook.endpoint, "since": "2026-01-01T00:00:00Z"});
    hook.stack.local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap()
}

async fn cancel(hook: &Hook, replay: &Value) {
    let path = format!("/v1/replays/{}/cancel", replay["id"].as_str().unwrap());
    let (status, answer) = hook.stack.local.replay().post(&path, &json!({})).await.unwrap();
    assert_eq!((status, &answer["status"]), (200, &json!("cancelled")), "{answer}");
}

/// Whether a call queues the leg of a job of this tenant.
fn queues_leg(call: &pombo_tests::Call, tenant: &str) -> bool {
    let message = call.body["MessageBody"].as_str().and_then(|body| serde_json::from_str::<Value>(body).ok());
    let job = message.and_then(|message| message["job"].as_str()?.parse::<JobKey>().ok());
    call.operation == "SendMessage" && job.is_some_and(|job| job.owner == tenant)
}

#[scenario]
async fn of_twenty_replays_ordered_at_once_four_run_and_each_that_ends_makes_room_for_one() {
    let hook =
        Hook::new(stack().await, json!({"retry_policy": {"delays_seconds": [1]}}), |_| Answer::status(500)).await;
    let event = hook.post().await;
    let failed = hook.until_status(&event, "failed", SOON).await;
    // The replays stand still: their messages are lost.
    let lost = Arc::new(AtomicBool::new(true));
    let (is_lost, tenant) = (Arc::clone(&lost), hook.tenant.clone());
    hook.stack.proxy.spoil(move |call| {
        let spoiled = is_lost.load(Ordering::SeqCst) && queues_leg(call, &tenant);
        spoiled.then_some(Fault::Refuse(400, "AccessDeniedException"))
    });
    let answers = join_all((0..20).map(|_| order(&hook))).await;
    let words = format!("4 replays of the tenant {} are running, and at most 4", hook.tenant);
    assert_exactly(&answers, 4, 202, 409, &words);
    let running: Vec<_> = answers.iter().filter(|(status, _)| *status == 202).map(|(_, replay)| replay).collect();

    // Pombo's own work, and what is done while the caller waits, takes no place.
    hook.replay(&[failed["id"].as_str().unwrap()]).await;
    let receiver = Receiver::start().unwrap();
    let paused = Hook::register(hook.stack, &receiver, &hook.tenant, "/paused", json!({})).await;
    let api = hook.stack.local.endpoints();
    assert_eq!(api.post(&format!("/v1/endpoints/{paused}/pause"), &json!({})).await.unwrap().0, 200);
    let path = format!("/v1/endpoints/{paused}/resume");
    let (status, resumed) = api.post(&path, &json!({"missed": "replay"})).await.unwrap();
    assert!(status == 200 && resumed["replay_id"].is_string(), "{resumed}");

    for _ in 0..2 {
        assert_eq!(order(&hook).await.0, 409);
    }
    // Cancelled twice is ended once.
    cancel(&hook, running[0]).await;
    cancel(&hook, running[0]).await;
    let answers = join_all((0..6).map(|_| order(&hook))).await;
    assert_exactly(&answers, 1, 202, 409, &words);
    cancel(&hook, running[1]).await;
    // This one runs to its end by itself.
    lost.store(false, Ordering::SeqCst);
    let (status, replay) = order(&hook).await;
    assert_eq!(status, 202, "{replay}");
    let path = format!("/v1/replays/{}", replay["id"].as_str().unwrap());
    eventually("its end", SOON, || async {
        let (_, replay) = hook.stack.local.replay().get(&path).await.unwrap();
        (replay["status"] != "running").then_some(())
    })
    .await;
    lost.store(true, Ordering::SeqCst);
    let answers = join_all((0..6).map(|_| order(&hook))).await;
    assert_exactly(&answers, 1, 202, 409, &words);
    // The whole stack has places of its own.
    let filter = json!({"stack": true, "since": "2026-01-01T00:00:00Z", "type": "no.such.type"});
    let (status, replay) = hook.stack.local.replay().post("/v1/replays", &json!({"filter": filter})).await.unwrap();
    assert_eq!(status, 202, "{replay}");
    let (_, list) = hook.stack.local.replay().get(&format!("/v1/replays?tenant={}", hook.tenant)).await.unwrap();
    let shown = list["replays"].as_array().unwrap();
    assert!(shown.iter().all(|job| job["kind"].is_string()), "the list of places is no job: {list}");
}
