#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;
use crate::delivery::{NewDelivery, Step};

const ALL: [Include; 7] = [
    Include::Failed,
    Include::Held,
    Include::Cancelled,
    Include::Retrying,
    Include::Succeeded,
    Include::Pending,
    Include::Missing,
];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(100_000 + seconds)
}

const fn ordered() -> Ordered {
    Ordered { at: Timestamp::from_seconds(101_000), settle: Duration::from_secs(120) }
}

fn endpoint() -> EndpointId {
    EndpointId::generate([1; 10])
}

fn filter(since: i64, until: i64) -> Filter {
    Filter { scope: Scope::Endpoint(endpoint()), event_type: None, since: at(since), until: at(until) }
}

/// A filter without an end.
fn open(since: i64) -> Filter {
    Filter { until: Filter::OPEN, ..filter(since, 0) }
}

fn of(filter: Filter, include: &[Include]) -> Result<Selection, InvalidField> {
    Selection::new(filter, BTreeSet::from_iter(include.iter().copied()), None, ordered())
}

fn key(seconds: i64) -> DeliveryKey {
    DeliveryKey { endpoint_id: endpoint(), accepted_at: at(seconds), event_id: "e".parse().unwrap() }
}

fn record(status: Status, seconds: i64) -> Record {
    let new = NewDelivery {
        tenant: "t".parse().unwrap(),
        event_type: "student.created".parse().unwrap(),
        expires_at: at(5000).as_seconds(),
    };
    Record { status, step: Step { round: 0, attempt: 1 }, ..Record::begin(key(seconds), new) }
}

#[test]
fn an_open_range_ends_a_minute_before_the_order_and_for_what_is_missing_at_the_order() {
    for (filter, include, expected) in [
        (open(0), Include::Failed, 940),
        (filter(0, 940), Include::Failed, 940),
        (filter(0, 900), Include::Failed, 900),
        (open(0), Include::Missing, 1000),
        (filter(0, 1000), Include::Missing, 1000),
        (filter(0, 900), Include::Missing, 900),
    ] {
        assert_eq!(of(filter.clone(), &[include]).unwrap().filter.until, at(expected), "{include:?} {filter:?}");
    }
    for filter in [open(940), filter(960, 900), filter(500, 500), filter(500, 400)] {
        let refused = of(filter.clone(), &[Include::Failed]).unwrap_err();
        assert_eq!(refused.field, "filter.since", "{filter:?}");
    }
}

#[test]
fn an_end_that_would_be_moved_is_refused() {
    for (until, include) in
        [(941, Include::Failed), (1000, Include::Held), (5000, Include::Failed), (1001, Include::Missing)]
    {
        let refused = of(filter(0, until), &[include]).unwrap_err();
        assert_eq!(refused.field, "filter.until", "{until} {include:?}");
        assert!(refused.rule.contains("must not be after 1970-01-02T"), "{}", refused.rule);
    }
}

#[test]
fn what_an_open_range_leaves_out_is_told() {
    use Include::{Failed, Missing};
    for (filter, include, expected) in [
        (open(0), &[Failed][..], Some(at(940))),
        (open(0), &[Failed, Missing], Some(at(940))),
        (open(0), &[Missing], None),
        (filter(0, 900), &[Failed], None),
        (filter(0, 900), &[Failed, Missing], None),
    ] {
        let selection = of(filter, include).unwrap();
        assert_eq!(selection.left_out_since(ordered()), expected, "{selection:?}");
        let record = record(Status::Failed, 940);
        assert!(!selection.wants(&record, ordered(), at(1000)), "what is said to be left out is");
    }
}

#[test]
fn what_may_be_on_its_way_without_a_record_is_told_from_when_its_window_was_open_at_the_order() {
    use Include::{Failed, Missing, Pending};
    for (filter, include, window, expected) in [
        (open(0), &[Pending][..], 180, Some(at(820))),
        (open(0), &[Failed, Pending], 180, Some(at(820))),
        (open(900), &[Pending], 180, Some(at(900))),
        (filter(0, 900), &[Pending], 180, Some(at(820))),
        (filter(0, 820), &[Pending], 180, None),
        (open(0), &[Pending], 60, None),
        (open(0), &[Failed, Missing], 180, None),
    ] {
        let selection = of(filter, include).unwrap();
        let window = FirstAttemptWindow::new(Duration::from_secs(window));
        assert_eq!(selection.being_sent_since(ordered(), window), expected, "{selection:?}");
    }
}

