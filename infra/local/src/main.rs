//! `cargo run -p local`: Pombo on this machine. What it does is in the library.

use std::process::ExitCode;

use clap::Parser;
use local::options::Options;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match local::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("local: {error:#}");
            ExitCode::FAILURE
        }
    }
}
