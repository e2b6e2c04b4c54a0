//! Where things are: the workspace, and cargo's target directory, which holds all that is made here.

use std::path::{Path, PathBuf};

/// The workspace's root directory.
pub(crate) fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}

/// The target directory this program was built into, so that a nested cargo finds what is built already; cargo marks it
/// with a `CACHEDIR.TAG`. It need not be the workspace's `target`: an environment variable or a setting may move it.
#[must_use]
pub fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|program| {
            program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
        })
        .unwrap_or_else(|| workspace().join("target"))
}

/// The directory for what this crate makes: environments, logs, kept data.
pub(crate) fn scratch() -> PathBuf {
    target().join("local")
}

/// The log of the emulator `name` on `port`. Each port has a log of its own, because several stacks of one checkout may have
/// the same name.
pub(crate) fn log(name: &str, port: u16) -> PathBuf {
    scratch().join(format!("{name}-{port}.log"))
}

/// The directory for the data that the emulator `name` on `port` keeps. Each port has its own, for the same reason.
pub(crate) fn data(name: &str, port: u16) -> PathBuf {
    scratch().join(format!("{name}-{port}-data"))
}
