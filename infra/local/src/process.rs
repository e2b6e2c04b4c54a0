//! Runs a program to its end, and stops it when nobody waits for it any more.
//!
//! Ctrl-C drops the future that waits; the program, and what it started, must not outlive it. So each runs in a process
//! group of its own, which is told to end when the guard is dropped.

use std::{
    io::ErrorKind,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context, Result};
use tokio::process::Child;

/// What a program wrote, and how it ended.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// Empty if it was shown on the terminal as it came.
    pub(crate) stderr: String,
}

impl Finished {
    /// The last line of the error output that is not blank: where most programs say what went wrong.
    pub(crate) fn last_words(&self) -> &str {
        self.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing")
    }
}

/// Runs `command`; its error output is shown as it comes if `shown`, else kept.
///
/// `None` if there is no such program.
pub(crate) async fn run(command: Command, shown: bool) -> Result<Option<Finished>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::from(command);
    let stderr = if shown { Stdio::inherit() } else { Stdio::piped() };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("could not run {name}")),
    };
    let group = Group::of(&child);
    let output = child.wait_with_output().await.with_context(|| format!("{name} was lost"))?;
    group.has_ended();
    Ok(Some(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }))
}

/// A program and what it started, told to end when this is dropped.
struct Group(Option<u32>);

impl Group {
    fn of(leader: &Child) -> Self {
        Self(leader.id())
    }

    /// There is nothing to tell: its number may be another's by now.
    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Through the shell's `kill`: the standard library has no call for a group.
            let _ =
                Command::new("sh").args(["-c", &format!("kill -s TERM -- -{leader}")]).stderr(Stdio::null()).status();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn both_outputs_and_the_status_come_back() {
        let finished = run(shell("echo out; echo first >&2; echo last >&2; exit 3"), false).await.unwrap().unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(finished.stdout, "out\n");
        assert_eq!(finished.last_words(), "last");
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_no_error() {
        let finished = run(Command::new("pombo-has-no-such-program"), false).await;
        assert!(finished.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_program_nobody_waits_for_is_stopped_with_its_children() {
        let mark = std::env::temp_dir().join(format!("pombo-process-{}", std::process::id()));
        let child = format!("trap 'echo stopped > {}; exit' TERM; sleep 60 & wait", mark.display());
        let waited = run(shell(&format!("sh -c \"{child}\" & wait")), false);
        let given_up = tokio::time::timeout(Duration::from_millis(500), waited).await;
        assert!(given_up.is_err(), "the program ended by itself");
        for _ in 0..100 {
            if std::fs::remove_file(&mark).is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child was not told to stop");
    }
}
