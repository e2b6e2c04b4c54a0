//! The `local` command: a stack, the lines to paste for it, and a demo. The stack stays up until Ctrl-C.

use std::{task::Poll, time::Duration};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{demo::Demo, emulator::Emulator, guide::guide, options::Options, progress::Progress, stack::LocalStack};

/// Runs the command until it is interrupted. Whatever it has started by then is stopped before this returns.
///
/// # Errors
/// One sentence that says what went wrong and what to do.
pub async fn run(options: Options) -> Result<()> {
    let progress = options.progress();
    tokio::select! {
        // First, so that nothing is started before it listens.
        biased;
        result = interrupted(progress) => result,
        result = up(options) => result,
    }
}

/// Comes back on Ctrl-C, when the terminal closes, or on a request to end. What was started is stopped after that.
async fn interrupted(progress: Progress) -> Result<()> {
    let mut signals = [SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()]
        .map(signal)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .context("Ctrl-C cannot be listened for")?;
    std::future::poll_fn(|context| {
        let any = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    progress.say("\nStopping ...");
    Ok(())
}

async fn up(options: Options) -> Result<()> {
    let progress = options.progress();
    let stack = match options.endpoint_url.as_deref() {
        None => LocalStack::start(options.stack()).await?,
        Some("aws") => LocalStack::start_elsewhere(None, options.stack()).await?,
        Some(url) => LocalStack::start_elsewhere(Some(url), options.stack()).await?,
    };
    if options.json {
        Progress::Stdout.say(serde_json::to_string(&Ready::from(&stack))?);
    }
    progress.say(guide(&stack, &options));
    let Some(emulator) = stack.emulator() else {
        return Ok(());
    };
    let shown = async {
        if !options.demo() {
            return std::future::pending().await;
        }
        progress
            .say("\nA demo, in the tenant `default`: one event that is delivered at once, and one that is retried.\n");
        Demo::show(&stack, progress).await?.go_on().await
    };
    tokio::select! {
        result = shown => result,
        gone = watch(emulator) => gone,
    }
}

/// Ends with an error when the emulator is gone.
async fn watch(emulator: &Emulator) -> Result<()> {
    while emulator.is_running() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!("the emulator ended; the reason may be in its log, {}", emulator.log().display())
}

/// What a script gets to know.
#[derive(Serialize)]
struct Ready<'a> {
    ingest_url: &'a str,
    endpoints_url: &'a str,
    replay_url: &'a str,
    admin_key: &'a str,
    ingest_key: &'a str,
    ops_key: &'a str,
    aws_endpoint_url: Option<&'a str>,
    region: &'a str,
    stack: &'a str,
}

impl<'a> From<&'a LocalStack> for Ready<'a> {
    fn from(stack: &'a LocalStack) -> Self {
        Self {
            ingest_url: &stack.urls.ingest,
            endpoints_url: &stack.urls.endpoints,
            replay_url: &stack.urls.replay,
            admin_key: &stack.keys.admin,
            ingest_key: &stack.keys.ingest,
            ops_key: &stack.keys.ops,
            aws_endpoint_url: stack.endpoint_url.as_deref(),
            region: &stack.region,
            stack: &stack.name,
        }
    }
}
