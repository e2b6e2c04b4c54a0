//! Receivers in other languages, with the reference libraries of Standard Webhooks and README.md's own lines.
//!
//! A request that came to a [`Receiver`](local::Receiver) is handed, as it came, to a Python program and to a Node.js
//! program; each says which secrets and public keys it verifies under. They are told nothing else about it. The libraries
//! look at the clock, so this must be within five minutes of the request.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::venv::{self, Npm, Requirements};
use local::{Progress, Received};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::scenario::unique;

const LIBRARIES: Requirements = Requirements {
    what: "the receivers' libraries",
    list: include_str!("../receivers/requirements.txt"),
    npm: Some(Npm {
        package: include_str!("../receivers/package.json"),
        lock: include_str!("../receivers/package-lock.json"),
    }),
};
const PYTHON: &str = include_str!("../receivers/verify.py");
const JAVASCRIPT: &str = include_str!("../receivers/verify.mjs");
const README: &str = include_str!("../../README.md");

/// A request as it came, and what it is verified with.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body's bytes.
    pub body: Vec<u8>,
    /// Secrets, `whsec_…`.
    pub secrets: Vec<String>,
    /// Public keys, `whpk_…`.
    pub public_keys: Vec<String>,
}

/// What a program made of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The program's language.
    pub language: &'static str,
    /// Of each secret: `None` if the request verifies under it, else why not.
    pub secrets: Vec<Option<String>>,
    /// The same of each public key.
    pub public_keys: Vec<Option<String>>,
}

impl Signed {
    /// A request that a receiver got.
    #[must_use]
    pub fn received(received: &Received, secrets: &[&str], public_keys: &[&str]) -> Self {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        let headers = received.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        Self::new(headers.collect(), &received.body, secrets, public_keys)
    }

    /// Any request.
    #[must_use]
    pub fn new(headers: Vec<(String, String)>, body: &[u8], secrets: &[&str], public_keys: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self { headers, body: body.to_vec(), secrets: owned(secrets), public_keys: owned(public_keys) }
    }

    /// With a header in the place of one that is there.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let header = self.headers.iter_mut().find(|header| header.0 == name).unwrap();
        header.1 = value.to_owned();
        self
    }

    fn to_json(&self) -> Value {
        let headers: Map<_, _> = self.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "headers": headers,
            "body": STANDARD.encode(&self.body),
            "json": serde_json::from_slice::<&serde_json::value::RawValue>(&self.body).is_ok(),
            "secrets": self.secrets,
            "public_keys": self.public_keys,
        })
    }
}

/// Has every request verified by each program: for each request, a verdict of each.
pub async fn verdicts(requests: &[Signed]) -> Vec<[Verdict; 2]> {
    let environment = venv::ensure(&LIBRARIES, Progress::Quiet).await.unwrap();
    let wanted: Vec<_> = requests.iter().map(Signed::to_json).collect();
    let work = json!({"requests": wanted, "readme": {"v1": snippet("python", ".verify(body")}}).to_string();
    let directory = javascript(&environment);
    let (python, node) = tokio::join!(
        run(environment.join("bin/python"), ["-c", PYTHON].map(Into::into).to_vec(), &work),
        run(environment.join("bin/node"), vec![directory.join("verify.mjs")], &work),
    );
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!((python.len(), node.len()), (requests.len(), requests.len()));
    let pairs = python.iter().zip(&node);
    pairs.map(|(python, node)| [verdict("Python", python), verdict("JavaScript", node)]).collect()
}

/// Asks for what was missed with README.md's own lines; gives what came as `missed`.
pub async fn ask_for_missed(secret: &str, endpoint: &str, replay_url: &str) -> Value {
    const RUN: &str = "import json, sys\nwork = json.load(sys.stdin)\nnames = work['names']\n\
                       exec(compile(work['lines'], 'README.md', 'exec'), names)\njson.dump(names['missed'], sys.stdout)";
    let environment = venv::ensure(&LIBRARIES, Progress::Quiet).await.unwrap();
    let names = json!({"secret": secret, "endpoint": endpoint, "replay_url": replay_url});
    let work = json!({"lines": snippet("python", "pombo.missed.request"), "names": names}).to_string();
    output(environment.join("bin/python"), ["-c", RUN].map(Into::into).to_vec(), &work).await
}

/// Fails unless every request verifies under each of its secrets and public keys, by each program.
pub async fn assert_accepted(requests: &[Signed]) {
    assert!(!requests.is_empty(), "there is no request");
    for (request, verdicts) in requests.iter().zip(verdicts(requests).await) {
        for Verdict { language, secrets, public_keys } in verdicts {
            assert_eq!((secrets.len(), public_keys.len()), (request.secrets.len(), request.public_keys.len()));
            let refused: Vec<_> = secrets.iter().chain(&public_keys).flatten().collect();
            assert!(refused.is_empty(), "{language} refuses {request:?}: {refused:?}");
        }
    }
}

fn verdict(language: &'static str, answer: &Value) -> Verdict {
    let errors = |scheme: &str| {
        let errors = answer[scheme].as_array().unwrap().iter();
        errors.map(|error| error.as_str().map(str::to_owned)).collect()
    };
    Verdict { language, secrets: errors("v1"), public_keys: errors("v1a") }
}

/// The program with README.md's lines as modules, in a directory of its own below the packages that they import.
fn javascript(environment: &Path) -> PathBuf {
    let directory = environment.join(unique("run"));
    std::fs::create_dir(&directory).unwrap();
    let module = |lines: &str, parameters: &str, gives: &str| {
        let (imports, body): (Vec<_>, Vec<_>) = lines.lines().partition(|line| line.starts_with("import "));
        let (imports, body) = (imports.join("\n"), body.join("\n"));
        format!("{imports}\nexport default function ({parameters}) {{\n{body}\nreturn {gives};\n}}\n")
    };
    let v1 = module(&snippet("js", "standardwebhooks"), "secret, body, headers", "event");
    let v1a = module(&snippet("js", "node:crypto"), "publicKey, body, headers", "undefined");
    for (name, text) in [("verify.mjs", JAVASCRIPT), ("v1.mjs", &v1), ("v1a.mjs", &v1a)] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    directory
}

/// The only code of README.md in a language that says `with`.
fn snippet(language: &str, with: &str) -> String {
    let blocks = README.split("```").skip(1).step_by(2);
    let mut found =
        blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).filter(|code| code.contains(with));
    let code = found.next().unwrap_or_else(|| panic!("README.md has no {language} code with {with}"));
    assert!(found.next().is_none(), "README.md has {language} code with {with} twice");
    code.to_owned()
}

async fn run(program: PathBuf, arguments: Vec<PathBuf>, input: &str) -> Vec<Value> {
    output(program, arguments, input).await.as_array().unwrap().clone()
}

async fn output(program: PathBuf, arguments: Vec<PathBuf>, input: &str) -> Value {
    let mut command = Command::new(&program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (written, output) = tokio::join!(
        async {
            stdin.write_all(input.as_bytes()).await?;
            drop(stdin);
            Ok::<_, std::io::Error>(())
        },
        child.wait_with_output()
    );
    let output = output.unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    written.unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
