//! The crash matrix: a function dies at every point between two effects, and what was promised holds.
//!
//! The functions are built with the feature `crash-points`. Before and after each effect they announce where they are, with
//! a backtrace: while a future is polled, every future that waits for it is on the stack, so the lines of our own code name
//! the point. Nobody lists the points: each scenario is run undisturbed, and what is announced is what there is. Then, for each
//! point, one of the scenarios that reach it is run again, and the process dies there. Callers repeat what was not answered,
//! messages come again, the sweep sweeps; in the end the scenario must come out as if nothing had happened, but for the
//! requests that the design's table lets a death repeat. At last the sources are searched for what waits: a line that no
//! process died at is a call that nobody has looked at, and fails the suite.
//!
//! `POMBO_CRASH=jobs::circuit,sweep` runs only the scenarios whose names contain one of these, and `POMBO_CRASH_POINT` only the
//! deaths at the point of this name. `POMBO_CRASH_EACH=1` lets each scenario die at each point that it reaches, not one of
//! them: that takes an hour.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod ground;
mod point;
mod run;
mod scenarios;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use pombo_tests::scenario;
use pombo_tests::sources::{self, Line};

use crate::ground::Ground;
use crate::point::Point;
use crate::run::Run;
use crate::scenarios::{ALL, Scenario};

/// Emulators, and the stacks in each.
const EMULATORS: usize = 2;
const STACKS: usize = 10;
/// A run may be led around its point: then each of the scenarios that reach it is run, and so often more.
const MORE_TRIES: usize = 4;

/// What is to be run: a scenario undisturbed, or one of those that reach a point, with a death there.
enum Order {
    Undisturbed(Scenario),
    Death { point: Point, key: String, tried: usize },
}

/// What is left to be run, and what came of the rest.
#[derive(Default)]
struct Matrix {
    orders: Vec<Order>,
    /// How long each scenario took undisturbed, by its name.
    took: BTreeMap<&'static str, Duration>,
    /// How many undisturbed runs have not told yet which points they reach.
    undisturbed: usize,
    /// Whether each scenario dies at each point that it reaches.
    each: bool,
    /// The only point to die at, by its name, if not at all of them.
    only: Option<String>,
    /// The scenarios that reach each point, by its name; with `each`, by its scenario's too.
    points: BTreeMap<String, Vec<Scenario>>,
    /// Every line that led to a point where a process died.
    died_at: BTreeSet<Line>,
    /// Points that were reached undisturbed, and not again: what processes remember leads around them.
    missed: usize,
    failures: Vec<String>,
}

impl Matrix {
    fn new(scenarios: impl Iterator<Item = Scenario>, each: bool, only: Option<String>) -> Self {
        let orders: Vec<_> = scenarios.map(Order::Undisturbed).collect();
        Self { undisturbed: orders.len(), orders, each, only, ..Self::default() }
    }

    /// Whether a scenario shall die at a point that it reaches.
    fn is_wanted(&self, scenario: Scenario, point: &Point) -> bool {
        may_die_at(scenario, point) && self.only.as_ref().is_none_or(|only| *only == point.name)
    }

    /// Whether nothing is left to be run, and nothing will be added.
    fn is_over(&self) -> bool {
        self.orders.is_empty() && self.undisturbed == 0
    }

    /// Takes the order that will take longest, so that none of those is left to the end: undisturbed runs first.
    fn next(&mut self) -> Option<Order> {
        let time = |order: &Order| self.took.get(self.run_of(order).0.name).copied().unwrap_or(Duration::MAX);
        let longest = (0..self.orders.len()).max_by_key(|place| time(&self.orders[*place]))?;
        Some(self.orders.swap_remove(longest))
    }

    /// The scenario to run for an order, and where it dies. What processes remember, or how long they take, may lead a
    /// scenario around a point: the tries take turns among those that reach it.
    fn run_of(&self, order: &Order) -> (Scenario, Option<Point>) {
        match order {
            Order::Undisturbed(scenario) => (*scenario, None),
            Order::Death { point, key, tried } => {
                let scenarios = &self.points[key];
                (scenarios[tried % scenarios.len()], Some(point.clone()))
            }
        }
    }

    /// A scenario reaches these points.
    fn reached(&mut self, scenario: Scenario, points: Vec<Point>) {
        let wanted: Vec<_> = points.into_iter().filter(|point| self.is_wanted(scenario, point)).collect();
        for point in wanted {
            let key = if self.each { format!("{} {}", scenario.name, point.name) } else { point.name.clone() };
            let scenarios = self.points.entry(key.clone()).or_default();
            let is_new = scenarios.is_empty();
            if !scenarios.iter().any(|other| other.name == scenario.name) {
                scenarios.push(scenario);
            }
            if is_new {
                self.orders.push(Order::Death { point, key, tried: 0 });
            }
        }
    }

