//! Builds the functions with cargo: for this machine in the quick profile, or for another with cargo-lambda.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::{
    paths,
    process::{self, Finished},
    progress::Progress,
    template::Template,
    venv,
};

/// A processor, in the template's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    Arm64,
    X86_64,
}

impl Architecture {
    /// This machine's.
    pub(crate) fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 }
    }

    /// The value of the template's parameter.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Reads the template's parameter.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "arm64" => Ok(Self::Arm64),
            "x86_64" => Ok(Self::X86_64),
            _ => bail!("Architecture is arm64 or x86_64, not {name}"),
        }
    }
}

/// Each function's program, by the name of its crate.
pub type Programs = BTreeMap<String, PathBuf>;

/// Builds the template's functions for this machine, with crash points or as they are; gives each one's program. The other
/// kind of build puts its programs in the same places.
///
/// # Errors
/// When they do not build: what cargo says.
pub async fn programs(crash_points: bool, progress: Progress) -> Result<Programs> {
    let features: &[&str] = if crash_points { &["crash-points"] } else { &[] };
    build(&Template::read()?.functions()?, features, progress).await
}

/// Builds `functions` for this machine, each with `features`.
///
/// The build selects this crate too, though none of its programs: cargo unifies the features of what is selected, and this
/// crate depends on all functions, so that `cargo run -p local` and this build agree on every dependency and share it.
async fn build(functions: &[String], features: &[&str], progress: Progress) -> Result<Programs> {
    progress.say("Building the functions ...");
    let mut cargo = cargo();
    cargo.args(["build", "--message-format", "json-render-diagnostics", "--package", env!("CARGO_PKG_NAME")]);
    for function in functions {
        cargo.args(["--package", function, "--bin", function]);
        for feature in features {
            cargo.arg("--features").arg(format!("{function}/{feature}"));
        }
    }
    cargo.arg("--target-dir").arg(paths::target());
    let built = process::run(cargo, progress.is_shown()).await?.ok_or_else(no_cargo)?;
    if !built.status.success() {
        return Err(broken(&built));
    }
    let programs: Programs = built.stdout.lines().filter_map(executable).collect();
    check(functions, programs)
}

/// Builds `functions` for another machine of this processor.
pub(crate) async fn build_for(
    architecture: Architecture,
    functions: &[String],
    progress: Progress,
) -> Result<Programs> {
    let tools = venv::ensure(&venv::CARGO_LAMBDA, progress).await?.join("bin");
    progress.say(format!("Building the functions for {} ...", architecture.name()));
    let mut cargo = cargo();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.clone()).chain(std::env::split_paths(&path)))?;
    cargo.env("PATH", path).args(["lambda", "build"]);
    cargo.arg(match architecture {
        Architecture::Arm64 => "--arm64",
        Architecture::X86_64 => "--x86-64",
    });
    let output = paths::scratch().join(architecture.name());
    cargo.arg("--lambda-dir").arg(&output);
    for function in functions {
        cargo.args(["--package", function, "--bin", function]);
    }
    let built = process::run(cargo, progress.is_shown()).await?.ok_or_else(no_cargo)?;
    if !built.status.success() {
        return Err(broken(&built));
    }
    let place = |function: &String| (function.clone(), output.join(function).join("bootstrap"));
    check(functions, functions.iter().map(place).collect())
}

fn check(functions: &[String], programs: Programs) -> Result<Programs> {
    for function in functions {
        programs
            .get(function)
            .filter(|program| program.is_file())
            .with_context(|| format!("cargo built no program for functions/{function}"))?;
    }
    Ok(programs)
}

/// The cargo that runs us, or the one on the path, in the workspace. The variables that cargo set for *us* must not reach it:
/// build scripts ask for some of these variables, and would run again.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::workspace());
    for (name, _) in std::env::vars_os() {
        let told = name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
                || ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"].contains(&name)
        });
        if told {
            command.env_remove(name);
        }
    }
    command
}

/// What cargo said stands above, or is told here if it was not shown.
fn broken(built: &Finished) -> anyhow::Error {
    let said = format!("the functions do not build: correct what cargo says, then run this again\n{}", built.stderr);
    anyhow!("{}", said.trim_end())
}

fn no_cargo() -> anyhow::Error {
    anyhow!("cargo was not found: install Rust from https://rustup.rs, then run this again")
}

/// The program that a line of cargo's output tells of.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: PathBuf,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let message: Message = serde_json::from_str(line).ok()?;
    Some((message.target.name, message.executable))
}
