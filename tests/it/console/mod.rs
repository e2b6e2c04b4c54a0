//! The console in a browser, against the stack.
//!
//! Needs Chromium: `apt-get install chromium` on Debian and Ubuntu. Pictures of each view are left in `target/console`.

mod access;
mod axe;
pub mod browser;
mod held;
mod injection;
mod journeys;
mod keys;
mod names;
pub mod operator;
mod reasons;
mod times;
mod truth;
mod views;

use std::path::PathBuf;

/// Where pictures are kept.
fn artefacts() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("console");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
