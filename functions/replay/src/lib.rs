//! Replay: operators see what became of each delivery and order it again; jobs move many deliveries; the sweep finds what
//! is stuck.
//!
//! One function with two sources. The Function URL answers operators. The Jobs queue brings legs of jobs, Pombo's own
//! events to publish, and the sweep of the recurring schedule. A replay ordered over the URL is a job like any other. That
//! of chosen deliveries is stored with its page, and its one leg runs at once with the code that the queue's legs run, so
//! that the answer says what became of each delivery; one by filter goes on from the queue. A process that dies half-way
//! leaves a stalled job, which the sweep queues again.
//!
//! **What a crash can do.** Every change of a delivery is conditional on the record that was seen, and made before its
//! message is sent; a leg that runs again sends the messages of what it changed before. So a delivery may get a message
//! twice, which its record drops, and never none.

mod cancel_delivery;
mod cancel_replay;
mod console;
mod create_replay;
mod get_delivery;
mod get_event;
mod get_health;
mod get_replay;
mod held;
mod invocation;
mod jobs_queue;
mod leg;
mod list;
mod list_dead_letters;
mod list_deliveries;
mod list_events;
mod list_replays;
mod merge;
mod missed;
mod pending;
mod publish;
mod replay_view;
mod send;
mod settings;
mod sweep;
mod url;
mod view;
mod wire;

use std::collections::BTreeMap;

use lambda_runtime::{Error, LambdaEvent};
use pombo_web::{Payload, Problem, Response, Source};
use serde_json::Value;
use serde_json::value::RawValue;

pub use self::console::Console;
use self::invocation::Invocation;
pub use self::settings::App;
pub use self::url::{Call, Open, ROUTES};

/// Handles one invocation: a request to the Function URL, or a batch of the Jobs queue. Only a batch may fail it, since its
/// messages then come again.
pub async fn handle(app: &App, event: LambdaEvent<Payload<Box<RawValue>>>) -> Result<Value, Error> {
    let invocation = Invocation::new(&event.context);
    match event.payload.source() {
        Source::Url(request) => Ok(url::answer(app, request, &invocation).await.into()),
        Source::Direct(payload) if is_batch(payload) => {
            let batch = serde_json::from_str(payload)
                .map_err(|error| pombo_domain::text::without_values(&error.to_string()))?;
            jobs_queue::take(app, batch, &invocation).await
        }
        Source::Direct(_) => {
            tracing::warn!("A payload is neither a request to the Function URL nor a batch of the Jobs queue.");
            let detail = "The payload is neither a request to the Function URL nor a batch of the Jobs queue.";
            Ok(Response::from(Problem::new(400, detail)).into())
        }
    }
}

fn is_batch(payload: &str) -> bool {
    let members: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_str(payload);
    members.is_ok_and(|members| members.contains_key("Records"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_known_by_its_records_whatever_they_are() {
        for (payload, expected) in [
            (r#"{"Records":[]}"#, true),
            (r#"{"Records":7}"#, true),
            (r#"{"Records":[],"Records":[{"body":"\ud800"}]}"#, true),
            ("{}", false),
            ("[]", false),
            (r#""Records""#, false),
        ] {
            assert_eq!(is_batch(payload), expected, "{payload}");
        }
    }
}
