//! A newcomer follows README.md: starts the local stack, pastes the lines that it prints, then every example in its order.
//!
//! The commands come from the `sh` blocks of README.md. A block `cargo run -p local …` starts a stack, and the blocks after it
//! run in a shell that has its `export` lines. Every command must exit with 0, and every call must answer 2xx, or the status
//! that the paragraph above its block announces. Only the blocks that cannot be run here are listed, in [`NOT_RUN`].

mod blocks;
mod first_hour;
mod session;

use local::Emulator;
use pombo_tests::scenario;

use blocks::Block;
use session::{LocalCommand, paste};

/// Blocks that this test does not run, by their first command, and why.
const NOT_RUN: [(&str, &str); 6] = [
    ("cargo test --workspace", "it runs this test"),
    ("sam deploy --parameter-overrides AlarmEmail=ops@example.com", "it needs an account of AWS"),
    ("sam build && sam deploy", "it needs an account of AWS"),
    (r#"aws lambda invoke --function-name "$(aws cloudformation describe-stacks --stack-name pombo \"#, "the same"),
    (r"aws cloudformation list-stack-resources --stack-name pombo --output text \", "the same"),
    (r"for table in $(aws cloudformation list-stack-resources --stack-name pombo --output text \", "the same"),
];

/// What the receiver of README.md prints when an event has come: its id and the beginning of its body.
const EVENT_CAME: &str = "enrolment-4711 {";

#[scenario(slow)]
async fn every_command_of_the_readme_works_when_it_is_pasted_in_order() {
    let mut stacks = stacks(blocks::commands()).into_iter();
    let port = Emulator::free_port().unwrap();

    let (start, examples) = stacks.next().expect("README.md starts no stack");
    let local = LocalCommand::start(&start, "is registered for student.*").await;
    let exports = local.exports();
    assert_eq!(exports.len(), 6, "{exports:?}");
    let calls = local.printed_calls();
    let targets: Vec<_> = calls.iter().filter_map(|call| call.text.split('"').nth(3)).collect();
    let expected = ["$ENDPOINTS_URL/v1/endpoints", "$INGEST_URL/v1/events", "$REPLAY_URL/v1/deliveries"];
    assert_eq!(targets, expected, "a newcomer registers an endpoint, posts an event, and looks at the delivery");
    let said = paste(&exports, &[examples, calls].concat(), port, &[(EVENT_CAME, 2), (r#""Ada""#, 1)]).await;
    drop(local);
    assert!(said.contains(r#""result":"queued""#), "nothing was replayed:\n{said}");

    for (start, examples) in stacks {
        let local = LocalCommand::start(&start, "Ctrl-C").await;
        assert!(!examples.is_empty(), "{start:?} is started for nothing");
        paste(&local.exports(), &examples, port, &[]).await;
    }
}

#[scenario]
fn every_block_of_the_readme_is_run_or_listed_with_a_reason() {
    let skipped: Vec<_> = blocks::commands().into_iter().filter(|block| !block.can_be_pasted()).collect();
    let skipped: Vec<_> = skipped.iter().map(Block::first_command).collect();
    assert_eq!(skipped, NOT_RUN.map(|(command, _)| command));
}

/// The blocks that are run: each that starts a stack, with those that belong to it. A block belongs to the first stack, or,
/// where the paragraph above it sends the reader to one more terminal, to the stack that was started last.
fn stacks(commands: Vec<Block>) -> Vec<(Block, Vec<Block>)> {
    let mut stacks: Vec<(Block, Vec<Block>)> = Vec::new();
    for block in commands.into_iter().filter(Block::can_be_pasted) {
        if block.starts_a_stack() {
            stacks.push((block, Vec::new()));
        } else {
            let place = if block.above.contains("In one more terminal") { stacks.len() - 1 } else { 0 };
            stacks[place].1.push(block);
        }
    }
    stacks
}
