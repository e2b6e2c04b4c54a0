//! Walks through pages while deliveries come in and change. The model of it, with every order of events, is a property test
//! of the replay function; here it is the real thing.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pombo_aws::clock;
use pombo_domain::delivery::{Record, Status};
use pombo_domain::time::Timestamp;
use pombo_tests::{Stack, scenario, unique};

use super::{an_hour_ago, endpoint_id};
use crate::rows::{delivery, event, in_status, put_deliveries, put_events};

/// Numbers that look random, from a seed that a failure names.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        // Constants of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Walks by pages of random sizes; gives what was shown, in order, and the number of pages.
async fn walk(stack: &Stack, path: &str, what: &str, numbers: &mut Numbers) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let limit = 1 + numbers.below(60);
        let (status, page) = stack.local.replay().get(&format!("{path}&limit={limit}{cursor}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        ids.extend(page[what].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["cursor"].as_str() {
            None => return (ids, pages),
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

fn assert_whole(shown: &[String], always: &BTreeSet<String>, seed: u64) {
    let once: BTreeSet<_> = shown.iter().cloned().collect();
    assert_eq!(once.len(), shown.len(), "something came twice (seed {seed})");
    let missed: Vec<_> = always.difference(&once).collect();
    assert!(missed.is_empty(), "missed {missed:?} (seed {seed})");
}

#[scenario]
async fn a_walk_over_deliveries_misses_and_repeats_nothing_while_they_come_and_change() {
    let stack = Stack::filled().await;
    let seed = u64::from(clock::random_bits());
    let mut numbers = Numbers(seed);
    let (tenant, from) = (unique("t"), an_hour_ago());
    let endpoints: Vec<_> = (0..4).map(|_| endpoint_id()).collect();
    let record = |numbers: &mut Numbers, name: &str, n: usize, status: Status| {
        let at = from.plus(Duration::from_millis(numbers.below(1000) as u64));
        delivery(&tenant, &endpoints[n % 4], &format!("{name}{n}"), at, status)
    };
    let start: Vec<Record> =
        (0..400).map(|n| record(&mut numbers, "old", n, Status::LISTED[numbers_status(n)])).collect();
    put_deliveries(stack, &start).await;
    for path in [
        format!("/v1/deliveries?tenant={tenant}"),
        format!("/v1/deliveries?tenant={tenant}&status=failed"),
        format!("/v1/deliveries?tenant={tenant}&type=student.*"),
    ] {
        let mut records = start.clone();
        put_deliveries(stack, &records).await;
        let (mut walking, ended) = (Numbers(seed ^ 1), AtomicBool::new(false));
        let happening = async {
            // Each changes once, from retrying or to it: the only changes that there are among what is listed.
            let mut changed = BTreeSet::new();
            for round in 0.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let mut writes = Vec::new();
                for _ in 0..3 {
                    let which = numbers.below(records.len());
                    if changed.len() < 300 && changed.insert(which) {
                        let from = records[which].status;
                        let to = if from == Status::Retrying { Status::Failed } else { Status::Retrying };
                        records[which] = in_status(records[which].clone(), to);
                        writes.push(records[which].clone());
                    }
                }
                writes.push(record(&mut numbers, "new", round, Status::LISTED[round % 4]));
                put_deliveries(stack, &writes).await;
            }
        };
        let walk = async {
            let walked = walk(stack, &path, "deliveries", &mut walking).await;
            ended.store(true, Ordering::Relaxed);
            walked
        };
        let ((shown, pages), ()) = futures::join!(walk, happening);
        // What stayed on the list from the begin to the end.
        let failed_only = path.contains("status");
        let stayed = records.iter().zip(&start).filter(|(after, before)| {
            !failed_only || (after.status == Status::Failed && before.status == Status::Failed)
        });
        let always = stayed.map(|(record, _)| record.key.to_string()).collect();
        assert!(pages > 2, "{pages}");
        assert_whole(&shown, &always, seed);
    }
}

const fn numbers_status(n: usize) -> usize {
    // In no step with the endpoints, which take turns.
    (n / 4) % 4
}

#[scenario]
async fn a_walk_over_events_misses_and_repeats_nothing_while_they_come() {
    let stack = Stack::filled().await;
    let seed = u64::from(clock::random_bits());
    let mut numbers = Numbers(seed);
    let (tenant, from) = (unique("t"), an_hour_ago());
    let event = |numbers: &mut Numbers, name: &str, n: usize| {
        let at: Timestamp = from.plus(Duration::from_millis(numbers.below(300) as u64));
        event(&tenant, &format!("{name}{n}"), if n.is_multiple_of(3) { "a.b" } else { "c" }, at, &[])
    };
    let start: Vec<_> = (0..500).map(|n| event(&mut numbers, "old", n)).collect();
    put_events(stack, &start).await;
    for (path, wanted) in
        [(format!("/v1/events?tenant={tenant}"), 1), (format!("/v1/events?tenant={tenant}&type=a.*"), 3)]
    {
        let (mut walking, ended) = (Numbers(seed ^ 1), AtomicBool::new(false));
        let happening = async {
            let mut come = 0;
            while !ended.load(Ordering::Relaxed) {
                let new: Vec<_> = (0..3).map(|n| event(&mut numbers, &format!("new{wanted}-"), come + n)).collect();
                come += 3;
                put_events(stack, &new).await;
            }
        };
        let walk = async {
            let walked = walk(stack, &path, "events", &mut walking).await;
            ended.store(true, Ordering::Relaxed);
            walked
        };
        let ((shown, pages), ()) = futures::join!(walk, happening);
        let always = start.iter().enumerate().filter(|(n, _)| n % wanted == 0).map(|(_, event)| event.id.to_string());
        assert!(pages > 2, "{pages}");
        assert_whole(&shown, &always.collect(), seed);
    }
}
