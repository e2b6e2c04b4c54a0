//! Jobs: moves many deliveries, publishes Pombo's own events, and finds what is stuck.
//!
//! The Jobs queue is its only source. It brings legs of replays and drains, events to publish, and the sweep of the recurring
//! schedule. It has no URL: whatever comes to the operators' URL, which the function `replay` answers, takes no time from
//! what runs here. A leg runs by the code of `pombo-jobs`, which `replay` uses too for the one leg that it runs while its
//! caller waits.
//!
//! **What a crash can do.** Every change of a delivery is conditional on the record that was seen, and made before its
//! message is sent; a leg that runs again sends the messages of what it changed before. So a delivery may get a message
//! twice, which its record drops, and never none. A message that is not done comes again. If it does not, the sweep finds a
//! leg's job stalled and an event unqueued; and what a sweep leaves is found by the next.

mod jobs_queue;
mod leg;
mod publish;
mod settings;
mod sweep;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent};
use pombo_jobs::Invocation;

pub use self::settings::App;

/// Handles a batch of the Jobs queue.
pub async fn handle(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let invocation = Invocation::new(&event.context);
    Ok(jobs_queue::take(app, event.payload, &invocation).await)
}
