//! The emulator's process: started on a port, waited for until it answers, and gone when its owner is.
//!
//! It is unauthenticated and runs any code it is given, so it is bound to 127.0.0.1, and `guard.py` refuses what web pages
//! send. Its environment is written here in full and not inherited, because each function's process inherits it in turn: a
//! developer's AWS credentials and proxies have no business there.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

use crate::{paths, progress::Progress, venv};

/// The region that the emulator is in.
pub(crate) const REGION: &str = "us-east-1";

/// The access key, and its secret, that may do everything in the emulator.
pub(crate) const ACCESS_KEY: &str = "test";

/// How long the emulator may take until it answers. It takes two or three seconds on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// How long it may take to write its state when it ends.
const SAVE_SECONDS: u32 = 20;

/// What of our own environment the emulator sees.
const INHERITED: [&str; 10] =
    ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "RUST_LOG", "RUST_BACKTRACE"];

/// How to start an emulator.
#[derive(Clone, Debug, Default)]
pub struct EmulatorOptions {
    /// Names the log file and the kept data, together with the port.
    pub name: String,
    /// The port to listen on; 0 for any that is free.
    pub port: u16,
    /// Where the functions send their AWS calls, if not to the emulator itself: the URL of a proxy that counts, delays or
    /// breaks them. (What the emulator does between its own services never passes it.)
    pub functions_endpoint: Option<String>,
    /// Whether the functions' roles are enforced.
    pub enforce_iam: bool,
    /// Whether data outlives the emulator. Without it each start is fresh. The data belongs to the port, so it needs one.
    pub keep_data: bool,
    /// More variables for the emulator's environment (and so for each function's).
    pub environment: Vec<(String, String)>,
}

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    log: PathBuf,
    keeper: Mutex<Child>,
}

impl Emulator {
    /// Installs the emulator if need be, starts it, and waits until it answers.
    ///
    /// # Errors
    /// One sentence that says what to do: no Python, no network, a port that is taken, an emulator that does not start.
    pub async fn start(options: EmulatorOptions, progress: Progress) -> Result<Self> {
        if options.port != 0 {
            check_port(options.port)?;
        } else if options.keep_data {
            bail!("the data that is kept belongs to a port: choose one with --port");
        }
        let python = venv::ensure(&venv::EMULATOR, progress).await?.join("bin/python");
        if options.port != 0 {
            return Self::start_on(options.port, &python, &options).await;
        }
        // Between asking for a free port and using it another process may take it.
        let mut last = None;
        for _ in 0..3 {
            match Self::start_on(Self::free_port()?, &python, &options).await {
                Ok(emulator) => return Ok(emulator),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow!("the emulator did not start")))
    }

    /// A port of 127.0.0.1 that was free a moment ago. No system takes it for an outgoing connection in the meantime: Linux
    /// begins at 32768, others above that.
    ///
    /// # Errors
    /// If a hundred ports in a row are taken.
    pub fn free_port() -> Result<u16> {
        let random = || RandomState::new().build_hasher().finish();
        let ports = std::iter::repeat_with(|| 20_000 + (random() % 10_000) as u16).take(100);
        let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        free.next().context("no port is free on 127.0.0.1")
    }

    async fn start_on(port: u16, python: &Path, options: &EmulatorOptions) -> Result<Self> {
        let directory = paths::scratch();
        let scratch = new_scratch(&directory)?;
        let keeper = scratch.join("keeper.py");
        let launcher = scratch.join("launcher.py");
        fs::write(&keeper, include_str!("keeper.py"))?;
        fs::write(&launcher, include_str!("launcher.py"))?;
        fs::write(scratch.join("guard.py"), include_str!("guard.py"))?;
        let log = paths::log(&options.name, port);
        let output = File::create(&log).with_context(|| format!("could not write {}", log.display()))?;

        let mut command = Command::new(python);
        command
            .arg(&keeper)
            .arg(if options.keep_data { SAVE_SECONDS } else { 0 }.to_string())
            .arg(&scratch)
            .arg(python)
            .arg(&launcher)
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(environment(port, &scratch, options))
            .current_dir(&scratch)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let keeper = command.spawn().context("the emulator could not be started")?;
        let emulator = Self { port, log, keeper: Mutex::new(keeper) };
        emulator.wait_until_ready().await?;
        Ok(emulator)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let client = reqwest::Client::new();
        let ready = format!("{}/_ministack/ready", self.url());
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT {
            if !self.is_running() {
                bail!("the emulator ended at once; {}", self.last_words());
            }
            if let Ok(answer) = client.get(&ready).timeout(Duration::from_secs(2)).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the emulator did not answer within {} s; {}", START_TIMEOUT.as_secs(), self.last_words())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
        format!("its log, {}, ends with: {last}", self.log.display())
    }

    /// Its URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file it writes its log to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether its process still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.keeper().try_wait(), Ok(None))
    }

    /// Ends it and every function's process, and waits until they are gone.
    pub fn stop(&self) {
        // The keeper stops when its standard input ends.
        let mut keeper = self.keeper();
        drop(keeper.stdin.take());
        let _ = keeper.wait();
    }

    fn keeper(&self) -> MutexGuard<'_, Child> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn environment(port: u16, scratch: &Path, options: &EmulatorOptions) -> Vec<(String, String)> {
    let own = format!("http://127.0.0.1:{port}");
    let data = if options.keep_data { paths::data(&options.name, port) } else { scratch.to_path_buf() };
    let keep = if options.keep_data { "1" } else { "0" };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let own = options.functions_endpoint.clone().unwrap_or(own);
    [
        ("GATEWAY_PORT", port.to_string()),
        ("BIND_HOST", "127.0.0.1".into()),
        ("MINISTACK_REGION", REGION.into()),
        ("AWS_ENDPOINT_URL", own),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
        ("AWS_SECRET_ACCESS_KEY", ACCESS_KEY.into()),
        ("AUTH", options.enforce_iam.to_string()),
        ("PERSIST_STATE", keep.into()),
        ("S3_PERSIST", keep.into()),
        ("STATE_DIR", path(&data.join("state"))),
        ("S3_DATA_DIR", path(&data.join("s3"))),
        ("TMPDIR", path(scratch)),
        // Listeners of services that are not used; their ports would clash between two emulators.
        ("IOT_MTLS_ENABLED", "0".into()),
        ("SFTP_ENABLED", "0".into()),
        ("PYTHONUNBUFFERED", "1".into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .chain(options.environment.clone())
    .collect()
}

/// A directory for this one run; the keeper removes it.
fn new_scratch(parent: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let scratch = parent.join(format!("run-{}-{number}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("could not make {}", scratch.display()))?;
    Ok(scratch)
}

fn check_port(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => bail!("port {port} is taken ({error}): stop what uses it, or choose another with --port"),
    }
}
