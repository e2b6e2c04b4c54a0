//! Replays of all that match a filter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use local::{Answer, Receiver};
use pombo_aws::clock;
use pombo_domain::job::JobKey;
use pombo_tests::{Hook, Stack, eventually, scenario, unique};
use serde_json::{Value, json};

use crate::rows::{event, put_events};

use super::{SOON, answer, order, replay, settle, times, until_ended};

/// How long a delivery without a record counts as being sent in the test stacks.
const WINDOW: Duration = Duration::from_secs(25);
const SINCE: &str = "2026-01-01T00:00:00Z";

/// Endpoints of one tenant, all of which answer what is set.
struct Hooks {
    stack: &'static Stack,
    receiver: Receiver,
    tenant: String,
    endpoints: Vec<String>,
    answers: Arc<AtomicU16>,
}

impl Hooks {
    async fn new(count: usize, options: Value) -> Self {
        let stack = Stack::calm().await;
        let answers = Arc::new(AtomicU16::new(500));
        let told = Arc::clone(&answers);
        let receiver = Receiver::start_with(move |_| Answer::status(told.load(Ordering::SeqCst))).unwrap();
        let tenant = unique("t");
        let mut endpoints = Vec::new();
        for number in 0..count {
            endpoints.push(Hook::register(stack, &receiver, &tenant, &format!("/{number}"), options.clone()).await);
        }
        Self { stack, receiver, tenant, endpoints, answers }
    }

    /// As [`Hooks::new`], with a policy of one retry after a second.
    async fn failing(count: usize) -> Self {
        Self::new(count, json!({"retry_policy": {"delays_seconds": [1]}})).await
    }

    fn answers(&self, status: u16) {
        self.answers.store(status, Ordering::SeqCst);
    }

    async fn post(&self, event_type: &str, count: usize) -> Vec<String> {
        let post = |_| async {
            let event = json!({"type": event_type, "tenant": self.tenant, "data": {}});
            self.stack.post(&event).await["id"].as_str().unwrap().to_owned()
        };
        futures::future::join_all((0..count).map(post)).await
    }

    /// Stores an event whose first messages are lost, accepted `ago` before now.
    async fn unsent(&self, id: &str, ago: Duration) {
        let endpoint = self.endpoints[0].parse().unwrap();
        let event = event(&self.tenant, id, "a", clock::now().minus(ago), &[endpoint]);
        put_events(self.stack, &[event]).await;
    }

    /// The deliveries of an endpoint, newest first.
    async fn deliveries(&self, endpoint: usize) -> Vec<Value> {
        let path = format!("/v1/deliveries?endpoint_id={}&limit=100", self.endpoints[endpoint]);
        let (status, page) = self.stack.local.replay().get(&path).await.unwrap();
        assert_eq!(status, 200, "{page}");
        page["deliveries"].as_array().unwrap().clone()
    }

    /// Waits until all deliveries of an endpoint, so many, have this status.
    async fn until(&self, endpoint: usize, count: usize, status: &str) -> Vec<Value> {
        eventually(&format!("{count} {status}"), SOON, || async {
            let all = self.deliveries(endpoint).await;
            (all.len() == count && all.iter().all(|delivery| delivery["status"] == status)).then_some(all)
        })
        .await
    }
}