#[test]
fn each_combination_has_its_list_or_is_refused_with_the_way_out() {
    use Include::{Cancelled, Failed, Held, Missing, Pending, Retrying, Succeeded};
    let tenant = Scope::Tenant("t".parse().unwrap());
    for (scope, include, expected) in [
        (Scope::Endpoint(endpoint()), &[Failed][..], Some(Source::Listed)),
        (Scope::Endpoint(endpoint()), &[Failed, Held, Cancelled, Retrying], Some(Source::Listed)),
        (Scope::Endpoint(endpoint()), &[Failed, Succeeded], Some(Source::Deliveries)),
        (Scope::Endpoint(endpoint()), &[Pending], Some(Source::Events)),
        (Scope::Endpoint(endpoint()), &[Failed, Succeeded, Missing], Some(Source::Events)),
        (tenant.clone(), &[Failed, Retrying], Some(Source::Listed)),
        (Scope::Stack, &[Held], Some(Source::Listed)),
        (tenant.clone(), &[Failed, Succeeded], None),
        (tenant, &[Missing], None),
        (Scope::Stack, &[Pending], None),
        (Scope::Stack, &[], None),
    ] {
        match of(Filter { scope: scope.clone(), ..filter(0, 900) }, include) {
            Ok(selection) => assert_eq!(selection.source().ok(), expected, "{scope:?} {include:?}"),
            Err(refused) => {
                assert_eq!((refused.field.as_str(), expected), ("include", None), "{scope:?} {include:?}");
                assert!(include.is_empty() || refused.rule.contains("GET /v1/endpoints"), "{}", refused.rule);
            }
        }
    }
}

#[test]
fn a_selection_reads_back_as_it_was_stored_and_a_scope_is_one_of_three() {
    for scope in [Scope::Endpoint(endpoint()), Scope::Tenant("t".parse().unwrap()), Scope::Stack] {
        let filter = Filter { scope, event_type: Some("student.*".parse().unwrap()), ..filter(0, 900) };
        let selection = of(filter, &[Include::Failed]).unwrap().moved_to(key(5));
        let json = serde_json::to_string(&selection).unwrap();
        assert_eq!(serde_json::from_str::<Selection>(&json).unwrap(), selection, "{json}");
    }
    let (tenant, id) = (Some("t".parse().unwrap()), Some(endpoint()));
    for (id, tenant, stack) in [
        (None, None, None),
        (None, None, Some(false)),
        (id.clone(), tenant.clone(), None),
        (id, None, Some(true)),
        (None, tenant, Some(true)),
    ] {
        assert!(Scope::one_of(id, tenant, stack).is_err());
    }
}

