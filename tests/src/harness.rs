//! Runs the end-to-end tests, the scenarios, of one test binary.
//!
//! The standard harness cannot skip a test while it runs, order the tests, or say how to run a failed test alone. So a test
//! binary marks its tests with [`scenario`](crate::scenario), which registers them here, and its `main` calls [`run`].
//! The command line is the standard harness's: a filter, `--exact`, `--skip`, `--list`, `--test-threads`.
//!
//! Scenarios mostly wait: for a retry, a time-out, a queue's delay. So many more run at a time than there are processors; what
//! is scarce is the stacks, which [`Stack::own`](crate::Stack::own) hands out. Slow scenarios start first, so that none
//! of them is left for the end, and those that must be alone come last.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use pombo_aws::clock;

pub use inventory;

use crate::{logs, stack};

/// Number of scenarios that run at a time, unless `--test-threads` says otherwise.
const CONCURRENT_SCENARIOS: usize = 12;

/// Set to run the binary's drills, and nothing else.
const DRILLS: &str = "POMBO_DRILLS";

/// Set to list how long each scenario took, the longest first.
const TIMES: &str = "POMBO_TIMES";

/// Set where a skipped scenario is a failure, as in CI, which installs all that is needed.
const NO_SKIPS: &str = "POMBO_NO_SKIPS";

/// Maximum number of lines of the functions' logs that are shown when they break a rule.
const MAX_LOG_LINES: usize = 20;

/// An end-to-end test, as [`scenario`](crate::scenario) registers it.
pub struct Scenario {
    /// The path of its module, from the crate on.
    pub module: &'static str,
    /// The name of its function.
    pub function: &'static str,
    /// Whether its runtime has two threads.
    pub multi_thread: bool,
    /// Whether it is among the first to be started.
    pub slow: bool,
    /// Whether no other scenario runs at the same time.
    pub alone: bool,
    /// Whether it is a drill, and not part of a normal run.
    pub drill: bool,
    /// Whether it needs Chromium.
    pub chromium: bool,
    /// Why it is not run unless asked for.
    pub ignored: Option<&'static str>,
    /// Runs it.
    pub run: fn() -> Pin<Box<dyn Future<Output = ()>>>,
}

inventory::collect!(Scenario);

/// Held by every scenario that runs; exclusively by one that must be alone.
static RUNNING: RwLock<()> = RwLock::new(());

/// Scenarios that could not run on this machine, each with the reason.
static SKIPPED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// How long each scenario took that has ended.
static TOOK: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

/// What this run's chances follow from, once a scenario has asked for it.
static SEED: OnceLock<u64> = OnceLock::new();

