//! The replay Lambda.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use pombo_web::{Payload, UrlEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    pombo_aws::logs::init();
    let app = &replay::App::from_environment().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Payload<UrlEvent>>| replay::handle(app, event))).await
}
