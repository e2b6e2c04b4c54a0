//! One-shots of EventBridge Scheduler. The emulator takes whatever it is sent, so what AWS would refuse is looked for in the
//! request.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{ActionAfterCompletion, FlexibleTimeWindowMode};
use pombo_aws::clock;
use pombo_aws::deliveries::DeliveriesTable;
use pombo_aws::metrics::Metrics;
use pombo_aws::protocol::Protocol;
use pombo_aws::queue::Queue;
use pombo_aws::scheduler::{Scheduler, SchedulerTarget};
use pombo_domain::delivery::{DeliveryKey, NewDelivery, Record, Status, Step};
use pombo_domain::retry::{Next, Route};
use pombo_domain::time::Timestamp;
use pombo_tests::{Backend, Fault, unique};

use super::{endpoint_id, tomorrow};

const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:000000000000:deliveries";
const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/scheduler";

fn target(group: &str) -> SchedulerTarget {
    SchedulerTarget { group: group.to_owned(), queue_arn: QUEUE_ARN.to_owned(), role_arn: ROLE_ARN.to_owned() }
}

/// When no test is running any more.
fn in_a_day() -> Timestamp {
    Timestamp::from_seconds(tomorrow())
}

/// In the stack's own group, behind the proxy.
pub(super) async fn scheduler(on: &Backend) -> Scheduler {
    Scheduler::new(Client::new(&on.behind_proxy().await), target(on.schedule_group()))
}

pub(super) fn metrics() -> Metrics {
    Metrics::new("test".into(), "INFO".into())
}

