//! Replay: operators see what became of each delivery and order it again.
//!
//! The Function URL is its only source. A replay is a job. That of chosen deliveries is stored with its page, and its one
//! leg runs at once with the code that the function `jobs` runs legs with, so that the answer says what became of each
//! delivery. One by filter is stored and queued, and `jobs` does the rest. A process that dies half-way leaves a stalled job,
//! which the sweep of `jobs` queues again.
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
mod list;
mod list_dead_letters;
mod list_deliveries;
mod list_events;
mod list_replays;
mod missed;
mod pending;
mod replay_view;
mod settings;
mod url;
mod view;
mod wire;

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use pombo_jobs::Invocation;
use pombo_web::{Payload, UrlEvent};
use serde_json::Value;

pub use self::console::Console;
pub use self::settings::App;
pub use self::url::{Call, Open, ROUTES};

/// Answers one request. No payload fails the invocation.
pub async fn handle(app: &App, event: LambdaEvent<Payload<UrlEvent>>) -> Result<Value, Infallible> {
    let invocation = Invocation::new(&event.context);
    let request = event.payload.into_request().map(Box::new);
    Ok(url::answer(app, request, &invocation).await.into())
}
