//! Agreement with an earlier review by arithmetic and simulation. With the code and the assumptions that it had, the results
//! are within a quarter of its own, for (b), (d) and (f).

use std::sync::LazyLock;
use std::time::Duration;

use pombo_domain::first_attempt::FirstAttemptWindow;

use super::{brown_out, count, delay, table, time};
use crate::setup::{Code, Costs, Endpoints, Releases, Setup, Shrink, Tables};
use crate::stats::Stats;
use crate::world::run;

/// How far a result may be from the review's.
const AGREES: f64 = 0.25;

/// A result, and the least and the most that the review found for it with several seeds.
struct Compared {
    what: String,
    found: f64,
    reviewed: (f64, f64),
    /// Whether it is a time, in seconds.
    is_time: bool,
    /// Whether the page shows it.
    is_shown: bool,
}

impl Compared {
    fn agrees(&self) -> bool {
        let (least, most) = self.reviewed;
        (least * (1.0 - AGREES)..=most * (1.0 + AGREES)).contains(&self.found)
    }
}

/// A run of a hot endpoint, and the results of the review. Counts are of the whole hour.
struct Hot {
    rate: f64,
    visibility: f64,
    claims: bool,
    fair: bool,
    recorded_a_second: f64,
    requests: f64,
    waiting: f64,
    delays: [f64; 2],
}

const fn hot(rate: f64, recorded_a_second: f64, requests: f64, waiting: f64, delays: [f64; 2]) -> Hot {
    Hot { rate, visibility: 95.0, claims: true, fair: true, recorded_a_second, requests, waiting, delays }
}

const HOT: [Hot; 6] = [
    hot(450.0, 441.0, 1_631_800.0, 0.0, [0.20, 0.29]),
    hot(900.0, 438.0, 2_017_600.0, 1_535_800.0, [0.41, 1.34]),
    hot(5000.0, 340.0, 2_375_400.0, 16_638_000.0, [0.41, 1.30]),
    Hot { claims: false, ..hot(5000.0, 1000.0, 8_269_200.0, 14_365_300.0, [0.39, 1.25]) },
    Hot { visibility: 390.0, ..hot(5000.0, 424.0, 1_904_100.0, 16_247_000.0, [0.33, 1.11]) },
    Hot { fair: false, ..hot(5000.0, 341.0, 2_364_200.0, 16_661_700.0, [1254.44, 2461.38]) },
];

/// Events a second to the other endpoints.
const OTHERS: f64 = 200.0;

fn run_hot(hot: &Hot) -> Stats {
    let code = Code {
        tables: Tables::Keys,
        fair: hot.fair,
        claims_first: hot.claims,
        // The review knew no window.
        window: FirstAttemptWindow::new(Duration::from_secs(1 << 20)),
        ..Code::REVIEWED
    };
    let costs = Costs { before: 0.0, after: 0.010, ..Costs::REVIEWED };
    let others = Endpoints { answer: 0.190, ..Endpoints::healthy(100.0, OTHERS) };
    let setup = Setup::new(Shrink::each(100.0), 3600.0, 900.0, vec![Endpoints::healthy(1.0, hot.rate), others]);
    run(Setup { code, costs, visibility: hot.visibility, ..setup })
}

fn compare_hot(hot: &Hot) -> Vec<Compared> {
    let stats = run_hot(hot);
    let mut case = format!("one endpoint, {:.0} a second", hot.rate);
    case += if hot.claims { "" } else { ", no claims" };
    case += if hot.visibility > 100.0 { ", visibility 390 s" } else { "" };
    case += if hot.fair { "" } else { ", not a fair queue" };
    let compared = |what: &str, found, reviewed, is_time| Compared {
        what: format!("{case}: {what}"),
        found,
        reviewed: (reviewed, reviewed),
        is_time,
        is_shown: hot.visibility < 100.0 && what != "requests" && what != "the others, median",
    };
    let recorded = stats.a_second(|counts| counts.recorded, 3000.0, 3600.0) - stats.a_second_of(1, 3000.0, 3600.0);
    let requests = stats.whole(|counts| counts.requests) - stats.requests_of(1, 0.0, 3600.0);
    let mut all = vec![
        compared("recorded a second", recorded, hot.recorded_a_second, false),
        compared("requests", requests, hot.requests, false),
    ];
    if hot.waiting > 0.0 {
        all.push(compared("waiting after an hour", stats.longest_queue(3590.0, 3600.0), hot.waiting, false));
    }
    for ((share, name), reviewed) in [(0.50, "median"), (0.99, "p99")].into_iter().zip(hot.delays) {
        let found = delay(&stats, 1, share, (0.0, 3600.0));
        all.push(compared(&format!("the others, {name}"), found, reviewed, true));
    }
    all
}

/// Batches at a time, the share that hangs, and the median and the 99th percentile in each of the phases.
type BrownOut = (f64, f64, [[(f64, f64); 2]; 4]);

