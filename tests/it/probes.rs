//! What operators see of an open circuit, what they can do about it, and how soon what is held moves once it closes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use local::Answer;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::circuit::{break_it, endpoint, is_closing, switched};

/// From the close of a circuit to the first request that it let go. (Twelve tests share two processors: those that measure
/// this run alone.)
const FIRST_RELEASE: Duration = Duration::from_secs(2);

/// A stack whose circuits open after 3 failures over 4 seconds, and whose drains probe first when these tests have ended.
async fn stack() -> &'static Stack {
    static PATIENT: OnceCell<Stack> = OnceCell::const_new();
    let patient = [("CircuitFailures", "3"), ("CircuitSeconds", "4"), ("ProbeSeconds", "90"), ("SettleSeconds", "20")];
    PATIENT.get_or_init(|| Stack::start("patient", &patient)).await
}

/// An endpoint with an open circuit, behind which three deliveries are held.
async fn broken() -> (Hook, Arc<AtomicU16>, Vec<Value>) {
    let (hook, answer) = switched(stack().await, json!({"retry_policy": {"delays_seconds": [1]}})).await;
    break_it(&hook).await;
    let events: Vec<_> = futures::future::join_all((0..3).map(|_| hook.post())).await;
    let mut held = Vec::new();
    for event in &events {
        held.push(hook.until_status(event, "held", SOON).await);
    }
    (hook, answer, held)
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().unwrap()
}

fn event(delivery: &Value) -> &str {
    delivery["event_id"].as_str().unwrap()
}

