//! The jobs Lambda.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    pombo_aws::logs::init();
    let app = &jobs::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| jobs::handle(app, event))).await
}
