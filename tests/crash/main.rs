//! The crash matrix: a function dies at every point between two effects, and what was promised holds.
//!
//! The functions are built with the feature `crash-points`. Before and after each effect they announce where they are, with
//! a backtrace: while a future is polled, every future that waits for it is on the stack, so the lines of our own code name
//! the point. Nobody lists the points: each scenario is run undisturbed, and what is announced is what there is. Then it is
//! run once for each point that no scenario before it reached, and the process dies there. Callers repeat what was not
//! answered, messages come again, the sweep sweeps; in the end the scenario must come out as if nothing had happened, but for
//! the requests that the design's table lets a death repeat. At last the sources are searched for what waits: a line that no
//! scenario has reached is a call that nobody has died at, and fails the suite.
//!
//! Without more, the scenarios of deliveries run: `POMBO_CRASH=all` runs every one, and looks for lines that nobody died at,
//! which takes several times as long. `POMBO_CRASH=jobs::circuit` runs the scenarios whose names contain that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod ground;
mod point;
mod run;
mod scenarios;
mod sources;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Instant;

use futures::FutureExt;
use futures::future::join_all;

use crate::ground::Ground;
use crate::point::{Line, Point};
use crate::run::Run;
use crate::scenarios::{ALL, Scenario};

/// Emulators, and the stacks in each.
const EMULATORS: usize = 2;
const STACKS: usize = 5;
/// What a process remembers may lead a run around the point: then it is run again.
const TRIES: usize = 3;

/// What is to be run: a scenario by its number, where it dies, and how often that was tried.
type Order = (usize, Option<Point>, usize);

/// What came of all runs.
#[derive(Default)]
struct Outcome {
    /// The points that each scenario reached undisturbed, in their order.
    reached: BTreeMap<usize, Vec<Point>>,
    /// Every line that led to a point where a process died.
    died_at: BTreeSet<Line>,
    /// Points that a scenario came to once, and not again: what processes remember leads around them.
    missed: usize,
    failures: Vec<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_may_die_at_any_point() {
    let begun = Instant::now();
    let wanted = std::env::var("POMBO_CRASH").unwrap_or_else(|_| "deliveries::".to_owned());
    let everything = wanted == "all";
    build::assert_only_ours_have_crash_points().await;
    let mut grounds = Vec::new();
    for started in join_all((0..EMULATORS).map(|_| Ground::start(STACKS))).await {
        grounds.extend(started);
    }
    println!("{} stacks after {:?}", grounds.len(), begun.elapsed());
    let outcome = Mutex::new(Outcome::default());
    let scenarios = ALL.iter().enumerate().filter(|(_, scenario)| everything || scenario.name.contains(&wanted));
    run_all(&grounds, scenarios.map(|(number, _)| (number, None, 0)).collect(), &outcome).await;
    let mut names = BTreeSet::new();
    let mut orders = VecDeque::new();
    for (number, points) in &outcome.lock().unwrap().reached {
        // Every scenario begins with endpoints; a registration that is repeated makes two, and one scenario is of that.
        let is_own = |point: &&Point| {
            !point.is_in("create::create") || ["endpoints::created", "news::of_endpoints"].contains(&ALL[*number].name)
        };
        for point in points.iter().filter(is_own).filter(|point| names.insert(point.name.clone())) {
            orders.push_back((*number, Some(point.clone()), 0));
        }
    }
    println!("{} points after {:?}", orders.len(), begun.elapsed());
    run_all(&grounds, orders, &outcome).await;
    println!("{} points in {:?}", names.len(), begun.elapsed());
    let mut outcome = outcome.into_inner().unwrap();
    if everything {
        let unreached = sources::awaits().into_iter().filter(|line| !outcome.died_at.contains(line));
        let told = unreached.map(|line| format!("nobody dies at {}:{}: {}", line.0, line.1, sources::text(&line)));
        outcome.failures.extend(told.collect::<Vec<_>>());
    }
    assert!(outcome.missed * 20 <= names.len(), "{} of {} points were missed", outcome.missed, names.len());
    assert!(outcome.failures.is_empty(), "{} failures:\n{}", outcome.failures.len(), outcome.failures.join("\n\n"));
}

/// Runs each order, as many at a time as there are stacks.
async fn run_all(grounds: &[Ground], orders: VecDeque<Order>, outcome: &Mutex<Outcome>) {
    let orders = &Mutex::new(orders);
    let work = grounds.iter().map(|ground| async move {
        loop {
            let Some((number, death, tried)) = orders.lock().unwrap().pop_front() else { break };
            let scenario = ALL[number];
            let begun = Instant::now();
            let failure = run_one(ground, scenario, death.clone()).await;
            let took = begun.elapsed();
            let missed = ground.is_armed() && failure.is_none();
            let mut outcome = outcome.lock().unwrap();
            match (failure, death) {
                (Some(failure), death) => {
                    let place = death.map_or_else(|| "undisturbed".to_owned(), |point| point.name);
                    println!("FAILED {}, {place}: {failure}", scenario.name);
                    outcome.failures.push(format!("{}, {place}: {failure}", scenario.name));
                }
                (None, None) => drop(outcome.reached.insert(number, ground.reached())),
                (None, Some(point)) if !missed => {
                    println!("{:5.1} s {} {}", took.as_secs_f32(), scenario.name, point.name);
                    outcome.died_at.extend(point.lines);
                }
                (None, Some(point)) if tried + 1 < TRIES => {
                    orders.lock().unwrap().push_back((number, Some(point), tried + 1));
                }
                (None, Some(point)) => {
                    println!("MISSED {}, {}", scenario.name, point.name);
                    outcome.missed += 1;
                }
            }
        }
    });
    join_all(work).await;
}

/// Runs a scenario; gives what was wrong in the end.
async fn run_one(ground: &Ground, scenario: Scenario, death: Option<Point>) -> Option<String> {
    ground.arm(death.as_ref());
    let run = Run::new(ground, death);
    let whole = async {
        (scenario.run)(&run).await;
        run.assert_books().await;
    };
    let ended = AssertUnwindSafe(whole).catch_unwind().await;
    ground.clear().await;
    if ended.is_err() {
        // What is under way may run on into the next.
        tokio::time::sleep(std::time::Duration::from_secs(12)).await;
        ground.clear().await;
    }
    ended.err().map(said)
}

/// What a panic said.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