#[test]
fn what_is_included_is_named_and_read_by_its_name() {
    for include in ALL {
        let json = serde_json::to_string(&include).unwrap();
        assert_eq!(serde_json::from_str::<Include>(&json).unwrap(), include, "{json}");
        assert!(include.status().is_none_or(|status| format!("{:?}", status.as_str()) == json), "{json}");
    }
    assert!(serde_json::from_str::<Include>(r#""lost""#).is_err());
}

#[test]
fn what_is_missing_up_to_the_order_is_looked_for_once_more_over_the_time_around_it() {
    let missed = of(open(0), &[Include::Missing]).unwrap();
    let last = missed.moved_to(key(990)).look_done(ordered());
    assert_eq!((last.look, &last.after, last.range(ordered())), (Look::Last, &None, (at(880), at(1120))));
    assert_eq!(last.look_done(ordered()).look, Look::Over);
    let earlier = of(filter(0, 950), &[Include::Missing]).unwrap();
    assert_eq!(earlier.look_done(ordered()).range(ordered()), (at(880), at(950)), "no further than was asked");
    for (selection, why) in [
        (of(filter(0, 880), &[Include::Missing]).unwrap(), "all had settled"),
        (of(open(0), &[Include::Failed]).unwrap(), "nothing comes late"),
    ] {
        assert_eq!(selection.look_done(ordered()).look, Look::Over, "{why}");
    }
}

#[test]
fn an_endpoint_that_is_resumed_missed_what_came_since_its_pause() {
    let missed = Selection::missed(endpoint(), at(500), at(1000));
    assert_eq!(missed.source(), Ok(Source::Events));
    assert_eq!(missed.range(ordered()), (at(440), at(1000)));
    assert!(missed.looks_again(ordered()));
}

#[test]
fn a_delivery_with_a_record_is_wanted_by_its_status_type_and_time_in_the_first_look_only() {
    let mut selection = of(open(0), &[Include::Failed, Include::Missing]).unwrap();
    let wants = |selection: &Selection, record: &Record| selection.wants(record, ordered(), at(1000));
    assert!(wants(&selection, &record(Status::Failed, 939)));
    assert!(!wants(&selection, &record(Status::Failed, 940)), "it may be on its way");
    assert!(!wants(&selection, &record(Status::Succeeded, 5)));
    let expired = Record { expires_at: at(1000).as_seconds(), ..record(Status::Failed, 5) };
    assert!(!wants(&selection, &expired));
    selection.filter.event_type = Some("student.*".parse().unwrap());
    assert!(wants(&selection, &record(Status::Failed, 5)));
    selection.filter.event_type = Some("course.*".parse().unwrap());
    assert!(!wants(&selection, &record(Status::Failed, 5)));
    let last = of(open(0), &[Include::Failed, Include::Missing]).unwrap().look_done(ordered());
    assert!(!wants(&last, &record(Status::Failed, 5)), "it had its look");
}

#[test]
fn an_event_without_a_record_is_pending_where_it_was_fanned_out_and_missing_where_it_matches() {
    let selection = |include: &[Include]| of(open(0), include).unwrap();
    let (subscribed, ping) = (["student.*".parse().unwrap()], EventType::ping());
    let created = "student.created".parse().unwrap();
    let event = Unrecorded {
        event_type: &created,
        accepted_at: at(5),
        expires_at: at(5000).as_seconds(),
        fanned_out: false,
        subscribes: &subscribed,
    };
    let all = ["*".parse().unwrap()];
    for (event, pending, missing) in [
        (event, false, true),
        (Unrecorded { fanned_out: true, ..event }, true, false),
        (Unrecorded { fanned_out: true, accepted_at: at(941), ..event }, false, false),
        (Unrecorded { accepted_at: at(1010), ..event }, false, true),
        (Unrecorded { subscribes: &["course.*".parse().unwrap()], ..event }, false, false),
        (Unrecorded { subscribes: &[], fanned_out: true, ..event }, true, false),
        (Unrecorded { event_type: &ping, subscribes: &all, ..event }, false, false),
        (Unrecorded { event_type: &ping, fanned_out: true, ..event }, true, false),
        (Unrecorded { expires_at: at(1000).as_seconds(), ..event }, false, false),
    ] {
        let wants = |include| selection(&[include]).wants_unrecorded(event, ordered(), at(1000));
        assert_eq!((wants(Include::Pending), wants(Include::Missing)), (pending, missing), "{event:?}");
    }
    let last = selection(&[Include::Pending, Include::Missing]).look_done(ordered());
    let wants = |event| last.wants_unrecorded(event, ordered(), at(1000));
    assert!(wants(event) && !wants(Unrecorded { fanned_out: true, ..event }));
}

#[test]
fn by_its_type_alone_an_event_is_left_out_that_nothing_is_wanted_of() {
    let subscribes = ["student.*".parse().unwrap()];
    let with_type = Filter { event_type: Some("student.created".parse().unwrap()), ..open(0) };
    for (filter, include, event_type, expected) in [
        (open(0), Include::Missing, "student.left", true),
        (open(0), Include::Missing, "course.started", false),
        (open(0), Include::Pending, "course.started", true),
        (with_type.clone(), Include::Missing, "student.created", true),
        (with_type.clone(), Include::Missing, "student.left", false),
        (with_type, Include::Pending, "student.left", false),
    ] {
        let selection = of(filter, &[include]).unwrap();
        let may = selection.may_want(&event_type.parse().unwrap(), &subscribes);
        assert_eq!(may, expected, "{include:?} {event_type}");
    }
    assert!(!of(open(0), &[Include::Missing]).unwrap().may_want(&EventType::ping(), &["*".parse().unwrap()]));
}

proptest! {
    /// What is taken up to the order is never taken twice, whatever the looks: the last one wants only what has no record.
    #[test]
    fn the_looks_end_and_never_reach_beyond_what_was_asked(
        include in prop::collection::btree_set(prop::sample::select(ALL.to_vec()), 1..7), since in 0i64..1100,
        until in prop::option::of(0i64..1300),
    ) {
        let asked = until.map_or_else(|| open(since), |until| filter(since, until));
        let until = until.unwrap_or(i64::MAX / 2_000);
        let Ok(mut selection) = Selection::new(asked, include, None, ordered()) else { return Ok(()) };
        let mut looks = 0;
        while selection.look != Look::Over {
            let (from, to) = selection.range(ordered());
            prop_assert!(from >= at(since) && from < to);
            prop_assert!(to <= at(until) || (until >= 1000 && to == at(1120)), "{to}");
            prop_assert!(selection.look == Look::First || selection.include.contains(&Include::Missing));
            selection = selection.look_done(ordered());
            looks += 1;
        }
        prop_assert!((1..=2).contains(&looks));
        prop_assert_eq!(selection.reached(), selection.filter.until);
    }
}
