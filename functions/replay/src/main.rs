//! The replay Lambda.

use std::process::ExitCode;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use pombo_aws::logs;
use pombo_web::{Payload, UrlEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::ended(run().await)
}

async fn run() -> Result<(), Error> {
    let app = &replay::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Payload<UrlEvent>>| replay::handle(app, event))).await
}
