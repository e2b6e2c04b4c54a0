//! The newcomer's two terminals: one in which the stack runs, and one to paste into.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use pombo_tests::unique;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::blocks::Block;

/// The port of the receiver in the examples. It may be taken on this machine, so a free one stands for it.
const RECEIVER_PORT: &str = "3000";

/// How long a stack may take to start. It takes five seconds, but cargo may have to compile first, next to other scenarios.
const STARTED_WITHIN: Duration = Duration::from_secs(300);

/// How long pasting may take. It takes a few seconds on an idle machine.
const PASTED_WITHIN: Duration = Duration::from_secs(120);

/// A terminal in which `cargo run -p local` runs. Dropped, it ends with its stack.
pub struct LocalCommand {
    said: Vec<String>,
    errors: PathBuf,
    _process: Child,
    /// Kept open: the command goes on writing.
    _stdout: BufReader<ChildStdout>,
}

impl LocalCommand {
    /// Runs a command of README.md, on any port that is free, and reads what it prints until `last` is said.
    pub async fn start(block: &Block, last: &str) -> Self {
        let mut words = block.text.split_whitespace();
        assert_eq!(words.next(), Some("cargo"), "{block:?}");
        let mut arguments: Vec<_> = words.collect();
        if let Some(port) = arguments.iter().position(|word| *word == "--port") {
            arguments.drain(port..port + 2);
        }
        if !arguments.contains(&"--") {
            arguments.push("--");
        }
        let mut cargo = local::cargo();
        cargo.env("CARGO_TARGET_DIR", local::target()).args(arguments).args(["--port", "0"]);
        // cargo becomes the command that it runs, so to kill it is to kill that, and the emulator follows.
        let mut command = Command::from(cargo);
        let errors = local::target().join("local").join(unique("readme-errors"));
        fs::create_dir_all(errors.parent().unwrap()).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let said = tokio::time::timeout(STARTED_WITHIN, read_until(&mut stdout, last)).await.ok().flatten();
        let said = said.unwrap_or_else(|| {
            panic!("{} does not say {last} in time: {}", block.text, fs::read_to_string(&errors).unwrap())
        });
        Self { said, errors, _process: process, _stdout: stdout }
    }

    /// The lines with URLs and keys.
    pub fn exports(&self) -> Vec<String> {
        self.said.iter().filter(|line| line.starts_with("export ")).cloned().collect()
    }

    /// The calls that were printed for pasting.
    pub fn printed_calls(&self) -> Vec<Block> {
        let text = self.said.join("\n");
        let calls = text.split("\n\n").filter(|paragraph| paragraph.starts_with("curl "));
        calls.map(|call| Block { text: call.to_owned(), above: String::new() }).collect()
    }
}

impl Drop for LocalCommand {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.errors);
    }
}

/// The lines up to the one that has `last`; `None` if the output ends before it.
async fn read_until(stdout: &mut BufReader<ChildStdout>, last: &str) -> Option<Vec<String>> {
    let mut said = Vec::new();
    let mut lines = stdout.lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let is_last = line.contains(last);
        said.push(line);
        if is_last {
            return Some(said);
        }
    }
    None
}

/// Pastes blocks into a shell that has the `exports`, then waits until each text of `until` was printed so many times. Gives
/// what was printed. Fails at the first command that fails, and at a call that answers with another status.
pub async fn paste(exports: &[String], blocks: &[Block], port: u16, until: &[(&str, usize)]) -> String {
    let directory = local::target().join("local").join(unique("readme"));
    fs::create_dir_all(&directory).unwrap();
    let output = directory.join("output");
    let mut script = format!("{}\n{}\n", exports.join("\n"), include_str!("shell.sh"));
    for block in blocks {
        let text = block.text.replace(RECEIVER_PORT, &port.to_string());
        script.push_str(&format!("before {}\n{text}\nafter {port}\n", block.status()));
    }
    for (text, times) in until {
        script.push_str(&format!("printed {times} '{text}'\n"));
    }
    let file = File::create(&output).unwrap();
    let mut bash = Command::new("bash");
    bash.arg("-c").arg(&script).current_dir(&directory).process_group(0);
    bash.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let status = wait(bash.spawn().unwrap()).await;
    let said = fs::read_to_string(&output).unwrap();
    fs::remove_dir_all(directory).unwrap();
    assert!(status.is_some_and(|it| it.success()), "README.md cannot be followed in time, {status:?}:\n{said}");
    said
}

/// Waits for the shell's end. When it does not end in time it is told to, with all that it started, and there is no status.
async fn wait(mut bash: Child) -> Option<ExitStatus> {
    let group = bash.id().unwrap();
    if let Ok(status) = tokio::time::timeout(PASTED_WITHIN, bash.wait()).await {
        return Some(status.unwrap());
    }
    let told = Command::new("sh").args(["-c", &format!("kill -s TERM -- -{group}")]).status().await;
    assert!(told.unwrap().success(), "the shell cannot be ended");
    bash.wait().await.unwrap();
    None
}
