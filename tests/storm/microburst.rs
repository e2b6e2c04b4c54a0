//! The program that gives faults the shapes that they have in AWS.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use local::venv::{self, Requirements};
use local::{Emulator, Progress};
use pombo_tests::{SOON, eventually};
use serde_json::{Value, json};

const MICROBURST: Requirements = Requirements { what: "microburst", list: include_str!("requirements.txt"), npm: None };

/// microburst; it ends with this process, in whatever way that ends.
pub struct Microburst {
    pub url: String,
    shell: Child,
}

impl Microburst {
    /// In front of `upstream`. It draws nothing itself: a call says in its header `x-storm` what it is to meet.
    pub async fn start(upstream: &str) -> Self {
        let program = venv::ensure(&MICROBURST, Progress::Quiet).await.unwrap().join("bin/microburst");
        let port = Emulator::free_port().unwrap();
        let shell = spawn(&program, upstream, port);
        let url = format!("http://127.0.0.1:{port}");
        let (client, health) = (reqwest::Client::new(), format!("{url}/_microburst/health"));
        eventually("microburst", SOON, || async { client.get(&health).send().await.ok() }).await;
        let given = client.post(format!("{url}/_microburst/rules")).body(rules().to_string()).send().await.unwrap();
        assert!(given.status().is_success(), "{}", given.text().await.unwrap());
        Self { url, shell }
    }

    /// How many faults it injected, by service and by its own name of the action.
    pub async fn injected(&self) -> Vec<(String, usize)> {
        let metrics = reqwest::get(format!("{}/_microburst/metrics", self.url)).await.unwrap().text().await.unwrap();
        let counted = metrics.lines().filter_map(|line| line.strip_prefix("microburst_faults_total"));
        counted
            .map(|line| {
                let (labels, count) = line.rsplit_once(' ').unwrap();
                (labels.to_owned(), count.parse().unwrap())
            })
            .collect()
    }
}

impl Drop for Microburst {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// The shell ends the program when its own input ends, which it does with this process.
fn spawn(program: &Path, upstream: &str, port: u16) -> Child {
    const SCRIPT: &str = r#""$@" > /dev/null 2>&1 & program=$!; cat > /dev/null; kill $program"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT, "storm"]).arg(program).args(["--upstream", upstream, "--port", &port.to_string()]);
    shell.stdin(Stdio::piped()).spawn().unwrap()
}

/// What each word in the header means, for microburst. The codes are those that each service documents.
fn rules() -> Value {
    let error = |service: &str, word: &str, code: &str, status: Option<u16>| {
        let mut error = json!({"code": code});
        if let Some(status) = status {
            error["status"] = status.into();
        }
        json!({"service": service, "headers": {"x-storm": word}, "error": error})
    };
    let effect =
        |word: &str, name: &str, value: Value| json!({"service": "*", "headers": {"x-storm": word}, name: value});
    json!([
        error("dynamodb", "throttle", "ProvisionedThroughputExceededException", None),
        error("sqs", "throttle", "RequestThrottled", None),
        error("scheduler", "throttle", "ThrottlingException", None),
        error("dynamodb", "error", "InternalServerError", None),
        error("sqs", "error", "InternalFailure", Some(500)),
        error("scheduler", "error", "InternalServerException", None),
        error("*", "unavailable", "ServiceUnavailable", Some(503)),
        effect("reset", "reset", true.into()),
        // A function gives a call two seconds, and five with its repeats.
        effect("hang", "timeout_ms", 6000.into()),
        effect("slow", "latency", 500.into()),
        effect("late", "latency", 2500.into()),
        effect("lost", "response", json!({"abort_bytes": 0})),
    ])
}