    /// Takes in what came of an order: which scenario was run and where, how long that took, and what was wrong.
    fn note(&mut self, order: Order, scenario: Scenario, ground: &Ground, took: Duration, failure: Option<String>) {
        let place = match &order {
            Order::Undisturbed(_) => "undisturbed",
            Order::Death { point, .. } => &point.name,
        };
        let what = format!("{} {place}", scenario.name);
        self.undisturbed -= usize::from(matches!(order, Order::Undisturbed(_)));
        if let Some(failure) = failure {
            let failure = format!("{what}: {failure}\nrun it alone: {}", alone_command(scenario, &order));
            println!("FAILED {failure}");
            self.failures.push(failure);
            return;
        }
        println!("{:5.1} s {what}", took.as_secs_f32());
        match order {
            Order::Undisturbed(_) => {
                self.took.insert(scenario.name, took);
                self.reached(scenario, ground.reached());
            }
            Order::Death { point, .. } if !ground.is_armed() => self.died_at.extend(point.lines),
            Order::Death { point, key, tried } if tried < self.points[&key].len() + MORE_TRIES => {
                self.orders.push(Order::Death { point, key, tried: tried + 1 });
            }
            Order::Death { .. } => {
                println!("MISSED {what}");
                self.missed += 1;
            }
        }
    }
}

/// The command that runs a scenario alone, to die only where the order says.
fn alone_command(scenario: Scenario, order: &Order) -> String {
    let point = match order {
        Order::Undisturbed(_) => "none".to_owned(),
        Order::Death { point, .. } => point.name.clone(),
    };
    format!("POMBO_CRASH='{}' POMBO_CRASH_POINT='{point}' cargo test -p tests --test crash", scenario.name)
}

/// Every scenario begins with endpoints; a registration that is repeated makes two, and few scenarios are of that.
fn may_die_at(scenario: Scenario, point: &Point) -> bool {
    match scenario.name {
        "endpoints::created" | "endpoints::created_beside" => true,
        "news::of_endpoints" if point.is_in("change::announce") => true,
        _ => !point.is_in("create::create"),
    }
}

#[scenario(multi_thread)]
async fn a_function_may_die_at_any_point() {
    let begun = Instant::now();
    let wanted = std::env::var("POMBO_CRASH").unwrap_or_default();
    let each = std::env::var_os("POMBO_CRASH_EACH").is_some();
    let only = std::env::var("POMBO_CRASH_POINT").ok();
    build::assert_only_ours_have_crash_points().await;
    let mut grounds = Vec::new();
    for started in join_all((0..EMULATORS).map(|_| Ground::start(STACKS))).await {
        grounds.extend(started);
    }
    println!("{} stacks after {:?}", grounds.len(), begun.elapsed());
    let matrix = Mutex::new(Matrix::new(
        ALL.iter().filter(|scenario| wanted.split(',').any(|part| scenario.name.contains(part))).copied(),
        each,
        only,
    ));
    assert!(!matrix.lock().unwrap().is_over(), "no scenario has {wanted} in its name");
    join_all(grounds.iter().map(|ground| work(ground, &matrix))).await;
    let mut matrix = matrix.into_inner().unwrap();
    println!("{} points in {:?}", matrix.points.len(), begun.elapsed());
    if wanted.is_empty() && matrix.only.is_none() {
        let unreached = sources::awaits().into_iter().filter(|line| !matrix.died_at.contains(line));
        let told = unreached.map(|line| format!("nobody dies at {}:{}: {}", line.0, line.1, sources::text(&line)));
        matrix.failures.extend(told.collect::<Vec<_>>());
    }
    let (missed, points) = (matrix.missed, matrix.points.len());
    assert!(missed * 20 <= points, "{missed} of {points} points were missed");
    assert!(matrix.failures.is_empty(), "{} failures:\n{}", matrix.failures.len(), matrix.failures.join("\n\n"));
}

/// Runs what is to be run, one after the other, until nothing is left.
async fn work(ground: &Ground, matrix: &Mutex<Matrix>) {
    loop {
        let next = {
            let mut matrix = matrix.lock().unwrap();
            if matrix.is_over() {
                return;
            }
            matrix.next().map(|order| (matrix.run_of(&order), order))
        };
        let Some(((scenario, death), order)) = next else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let begun = Instant::now();
        let failure = run_one(ground, scenario, death).await;
        matrix.lock().unwrap().note(order, scenario, ground, begun.elapsed(), failure);
    }
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
        run.leave().await;
        // What is under way may run on into the next.
        tokio::time::sleep(Duration::from_secs(12)).await;
        ground.clear().await;
    }
    ended.err().map(said)
}

/// What a panic said.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn main() -> std::process::ExitCode {
    pombo_tests::harness::run("crash")
}