thread_local! {
    /// What panicked on this thread, and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The seed of everything that is left to chance: the one in `POMBO_SEED`, or any. A failure names it.
///
/// # Panics
/// When `POMBO_SEED` is not a number.
#[must_use]
pub fn seed() -> u64 {
    *SEED.get_or_init(|| {
        let named = std::env::var("POMBO_SEED");
        named.map_or_else(|_| clock::random_bits().into(), |seed| seed.parse().expect("POMBO_SEED is a number"))
    })
}

/// Runs the scenarios of the test binary `suite` that the command line asks for, and ends with a list of those that were
/// skipped.
#[must_use]
pub fn run(suite: &'static str) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(CONCURRENT_SCENARIOS);
    panic::set_hook(Box::new(keep_panic));

    let drills = std::env::var_os(DRILLS).is_some();
    let mut scenarios: Vec<&Scenario> = inventory::iter::<Scenario>.into_iter().collect();
    scenarios.retain(|scenario| scenario.drill == drills);
    scenarios.sort_by_key(|scenario| (scenario.alone, !scenario.slow, scenario.name()));
    let trials = scenarios.into_iter().map(|scenario| {
        let trial = Trial::ignorable_test(scenario.name(), move || scenario.execute(suite));
        trial.with_ignored_flag(scenario.ignored.is_some())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let log_is_in_order = report_logs();

    if std::env::var_os(TIMES).is_some() {
        report_times();
    }
    let skipped = SKIPPED.lock().unwrap_or_else(PoisonError::into_inner);
    report_skipped(&skipped);
    let forbidden = !skipped.is_empty() && std::env::var_os(NO_SKIPS).is_some();
    if forbidden {
        println!("{NO_SKIPS} is set, so this is a failure.");
    }
    if forbidden || !log_is_in_order { ExitCode::FAILURE } else { conclusion.exit_code() }
}

impl Scenario {
    /// Its name: the path of its function within the test binary.
    #[must_use]
    pub fn name(&self) -> String {
        match self.module.split_once("::") {
            Some((_, module)) => format!("{module}::{}", self.function),
            None => self.function.to_owned(),
        }
    }

    /// Runs it on a thread of its own, so that what the thread holds, such as a stack, ends with it.
    fn execute(&'static self, suite: &str) -> Result<Completion, Failed> {
        if self.chromium && chromium().is_none() {
            let reason = "Chromium is not installed (on Debian and Ubuntu: apt-get install chromium)";
            SKIPPED.lock().unwrap_or_else(PoisonError::into_inner).push((self.name(), reason.to_owned()));
            return Ok(Completion::ignored_with(reason));
        }
        let (_alone, _shared);
        if self.alone {
            _alone = RUNNING.write().unwrap_or_else(PoisonError::into_inner);
        } else {
            _shared = RUNNING.read().unwrap_or_else(PoisonError::into_inner);
        }
        let started = Instant::now();
        let ended = self.run_on_thread();
        TOOK.lock().unwrap_or_else(PoisonError::into_inner).push((started.elapsed(), self.name()));
        ended.map(|()| Completion::Completed).map_err(|message| {
            let seed = SEED.get().map(|seed| ("POMBO_SEED".to_owned(), seed.to_string()));
            let command = alone_command(suite, &self.name(), std::env::vars().chain(seed));
            format!("{message}\n\nrun it alone: {command}").into()
        })
    }

    /// Runs it; gives the message of a panic.
    fn run_on_thread(&'static self) -> Result<(), String> {
        let body = move || {
            let mut runtime = match self.multi_thread {
                true => tokio::runtime::Builder::new_multi_thread(),
                false => tokio::runtime::Builder::new_current_thread(),
            };
            let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
            let ended = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on((self.run)())));
            runtime.block_on(stack::end_own_stacks(ended.is_err()));
            ended.map_err(|panic| PANIC.take().unwrap_or_else(|| said(panic.as_ref())))
        };
        let thread = std::thread::Builder::new().name(self.name());
        let thread = thread.spawn(body).map_err(|error| format!("no thread: {error}"))?;
        thread.join().unwrap_or_else(|panic| Err(said(panic.as_ref())))
    }
}

/// The command that runs a scenario alone, with the variables that shaped this run; of two with one name, the last.
fn alone_command(suite: &str, name: &str, variables: impl Iterator<Item = (String, String)>) -> String {
    let shaped = variables.filter(|(name, _)| name.starts_with("POMBO_") && name != NO_SKIPS);
    let shaped: BTreeMap<_, _> = shaped.collect();
    let shaped: String = shaped.iter().map(|(name, value)| format!("{name}='{value}' ")).collect();
    format!("{shaped}cargo test -p {} --test {suite} -- --exact {name}", env!("CARGO_PKG_NAME"))
}

fn report_times() {
    let mut took = std::mem::take(&mut *TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    took.sort_unstable();
    for (time, name) in took.iter().rev() {
        println!("{:7.1} s  {name}", time.as_secs_f32());
    }
}

/// Says which lines of the functions' logs break a rule; whether there are none.
fn report_logs() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let broken = runtime.block_on(logs::check_rest());
    if broken.is_empty() {
        return true;
    }
    println!("{} lines of the functions' logs break a rule (tests/src/logs/rules.rs):", broken.len());
    for what in broken.iter().take(MAX_LOG_LINES) {
        println!("    {what}");
    }
    false
}

fn report_skipped(skipped: &[(String, String)]) {
    if skipped.is_empty() {
        return;
    }
    println!("{} skipped:", skipped.len());
    for (name, reason) in skipped {
        println!("    {name}: {reason}");
    }
}

/// Keeps the message and the place of a panic for the list of failures. Panics of other threads are printed at once.
fn keep_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = std::backtrace::Backtrace::force_capture();
    let text = format!("{panic}\n{}", own_frames(&backtrace.to_string()));
    let thread = std::thread::current();
    if thread.name().is_some_and(|name| name.contains("::")) {
        PANIC.set(Some(text));
    } else {
        eprintln!("{text}");
    }
}

/// The lines of a backtrace that are about these tests: it is 60 frames of runtimes and channels otherwise. Places in the
/// package are written from its directory, where cargo runs the tests.
fn own_frames(backtrace: &str) -> String {
    let places = backtrace.lines().filter_map(|line| line.trim().strip_prefix("at ./"));
    let own = places.filter(|place| place.contains(".rs:") && !place.starts_with("src/harness.rs"));
    own.map(|place| format!("  at tests/{place}\n")).collect()
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text").to_owned()
}

/// The Chromium that the variable `CHROMIUM` names, or the one on the path.
#[must_use]
pub fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut programs = std::env::split_paths(&path).flat_map(|place| names.map(|name| place.join(name)));
    programs.find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_that_runs_it_alone() {
        let variables = [("PATH", "/bin"), ("POMBO_SEED", "1"), ("POMBO_NO_SKIPS", "1"), ("POMBO_SEED", "203")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter();
        let command = alone_command("storm", "weather::rains", variables);
        assert_eq!(command, "POMBO_SEED='203' cargo test -p tests --test storm -- --exact weather::rains");
    }

    #[test]
    fn of_a_backtrace_the_lines_of_this_project_are_kept() {
        let backtrace = "0: std::panic\n   at /rustc/1/library/std/src/panic.rs:1:1\n1: it::a\n   at ./it/a.rs:3:5";
        assert_eq!(own_frames(backtrace), "  at tests/it/a.rs:3:5\n");
    }
}
