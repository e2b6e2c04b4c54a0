//! What version 1 left is handled by today's functions.

use std::collections::BTreeMap;
use std::time::Duration;

use local::{Answer, Receiver, Signature};
use pombo_tests::{SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

use crate::upgrade::made;
use crate::upgrade::stand::{Stand, scan};

/// Takes a stand up: puts it into a stack, sends what was to come, lets the paused endpoint go on, and checks that all of it
/// comes to the end that it would have come to. Gives the receiver.
pub async fn take_up(stack: &Stack, stand: &Stand) -> Receiver {
    let receiver = Receiver::start_with(|_| Answer::status(200)).unwrap();
    stand.put_items(stack, &receiver).await;
    stand.send(stack).await;
    let held = stand.endpoint_of("held");
    let resume = format!("/v1/endpoints/{held}/resume");
    let (status, answer) = stack.local.endpoints().post(&resume, &json!({})).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    eventually("every delivery to come to its end", SOON, || async {
        let left = unsettled(stack).await;
        if left.is_empty() { Some(()) } else { None }
    })
    .await;
    check_deliveries(stack, stand).await;
    check_requests(&receiver, stand).await;
    check_jobs(stack).await;
    check_operators_view(stack, stand).await;
    receiver
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap_or_default()
}

/// The deliveries that have not come to their end, but for what was only made.
async fn unsettled(stack: &Stack) -> Vec<Value> {
    let mut items = scan(stack, "DeliveriesTable").await;
    items.retain(|item| {
        let settled = ["succeeded", "failed", "cancelled"].contains(&text(item, "status"));
        text(item, "tenant") != made::TENANT && !settled
    });
    items
}

async fn check_deliveries(stack: &Stack, stand: &Stand) {
    let mut ended = BTreeMap::<_, Vec<_>>::new();
    for item in scan(stack, "DeliveriesTable").await {
        let (_, event) = text(&item, "sort_key").split_once('#').unwrap();
        let name = format!("{}/{}", text(&item, "tenant"), if text(&item, "tenant") == "pombo" { "" } else { event });
        ended.entry(name).or_default().push(text(&item, "status").to_owned());
    }
    for (name, status) in [
        ("full/succeeded", "succeeded"),
        ("settled/failed", "succeeded"),
        ("first/first", "succeeded"),
        ("retry/retry", "succeeded"),
        ("retry/cancelled", "cancelled"),
        ("queue/queue", "succeeded"),
        ("slot/slot-1", "succeeded"),
        ("slot/slot-2", "succeeded"),
        ("outcome/outcome", "succeeded"),
        ("held/held", "succeeded"),
        ("deleted/deleted", "cancelled"),
        ("probe/probe-held", "succeeded"),
    ] {
        assert_eq!(ended.remove(name), Some(vec![status.to_owned()]), "{name}");
    }
    let news = stand.find("EventsTable", "ts", "").len() + ended.remove("pombo/").unwrap_or_default().len();
    assert!(news > 0, "no operational event was delivered");
    ended.retain(|name, _| !name.starts_with("made/"));
    assert!(ended.iter().all(|(name, status)| name.starts_with("probe/") && status == &["succeeded"]), "{ended:?}");
}

/// Everything that was still to be sent came once, signed; nothing else came.
async fn check_requests(receiver: &Receiver, stand: &Stand) {
    // What would come twice is on its way by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut requests = BTreeMap::<_, BTreeMap<_, usize>>::new();
    for received in receiver.received() {
        assert_eq!(received.signature, Signature::Verified, "{received:?}");
        let events = requests.entry(received.path.clone()).or_default();
        *events.entry(received.event_id().to_owned()).or_default() += 1;
    }
    let probe = stand.find("DeliveriesTable", "tenant", "probe").len();
    let news: Vec<_> = stand.jobs.iter().filter_map(|message| message["publish"].as_str()).collect();
    for event in &news {
        let (_, id) = event.split_once('#').unwrap();
        assert_eq!(requests["/pombo"][id], 1, "{event}");
    }
    requests.remove("/pombo");
    for (path, count) in
        [("/first", 1), ("/retry", 1), ("/queue", 1), ("/slot", 1), ("/held", 1), ("/settled", 1), ("/probe", probe)]
    {
        let events = requests.remove(path).unwrap_or_default();
        assert_eq!(events.len(), count, "{path}: {events:?}");
        assert!(events.values().all(|times| *times == 1), "{path}: {events:?}");
    }
    assert_eq!(requests, BTreeMap::new(), "what was taken before, or ended, is not sent again");
}

/// Every job that ran has ended, and counts what it did.
async fn check_jobs(stack: &Stack) {
    eventually("the end of the jobs", SOON, || async {
        let jobs = scan(stack, "JobsTable").await;
        let running = |job: &Value| text(job, "status") == "running" && text(job, "owner") != made::TENANT;
        (!jobs.iter().any(running)).then_some(())
    })
    .await;
    let (status, jobs) = stack.local.replay().get("/v1/replays?tenant=settled").await.unwrap();
    assert_eq!(status, 200, "{jobs}");
    let counts = &jobs["replays"][0]["counts"];
    assert_eq!((&counts["matched"], &counts["queued"]), (&json!(1), &json!(1)), "{jobs}");
}

/// Whatever was stored is shown, and a key goes on being one.
async fn check_operators_view(stack: &Stack, stand: &Stand) {
    for (path, name) in [
        ("/v1/replays?tenant=made", "replays"),
        ("/v1/deliveries?tenant=made", "deliveries"),
        ("/v1/events?tenant=full", "events"),
    ] {
        let (status, list) = stack.local.replay().get(path).await.unwrap();
        assert_eq!(status, 200, "{list}");
        assert!(!list[name].as_array().unwrap().is_empty(), "{path}: {list}");
    }
    let full = format!("/v1/endpoints/{}", stand.endpoint_of("full"));
    let (status, endpoint) = stack.local.endpoints().get(&full).await.unwrap();
    assert_eq!((status, &endpoint["signatures"]), (200, &json!(["v1", "v1a"])), "{endpoint}");
    let api = Stack::api(&stack.local.urls.replay, &stand.key);
    assert_eq!(api.get("/v1/events").await.unwrap().0, 200, "a key of version 1");
}

#[scenario(multi_thread)]
async fn what_version_1_left_comes_to_its_end() {
    let stack = crate::upgrade::stack("older").await;
    take_up(stack, &Stand::v1().unexpired()).await;
}
