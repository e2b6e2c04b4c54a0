//! Dispatch: takes deliveries from the queue, calls the endpoint, records the outcome, and sends what follows on its way.
//!
//! Every message may be a repeat, late or out of order, and this process may die at any point. What a message may do is
//! decided by [`verdict`](pombo_domain::delivery::verdict); what is written and in which order, by the protocol driver in
//! `pombo-aws`. A message is acknowledged only when its attempt is recorded and the next one is on its way, or when
//! another message has taken its place. `batchItemFailures` says one thing: we could not do our part.

mod attempt;
mod classify;
mod deliver;
mod endpoint_cache;
mod health;
mod http;
mod invocation;
mod settings;
mod slot;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::future::join_all;
use lambda_runtime::{Error, LambdaEvent};

pub use self::settings::App;
use crate::invocation::Invocation;

/// Handles a batch: its messages concurrently, and the answer in time whatever they do.
pub async fn handle(app: &App, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
    let invocation = Invocation::new(&event.context);
    let work = event.payload.records.iter().map(|message| handle_message(app, &invocation, message));
    let mut response = SqsBatchResponse::default();
    for failure in join_all(work).await.into_iter().flatten() {
        response.add_failure(failure);
    }
    Ok(response)
}

/// Handles one message; gives its id when it has to come again.
async fn handle_message(app: &App, invocation: &Invocation, message: &SqsMessage) -> Option<String> {
    let id = message.message_id.clone().unwrap_or_default();
    let body = message.body.as_deref().unwrap_or_default();
    let holder = invocation.holder(&id);
    match tokio::time::timeout(invocation.until_answer(), deliver::deliver(app, invocation, &holder, body)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::error!(message = id, %error, "A message could not be handled; it will come again.");
            Some(id)
        }
        Err(_) => {
            tracing::error!(message = id, "Time ran out on a message; it will come again.");
            Some(id)
        }
    }
}
