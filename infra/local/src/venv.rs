//! Python environments, made once under the target directory from a pinned list and used by every process after that; for
//! a list that brings Node.js, with packages from npm.
//!
//! A list has the hash of every file that may be installed (`.ci/lock` writes it), and pip takes nothing else. Nothing of a
//! package runs while it is installed, except where a list says that a package has to be built.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{fingerprint::fingerprint, paths, process, progress::Progress};

/// What to install.
#[derive(Debug)]
pub struct Requirements {
    /// What it is, for the reader.
    pub what: &'static str,
    /// Python packages, all that are needed, pinned and with hashes, as pip's requirements.
    pub list: &'static str,
    /// Packages from npm; the list must bring `npm` itself.
    pub npm: Option<Npm>,
}

/// Packages from npm.
#[derive(Debug)]
pub struct Npm {
    /// The `package.json`.
    pub package: &'static str,
    /// Its `package-lock.json`.
    pub lock: &'static str,
}

/// The emulator.
pub(crate) const EMULATOR: Requirements =
    Requirements { what: "the emulator", list: include_str!("../requirements.txt"), npm: None };

/// cargo-lambda.
pub(crate) const CARGO_LAMBDA: Requirements =
    Requirements { what: "cargo-lambda", list: include_str!("../requirements-build.txt"), npm: None };

/// The environment's directory; its programs are in `bin`, packages from npm in `node_modules`.
///
/// The name is a hash of the lists, so a changed list makes a new environment. Of several processes that want the same
/// one, the holder of the lock makes it and the others wait. The mark is written last: what was left half made by a
/// process that died is made again.
///
/// # Errors
/// When something is missing on this machine, or a registry cannot be reached.
pub async fn ensure(wanted: &Requirements, progress: Progress) -> Result<PathBuf> {
    let npm = wanted.npm.as_ref().map_or([""; 2], |npm| [npm.package, npm.lock]);
    let lists = [wanted.list, npm[0], npm[1]].concat();
    let directory = paths::scratch().join(format!("venv-{}", fingerprint(lists.as_bytes())));
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
    if let Some(npm) = &wanted.npm {
        install_npm(wanted.what, npm, &directory).await?;
    }
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
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(list);
    match process::run(pip, false).await? {
        Some(pip) if pip.status.success() => Ok(()),
        Some(pip) if pip.stderr.contains("hash") || pip.stderr.contains("HASH") => bail!(
            "{} was not installed, because a file is not the one whose hash is in the list: check where pip gets its \
             packages from (`python3 -m pip config list`), then run this again (pip: {})",
            wanted.what,
            pip.stderr.trim()
        ),
        Some(pip) => bail!(
            "{} could not be installed from PyPI: check the network, then run this again (pip: {})",
            wanted.what,
            pip.last_words()
        ),
        None => bail!("{} has no python: remove it, then run this again", directory.display()),
    }
}

/// No script of a package is run.
async fn install_npm(what: &str, npm: &Npm, directory: &Path) -> Result<()> {
    fs::write(directory.join("package.json"), npm.package)?;
    fs::write(directory.join("package-lock.json"), npm.lock)?;
    let mut ci = Command::new(directory.join("bin/npm"));
    ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(directory);
    match process::run(ci, false).await? {
        Some(ci) if ci.status.success() => Ok(()),
        Some(ci) => bail!(
            "{what} could not be installed from npm: check the network, then run this again (npm: {})",
            ci.last_words()
        ),
        None => bail!("{} has no npm: remove it, then run this again", directory.display()),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::io::Write;

    use super::*;

    /// Writes a package that pip would install; gives its URL.
    fn package() -> String {
        let path = paths::scratch().join("venv_probe-1.0-py3-none-any.whl");
        fs::create_dir_all(paths::scratch()).unwrap();
        let mut wheel = zip::ZipWriter::new(File::create(&path).unwrap());
        for (name, text) in [
            ("METADATA", "Metadata-Version: 2.1\nName: venv-probe\nVersion: 1.0\n"),
            ("WHEEL", "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            ("RECORD", ""),
        ] {
            let options = zip::write::SimpleFileOptions::default();
            wheel.start_file(format!("venv_probe-1.0.dist-info/{name}"), options).unwrap();
            wheel.write_all(text.as_bytes()).unwrap();
        }
        wheel.finish().unwrap();
        format!("venv-probe @ file://{}", path.display())
    }

    #[tokio::test]
    async fn a_file_without_its_hash_in_the_list_is_not_installed() {
        let package = package();
        for list in [package.clone(), format!("{package} --hash=sha256:{}", "0".repeat(64))] {
            let directory = paths::scratch().join(format!("venv-probe-{}", list.len()));
            let list: &'static str = list.leak();
            let error = install(&Requirements { what: "the probe", list, npm: None }, &directory).await;
            let error = error.expect_err("it was installed").to_string();
            assert!(error.starts_with("the probe was not installed, because a file is not the one"), "{error}");
            fs::remove_dir_all(directory).unwrap();
        }
    }
}
