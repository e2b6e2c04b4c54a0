//! EventBridge Scheduler: one-shots that put a message on the Deliveries queue.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::operation::create_schedule::CreateScheduleError;
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy, Target,
};
use pombo_domain::time::Timestamp;

use crate::effect::effect;
use crate::error::AwsError;

/// How long Scheduler goes on trying to reach the queue, in seconds. After that the record is overdue, and the sweep
/// queues the attempt.
const OLDEST_EVENT_SECONDS: i32 = 3600;

/// Where one-shots are made and what they send to.
#[derive(Debug, Clone)]
pub struct Scheduler {
    client: Client,
    target: SchedulerTarget,
}

/// What a one-shot needs beside its name, time and input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerTarget {
    /// The schedule group.
    pub group: String,
    /// The queue's ARN.
    pub queue_arn: String,
    /// The role with which Scheduler sends to it.
    pub role_arn: String,
}

impl Scheduler {
    /// For this group and queue.
    #[must_use]
    pub const fn new(client: Client, target: SchedulerTarget) -> Self {
        Self { client, target }
    }

    /// Creates a one-shot that puts `input` on the queue about `at`, then deletes itself. Scheduler is precise to a minute.
    /// One of the same name is the same one: its name says what for and when.
    pub async fn create(&self, name: &str, at: Timestamp, input: &str) -> Result<(), AwsError> {
        const CALL: &str = "scheduler:CreateSchedule";
        let unreadable = |error| AwsError::unreadable(CALL, error);
        let retry = RetryPolicy::builder().maximum_event_age_in_seconds(OLDEST_EVENT_SECONDS).build();
        let target = Target::builder()
            .arn(&self.target.queue_arn)
            .role_arn(&self.target.role_arn)
            .input(input)
            .retry_policy(retry)
            .build()
            .map_err(unreadable)?;
        let window = FlexibleTimeWindow::builder().mode(FlexibleTimeWindowMode::Off).build().map_err(unreadable)?;
        let request = self
            .client
            .create_schedule()
            .name(name)
            .group_name(&self.target.group)
            .schedule_expression(at.to_at_expression())
            .flexible_time_window(window)
            .action_after_completion(ActionAfterCompletion::Delete)
            .target(target);
        match effect(CALL, request.send()).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.as_service_error(), Some(CreateScheduleError::ConflictException(_))) => Ok(()),
            Err(error) => Err(AwsError::new(CALL, error)),
        }
    }
}