#[scenario]
async fn a_tenants_failed_deliveries_of_a_type_are_each_sent_in_one_new_round() {
    let hooks = Hooks::failing(2).await;
    hooks.post("student.created", 6).await;
    hooks.post("course.started", 2).await;
    for endpoint in [0, 1] {
        hooks.until(endpoint, 8, "failed").await;
    }
    settle().await;
    hooks.answers(200);
    let filter = json!({"tenant": hooks.tenant, "type": "student.*", "since": SINCE});
    let (status, dry) = answer(hooks.stack, json!({"filter": filter, "dry_run": true})).await;
    assert_eq!((status, &dry["matched"]), (200, &json!({"count": 12, "more": false})), "{dry}");
    let samples = dry["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 10);
    assert!(samples.iter().all(|sample| sample["event_type"] == "student.created" && sample["status"] == "failed"));
    assert!(samples.is_sorted_by_key(|sample| sample["accepted_at"].as_str().unwrap()), "oldest first");
    assert!(dry["cost"]["usd"].as_f64().unwrap() > 0.0, "{dry}");
    assert!(dry["left_out"].as_str().unwrap().starts_with("accepted in the last "), "{dry}");
    assert_eq!(hooks.receiver.count(), 32, "nothing is sent");

    let (status, ordered) = answer(hooks.stack, json!({"filter": filter})).await;
    assert_eq!((status, &ordered["kind"]), (202, &json!("replay")), "{ordered}");
    let (left_out, until) = (ordered["left_out"].as_str().unwrap(), ordered["filter"]["until"].as_str().unwrap());
    assert!(left_out.contains(until), "{ordered}");
    let job = until_ended(hooks.stack, ordered["id"].as_str().unwrap()).await;
    assert_eq!((&job["kind"], &job["status"]), (&json!("replay"), &json!("done")), "{job}");
    assert_eq!(job["counts"], json!({"matched": 12, "queued": 12, "skipped": {}}));
    assert_eq!(job["progress"]["at"], job["filter"]["until"]);
    assert_eq!((&job["filter"]["type"], &job["include"]), (&json!("student.*"), &json!(["failed"])));
    for endpoint in [0, 1] {
        eventually("all sent", SOON, || async {
            let all = hooks.deliveries(endpoint).await;
            let sent = |delivery: &Value| {
                let replayed = delivery["event_type"] == "student.created";
                let expected = if replayed { ("succeeded", 1, 1) } else { ("failed", 0, 2) };
                (
                    delivery["status"].as_str().unwrap(),
                    delivery["round"].as_u64().unwrap(),
                    delivery["attempt"].as_u64().unwrap(),
                ) == expected
            };
            all.iter().all(sent).then_some(())
        })
        .await;
    }
    assert_eq!(hooks.receiver.count(), 32 + 12);
    let (_, list) = hooks.stack.local.replay().get(&format!("/v1/replays?tenant={}", hooks.tenant)).await.unwrap();
    assert_eq!(list, json!({"replays": [job], "cursor": null}));
}

#[scenario]
async fn an_endpoint_s_deliveries_are_found_by_every_status() {
    let hooks = Hooks::new(1, json!({"retry_policy": {"delays_seconds": [600]}})).await;
    hooks.answers(200);
    hooks.post("a", 2).await;
    hooks.until(0, 2, "succeeded").await;
    hooks.answers(500);
    hooks.post("a", 3).await;
    eventually("the first attempts", SOON, || async {
        let all = hooks.deliveries(0).await;
        (all.len() == 5 && all[..3].iter().all(|delivery| delivery["status"] == "retrying")).then_some(())
    })
    .await;
    settle().await;
    hooks.answers(200);
    let wanted =
        |include: Value| json!({"filter": {"endpoint_id": hooks.endpoints[0], "since": SINCE}, "include": include});
    let dry = async |include: Value| {
        let mut dry = wanted(include);
        dry["dry_run"] = true.into();
        let (status, answer) = answer(hooks.stack, dry).await;
        assert_eq!(status, 200, "{answer}");
        answer["matched"]["count"].as_u64().unwrap()
    };
    for (include, expected) in [
        (json!(["failed"]), 0),
        (json!(["held", "cancelled", "pending", "missing"]), 0),
        (json!(["succeeded"]), 2),
        (json!(["retrying", "failed"]), 3),
        (json!(["succeeded", "retrying"]), 5),
        (json!(["succeeded", "retrying", "missing"]), 5),
    ] {
        assert_eq!(dry(include.clone()).await, expected, "{include}");
    }
    let job = until_ended(hooks.stack, &order(hooks.stack, wanted(json!(["succeeded", "retrying"]))).await).await;
    assert_eq!(job["counts"]["queued"], 5, "{job}");
    let all = hooks.until(0, 5, "succeeded").await;
    assert!(all.iter().all(|delivery| (&delivery["round"], &delivery["attempt"]) == (&json!(1), &json!(1))), "{all:?}");
    assert_eq!(hooks.receiver.count(), 10);
}

#[scenario]
async fn two_replays_of_the_same_deliveries_send_each_once() {
    let hooks = Hooks::failing(1).await;
    hooks.post("a", 30).await;
    hooks.until(0, 30, "failed").await;
    settle().await;
    hooks.answers(200);
    let filter = json!({"filter": {"endpoint_id": hooks.endpoints[0], "since": SINCE}});
    let orders = [0, 1, 2].map(|_| order(hooks.stack, filter.clone()));
    let mut queued = 0;
    for id in futures::future::join_all(orders).await {
        queued += until_ended(hooks.stack, &id).await["counts"]["queued"].as_u64().unwrap();
    }
    assert_eq!(queued, 30);
    let all = hooks.until(0, 30, "succeeded").await;
    assert!(all.iter().all(|delivery| delivery["round"] == 1));
    assert_eq!(hooks.receiver.count(), 60 + 30);
}

#[scenario]
async fn one_whose_first_message_was_lost_is_pending_and_is_sent_its_first_message_again() {
    let hooks = Hooks::new(1, json!({})).await;
    hooks.answers(200);
    hooks.unsent("lost", WINDOW + Duration::from_secs(60)).await;
    // The window of this delivery is open, so it may have been sent a moment ago.
    hooks.unsent("new", Duration::from_secs(5)).await;
    hooks.post("a", 1).await;
    hooks.receiver.wait_for(1, SOON).await.unwrap();
    settle().await;
    let wanted = json!({"filter": {"endpoint_id": hooks.endpoints[0], "since": SINCE}, "include": ["pending"]});
    let mut looked = wanted.clone();
    looked["dry_run"] = true.into();
    let (status, dry) = answer(hooks.stack, looked).await;
    assert_eq!((status, &dry["matched"]), (200, &json!({"count": 2, "in_flight": 1, "more": false})), "{dry}");
    assert!(dry["left_out"].as_str().unwrap().contains("in_flight for 25 seconds"), "{dry}");
    let says_until = |sample: &&Value| sample["being_sent_until"].is_string();
    assert_eq!(dry["samples"].as_array().unwrap().iter().filter(says_until).count(), 1, "{dry}");
    let job = until_ended(hooks.stack, &order(hooks.stack, wanted).await).await;
    assert_eq!(job["counts"], json!({"matched": 2, "queued": 1, "skipped": {"in_flight": 1}}), "{job}");
    hooks.receiver.wait_for(2, SOON).await.unwrap();
    let times = times(&hooks.receiver.received());
    assert_eq!((times.get("lost"), times.get("new")), (Some(&1), None));
    let sent = hooks.until(0, 2, "succeeded").await;
    assert!(sent.iter().all(|delivery| delivery["round"] == 0 && delivery["attempts"][0]["trigger"] == "first"));
}

#[scenario]
async fn one_that_is_being_sent_is_skipped_and_counted() {
    // The receiver takes long enough for the whole job, on a busy machine too.
    let patient =
        [("MaxEndpointTimeoutSeconds", "10"), ("DispatchTimeoutSeconds", "45"), ("DeliveriesVisibilitySeconds", "60")];
    let stack = Stack::own("sending", &patient).await;
    let hook = Hook::new(stack, json!({"timeout_seconds": 10, "retry_policy": {"delays_seconds": [2]}}), |received| {
        match received.times {
            1 => Answer::status(500),
            _ => Answer::status(200).after(Duration::from_secs(8)),
        }
    })
    .await;
    let event = hook.post().await;
    hook.until_status(&event, "retrying", SOON).await;
    hook.receiver.wait_for(2, SOON).await.unwrap();
    let filter = json!({"endpoint_id": hook.endpoint, "since": SINCE});
    let id = order(stack, json!({"filter": filter, "include": ["retrying"]})).await;
    let job = until_ended(stack, &id).await;
    assert_eq!(job["counts"], json!({"matched": 1, "queued": 0, "skipped": {"in_flight": 1}}), "{job}");
    hook.until_status(&event, "succeeded", SOON).await;
    assert_eq!(hook.receiver.count(), 2);
}

#[scenario]
async fn of_a_tenant_those_of_a_paused_endpoint_are_skipped_and_counted() {
    let hooks = Hooks::failing(2).await;
    hooks.post("a", 2).await;
    for endpoint in [0, 1] {
        hooks.until(endpoint, 2, "failed").await;
    }
    settle().await;
    hooks.answers(200);
    let path = format!("/v1/endpoints/{}/pause", hooks.endpoints[0]);
    hooks.stack.local.endpoints().post(&path, &json!({})).await.unwrap();
    let id = order(hooks.stack, json!({"filter": {"tenant": hooks.tenant, "since": SINCE}})).await;
    let job = until_ended(hooks.stack, &id).await;
    assert_eq!(job["counts"], json!({"matched": 4, "queued": 2, "skipped": {"endpoint_paused": 2}}), "{job}");
    hooks.until(1, 2, "succeeded").await;
    hooks.until(0, 2, "failed").await;
}

#[scenario]
async fn a_replay_keeps_to_its_rate_and_stops_when_it_is_told_to() {
    let hooks = Hooks::failing(1).await;
    hooks.post("a", 5).await;
    hooks.until(0, 5, "failed").await;
    settle().await;
    hooks.answers(200);
    // A page is what a minute takes: one.
    let wanted = json!({"filter": {"endpoint_id": hooks.endpoints[0], "since": SINCE}, "rate_per_second": 0.03});
    let id = order(hooks.stack, wanted).await;
    let at_rest = eventually("the first page", SOON, || async {
        let replay = replay(hooks.stack, &id).await;
        (replay["counts"]["queued"] == 1).then_some(replay)
    })
    .await;
    assert_eq!((&at_rest["status"], &at_rest["rate_per_second"]), (&json!("running"), &json!(0.03)), "{at_rest}");
    assert!(at_rest["progress"]["at"].as_str().unwrap() > SINCE, "{at_rest}");
    // Another message asks for the first leg once more. The run of the first one has seen to the second leg, and once.
    let since = SystemTime::now();
    hooks.stack.send("JobsQueue", &json!({"v": 1, "job": id, "leg": 1}).to_string()).await;
    let nothing =
        json!({"v": 1, "job": JobKey::generate(None, clock::now(), [1; 10]).to_string(), "leg": 1}).to_string();
    let passed_over = format!("Leg 1 of job {id} ended.");
    eventually("the message was passed over", SOON, || async {
        // The emulator has an invocation's lines at the next one, at the latest.
        hooks.stack.send("JobsQueue", &nothing).await;
        let lines = hooks.stack.log_lines_since("JobsLogGroup", since).await;
        lines.iter().any(|line| line.contains(&passed_over) && line.contains("Spare")).then_some(())
    })
    .await;
    let second = format!(r#""job":"{id}","leg":2"#);
    let queued = hooks
        .stack
        .proxy
        .calls(|call| call.body["MessageBody"].as_str().is_some_and(|message| message.contains(&second)));
    let pauses: Vec<_> = queued.iter().map(|call| call.body["DelaySeconds"].as_u64()).collect();
    assert!(matches!(pauses[..], [Some(1..=34)]), "{pauses:?}");
    let cancel = format!("/v1/replays/{id}/cancel");
    for _ in 0..2 {
        let (status, stopped) = hooks.stack.local.replay().post(&cancel, &json!({})).await.unwrap();
        assert_eq!((status, &stopped["status"]), (200, &json!("cancelled")), "{stopped}");
        assert_eq!((&stopped["stop_reason"], &stopped["counts"]["queued"]), (&json!("requested"), &json!(1)));
    }
    hooks.receiver.wait_for(11, SOON).await.unwrap();
    let failed = hooks.deliveries(0).await.iter().filter(|delivery| delivery["status"] == "failed").count();
    assert_eq!((failed, hooks.receiver.count()), (4, 11));
}

#[scenario]
async fn a_refusal_says_what_to_do() {
    let hooks = Hooks::failing(2).await;
    let (tenant, paused) = (&hooks.tenant, &hooks.endpoints[1]);
    let path = format!("/v1/endpoints/{paused}/pause");
    hooks.stack.local.endpoints().post(&path, &json!({})).await.unwrap();
    let now = "2999-01-01T00:00:00Z";
    for (wanted, status, says) in [
        (json!({}), 400, "filter: is required"),
        (json!({"filter": {"since": SINCE}}), 400, "must name one of endpoint_id, tenant"),
        (json!({"filter": {"tenant": tenant}}), 400, "filter.since: is required"),
        (json!({"filter": {"tenant": tenant, "since": now}}), 400, "filter.since: must be before until"),
        (json!({"filter": {"tenant": tenant, "since": SINCE}, "include": []}), 400, "include: must name"),
        (json!({"filter": {"tenant": tenant, "since": SINCE}, "include": ["missing"]}), 400, "GET /v1/endpoints"),
        (json!({"filter": {"stack": true, "since": SINCE}, "include": ["succeeded"]}), 400, "GET /v1/endpoints"),
        (json!({"filter": {"endpoint_id": "ep_aaaaaaaaaaaaaaaa", "since": SINCE}}), 404, "no such endpoint"),
        (json!({"filter": {"endpoint_id": paused, "since": SINCE}}), 409, "Resume it first"),
        (json!({"filter": {"endpoint_id": paused, "since": SINCE}, "dry_run": true}), 409, "Resume it first"),
    ] {
        let (answered, problem) = answer(hooks.stack, wanted.clone()).await;
        assert_eq!(answered, status, "{wanted}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{wanted}: {problem}");
    }
    let other = Stack::api(&hooks.stack.local.urls.replay, &hooks.stack.key(&["ops"], Some("somebody-else")).await);
    for (filter, status) in [
        (json!({"stack": true, "since": SINCE}), 403),
        (json!({"tenant": tenant, "since": SINCE}), 403),
        (json!({"endpoint_id": hooks.endpoints[0], "since": SINCE}), 404),
    ] {
        let (answered, problem) = other.post("/v1/replays", &json!({"filter": filter})).await.unwrap();
        assert_eq!(answered, status, "{filter}: {problem}");
    }
}

#[scenario]
async fn jobs_are_listed_newest_first_page_by_page_with_the_drains() {
    let hooks = Hooks::failing(1).await;
    let filter = json!({"filter": {"tenant": hooks.tenant, "since": SINCE}});
    let mut ordered = Vec::new();
    for _ in 0..3 {
        ordered.push(order(hooks.stack, filter.clone()).await);
    }
    let endpoint = format!("/v1/endpoints/{}", hooks.endpoints[0]);
    for how in ["pause", "resume"] {
        hooks.stack.local.endpoints().post(&format!("{endpoint}/{how}"), &json!({})).await.unwrap();
    }
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/replays?tenant={}&limit=2{cursor}", hooks.tenant);
        let (status, page) = hooks.stack.local.replay().get(&path).await.unwrap();
        assert_eq!(status, 200, "{page}");
        listed.extend(page["replays"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let drain = listed.remove(0);
    assert_eq!((&drain["kind"], &drain["endpoint_id"]), (&json!("drain"), &json!(hooks.endpoints[0])), "{drain}");
    let ids: Vec<_> = listed.iter().rev().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ordered);
    let cancel = format!("/v1/replays/{}/cancel", drain["id"].as_str().unwrap());
    let (status, problem) = hooks.stack.local.replay().post(&cancel, &json!({})).await.unwrap();
    assert_eq!(status, 409, "{problem}");
    let (_, everybodys) = hooks.stack.local.replay().get("/v1/replays?limit=100").await.unwrap();
    let everybodys: BTreeSet<_> =
        everybodys["replays"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.iter().all(|id| everybodys.contains(id)), "the stack's list has every tenant's");
    let (status, _) = answer(hooks.stack, json!({"filter": {"stack": true, "since": SINCE}, "dry_run": true})).await;
    assert_eq!(status, 200);
}
