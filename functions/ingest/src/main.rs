//! The ingest Lambda.

use lambda_runtime::{Error, LambdaEvent, service_fn, tracing};
use pombo_web::{Payload, UrlEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let app = &ingest::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Payload<UrlEvent>>| ingest::handle(app, event))).await
}
