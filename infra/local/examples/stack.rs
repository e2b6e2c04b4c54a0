//! Starts a stack and registers an endpoint in it.

use local::{LocalOptions, LocalStack, Receiver};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stack = LocalStack::start(LocalOptions {
        name: "my-test".into(),
        parameters: vec![("SweepMinutes".into(), "1".into())],
        ..LocalOptions::default()
    })
    .await?;
    let receiver = Receiver::start()?;
    let wanted = serde_json::json!({"url": receiver.url("/hook"), "event_types": ["*"]});
    let (status, endpoint) = stack.endpoints().post("/v1/endpoints", &wanted).await?;
    println!("{status} {endpoint}");
    Ok(())
}
