//! The endpoints Lambda.

use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = &endpoints::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| endpoints::handle(app, event))).await
}
