//! Measures how much processor time an event costs: the release binaries of ingest and dispatch, as they are deployed.
//!
//! ```sh
//! cargo build --release -p ingest -p dispatch
//! cargo run -p pombo-bench -- target/release
//! ```
//!
//! Each sandbox is a process under a small Runtime API. A few hundred lines in this process stand for DynamoDB, SQS and the
//! receiver (`aws.rs` says how far they resemble the real services). The time that these lines take does not matter, because
//! only the processor time of the functions is counted, user and system. There is no TLS anywhere. A post has a body of 2 KB
//! and goes to one endpoint, which answers `200`. 32 posts are under way at a time, each in its own sandbox, and dispatch
//! gets full batches.
//!
//! With two directories, their binaries take turns, and each pair gives a ratio. Other work on the machine then slows both:
//!
//! ```sh
//! cargo run -p pombo-bench -- --pairs 6 /path/of/the/old target/release
//! ```

mod aws;
mod body;
mod functions;
mod items;
mod report;
mod run;
mod runtime_api;
mod serve;

use std::path::PathBuf;

use clap::Parser;

use crate::report::Report;
use crate::run::Load;

/// Measures how much processor time an event costs with the binaries of one directory, or of two directories in turn.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directories with `ingest` and `dispatch`, or directories that `sam build` made.
    #[arg(required_unless_present = "body", num_args = 1..=2)]
    directories: Vec<PathBuf>,
    /// How many times each directory is measured.
    #[arg(long, default_value_t = 3, value_parser = positive)]
    pairs: usize,
    /// How many events are posted in one measurement.
    #[arg(long, default_value_t = 4000, value_parser = positive)]
    events: usize,
    /// How many posts are under way at a time.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    in_flight: usize,
    /// Let dispatch claim first attempts too, like the stack's parameter `ClaimFirstAttempts`.
    #[arg(long)]
    claim: bool,
    /// Print the body that is posted, so that another sender can be measured with it, and end.
    #[arg(long)]
    body: bool,
}

/// Parses a number above zero.
fn positive(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|number| *number > 0).ok_or_else(|| "is not a number above zero".to_owned())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.body {
        println!("{}", body::post(0));
        return Ok(());
    }
    let load = Load { events: arguments.events, in_flight: arguments.in_flight, claim: arguments.claim };
    let mut report = Report::new(&arguments.directories);
    for pair in 0..arguments.pairs {
        // The order changes each time, because the second of a pair may find the processor warmer, or slower.
        let mut order: Vec<usize> = (0..arguments.directories.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        let mut costs = Vec::new();
        for place in order {
            costs.push((place, run::measure(&arguments.directories[place], load).await?));
        }
        costs.sort_by_key(|(place, _)| *place);
        report.add(costs.into_iter().map(|(_, cost)| cost).collect());
    }
    report.end();
    Ok(())
}