const BROWN_OUTS: [BrownOut; 3] = [
    (
        900.0,
        0.20,
        [
            [(53.53, 59.33), (78.86, 82.60)],
            [(0.22, 0.22), (23.71, 28.04)],
            [(0.21, 0.21), (0.28, 0.40)],
            [(0.20, 0.20), (0.23, 0.23)],
        ],
    ),
    (
        200.0,
        0.20,
        [
            [(98.88, 111.79), (153.69, 154.10)],
            [(318.88, 328.83), (393.90, 399.16)],
            [(853.13, 859.52), (1045.99, 1057.14)],
            [(259.48, 261.20), (696.25, 708.35)],
        ],
    ),
    (
        200.0,
        0.05,
        [
            [(117.03, 128.10), (132.61, 137.68)],
            [(104.59, 125.91), (143.55, 178.16)],
            [(349.21, 436.89), (414.31, 524.08)],
            [(0.22, 0.22), (91.09, 153.57)],
        ],
    ),
];

fn compare_brown_out((places, share, phases): &BrownOut) -> Vec<Compared> {
    let setup = brown_out::setup(*places, *share, 10_000.0);
    let stats = run(Setup { code: Code::REVIEWED, costs: Costs::REVIEWED, runs: 3, ..setup });
    let mut all = Vec::new();
    for (phase, reviewed) in brown_out::PHASES.into_iter().zip(phases) {
        for ((part, name), reviewed) in [(0.50, "median"), (0.99, "p99")].into_iter().zip(reviewed) {
            let [from, until] = [phase.0, phase.1].map(|time| (time - brown_out::BEGINS) / 60.0);
            let case = format!("{:.0} % hang, {places:.0} batches", share * 100.0);
            all.push(Compared {
                what: format!("{case}, minutes {from:.0} to {until:.0}: {name}"),
                found: delay(&stats, 0, part, phase),
                reviewed: *reviewed,
                is_time: true,
                is_shown: phase.1 <= brown_out::ENDS,
            });
        }
    }
    all
}

/// Batches at a time, the bound of releases a second, the most requests a second to the host, those at 15 minutes, and the
/// median and the 99th percentile of the others in minutes 5 to 20.
const HERDS: [(f64, f64, f64, f64, [f64; 2]); 3] = [
    (900.0, f64::INFINITY, 38_540.0, 38_150.0, [382.73, 581.48]),
    (200.0, f64::INFINITY, 8660.0, 8560.0, [633.88, 1024.14]),
    (900.0, 4000.0, 6310.0, 5970.0, [0.21, 0.26]),
];

fn compare_herd(&(places, bound, most, later, delays): &(f64, f64, f64, f64, [f64; 2])) -> Vec<Compared> {
    let code = Code { releases: Releases::PageByPage(bound), ..Code::REVIEWED };
    let host = Endpoints { held: 43_200, ..Endpoints::healthy(1000.0, 2000.0) };
    let endpoints = vec![host, Endpoints::healthy(1000.0, 2000.0)];
    let setup = Setup::new(Shrink::to_fewer(50.0), 1200.0, places, endpoints);
    let stats = run(Setup { code, costs: Costs::REVIEWED, ..setup });
    let bound = if bound.is_finite() { format!(", {bound:.0} releases a second") } else { String::new() };
    let compared = |what: &str, found, reviewed, is_time| Compared {
        what: format!("a host is back, {places:.0} batches{bound}: {what}"),
        found,
        reviewed: (reviewed, reviewed),
        is_time,
        is_shown: what != "requests at 15 minutes",
    };
    let late = (300.0, 1200.0);
    vec![
        compared("most requests a second to the host", stats.most_requests(0, 0.0, 1200.0), most, false),
        compared("requests at 15 minutes", stats.most_requests(0, 900.0, 910.0), later, false),
        compared("the others, median", delay(&stats, 1, 0.50, late), delays[0], true),
        compared("the others, p99", delay(&stats, 1, 0.99, late), delays[1], true),
    ]
}

static ALL: LazyLock<Vec<Compared>> = LazyLock::new(|| {
    let hot = HOT.iter().flat_map(compare_hot);
    let brown_outs = BROWN_OUTS.iter().flat_map(compare_brown_out);
    hot.chain(brown_outs).chain(HERDS.iter().flat_map(compare_herd)).collect()
});

/// The table.
pub fn page() -> String {
    let rows =
        ALL.iter().filter(|compared| compared.is_shown).map(|Compared { what, found, reviewed, is_time, .. }| {
            let text = |number| if *is_time { format!("{} s", time(number)) } else { count(number) };
            let (least, most) = (text(reviewed.0), text(reviewed.1));
            let reviewed = if least == most { most } else { format!("{least} to {most}") };
            [what.clone(), reviewed, text(*found)]
        });
    table(["", "the review", "this simulation"], rows)
}

#[test]
fn a_hot_endpoint_a_brown_out_and_a_herd_do_as_the_review_says() {
    assert!(ALL.len() > 60);
    for compared @ Compared { what, found, reviewed, .. } in &*ALL {
        assert!(compared.agrees(), "{what}: {found:.2} is far from {reviewed:?}");
    }
}