async fn get(hook: &Hook, path: &str) -> Value {
    let (status, answer) = hook.stack.local.replay().get(path).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

/// When the endpoint's circuit was closed, once it is.
async fn closed_at(hook: &Hook) -> SystemTime {
    let closing = is_closing(&hook.endpoint);
    let call = eventually("closed", SOON, || async { hook.stack.proxy.calls(&closing).pop() }).await;
    let time: Timestamp = call.body["Item"]["closed_at"]["S"].as_str().unwrap().parse().unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_millis(time.as_millis().unsigned_abs())
}

/// Fails unless what was held moves soon after the circuit has closed, by itself.
async fn assert_released_soon(hook: &Hook, held: &[Value]) {
    let closed_at = closed_at(hook).await;
    for delivery in held {
        hook.until_status(event(delivery), "succeeded", SOON).await;
    }
    let released = hook.receiver.received().into_iter().filter(|received| {
        received.at > closed_at && held.iter().any(|delivery| event(delivery) == received.event_id())
    });
    let first = released.map(|received| received.at).min().unwrap();
    let after = first.duration_since(closed_at).unwrap();
    println!("released {after:?} after the close");
    assert!(after < FIRST_RELEASE, "{after:?}");
}

#[scenario(alone)]
async fn a_test_that_closes_the_circuit_has_what_is_held_sent_at_once() {
    let (hook, answer, held) = broken().await;
    answer.store(200, Ordering::SeqCst);
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    assert_eq!(hook.stack.local.endpoints().post(&path, &json!({})).await.unwrap().0, 202);
    assert_released_soon(&hook, &held).await;
    assert_eq!(endpoint(&hook).await["circuit"]["state"], "closed");
}

#[scenario]
async fn each_test_behind_an_open_circuit_is_one_request_and_a_test_that_is_replayed_waits_like_others() {
    let (hook, _) = switched(stack().await, json!({"retry_policy": {"delays_seconds": vec![1; 20]}})).await;
    break_it(&hook).await;
    // Whatever was on its way when the circuit opened has ended by then.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let before = hook.receiver.count();
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    let api = hook.stack.local.endpoints();
    let nothing = json!({});
    let sent = futures::future::join_all((0..5).map(|_| api.post(&path, &nothing))).await;
    let sent: Vec<_> = sent.into_iter().map(|answer| answer.unwrap().1).collect();
    for ping in &sent {
        let failed = hook.until_status(event(ping), "failed", SOON).await;
        assert_eq!(failed["attempt"], 1, "{failed}");
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(hook.receiver.count(), before + 5);
    assert_eq!(endpoint(&hook).await["circuit"]["state"], "open");

    let delivery = |number: usize| sent[number]["delivery_id"].as_str().unwrap();
    let job = hook.replay(&[delivery(0), delivery(1)]).await;
    assert_eq!([&job["deliveries"][0]["result"], &job["deliveries"][1]["result"]], ["held"; 2], "{job}");
    let job = hook.replay(&[delivery(2)]).await;
    assert_eq!(job["deliveries"][0]["result"], "probe", "{job}");
    let is_over = |delivery: &Value| delivery["round"] == 1 && delivery["status"] == "failed";
    hook.until(event(&sent[2]), "one attempt, as the probe", SOON, is_over).await;
    assert_eq!(hook.receiver.count(), before + 6);
}

#[scenario]
async fn a_held_delivery_names_its_cause_and_the_next_probe_wherever_it_is_shown() {
    let (hook, _, held) = broken().await;
    let circuit = endpoint(&hook).await["circuit"].clone();
    assert_eq!(circuit["state"], "open", "{circuit}");
    let time = |text: &Value| text.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(time(&circuit["since"]).until(time(&circuit["next_probe_at"])), Duration::from_secs(90), "{circuit}");
    let expected = json!({"cause": "circuit", "next_probe_at": circuit["next_probe_at"]});

    let one = get(&hook, &format!("/v1/deliveries/{}", id(&held[0]))).await;
    assert_eq!((&one["held"], &one["endpoint"]["circuit"]), (&expected, &circuit), "{one}");
    let list = get(&hook, &format!("/v1/deliveries?endpoint_id={}&limit=100", hook.endpoint)).await;
    for shown in list["deliveries"].as_array().unwrap() {
        let wanted = if shown["status"] == "held" { &expected } else { &Value::Null };
        assert_eq!(&shown["held"], wanted, "{shown}");
    }
    let of_event = get(&hook, &format!("/v1/events/{}?tenant={}", event(&held[1]), hook.tenant)).await;
    assert_eq!(of_event["deliveries"][0]["held"], expected, "{of_event}");
    assert_eq!(get(&hook, &format!("/v1/health/{}", hook.endpoint)).await["circuit"], circuit);
    let path = format!("/v1/endpoints?tenant={}", hook.tenant);
    let (_, endpoints) = hook.stack.local.endpoints().get(&path).await.unwrap();
    assert_eq!(endpoints["endpoints"][0]["circuit"], circuit, "{endpoints}");

    hook.change("pause").await;
    let one = get(&hook, &format!("/v1/deliveries/{}", id(&held[0]))).await;
    assert_eq!(one["held"], json!({"cause": "paused", "next_probe_at": null}), "{one}");
}

#[scenario(alone)]
async fn a_replay_into_an_open_circuit_is_held_and_one_of_one_delivery_is_a_probe_at_once() {
    let (hook, answer, held) = broken().await;
    let ids: Vec<_> = held.iter().map(id).collect();
    // Of several, none is a probe.
    let job = hook.replay(&ids[1..]).await;
    let next = endpoint(&hook).await["circuit"]["next_probe_at"].clone();
    let waits = json!({"cause": "circuit", "next_probe_at": next});
    for told in job["deliveries"].as_array().unwrap() {
        assert_eq!((&told["result"], &told["held"]), (&json!("held"), &waits), "{job}");
    }
    assert_eq!(job["counts"], json!({"matched": 2, "queued": 0, "held": 2, "skipped": {}}), "{job}");
    let opened = hook.delivery(event(&held[1])).await;
    assert_eq!((&opened["status"], &opened["round"]), (&json!("held"), &json!(1)), "{opened}");

    // The endpoint is still down: the probe takes none of the attempts of the new round.
    let job = hook.replay(&ids[..1]).await;
    assert_eq!(job["deliveries"], json!([{"id": ids[0], "result": "probe"}]), "{job}");
    assert_eq!((&job["counts"]["queued"], &job["status"]), (&json!(1), &json!("done")), "{job}");
    let is_probed = |delivery: &Value| delivery["attempts"][0]["trigger"] == "probe";
    let probed = hook.until(event(&held[0]), "a failed probe", SOON, is_probed).await;
    assert_eq!((&probed["status"], &probed["round"], &probed["attempt"]), (&json!("held"), &json!(1), &json!(0)));

    // It is back: the next probe, which need not wait for the drain's turn, closes the circuit.
    answer.store(200, Ordering::SeqCst);
    eventually("the end of the first probe", SOON, || async {
        let job = hook.replay(&ids[..1]).await;
        (job["deliveries"][0]["result"] == "probe").then_some(())
    })
    .await;
    let delivery = hook.until_status(event(&held[0]), "succeeded", SOON).await;
    assert_eq!(delivery["attempts"].as_array().unwrap().last().unwrap()["trigger"], "probe", "{delivery}");
    assert_released_soon(&hook, &held[1..]).await;
    hook.assert_signed();
}

#[scenario]
async fn a_replay_by_filter_into_an_open_circuit_is_held_and_sent_when_it_closes() {
    let (hook, answer, _) = broken().await;
    let filter = json!({"endpoint_id": hook.endpoint, "since": "2026-01-01T00:00:00Z"});
    let order = async |dry_run: bool| {
        let order = json!({"filter": filter, "include": ["failed"], "dry_run": dry_run});
        hook.stack.local.replay().post("/v1/replays", &order).await.unwrap()
    };
    // The range of a replay ends a little before its order.
    eventually("failed deliveries", SOON, || async {
        let (status, dry) = order(true).await;
        assert_eq!(status, 200, "{dry}");
        (dry["matched"]["count"] != 0).then_some(())
    })
    .await;
    let (status, job) = order(false).await;
    assert_eq!(status, 202, "{job}");
    let path = format!("/v1/replays/{}", job["id"].as_str().unwrap());
    let job = eventually("its end", SOON, || async {
        let job = get(&hook, &path).await;
        (job["status"] != "running").then_some(job)
    })
    .await;
    let counts = &job["counts"];
    assert_eq!((&counts["queued"], &counts["held"]), (&json!(0), &counts["matched"]), "{job}");
    let list = get(&hook, &format!("/v1/deliveries?endpoint_id={}&limit=100", hook.endpoint)).await;
    let mut replayed = list["deliveries"].as_array().unwrap().clone();
    replayed.retain(|delivery| delivery["round"] == 1);
    assert_eq!(json!(replayed.len()), counts["matched"], "{list}");
    answer.store(200, Ordering::SeqCst);
    let path = format!("/v1/endpoints/{}/test", hook.endpoint);
    assert_eq!(hook.stack.local.endpoints().post(&path, &json!({})).await.unwrap().0, 202);
    for delivery in &replayed {
        let delivered = hook.until_status(event(delivery), "succeeded", SOON).await;
        assert_eq!(delivered["attempts"].as_array().unwrap().last().unwrap()["trigger"], "replay", "{delivered}");
    }
}

#[scenario]
async fn while_a_probe_is_under_way_an_operators_replay_is_held_and_no_other_is_sent() {
    const TAKES: Duration = Duration::from_secs(2);
    let slow = Arc::new(AtomicU16::new(0));
    let is_slow = Arc::clone(&slow);
    let hook = Hook::new(stack().await, json!({"retry_policy": {"delays_seconds": [1]}}), move |_| {
        let answer = Answer::status(500);
        if is_slow.load(Ordering::SeqCst) == 0 { answer } else { answer.after(TAKES) }
    })
    .await;
    break_it(&hook).await;
    let events: Vec<_> = futures::future::join_all((0..4).map(|_| hook.post())).await;
    let mut held = Vec::new();
    for event in &events {
        held.push(hook.until_status(event, "held", SOON).await);
    }
    slow.store(1, Ordering::SeqCst);
    let before = hook.receiver.count();
    // Four operators at the same time.
    let replays =
        futures::future::join_all(held.iter().map(|delivery| async { hook.replay(&[id(delivery)]).await })).await;
    let mut results: Vec<_> = replays.iter().map(|job| job["deliveries"][0]["result"].as_str().unwrap()).collect();
    results.sort_unstable();
    assert_eq!(results, ["held", "held", "held", "probe"]);
    hook.receiver.wait_for(before + 1, SOON).await.unwrap();
    // What is being sent is in flight itself; the others are still held.
    for delivery in &held {
        let result = hook.replay(&[id(delivery)]).await["deliveries"][0]["result"].clone();
        let sent = hook.receiver.received().last().unwrap().event_id() == event(delivery);
        assert_eq!(result, if sent { "in_flight" } else { "held" });
    }
    tokio::time::sleep(TAKES).await;
    assert_eq!(hook.receiver.count(), before + 1, "one probe");
}
