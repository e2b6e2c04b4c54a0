//! A stack with what is off by default.

use pombo_tests::{Hook, SOON, Stack, scenario};
use serde_json::json;

/// Without `DispatchMaximumConcurrency`: the emulator takes its number for a text, and polls no queue then.
#[scenario]
async fn a_stack_with_its_options_is_made_and_delivers() {
    let options = [
        ("AlarmEmail", "ops@example.com"),
        ("CreateDashboard", "true"),
        ("DeletionProtection", "true"),
        ("DispatchBatchingSeconds", "1"),
        ("IngestReservedConcurrency", "5"),
        ("DispatchReservedConcurrency", "5"),
        ("ReplayReservedConcurrency", "5"),
        ("EndpointsReservedConcurrency", "5"),
        ("SweepMinutes", "1"),
    ];
    let stack = Stack::own("options", &options).await;
    let hook = Hook::new(stack, json!({}), |_| local::Answer::status(200)).await;
    let event = hook.post().await;
    hook.until_status(&event, "succeeded", SOON).await;
    assert!(stack.local.outputs.contains_key("DashboardName"), "{:?}", stack.local.outputs);
    let dynamodb = aws_sdk_dynamodb::Client::new(&stack.local.sdk_config().await);
    let refused = dynamodb.delete_table().table_name(stack.resource("EventsTable")).send().await;
    assert!(refused.is_err(), "a protected table was deleted");
}
