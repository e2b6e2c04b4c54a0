//! The ingest Lambda.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use pombo_aws::logs;
use pombo_web::{Payload, UrlEvent};

/// The system's allocator gives memory back after each event, and asks for it again at the next event.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::ended(run().await)
}

async fn run() -> Result<(), Error> {
    let app = &ingest::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Payload<UrlEvent>>| ingest::handle(app, event))).await
}
