#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

const RULES: HealthRules = HealthRules::DEFAULT;
const START: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn event(name: &str) -> EventId {
    name.parse().unwrap()
}

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// The health after a failure, and whether the circuit opened with it.
fn fail(health: &Health, at: Timestamp, gone: Option<&str>) -> (Health, bool) {
    let event_id = event(gone.unwrap_or("evt_1"));
    match health.failed(Failure { at, event_id: &event_id, gone: gone.is_some(), probe: None }, "drain", &RULES) {
        None => (health.clone(), false),
        Some(Change::Mark(next)) => (next, false),
        Some(Change::Open(next)) => (next, true),
        Some(Change::Close(_)) => panic!("a failure closed the circuit"),
    }
}

fn succeed(health: &Health, at: Timestamp) -> Health {
    match health.succeeded(at) {
        None => health.clone(),
        Some(Change::Mark(next) | Change::Close(next)) => next,
        Some(Change::Open(_)) => panic!("a success opened the circuit"),
    }
}

#[test]
fn the_circuit_opens_after_enough_failures_over_long_enough() {
    let mut health = Health::good();
    for second in 0..=20 {
        let (next, opened) = fail(&health, at(second), None);
        assert!(!opened, "after {second} s");
        health = next;
    }
    let (opened, now) = fail(&health, at(21), None);
    assert!(now);
    assert_eq!(opened.open, Some(Open::new(at(21), "drain", at(51))));
    assert_eq!(opened.failing_since, Some(START));
}

#[test]
fn few_failures_open_nothing_however_long_they_take() {
    let mut health = Health::good();
    for failure in 0..4 {
        let (next, opened) = fail(&health, at(failure * 3600), None);
        assert!(!opened);
        health = next;
    }
    assert!(fail(&health, at(4 * 3600), None).1, "the fifth");
}

#[test]
fn a_failure_that_says_nothing_new_is_no_write() {
    let mut health = Health::good();
    for second in 0..5 {
        health = fail(&health, at(second), None).0;
    }
    let failure = Failure { at: at(6), event_id: &event("evt_1"), gone: false, probe: None };
    assert_eq!(health.failed(failure, "drain", &RULES), None);
    assert_eq!(Health::good().succeeded(START), None);
}

#[test]
fn any_success_clears_the_mark_and_closes_the_circuit() {
    let (marked, _) = fail(&Health::good(), START, Some("evt_1"));
    let cleared = succeed(&marked, at(1));
    assert!(!cleared.is_troubled() && cleared.gone.is_none() && cleared.days == 0);
    assert_eq!(cleared.closed_at, None, "it was not open");
    let open = Health { open: Some(Open::new(START, "d", START)), ..marked };
    let Some(Change::Close(closed)) = open.succeeded(at(9)) else { panic!("still open") };
    assert!(!closed.is_troubled());
    assert_eq!(closed.closed_at, Some(at(9)));
}

#[test]
fn a_circuit_closed_unproven_opens_with_the_next_failure() {
    let mut health = Health::good();
    for second in [0, 5, 10, 15, 21] {
        health = fail(&health, at(second), None).0;
    }
    assert!(health.open.is_some());
    let closed = health.closed_unproven(at(200));
    assert!(closed.open.is_none() && closed.is_troubled());
    assert!(fail(&closed, at(5000), None).1);
}

#[test]
fn gone_twice_from_two_events_asks_for_a_pause_at_once() {
    let (once, opened) = fail(&Health::good(), START, Some("evt_1"));
    let (again, opened_again) = fail(&once, at(1), Some("evt_1"));
    assert!(!opened && !opened_again, "one event's retries are one event");
    let (twice, opened) = fail(&again, at(2), Some("evt_2"));
    assert!(opened);
    assert_eq!(twice.pause_reason(&RULES), Some(PauseReason::Gone));
}

#[test]
fn failures_on_five_days_running_ask_for_a_pause_and_one_a_week_does_not() {
    let days = |days: &[u64]| {
        days.iter().fold(Health::good(), |health, day| fail(&health, at(day * 86_400), None).0).pause_reason(&RULES)
    };
    assert_eq!(days(&[0, 1, 2, 3]), None);
    assert_eq!(days(&[0, 1, 2, 3, 4]), Some(PauseReason::Failing));
    assert_eq!(days(&[0, 7, 14, 21, 28, 35, 42]), None, "no traffic between");
    assert_eq!(days(&[0, 1, 2, 3, 5, 6, 7]), None, "a day without");
    assert_eq!(days(&[0, 0, 0, 0, 0, 0]), None, "one day");
}

#[test]
fn while_the_circuit_is_open_only_a_new_day_is_written() {
    let mut health = Health::good();
    for second in [0, 5, 10, 15, 21] {
        health = fail(&health, at(second), None).0;
    }
    assert_eq!(fail(&health, at(51), None), (health.clone(), false));
    let (next_day, opened) = fail(&health, at(86_400), None);
    assert_eq!((next_day.days, opened, &next_day.open), (2, false, &health.open));
}

