//! Dispatch: takes deliveries from the queue, calls the endpoint, records the outcome, and sends what follows on its way.
//!
//! Every message may be a repeat, late or out of order, and this process may die at any point. What a message may do is
//! decided by [`verdict`](pombo_domain::delivery::verdict); what is written and in which order, by the protocol driver in
//! `pombo-aws`. A message is acknowledged only when its attempt is recorded and the next one is on its way, or when
//! another message has taken its place. `batchItemFailures` says one thing: we could not do our part.

mod attempt;
mod deliver;
mod endpoint_cache;
mod health;
mod http;
mod invocation;
mod probe;
mod settings;
mod slot;

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::FutureExt as _;
use futures::future::join_all;
use lambda_runtime::{Error, LambdaEvent};
use pombo_aws::metrics::Metric;

pub use self::endpoint_cache::EndpointCache;
pub use self::http::HttpSender;
pub use self::settings::App;
use crate::invocation::Invocation;

/// Handles a batch: its messages concurrently, and the answer in time whatever they do.
pub async fn handle(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let invocation = Invocation::new(&event.context);
    app.sender.wake();
    let work = event.payload.records.iter().map(|message| handle_message(app, &invocation, message));
    let mut response = SqsBatchResponse::default();
    for failure in join_all(work).await.into_iter().flatten() {
        response.add_failure(failure);
    }
    app.sender.rest();
    app.protocol.metrics.count(Metric::MessagesFailed, response.batch_item_failures.len());
    Ok(response)
}

/// Handles one message; gives its id when it has to come again.
async fn handle_message(app: &App, invocation: &Invocation, message: &SqsMessage) -> Option<String> {
    let id = message.message_id.clone().unwrap_or_default();
    let body = message.body.as_deref().unwrap_or_default();
    let holder = invocation.holder(&id);
    let is_done = finishes(invocation, &id, deliver::deliver(app, invocation, &holder, body)).await;
    (!is_done).then_some(id)
}

/// Whether the work of a message is done in time. Work that panics is not done, and the rest of its batch goes on: with the
/// batch, requests would be given up that receivers have had already.
async fn finishes<E: Display>(invocation: &Invocation, id: &str, work: impl Future<Output = Result<(), E>>) -> bool {
    // What the work shares with others are clients and caches, whole between any two of their calls.
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(invocation.until_answer(), work).await {
        Ok(Ok(Ok(()))) => return true,
        Ok(Ok(Err(error))) => {
            tracing::error!(message = id, %error, "A message could not be handled; it will come again.");
        }
        Ok(Err(_)) => tracing::error!(message = id, "A message made its work panic; it will come again."),
        Err(_) => tracing::error!(message = id, "Time ran out on a message; it will come again."),
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lambda_runtime::Context;
    use pombo_aws::clock;

    use super::*;

    fn invocation(left: Duration) -> Invocation {
        let mut context = Context::default();
        context.deadline = clock::now().plus(left).as_millis().unsigned_abs();
        Invocation::new(&context)
    }

    #[tokio::test]
    async fn work_that_panics_fails_hangs_or_is_done_leaves_the_others_of_its_batch_alone() {
        // Of three and a half seconds, three are kept for the answer.
        let invocation = invocation(Duration::from_millis(3500));
        let works = ["panics", "fails", "hangs", "done"].map(|what| {
            finishes(&invocation, what, async move {
                tokio::task::yield_now().await;
                match what {
                    "panics" => panic!("poison"),
                    "fails" => Err("failed"),
                    "hangs" => std::future::pending().await,
                    _ => Ok(()),
                }
            })
        });
        assert_eq!(join_all(works).await, [false, false, false, true]);
    }
}
