//! One thin adapter for each AWS service, and the protocol driver that they serve.
//!
//! An adapter makes AWS calls and nothing else: it turns values of the domain into requests and answers into values.
//! What to write is decided in `pombo-domain`. The adapters are tested against a real wire protocol, never against mocks.

pub mod admission;
pub mod api_keys;
mod batch;
pub mod clock;
pub mod connections;
pub mod deliveries;
pub mod effect;
pub mod endpoints;
pub mod error;
pub mod event_limit;
pub mod events;
mod failures;
pub mod fan_out;
pub mod health;
mod item;
pub mod jobs;
pub mod logs;
pub mod metrics;
pub mod missed;
pub mod operations;
pub mod prices;
pub mod protocol;
pub mod queue;
pub mod rate_limit;
pub mod routing;
pub mod scheduler;
pub mod settings;
pub mod test_limit;
pub mod versioned;
mod writer;

pub use error::AwsError;
