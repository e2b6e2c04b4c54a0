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
    /// Begins the report on these directories, and prints the head of the table.
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
        self.print(&round, &lines, self.ratios().last().copied());
    }

    /// Prints the medians, and the calls that an event makes.
    pub fn end(&self) {
        let of = |place: usize, part: fn(&Cost) -> Duration| {
            let seconds = self.rounds.iter().map(|costs| part(&costs[place]).as_secs_f64());
            Duration::from_secs_f64(median(seconds.collect()))
        };
        let place = |place| (of(place, |cost| cost.ingest), of(place, |cost| cost.dispatch));
        let lines: Vec<_> = (0..self.directories.len()).map(place).collect();
        self.print("median", &lines, Some(median(self.ratios())));
        for (directory, cost) in self.directories.iter().zip(self.rounds.last().into_iter().flatten()) {
            let calls: Vec<_> = cost.calls.iter().map(|(call, count)| format!("{call} {count:.3}")).collect();
            println!("\nAWS calls for each event in {}: {}.", directory.display(), calls.join(", "));
        }
    }

    fn print(&self, round: &str, lines: &[(Duration, Duration)], ratio: Option<f64>) {
        let ms = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1000.0);
        for (place, (directory, (ingest, dispatch))) in self.directories.iter().zip(lines).enumerate() {
            let ratio = ratio.filter(|_| place == 1).map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
            let (ingest_ms, dispatch_ms, both) = (ms(*ingest), ms(*dispatch), ms(*ingest + *dispatch));
            println!("| {round} | {} | {ingest_ms} | {dispatch_ms} | {both} | {ratio} |", directory.display());
        }
    }

    /// The second directory's time divided by the first's, in each round.
    fn ratios(&self) -> Vec<f64> {
        let both = |cost: &Cost| (cost.ingest + cost.dispatch).as_secs_f64();
        let ratio = |costs: &Vec<Cost>| match &costs[..] {
            [first, second] => Some(both(second) / both(first)),
            _ => None,
        };
        self.rounds.iter().filter_map(ratio).collect()
    }
}

/// The value in the middle, or the mean of the two values in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (_, _) if values.is_empty() => f64::NAN,
        (middle, 1) => values[middle],
        (middle, _) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_there() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