#[test]
fn a_failed_probe_has_ended_and_is_written_though_it_says_nothing_else_that_is_new() {
    let mut health = Health::good();
    for second in [0, 5, 10, 15, 21] {
        health = fail(&health, at(second), None).0;
    }
    let (ordered, ordered_at) = health.probe_ordered(at(51), &RULES).unwrap();
    let failure = Failure { at: at(52), event_id: &event("evt_1"), gone: false, probe: Some(ordered_at) };
    let Some(Change::Mark(next)) = ordered.failed(failure, "drain", &RULES) else { panic!("nothing is written") };
    assert_eq!(next.open, ordered.probe_ended(ordered_at).unwrap().open);
    assert_eq!(next.failed(failure, "drain", &RULES), None, "its outcome comes twice");
}

#[test]
fn an_endpoint_in_trouble_is_remembered_for_less() {
    let (marked, _) = fail(&Health::good(), START, None);
    assert_eq!(RULES.remembered_for(&Health::good()), Duration::from_secs(10));
    assert_eq!(RULES.remembered_for(&marked), Duration::from_secs(2));
}

#[test]
fn what_is_stored_reads_back_and_what_is_new_has_a_default() {
    let (health, _) = fail(&Health::good(), START, Some("evt_1"));
    let json = serde_json::to_string(&health).unwrap();
    assert_eq!(serde_json::from_str::<Health>(&json).unwrap(), health);
    let least: Health = serde_json::from_str(r#"{"rev":1,"writer":"w","expires_at":9,"later":1}"#).unwrap();
    assert!(!least.is_troubled());
}

/// Processes that each remember the endpoint for as long as they may, and requests that go to any of them. Gives whether
/// the circuit opened. `fails(n)` is whether the n-th request fails; `millis` the time from one to the next.
fn opens(
    requests: usize,
    processes: usize,
    millis: u64,
    fails: impl Fn(usize) -> bool,
    pick: impl Fn(usize) -> usize,
) -> bool {
    let mut stored = Health::good();
    let mut known = vec![(Health::good(), None::<Timestamp>); processes];
    for number in 0..requests {
        let now = START.plus(Duration::from_millis(millis * number as u64));
        let process = &mut known[pick(number) % processes];
        let fresh = process.1.is_some_and(|since| since.until(now) < RULES.remembered_for(&process.0));
        if !fresh {
            *process = (stored.clone(), Some(now));
        }
        // A write replaces what stands; a success writes only if it knows of trouble.
        if fails(number) {
            let (next, opened) = fail(&stored, now, None);
            if opened {
                return true;
            }
            stored = next;
        } else if process.0.is_troubled() {
            stored = succeed(&stored, now);
        }
        if process.0.is_troubled() || fails(number) {
            *process = (stored.clone(), Some(now));
        }
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_endpoint_that_fails_one_request_in_a_hundred_never_opens_its_circuit(
        millis in prop_oneof![1u64..20, 20u64..2_000, 2_000u64..200_000],
        processes in 1usize..40,
        seed in any::<u64>(),
    ) {
        let random = |number: usize, salt: u64| {
            let mut x = seed ^ salt ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            x ^= x >> 31;
            x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (x ^ (x >> 29)) as usize
        };
        let opened = opens(20_000, processes, millis, |n| random(n, 1) % 100 == 0, |n| random(n, 2));
        prop_assert!(!opened);
    }

    #[test]
    fn an_endpoint_that_always_fails_opens_its_circuit_once_enough_have_failed(
        millis in 1u64..60_000,
        processes in 1usize..40,
    ) {
        let needed = (RULES.opens_after.as_millis() as u64 / millis + 2).max(u64::from(RULES.failures)) as usize;
        prop_assert!(opens(needed, processes, millis, |_| true, |n| n));
        prop_assert!(!opens(needed.min(RULES.failures as usize) - 1, processes, millis, |_| true, |n| n));
    }

    #[test]
    fn no_run_of_outcomes_breaks_the_machine(
        outcomes in prop::collection::vec((any::<bool>(), prop::option::of(0u8..3), 0u64..200_000), 1..200),
    ) {
        let (mut health, mut now, mut success_since_mark) = (Health::good(), START, true);
        for (success, gone, seconds) in outcomes {
            now = now.plus(Duration::from_secs(seconds));
            let was_open = health.open.is_some();
            if success {
                health = succeed(&health, now);
                success_since_mark = true;
                prop_assert!(!health.is_troubled() && health.pause_reason(&RULES).is_none());
                continue;
            }
            if success_since_mark {
                prop_assert!(health.failing_since.is_none());
                success_since_mark = false;
            }
            let (next, opened) = fail(&health, now, gone.map(|n| ["a", "b", "c"][usize::from(n)]));
            prop_assert!(!(opened && was_open), "an open circuit opens once");
            if opened && next.pause_reason(&RULES).is_none() {
                prop_assert!(next.failures >= RULES.failures);
                prop_assert!(next.failing_since.unwrap().until(now) > RULES.opens_after);
            }
            prop_assert!(next.days <= RULES.pauses_after_days && next.failures <= RULES.failures);
            prop_assert_eq!(was_open || opened, next.open.is_some());
            health = next;
        }
    }
}
