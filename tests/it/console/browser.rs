//! Chromium without a window, driven over its debugging protocol on two pipes: no port, and no driver beside it.
//!
//! The protocol is JSON messages that end with a zero byte: a call has an `id`, which its answer repeats; what has none is
//! an event. A [`Tab`] has a storage of its own, as a private window has. What goes wrong in it is kept: an exception that
//! nobody caught, an error in the console, a refusal by the Content-Security-Policy, a dialog that a script opened.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pombo_tests::harness::chromium;
use pombo_tests::unique;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

/// How long a call may take; the machine may be busy.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// So many run at one time: more than a small machine shows pages with, and the stack beside them, is slower for all.
static SEATS: Semaphore = Semaphore::const_new(2);

/// A running Chromium; dropped, it ends.
pub struct Browser {
    _seat: SemaphorePermit<'static>,
    process: Child,
    profile: PathBuf,
    line: Arc<Line>,
}

/// What calls go out on and answers come in on.
struct Line {
    out: Mutex<ChildStdin>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// What went wrong, by the tab's session.
    complaints: Mutex<Vec<(String, String)>>,
}

/// One page.
pub struct Tab {
    line: Arc<Line>,
    session: String,
}

impl Browser {
    /// Starts Debian's Chromium, or the one that `CHROMIUM` names, when there is a seat for it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let seat = SEATS.acquire().await.unwrap();
        let profile = crate::console::artefacts().join(unique("profile"));
        std::fs::create_dir_all(&profile).unwrap();
        let mut command = Command::new("sh");
        // Its pipes are file descriptors 3 and 4.
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 0</dev/null 1>&2"])
            .arg(chromium().expect("Chromium is not installed"))
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--force-color-profile=srgb",
                "--lang=en-GB",
            ])
            .args(arguments);
        // What it leaves behind goes with the profile.
        command.env("TMPDIR", &profile).arg(format!("--user-data-dir={}", profile.display()));
        // Its sandbox does not start for root, as whom a CI runs.
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.arg("--no-sandbox");
        }
        let log = std::fs::File::create(profile.with_extension("log")).unwrap();
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().expect("Chromium did not start");
        let incoming = BufReader::new(process.stdout.take().unwrap());
        let line = Arc::new(Line {
            out: Mutex::new(process.stdin.take().unwrap()),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            complaints: Mutex::default(),
        });
        let listening = Arc::clone(&line);
        std::thread::spawn(move || {
            for message in incoming.split(0) {
                let Ok(message) = message else { break };
                listening.take(serde_json::from_slice(&message).unwrap());
            }
            // Whoever still waits is told by the end of the channel.
            listening.waiting.lock().unwrap().clear();
        });
        Self { _seat: seat, process, profile, line }
    }

    /// A new page of this many CSS pixels, for somebody who prefers `light` or `dark`.
    pub async fn tab(&self, width: u32, height: u32, scheme: &str) -> Tab {
        let line = &self.line;
        let context = line.call("", "Target.createBrowserContext", json!({})).await;
        let asked = json!({"url": "about:blank", "browserContextId": context["browserContextId"]});
        let target = line.call("", "Target.createTarget", asked).await;
        let asked = json!({"targetId": target["targetId"], "flatten": true});
        let attached = line.call("", "Target.attachToTarget", asked).await;
        let tab = Tab { line: Arc::clone(line), session: attached["sessionId"].as_str().unwrap().to_owned() };
        for domain in ["Page", "Runtime", "Log"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        let phone = width < 500;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone});
        tab.call("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        tab.call("Emulation.setEmulatedMedia", json!({"features": features})).await;
        tab
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // Its helpers end by themselves, and may still write.
        for _ in 0..50 {
            if std::fs::remove_dir_all(&self.profile).is_ok() || !self.profile.exists() {
                let _ = std::fs::remove_file(self.profile.with_extension("log"));
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Line {
    async fn call(&self, session: &str, method: &str, params: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, sender);
        let mut message = json!({"id": id, "method": method, "params": params});
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        {
            let mut out = self.out.lock().unwrap();
            out.write_all(format!("{message}\0").as_bytes()).expect("Chromium has ended");
            out.flush().unwrap();
        }
        let answer = tokio::time::timeout(CALL_TIMEOUT, answer).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method}")).expect("Chromium has ended");
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    fn take(&self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiting) = self.waiting.lock().unwrap().remove(&id) {
                let _ = waiting.send(message);
            }
            return;
        }
        let (session, params) = (message["sessionId"].as_str().unwrap_or_default().to_owned(), &message["params"]);
        let complaint = match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => params["exceptionDetails"].to_string(),
            "Runtime.consoleAPICalled" if params["type"] == "error" => params["args"].to_string(),
            // An answer of 4xx is no fault of the page; what it makes of it, the test sees.
            "Log.entryAdded" if params["entry"]["level"] == "error" && params["entry"]["source"] != "network" => {
                params["entry"].to_string()
            }
            "Page.javascriptDialogOpening" => format!("a dialog: {params}"),
            _ => return,
        };
        self.complaints.lock().unwrap().push((session, complaint));
    }
}

impl Tab {
    /// A call of the protocol.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        self.line.call(&self.session, method, params).await
    }

    /// What an expression of JavaScript gives; a promise is waited for.
    pub async fn eval(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression:.200}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Writes what is seen, from top to bottom, to a PNG file.
    pub async fn screenshot(&self, file: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
        let image = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, shot["data"].as_str().unwrap());
        std::fs::write(file, image.unwrap()).unwrap();
    }

    /// What went wrong in it so far.
    pub fn complaints(&self) -> Vec<String> {
        let all = self.line.complaints.lock().unwrap();
        all.iter().filter(|(session, _)| *session == self.session).map(|(_, complaint)| complaint.clone()).collect()
    }
}
