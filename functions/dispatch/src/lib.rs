//! Dispatch: takes deliveries from the queue, calls the endpoint, records the outcome, and sends what follows on its way.
//!
//! Every message may be a repeat, late or out of order, and this process may die at any point. What a message may do is
//! decided by [`verdict`](pombo_domain::delivery::verdict); what is written and in which order, by the protocol driver in
//! `pombo-aws`. The first attempt of a delivery may be made without a claim, see
//! [`first_attempt`](pombo_domain::first_attempt). A message is acknowledged only when its attempt is recorded and the next
//! one is on its way, or when another message has taken its place. An entry in `batchItemFailures` means only that dispatch
//! could not do its part.

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
use pombo_aws::logs::spans;
use pombo_aws::metrics::Metric;
use tracing::Instrument as _;

pub use self::endpoint_cache::EndpointCache;
pub use self::http::HttpSender;
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
    app.protocol.metrics.count(Metric::MessagesFailed, response.batch_item_failures.len());
    Ok(response)
}

/// Handles one message; gives its id when it has to come again.
async fn handle_message(app: &App, invocation: &Invocation, message: &SqsMessage) -> Option<String> {
    let id = message.message_id.clone().unwrap_or_default();
    let body = message.body.as_deref().unwrap_or_default();
    let holder = invocation.holder(&id);
    let work = finishes(invocation, deliver::deliver(app, invocation, &holder, body, times_received(message)));
    let is_done = work.instrument(spans::message(&id)).await;
    (!is_done).then_some(id)
}

/// How often SQS has given out the message; `None` if SQS does not say.
fn times_received(message: &SqsMessage) -> Option<u32> {
    message.attributes.get("ApproximateReceiveCount")?.parse().ok()
}

/// Whether the work of a message is done in time. Work that panics is not done, and the rest of its batch goes on: with the
/// batch, requests would be given up that receivers have had already.
async fn finishes<E: Display>(invocation: &Invocation, work: impl Future<Output = Result<(), E>>) -> bool {
    // What the work shares with others are clients and caches, whole between any two of their calls.
    let work = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout(invocation.until_answer(), work).await {
        Ok(Ok(Ok(()))) => return true,
        Ok(Ok(Err(error))) => {
            tracing::error!(%error, "A message could not be handled; it will come again.");
        }
        Ok(Err(_)) => tracing::error!("A message made its work panic; it will come again."),
        Err(_) => tracing::error!("Time ran out on a message; it will come again."),
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use lambda_runtime::Context;
    use pombo_aws::clock;
    use pombo_domain::delivery::{DeliveryKey, Step};
    use pombo_domain::ids::EndpointId;
    use serde_json::Value;

    use super::*;
    use crate::http::tests::logged::Log;

    fn invocation(left: Duration) -> Invocation {
        let mut context = Context::default();
        context.deadline = clock::now().plus(left).as_millis().unsigned_abs();
        Invocation::new(&context)
    }

    #[test]
    fn a_count_of_receives_is_read_and_one_that_is_missing_or_no_number_is_not_known() {
        let counted = |count: &str| {
            let mut message = SqsMessage::default();
            message.attributes.insert("ApproximateReceiveCount".to_owned(), count.to_owned());
            times_received(&message)
        };
        assert_eq!((counted("1"), counted("12")), (Some(1), Some(12)));
        assert_eq!((counted("one"), counted(""), counted("-1")), (None, None, None));
        assert_eq!(times_received(&SqsMessage::default()), None);
    }

    #[tokio::test]
    async fn work_that_panics_fails_hangs_or_is_done_leaves_the_others_of_its_batch_alone() {
        // Of three and a half seconds, three are kept for the answer.
        let invocation = invocation(Duration::from_millis(3500));
        let works = ["panics", "fails", "hangs", "done"].map(|what| finishes(&invocation, ends(what)));
        assert_eq!(join_all(works).await, [false, false, false, true]);
    }

    /// Work that ends in this way, when other work has begun.
    async fn ends(what: &str) -> Result<(), &'static str> {
        tokio::task::yield_now().await;
        match what {
            "panics" => panic!("poison"),
            "fails" => Err("failed"),
            "hangs" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    #[tokio::test]
    async fn each_line_of_a_batch_has_the_ids_of_its_own_message_also_where_only_errors_are_logged() {
        let (log, subscriber) = Log::at("ERROR");
        let logging = tracing::subscriber::set_default(subscriber);
        let invocation = invocation(Duration::from_millis(3500));
        let key = |event: &str| DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: clock::now(),
            event_id: event.parse().unwrap(),
        };
        let works = ["panics", "fails", "hangs", "done"].map(|what| {
            let delivery = key(what);
            let work = finishes(&invocation, async move {
                spans::note_delivery(&delivery, Step::FIRST);
                ends(what).await
            });
            work.instrument(spans::message(what))
        });
        join_all(works).await;
        drop(logging);
        let lines = log.take();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said: BTreeMap<_, _> = lines.iter().map(|line| (line["event"].as_str().unwrap(), line)).collect();
        for (what, message) in [
            ("panics", "A message made its work panic; it will come again."),
            ("fails", "A message could not be handled; it will come again."),
            ("hangs", "Time ran out on a message; it will come again."),
        ] {
            let line = said[what];
            assert_eq!(
                (&line["message_id"], &line["step"], &line["message"]),
                (&what.into(), &"0.1".into(), &message.into())
            );
            assert!(line["delivery"].is_string() && line["endpoint"].is_string(), "{line}");
        }
        assert_eq!(lines.len(), 3, "{lines:?}");
    }
}
