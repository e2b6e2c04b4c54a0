//! Prints what the events cost.

use std::path::PathBuf;
use std::time::Duration;

use crate::run::Cost;

/// The measurements so far.
pub struct Report {
    directories: Vec<PathBuf>,
    rounds: Vec<Vec<Cost>>,
}

impl Report {
    /// Of these directories. Prints the head of the table.
    pub fn new(directories: &[PathBuf]) -> Self {
        println!("Processor time for each event, in milliseconds:");
        println!("| round | directory | ingest | dispatch | both | ratio |");
        println!("| --: | --- | --: | --: | --: | --: |");
        Self { directories: directories.to_vec(), rounds: Vec::new() }
    }

    /// Prints a round: one measurement of each directory.
    pub fn add(&mut self, costs: Vec<Cost>) {
        let round = (self.rounds.len() + 1).to_string();
        self.rounds.push(costs);
        let costs = self.rounds.last().into_iter().flatten();
        let lines: Vec<_> = costs.map(|cost| (cost.ingest, cost.dispatch)).collect();
        self.print(&round, &lines, &self.ratios().last().copied().into_iter().collect::<Vec<_>>());
    }

    /// Prints the medians, and the calls that an event makes.
    pub fn end(&self) {
        let of = |place: usize, part: fn(&Cost) -> Duration| median(self.rounds.iter().map(|costs| part(&costs[place])));
        let place = |place| (of(place, |cost| cost.ingest), of(place, |cost| cost.dispatch));
        let lines: Vec<_> = (0..self.directories.len()).map(place).collect();
        self.print("median", &lines, &[median(self.ratios().into_iter())]);
        for (directory, cost) in self.directories.iter().zip(self.rounds.last().into_iter().flatten()) {
            let calls: Vec<_> = cost.calls.iter().map(|(call, count)| format!("{call} {count:.3}")).collect();
            println!("\nAWS calls for each event in {}: {}.", directory.display(), calls.join(", "));
        }
    }

    fn print(&self, round: &str, lines: &[(Duration, Duration)], ratio: &[f64]) {
        for (place, (directory, (ingest, dispatch))) in self.directories.iter().zip(lines).enumerate() {
            let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1000.0);
            let ratio = if place == 1 { format!("{:.3}", ratio.first().unwrap_or(&f64::NAN)) } else { String::new() };
            let (ingest_ms, dispatch_ms, both) = (ms(*ingest), ms(*dispatch), ms(*ingest + *dispatch));
            println!("| {round} | {} | {ingest_ms} | {dispatch_ms} | {both} | {ratio} |", directory.display());
        }
    }

    /// The second directory's time over the first's, in each round.
    fn ratios(&self) -> Vec<f64> {
        let both = |cost: &Cost| (cost.ingest + cost.dispatch).as_secs_f64();
        let ratio = |costs: &Vec<Cost>| match &costs[..] {
            [first, second] => Some(both(second) / both(first)),
            _ => None,
        };
        self.rounds.iter().filter_map(ratio).collect()
    }
}

/// The middle one, or the lower of the two in the middle.
fn median<T: PartialOrd + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    let middle = values.len().saturating_sub(1) / 2;
    values.into_iter().nth(middle).unwrap_or_default()
}
