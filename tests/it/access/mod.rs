//! Who may do what: API keys, the functions' roles, and what is in the logs.

mod cells;
mod echoing;
mod flows;
mod lines;
mod lists;
mod logs;
mod roles;

use local::LocalOptions;
use pombo_tests::Stack;
use tokio::sync::OnceCell;

/// The stack of the tests that make calls of the APIs.
async fn stack() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let options = LocalOptions { enforce_iam: true, ..LocalOptions::default() };
    STACK.get_or_init(|| Stack::start_with("access", &[], options)).await
}
