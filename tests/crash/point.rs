//! Where a function announces that it is: before or after an effect, and by which calls it came there.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pombo_tests::sources::{Line, workspace};

/// A point between two effects where a process can die.
#[derive(Debug, Clone)]
pub struct Point {
    /// Says all: the function, the calls that lead there, the effect, and on which side of it.
    pub name: String,
    /// The effect: `dynamodb:PutItem Deliveries`.
    pub effect: String,
    /// Whether the effect has been carried out.
    pub after: bool,
    /// The calls that lead there, the outermost first: `deliver::claim`.
    pub calls: Vec<String>,
    /// The lines that wait for the effect.
    pub lines: Vec<Line>,
}

impl Point {
    /// Reads an announcement; gives the name of the Lambda function, and the point.
    pub fn read(text: &str) -> (String, Self) {
        let (lambda, rest) = text.split_once('\n').expect("the announcement names no function");
        let (effect, trace) = rest.split_once('\n').expect("the announcement names no effect");
        let (moment, effect) = effect.split_once(' ').expect("the announcement names no effect");
        let mut lines: Vec<_> = trace.lines().filter_map(line).collect();
        lines.dedup();
        lines.reverse();
        let program = lines.first().and_then(|(file, _)| file.split('/').nth(1)).expect("no function announces it");
        let calls: Vec<_> = lines.iter().map(|(file, number)| enclosing(file, *number)).collect();
        let path: Vec<_> = calls.iter().zip(&lines).map(|(call, (_, number))| format!("{call}:{number}")).collect();
        let name = format!("{program}: {}: {moment} {effect}", path.join(" > "));
        (lambda.to_owned(), Self { name, effect: effect.to_owned(), after: moment == "after", calls, lines })
    }

    /// Whether it is reached through this call.
    pub fn is_in(&self, call: &str) -> bool {
        self.calls.iter().any(|other| other == call)
    }

    /// Whether the one of these calls makes the other there.
    pub fn is_where(&self, outer: &str, inner: &str) -> bool {
        self.calls.windows(2).any(|pair| pair[0] == outer && pair[1] == inner)
    }
}

/// The place that a line of a backtrace names, if that is a line of our own which does something: not a start.
fn line(text: &str) -> Option<Line> {
    let place = text.trim().strip_prefix("at ")?;
    let mut parts = place.rsplitn(3, ':').skip(1);
    let number = parts.next()?.parse().ok()?;
    let path = parts.next()?;
    let start = ["functions/", "shared/"].iter().filter_map(|root| path.find(root)).min()?;
    let file = &path[start..];
    let is_ours = file.contains("/src/") && !file.ends_with("/effect.rs") && !file.ends_with("/main.rs");
    is_ours.then(|| (file.to_owned(), number))
}

/// The function around a line, with the name of its file: `deliver::claim`. A backtrace does not tell names of its own,
/// since the functions are built with line tables alone.
fn enclosing(file: &str, number: usize) -> String {
    static SOURCES: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
    let mut sources = SOURCES.lock().unwrap_or_else(PoisonError::into_inner);
    let source = sources.entry(file.to_owned()).or_insert_with(|| {
        let text = std::fs::read_to_string(workspace().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    });
    let name = source[..number.min(source.len())].iter().rev().find_map(|line| {
        let rest = &line[line.find("fn ")? + 3..];
        let is_item = line.trim_start().starts_with(['p', 'a', 'f', 'c']) && !line.trim_start().starts_with("//");
        let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
        (is_item && !name.is_empty()).then_some(name)
    });
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod").trim_end_matches("/src/lib");
    format!("{}::{}", path.rsplit('/').next().unwrap_or_default(), name.unwrap_or_default())
}
