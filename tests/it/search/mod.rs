//! Events and deliveries are found, and everything about one delivery is shown.

mod cost;
mod walk;

use std::time::Duration;

use local::Answer;
use pombo_aws::clock;
use pombo_domain::delivery::Status;
use pombo_domain::ids::EndpointId;
use pombo_domain::time::Timestamp;
use pombo_tests::{Hook, SOON, Stack, scenario, unique};
use serde_json::{Value, json};

use crate::rows::{delivery, event, put_deliveries, put_events};

fn endpoint_id() -> EndpointId {
    EndpointId::generate(clock::random().unwrap())
}

/// A time an hour ago, to the second.
fn an_hour_ago() -> Timestamp {
    Timestamp::from_seconds(clock::now().as_seconds() - 3600)
}

/// The ids of everything that a list shows, by a walk over pages of `limit`, and how many of the pages were cut.
async fn walked(stack: &Stack, path: &str, what: &str, limit: usize) -> (Vec<String>, usize) {
    let (mut ids, mut cut, mut cursor) = (Vec::new(), 0, None::<String>);
    loop {
        let after = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let (status, page) = stack.local.replay().get(&format!("{path}&limit={limit}{after}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        let rows = page[what].as_array().unwrap();
        let is_cut = !page["cursor"].is_null() && rows.len() < limit;
        assert_eq!(page["searched_to"].is_null(), !is_cut, "{page}");
        cut += usize::from(is_cut);
        ids.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        match page["cursor"].as_str() {
            None => return (ids, cut),
            next => cursor = next.map(ToOwned::to_owned),
        }
    }
}

#[scenario]
async fn events_are_found_by_tenant_type_and_time_newest_first() {
    let stack = Stack::filled().await;
    let (tenant, from) = (unique("t"), an_hour_ago());
    let at = |second: u64| from.plus(Duration::from_secs(second));
    let types = ["student.created", "student.left", "course.opened"];
    let endpoints = [endpoint_id(), endpoint_id()];
    let events: Vec<_> =
        (0..12).map(|n| event(&tenant, &format!("e{n}"), types[n % 3], at(n as u64), &endpoints[..n % 3])).collect();
    put_events(stack, &events).await;
    put_events(stack, &[event(&unique("t"), "another", types[0], at(5), &[])]).await;
    let ids = |numbers: &[usize]| numbers.iter().map(|n| format!("e{n}")).collect::<Vec<_>>();
    for (filter, expected) in [
        (String::new(), ids(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0])),
        ("&type=course.opened".into(), ids(&[11, 8, 5, 2])),
        ("&type=student.*".into(), ids(&[10, 9, 7, 6, 4, 3, 1, 0])),
        ("&type=teacher.*".into(), vec![]),
        (format!("&since={}&until={}", at(3), at(6)), ids(&[5, 4, 3])),
        (format!("&type=student.left&since={}", at(5)), ids(&[10, 7])),
    ] {
        for limit in [1, 5, 100] {
            let (found, cut) = walked(stack, &format!("/v1/events?tenant={tenant}{filter}"), "events", limit).await;
            assert_eq!(found, expected, "{filter} by {limit}");
            assert!(cut == 0 || limit == 1 && filter.contains("type"), "{filter} by {limit}");
        }
    }
    let (_, page) = stack.local.replay().get(&format!("/v1/events?tenant={tenant}&limit=1")).await.unwrap();
    let newest = json!({
        "id": "e11", "tenant": tenant, "webhook_id": format!("{tenant}~e11"), "type": "course.opened",
        "accepted_at": at(11), "deliveries": 2,
    });
    assert_eq!(page["events"], json!([newest]));
    let key = stack.key(&["ops"], Some(&tenant)).await;
    let bound = Stack::api(&stack.local.urls.replay, &key);
    let (_, own) = bound.get("/v1/events?limit=3").await.unwrap();
    assert_eq!(own["events"].as_array().unwrap().len(), 3);
    assert_eq!(bound.get("/v1/events?tenant=somebody-else").await.unwrap().0, 403);
}

#[scenario]
async fn an_event_that_was_posted_is_listed_with_the_number_of_its_deliveries() {
    let hook = Hook::new(Stack::filled().await, json!({}), |_| Answer::status(200)).await;
    let id = hook.post().await;
    hook.until_status(&id, "succeeded", SOON).await;
    let (_, page) = hook.stack.local.replay().get(&format!("/v1/events?tenant={}", hook.tenant)).await.unwrap();
    assert_eq!((&page["events"][0]["id"], &page["events"][0]["deliveries"]), (&json!(id), &json!(1)), "{page}");
}

#[scenario]
async fn deliveries_are_found_by_the_type_of_their_event() {
    let stack = Stack::filled().await;
    let hook = Hook::new(stack, json!({}), |_| Answer::status(200)).await;
    let endpoint: EndpointId = hook.endpoint.parse().unwrap();
    let records: Vec<_> = (0..30)
        .map(|n| {
            let at = an_hour_ago().plus(Duration::from_secs(n));
            let status = if n % 2 == 0 { Status::Failed } else { Status::Succeeded };
            let mut record = delivery(&hook.tenant, &endpoint, &format!("e{n}"), at, status);
            record.event_type = if n % 3 == 0 { "course.opened" } else { "student.created" }.parse().unwrap();
            record
        })
        .collect();
    put_deliveries(stack, &records).await;
    let expected = |wanted: &dyn Fn(usize) -> bool| {
        (0..30).rev().filter(|n| wanted(*n)).map(|n| records[n].key.to_string()).collect::<Vec<_>>()
    };
    let (endpoint, tenant) = (&hook.endpoint, &hook.tenant);
    for (path, expected) in [
        (format!("endpoint_id={endpoint}&type=course.*"), expected(&|n| n % 3 == 0)),
        (format!("endpoint_id={endpoint}&status=failed&type=course.*"), expected(&|n| n % 6 == 0)),
        (format!("tenant={tenant}&type=student.created"), expected(&|n| n % 2 == 0 && n % 3 != 0)),
        (format!("tenant={tenant}&status=failed&type=student"), vec![]),
    ] {
        for limit in [2, 50] {
            let (found, _) = walked(stack, &format!("/v1/deliveries?{path}"), "deliveries", limit).await;
            assert_eq!(found, expected, "{path} by {limit}");
        }
    }
}

#[scenario]
async fn a_search_that_finds_little_is_cut_says_how_far_it_came_and_goes_on_from_there() {
    let stack = Stack::filled().await;
    let (tenant, endpoint, from) = (unique("t"), endpoint_id(), an_hour_ago());
    let mut records: Vec<_> = (0..1500)
        .map(|n| {
            let at = Timestamp::from_millis(from.as_millis() + n);
            delivery(&tenant, &endpoint, &format!("e{n}"), at, Status::Failed)
        })
        .collect();
    records[7].event_type = "rare".parse().unwrap();
    put_deliveries(stack, &records).await;
    let path = format!("/v1/deliveries?tenant={tenant}&status=failed&type=rare");
    let (_, page) = stack.local.replay().get(&path).await.unwrap();
    assert_eq!(page["deliveries"], json!([]));
    let searched_to = page["searched_to"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let looked_at = from.plus(Duration::from_millis(1500)).as_millis() - searched_to.as_millis();
    assert!((1000..=1100).contains(&looked_at), "{looked_at}");
    let (found, cut) = walked(stack, &path, "deliveries", 50).await;
    assert_eq!((found, cut), (vec![records[7].key.to_string()], 1));
}

async fn shown(stack: &Stack, id: &str) -> Value {
    let (status, delivery) = stack.local.replay().get(&format!("/v1/deliveries/{id}")).await.unwrap();
    assert_eq!(status, 200, "{delivery}");
    delivery
}

#[scenario]
async fn a_delivery_is_shown_with_what_is_sent_and_the_endpoint_also_when_that_is_deleted() {
    let options = json!({"name": "registrar", "retry_policy": {"delays_seconds": [600]}});
    let hook = Hook::new(Stack::filled().await, options, |_| Answer::status(500)).await;
    let data = json!({"name": "<script>alert(1)</script>"});
    let wanted = json!({"type": "a.b", "tenant": hook.tenant, "data": data, "timestamp": "2026-01-31T09:30:00.050Z"});
    let event = hook.stack.post(&wanted).await;
    let id = hook.until_status(event["id"].as_str().unwrap(), "retrying", SOON).await["id"].clone();
    let delivery = shown(hook.stack, id.as_str().unwrap()).await;
    assert_eq!(delivery["event"], json!({"timestamp": "2026-01-31T09:30:00.050Z", "data": data}));
    let endpoint = &delivery["endpoint"];
    assert_eq!((&endpoint["id"], &endpoint["name"]), (&json!(hook.endpoint), &json!("registrar")));
    assert_eq!((&endpoint["url"], &endpoint["status"]), (&json!(hook.receiver.url("/hook")), &json!("active")));
    assert!(endpoint["since"].is_string() && delivery["attempts"][0]["outcome"]["status_code"] == 500, "{delivery}");
    assert!(!delivery.to_string().contains("whsec"), "{delivery}");

    hook.change("delete").await;
    let delivery = shown(hook.stack, id.as_str().unwrap()).await;
    assert_eq!((&delivery["endpoint"]["status"], &delivery["event"]["data"]), (&json!("deleted"), &data));
    let local = &hook.stack.local;
    for path in [
        format!("/v1/deliveries/{}", id.as_str().unwrap()),
        format!("/v1/deliveries?endpoint_id={}", hook.endpoint),
        format!("/v1/events/{}?tenant={}", event["id"].as_str().unwrap(), hook.tenant),
        format!("/v1/health/{}", hook.endpoint),
    ] {
        let (status, answer) = Stack::api(&local.urls.replay, &local.keys.admin).get(&path).await.unwrap();
        let url = hook.receiver.url("");
        assert!(status == 200 && !answer.to_string().contains(&url), "{path} shows {url}: {answer}");
    }
    let (found, _) =
        walked(hook.stack, &format!("/v1/deliveries?endpoint_id={}", hook.endpoint), "deliveries", 50).await;
    assert_eq!(found, [id.as_str().unwrap()]);
}

#[scenario]
async fn an_event_shows_its_deliveries_beyond_those_it_was_fanned_out_to() {
    let hook = Hook::new(Stack::filled().await, json!({}), |_| Answer::status(200)).await;
    let other = Hook::register(hook.stack, &hook.receiver, &hook.tenant, "/other", json!({})).await;
    let (accepted, endpoint) = (an_hour_ago(), hook.endpoint.parse().unwrap());
    put_events(hook.stack, &[event(&hook.tenant, "e", "a", accepted, &[])]).await;
    assert_eq!(hook.stack.event(&hook.tenant, "e").await["deliveries"], json!([]), "none, and none pending");
    put_deliveries(hook.stack, &[delivery(&hook.tenant, &endpoint, "e", accepted, Status::Failed)]).await;
    let event = hook.stack.event(&hook.tenant, "e").await;
    let found: Vec<_> = event["deliveries"].as_array().unwrap().iter().map(|found| &found["endpoint_id"]).collect();
    assert_eq!(found, [&json!(hook.endpoint)], "{event} and not {other}");
}

#[scenario]
async fn a_delivery_outlives_what_it_was_about() {
    let stack = Stack::filled().await;
    let (tenant, endpoint) = (unique("t"), endpoint_id());
    let record = delivery(&tenant, &endpoint, "gone", an_hour_ago(), Status::Failed);
    put_deliveries(stack, std::slice::from_ref(&record)).await;
    // Its id was used again when its event had expired.
    put_events(stack, &[event(&tenant, "gone", "another", clock::now(), &[])]).await;
    let delivery = shown(stack, &record.key.to_string()).await;
    assert_eq!((&delivery["event"], &delivery["endpoint"]), (&json!(null), &json!(null)));
    assert_eq!((&delivery["status"], &delivery["attempts"][0]["duration_ms"]), (&json!("failed"), &json!(20)));
}
