//! Python environments, made once under the target directory from a pinned list and used by every process after that.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{artifacts::fingerprint, paths, process, progress::Progress};

/// A list of packages to install, and what they are, for the reader.
pub(crate) struct Requirements {
    pub(crate) what: &'static str,
    pub(crate) list: &'static str,
}

/// The emulator.
pub(crate) const EMULATOR: Requirements =
    Requirements { what: "the emulator", list: include_str!("../requirements.txt") };

/// cargo-lambda.
pub(crate) const CARGO_LAMBDA: Requirements =
    Requirements { what: "cargo-lambda", list: include_str!("../requirements-build.txt") };

/// The environment's directory; its programs are in `bin`.
///
/// The name is a hash of the list, so a changed list makes a new environment. Of several processes that want the same
/// one, the holder of the lock makes it and the others wait. The mark is written last: what was left half made by a
/// process that died is made again.
pub(crate) async fn ensure(wanted: &Requirements, progress: Progress) -> Result<PathBuf> {
    let directory = paths::scratch().join(format!("venv-{}", fingerprint(wanted.list.as_bytes())));
    let mark = directory.join("complete");
    if mark.is_file() {
        return Ok(directory);
    }
    fs::create_dir_all(paths::scratch()).context("could not make a directory under target/")?;
    let _lock = lock(directory.with_extension("lock")).await?;
    if mark.is_file() {
        return Ok(directory);
    }
    progress.say(format!("Installing {} (once) ...", wanted.what));
    let _ = fs::remove_dir_all(&directory);
    install(wanted, &directory).await?;
    fs::write(&mark, "")?;
    Ok(directory)
}

async fn install(wanted: &Requirements, directory: &Path) -> Result<()> {
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv"]).arg(directory);
    let made = process::run(venv, false)
        .await?
        .ok_or_else(|| anyhow!("python3 was not found: install Python 3.10 or newer, then run this again"))?;
    if !made.status.success() {
        bail!(
            "python3 could not make a virtual environment ({}): install its venv module \
             (python3-venv on Debian and Ubuntu), then run this again",
            made.last_words()
        );
    }
    let python = directory.join("bin/python");
    let mut version = Command::new(&python);
    version.args(["-c", "import sys; sys.exit(sys.version_info < (3, 10))"]);
    if !process::run(version, false).await?.is_some_and(|it| it.status.success()) {
        bail!("python3 is older than 3.10: install a newer one, then run this again");
    }
    let list = directory.join("requirements.txt");
    fs::write(&list, wanted.list)?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    let installed = process::run(
        {
            pip.arg(list);
            pip
        },
        false,
    )
    .await?;
    match installed {
        Some(pip) if pip.status.success() => Ok(()),
        Some(pip) => bail!(
            "{} could not be installed from PyPI: check the network, then run this again (pip: {})",
            wanted.what,
            pip.last_words()
        ),
        None => bail!("{} has no python: remove it, then run this again", directory.display()),
    }
}

/// Waits for the lock; it is released when the file is dropped, or its process ends.
async fn lock(path: PathBuf) -> Result<File> {
    let file = File::create(&path).with_context(|| format!("could not write {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("could not lock {}", path.display()));
            }
        }
    }
}