async fn a_one_shot_is_what_was_asked_for_and_deletes_itself(on: &Backend) {
    let (scheduler, name, group) = (scheduler(on).await, unique("one"), on.schedule_group());
    let at = in_a_day();
    let expression = format!("at({:.19})", at.to_string());
    scheduler.create(&name, at, r#"{"v":1,"ü":"\""}"#).await.unwrap();
    let client = Client::new(&on.direct().await);
    let schedule = client.get_schedule().group_name(group).name(&name).send().await.unwrap();
    assert_eq!(schedule.schedule_expression(), Some(expression.as_str()));
    assert_eq!(schedule.action_after_completion(), Some(&ActionAfterCompletion::Delete));
    assert_eq!(schedule.flexible_time_window().unwrap().mode(), &FlexibleTimeWindowMode::Off);
    let target = schedule.target().unwrap();
    assert_eq!((target.arn(), target.role_arn()), (QUEUE_ARN, ROLE_ARN));
    assert_eq!(target.input(), Some(r#"{"v":1,"ü":"\""}"#));
    assert_eq!(target.retry_policy().unwrap().maximum_event_age_in_seconds(), Some(3600));
    let request = &on.calls("CreateSchedule", &name)[0].body;
    for left_out in ["ScheduleExpressionTimezone", "StartDate", "EndDate", "State", "KmsKeyArn"] {
        assert!(request[left_out].is_null(), "{left_out}");
    }
}

async fn one_of_the_same_name_is_the_same_one(on: &Backend) {
    let (scheduler, name) = (scheduler(on).await, unique("twice"));
    for _ in 0..2 {
        scheduler.create(&name, in_a_day(), "{}").await.unwrap();
    }
    on.spoil(1, "CreateSchedule", &name, Fault::Refuse(409, "ConflictException"));
    scheduler.create(&name, in_a_day(), "{}").await.unwrap();
    assert_eq!(on.calls("CreateSchedule", &name).len(), 3);
}

async fn one_whose_answer_is_lost_is_made(on: &Backend) {
    let (scheduler, name) = (scheduler(on).await, unique("lost"));
    on.spoil(1, "CreateSchedule", &name, Fault::LoseAnswer);
    scheduler.create(&name, in_a_day(), "{}").await.unwrap();
    assert_eq!(on.calls("CreateSchedule", &name).len(), 2, "the SDK repeated the call");
}

async fn every_other_refusal_is_an_error(on: &Backend) {
    let scheduler = scheduler(on).await;
    for (status, code) in [
        (400, "ValidationException"),
        (402, "ServiceQuotaExceededException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
    ] {
        let name = unique("refused");
        on.spoil(3, "CreateSchedule", &name, Fault::Refuse(status, code));
        let error = scheduler.create(&name, in_a_day(), "{}").await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        assert!(error.to_string().starts_with("scheduler:CreateSchedule: "), "{error}");
    }
}

async fn a_group_that_is_not_there_is_an_error(on: &Backend) {
    let scheduler = Scheduler::new(Client::new(&on.direct().await), target("missing"));
    let error = scheduler.create(&unique("nowhere"), in_a_day(), "{}").await.unwrap_err();
    assert_eq!(error.code(), Some("ResourceNotFoundException"), "{error}");
}

/// The pattern of `ScheduleExpression` for a one-shot: `^at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)$`.
fn is_one_shot(expression: &str) -> bool {
    let pattern = "at(0000-00-00T00:00:00)";
    let same = |(is, pattern): (u8, u8)| if pattern == b'0' { is.is_ascii_digit() } else { is == pattern };
    expression.len() == pattern.len() && expression.bytes().zip(pattern.bytes()).all(same)
}

async fn the_next_attempt_of_a_retry_is_a_request_that_aws_takes(on: &Backend) {
    let config = on.behind_proxy().await;
    let queue = Queue::new(aws_sdk_sqs::Client::new(&config), on.resource("DeliveriesQueue"));
    let table = on.resource("DeliveriesTable");
    let deliveries = DeliveriesTable::new(aws_sdk_dynamodb::Client::new(&config), table);
    let operations = super::operations(on, &config);
    let protocol = Protocol { deliveries, queue, scheduler: scheduler(on).await, operations, metrics: metrics() };
    let key = DeliveryKey {
        endpoint_id: endpoint_id(),
        accepted_at: clock::now(),
        event_id: "e".repeat(64).parse().unwrap(),
    };
    let new = NewDelivery {
        tenant: "t".repeat(64).parse().unwrap(),
        event_type: "student.created".parse().unwrap(),
        expires_at: tomorrow(),
    };
    let record = Record {
        status: Status::Retrying,
        step: Step { round: 2, attempt: 3 },
        next: Some(Next { at: in_a_day(), route: Route::Scheduler }),
        ..Record::begin(key.clone(), new)
    };
    // The first time and every time: the second is no error.
    for _ in 0..2 {
        protocol.ensure_next(&record).await.unwrap();
    }
    let made = on.calls("CreateSchedule", &key.to_string());
    assert_eq!(made.len(), 2);
    assert_eq!(made[0].body["Name"], made[1].body["Name"]);
    let request = &made[0].body;
    let name = request["Name"].as_str().unwrap();
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    assert!((1..=64).contains(&name.len()) && name.bytes().all(is_name), "{name}");
    let expression = request["ScheduleExpression"].as_str().unwrap();
    assert!(is_one_shot(expression), "{expression}");
    assert_eq!(request["GroupName"], on.schedule_group());
    assert_eq!(request["ActionAfterCompletion"], "DELETE");
    assert_eq!(request["FlexibleTimeWindow"]["Mode"], "OFF");
    assert_eq!((&request["Target"]["Arn"], &request["Target"]["RoleArn"]), (&QUEUE_ARN.into(), &ROLE_ARN.into()));
    let message: serde_json::Value = serde_json::from_str(request["Target"]["Input"].as_str().unwrap()).unwrap();
    let expected = serde_json::json!({
        "v": 1, "delivery": key.to_string(), "round": 2, "attempt": 4, "not_before": in_a_day(),
    });
    assert_eq!(message, expected, "ids and the time that it is due");
}

on_scheduler! {
    a_one_shot_is_what_was_asked_for_and_deletes_itself,
    one_of_the_same_name_is_the_same_one,
    one_whose_answer_is_lost_is_made,
    every_other_refusal_is_an_error,
    the_next_attempt_of_a_retry_is_a_request_that_aws_takes,
    ; localstack "fails when a group is not there":
    a_group_that_is_not_there_is_an_error,
}
