#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use super::*;
use crate::delivery::{NewDelivery, Record, Status, Step};
use crate::event_type::EventType;
use crate::first_attempt::FirstAttemptWindow;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_700_000_009_000);

fn job(kind: JobKind) -> Job {
    Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, Duration::from_secs(86_400))
}

fn drain() -> Job {
    job(JobKind::Drain { endpoint_id: EndpointId::generate([1; 10]) })
}

fn matching(include: &[Include]) -> Job {
    let filter = Filter { scope: Scope::Endpoint(key().endpoint_id), event_type: None, since: NOW, until: LATER };
    let ordered = Ordered { at: LATER, settle: Duration::ZERO };
    let selection = Selection::new(filter, BTreeSet::from_iter(include.iter().copied()), None, ordered).unwrap();
    job(JobKind::ReplayMatching(selection))
}

fn key() -> DeliveryKey {
    DeliveryKey { endpoint_id: EndpointId::generate([1; 10]), accepted_at: NOW, event_id: "e".parse().unwrap() }
}

fn new() -> NewDelivery {
    NewDelivery { tenant: "t".parse().unwrap(), event_type: "a".parse().unwrap(), expires_at: 9 }
}

fn record(status: Status, round: u32) -> Record {
    Record { status, step: Step { round, attempt: 2 }, ..Record::begin(key(), new()) }
}

fn row(round: u32) -> Row {
    Row { delivery: key(), round, first: false }
}

fn first_row() -> Row {
    Row { first: true, ..row(0) }
}

fn seen(record: Option<&Record>) -> Seen<'_> {
    Seen { record, ..Seen::default() }
}

fn plan(job: &Job, row: &Row, record: Option<&Record>, now: Timestamp) -> RowPlan {
    job.plan(0, row, seen(record), now)
}

