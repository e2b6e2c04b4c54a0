//! The jobs Lambda.

use std::process::ExitCode;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use pombo_aws::logs;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    logs::init();
    logs::ended(run().await)
}

async fn run() -> Result<(), Error> {
    let app = &jobs::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| jobs::handle(app, event))).await
}
