//! The scenarios, each with its bounds: today's results, with room for what a small change moves by chance. A broken rule
//! moves them further. Where a result is bad, the upper bound is there so that nothing makes it worse, and the lower one so
//! that whoever makes it better sees it and moves the bounds.

pub mod aws_refuses;
pub mod brown_out;
pub mod failures;
pub mod herd;
pub mod hot_endpoint;
pub mod load;
pub mod replays;
pub mod review;
pub mod small_account;

use std::ops::RangeInclusive;

use crate::stats::Stats;

/// Fails unless a result is within its bounds.
pub fn assert_within(what: &str, found: f64, bounds: RangeInclusive<f64>) {
    assert!(bounds.contains(&found), "{what}: {found:.3} is not within {bounds:?}");
}

/// The delay of a kind's deliveries below which this share of them is, in seconds; zero when there were none.
pub fn delay(stats: &Stats, kind: usize, share: f64, (from, until): (f64, f64)) -> f64 {
    stats.delay(kind, share, from, until).unwrap_or_default()
}

/// The median and the 99th percentile of a kind's delays, as a table shows them.
pub fn delays(stats: &Stats, kind: usize, (from, until): (f64, f64)) -> String {
    let [median, p99] = [0.50, 0.99].map(|share| stats.delay(kind, share, from, until).map_or("-".into(), time));
    format!("{median} / {p99}")
}

/// Seconds, as a table shows them.
pub fn time(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1}"),
        _ => format!("{seconds:.0}"),
    }
}

/// A count, as a table shows it: with two digits that tell something.
pub fn count(number: f64) -> String {
    let digits = |number: f64| if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") };
    match number {
        ..100.0 => format!("{number:.0}"),
        ..1e4 => format!("{}", (number / 10.0).round() * 10.0),
        ..1e6 => format!("{} k", digits(number / 1e3)),
        _ => format!("{} M", digits(number / 1e6)),
    }
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A table: its head, and its rows.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let rule = std::array::from_fn(|column| if column == 0 { "---" } else { "--:" }.to_owned());
    let rows: String = rows.into_iter().map(line).collect();
    format!("{}{}{rows}", line(head.map(str::to_owned)), line(rule))
}