fn written(plan: RowPlan) -> Record {
    match plan {
        RowPlan::Write(record) => *record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_replay_opens_one_round_however_often_its_leg_runs() {
    for job in [job(JobKind::Replay), matching(&[Include::Failed])] {
        let opened = written(plan(&job, &row(0), Some(&record(Status::Failed, 0)), NOW));
        assert_eq!(opened.step, Step { round: 1, attempt: 0 });
        assert_eq!(plan(&job, &row(0), Some(&opened), NOW), RowPlan::QueueAgain);
        let tried = Record { step: Step { round: 1, attempt: 3 }, status: Status::Succeeded, ..opened };
        assert_eq!(plan(&job, &row(0), Some(&tried), NOW), RowPlan::QueueAgain, "its message is dropped by dispatch");
    }
}

#[test]
fn a_replay_leaves_alone_what_is_sent_what_changed_and_what_is_gone() {
    let job = job(JobKind::Replay);
    let claimed = record(Status::Retrying, 0).claimed("x", LATER);
    assert_eq!(plan(&job, &row(0), Some(&claimed), NOW), RowPlan::Skip(RowResult::InFlight));
    assert_eq!(written(plan(&job, &row(0), Some(&claimed), LATER)).step.round, 1, "a dead claim");
    assert_eq!(plan(&job, &row(0), Some(&record(Status::Failed, 1)), NOW), RowPlan::Skip(RowResult::Changed));
    assert_eq!(plan(&job, &row(0), None, NOW), RowPlan::Skip(RowResult::NotFound));
}

#[test]
fn a_replay_by_filter_leaves_alone_what_has_another_status_by_now() {
    let job = matching(&[Include::Failed, Include::Retrying]);
    for (status, taken) in [
        (Status::Failed, true),
        (Status::Retrying, true),
        (Status::Succeeded, false),
        (Status::Cancelled, false),
        (Status::Held, false),
        (Status::Pending, false),
    ] {
        let plan = plan(&job, &row(0), Some(&record(status, 0)), NOW);
        assert_eq!(matches!(plan, RowPlan::Write(_)), taken, "{status:?}");
        assert!(taken || plan == RowPlan::Skip(RowResult::Changed), "{status:?}");
    }
}

#[test]
fn one_whose_endpoint_takes_nothing_is_skipped_unless_an_earlier_run_has_sent_it() {
    let job = matching(&[Include::Failed]);
    let failed = record(Status::Failed, 0);
    let closed = |record| Seen { closed: Some(RowResult::EndpointPaused), ..seen(Some(record)) };
    assert_eq!(job.plan(0, &row(0), closed(&failed), NOW), RowPlan::Skip(RowResult::EndpointPaused));
    let opened = written(plan(&job, &row(0), Some(&failed), NOW));
    assert_eq!(job.plan(0, &row(0), closed(&opened), NOW), RowPlan::QueueAgain);
}

fn behind_open_circuit<'a>(record: Option<&'a Record>, new: Option<&'a NewDelivery>) -> Seen<'a> {
    Seen { record, new, is_open: true, ..Seen::default() }
}

#[test]
fn what_is_replayed_behind_an_open_circuit_is_held_in_its_new_round() {
    let job = matching(&[Include::Failed, Include::Pending, Include::Missing]);
    let (failed, pending, new) = (record(Status::Failed, 0), Record::begin(key(), new()), new());
    for (row, seen, round) in [
        (row(0), behind_open_circuit(Some(&failed), None), 1),
        (first_row(), behind_open_circuit(Some(&pending), None), 0),
        (first_row(), behind_open_circuit(None, Some(&new)), 0),
    ] {
        let held = written(job.plan(0, &row, seen, NOW));
        assert_eq!((held.status, held.step, held.next), (Status::Held, Step { round, attempt: 0 }, None));
        assert_eq!(
            job.plan(0, &row, behind_open_circuit(Some(&held), None), NOW),
            RowPlan::QueueAgain,
            "its leg runs again"
        );
    }
    for (row, record, status) in
        [(row(0), failed.clone(), Status::Held), (first_row(), pending.clone(), Status::Retrying)]
    {
        let test = Record { event_type: EventType::ping(), ..record };
        let planned = written(job.plan(0, &row, behind_open_circuit(Some(&test), None), NOW));
        assert_eq!(planned.status, status, "only the attempt of the test itself passes");
    }
    let claimed = failed.claimed("x", LATER);
    assert_eq!(
        job.plan(0, &row(0), behind_open_circuit(Some(&claimed), None), NOW),
        RowPlan::Skip(RowResult::InFlight)
    );
    let held = record(Status::Held, 0);
    assert_eq!(written(drain().plan(0, &row(0), behind_open_circuit(Some(&held), None), NOW)).status, Status::Retrying);
}

#[test]
fn one_that_is_missing_begins_its_round_0_once() {
    let job = matching(&[Include::Missing]);
    let new = new();
    let missing = Seen { new: Some(&new), ..Seen::default() };
    let begun = written(job.plan(0, &first_row(), missing, NOW));
    assert_eq!((begun.status, begun.step, begun.rev), (Status::Retrying, Step { round: 0, attempt: 0 }, 0));
    assert_eq!((begun.next.unwrap().at, &begun.job), (NOW, &Some(job.key().to_string())));
    assert_eq!(plan(&job, &first_row(), Some(&begun), NOW), RowPlan::QueueAgain);
    let delivered = Record { status: Status::Succeeded, step: Step::FIRST, ..begun.clone() };
    assert_eq!(plan(&job, &first_row(), Some(&delivered), NOW), RowPlan::QueueAgain, "by an earlier run of the leg");
    let another = Record { job: Some("another".into()), ..begun };
    assert_eq!(plan(&job, &first_row(), Some(&another), NOW), RowPlan::Skip(RowResult::Changed));
    assert_eq!(plan(&job, &first_row(), None, NOW), RowPlan::Skip(RowResult::NotFound), "its event has expired");
}

#[test]
fn one_without_a_record_that_its_event_was_sent_to_begins_with_what_tells_of_an_attempt() {
    let (job, new) = (matching(&[Include::Pending]), new());
    for fanned_out in [true, false] {
        let unrecorded = Seen { new: Some(&new), fanned_out, ..Seen::default() };
        let begun = written(job.plan(0, &first_row(), unrecorded, NOW));
        assert_eq!((begun.status, begun.was_abandoned("me")), (Status::Retrying, fanned_out));
        assert!(begun.live_claim(NOW).is_none());
    }
}

#[test]
fn one_that_is_pending_has_its_first_message_sent_again_unless_it_is_being_sent() {
    let job = matching(&[Include::Pending]);
    let pending = Record::begin(key(), new()).claimed("x", LATER);
    assert_eq!(plan(&job, &first_row(), Some(&pending), NOW), RowPlan::Skip(RowResult::InFlight));
    let sent = written(plan(&job, &first_row(), Some(&pending), LATER));
    assert_eq!((sent.status, sent.step, sent.step.next()), (Status::Retrying, Step::default(), Step::FIRST));
    assert!(sent.was_abandoned("me"), "the dead process may have sent it");
    assert_eq!(plan(&job, &first_row(), Some(&sent), LATER), RowPlan::QueueAgain);
    for status in [Status::Succeeded, Status::Failed, Status::Held, Status::Retrying] {
        let skipped = plan(&job, &first_row(), Some(&record(status, 0)), NOW);
        assert_eq!(skipped, RowPlan::Skip(RowResult::Changed), "{status:?}");
    }
}

#[test]
fn one_without_a_record_is_being_sent_while_its_window_is_open_unless_it_was_never_sent() {
    let (job, new) = (matching(&[Include::Pending, Include::Missing]), new());
    let window = FirstAttemptWindow::new(Duration::from_secs(180));
    let closes_at = window.closes_at(key().accepted_at);
    let plan = |fanned_out, now| {
        job.plan(0, &first_row(), Seen { new: Some(&new), fanned_out, window, ..Seen::default() }, now)
    };
    assert_eq!(plan(true, closes_at.minus(Duration::from_millis(1))), RowPlan::Skip(RowResult::InFlight));
    assert!(matches!(plan(true, closes_at), RowPlan::Write(_)), "the window has closed");
    assert!(matches!(plan(false, NOW), RowPlan::Write(_)), "no message was ever queued for one that is missing");
    let pending = Record::begin(key(), new.clone());
    let recorded = Seen { record: Some(&pending), fanned_out: true, window, ..Seen::default() };
    assert!(matches!(job.plan(0, &first_row(), recorded, NOW), RowPlan::Write(_)), "a record needs no window");
    let failed = record(Status::Failed, 0);
    let recorded = Seen { record: Some(&failed), fanned_out: true, window, ..Seen::default() };
    let replay = matching(&[Include::Failed]);
    assert!(matches!(replay.plan(0, &row(0), recorded, NOW), RowPlan::Write(_)), "a failure is replayed at once");
}

#[test]
fn a_drain_releases_what_is_held_once() {
    let job = drain();
    let released = written(plan(&job, &row(0), Some(&record(Status::Held, 0)), NOW));
    assert_eq!((released.status, released.step.attempt), (Status::Retrying, 2));
    assert_eq!(plan(&job, &row(0), Some(&released), NOW), RowPlan::QueueAgain);
    let sent = Record { status: Status::Succeeded, ..released };
    assert_eq!(plan(&job, &row(0), Some(&sent), NOW), RowPlan::QueueAgain, "the earlier run counts");
    let replayed = sent.round_opened("another", NOW);
    assert_eq!(plan(&job, &row(0), Some(&replayed), NOW), RowPlan::Skip(RowResult::Changed));
    let other = record(Status::Succeeded, 0);
    assert_eq!(plan(&job, &row(0), Some(&other), NOW), RowPlan::Skip(RowResult::Changed));
}

#[test]
fn a_drain_releases_again_what_was_held_again_after_it_had_released_it() {
    let job = drain();
    let released = written(plan(&job, &row(0), Some(&record(Status::Held, 0)), NOW));
    assert!(matches!(plan(&job, &row(0), Some(&released.held("me")), NOW), RowPlan::Write(_)));
}

#[test]
fn a_page_is_sent_in_its_order_and_as_far_apart_as_it_says() {
    let job = drain().with_page(vec![row(0); 3], Duration::from_micros(2_500), NOW);
    let due = |place| {
        let plan = job.plan(place, &row(0), seen(Some(&record(Status::Held, 0))), NOW);
        NOW.until(written(plan).next.unwrap().at).as_millis()
    };
    assert_eq!([due(0), due(2), due(400)], [0, 5, 1000]);
    assert_eq!(job.page_takes(), Duration::from_micros(7_500));
    assert_eq!(job.leg_done([], Duration::ZERO, NOW).spacing_us, 0);
}

#[test]
fn the_next_leg_waits_for_what_is_left_of_the_pause_and_one_at_its_page_for_nothing() {
    let pause = Duration::from_secs(60);
    let job = drain().leg_done([], pause, NOW);
    let after = |seconds| job.pause_left(NOW.plus(Duration::from_secs(seconds))).as_secs();
    assert_eq!([after(0), after(20), after(60), after(100)], [60, 40, 0, 0]);
    assert_eq!(job.with_page(vec![row(0)], pause, LATER).pause_left(LATER), Duration::ZERO);
    assert_eq!(job.queued_again(LATER).pause_left(LATER), Duration::ZERO);
}

#[test]
fn a_job_that_is_told_to_stop_works_the_page_that_it_has_and_else_stops_at_once() {
    let job = matching(&[Include::Failed]);
    let stopped = job.stop_requested(LATER);
    assert_eq!((stopped.status, stopped.stop_reason), (JobStatus::Cancelled, Some(StopReason::Requested)));
    let at_work = job.with_page(vec![row(0)], Duration::ZERO, NOW).stop_requested(LATER);
    assert_eq!((at_work.status, at_work.stopping, at_work.stop_reason), (JobStatus::Running, true, None));
    assert_eq!(at_work.page, Some(vec![row(0)]));
}

#[test]
fn a_page_that_was_the_last_ends_its_job_and_one_told_to_stop_stops_after_its_page() {
    let worked = |job: &Job| {
        let job = job.with_page(vec![row(0)], Duration::ZERO, NOW).page_done([RowResult::Queued], Duration::ZERO, NOW);
        (job.status, job.stop_reason, job.counts.queued, job.page.is_none())
    };
    let (going_on, over) = (matching(&[Include::Failed]), matching(&[Include::Failed]));
    let JobKind::ReplayMatching(selection) = &over.kind else { panic!() };
    let selection = Selection { look: Look::Over, ..selection.clone() };
    let over = Job { kind: JobKind::ReplayMatching(selection), ..over };
    assert_eq!(worked(&job(JobKind::Replay)), (JobStatus::Done, None, 1, true));
    assert_eq!(worked(&over), (JobStatus::Done, None, 1, true));
    assert_eq!(worked(&going_on), (JobStatus::Running, None, 1, true));
    assert_eq!(worked(&drain()), (JobStatus::Running, None, 1, true));
    let stopping = Job { stopping: true, ..going_on };
    assert_eq!(worked(&stopping), (JobStatus::Cancelled, Some(StopReason::Requested), 1, true));
    assert_eq!(worked(&Job { stopping: true, ..over }), (JobStatus::Done, None, 1, true), "it has done all");
}

#[test]
fn a_stalled_job_is_due_again_later_and_otherwise_as_it_was() {
    let job = drain().with_page(vec![row(0)], Duration::ZERO, NOW);
    let again = job.queued_again(LATER);
    assert_eq!(again.due, LATER.plus(STALLED_AFTER));
    assert_eq!(Job { due: job.due, ..again }, job);
}
