//! The tables of `docs/scale.md`, compared with the page. A run is the same on each machine, so they have to be equal.
//!
//! `POMBO_WRITE_SCALE=1 cargo test -p pombo-scale` writes the tables again.

use crate::limits::{self, Limit};
use crate::scenarios::{
    aws_refuses, brown_out, failures, herd, hot_endpoint, load, replays, review, small_account, table,
};
use crate::setup::Costs;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scale.md");

/// Every table, with the name that the page has it under.
fn tables() -> [(&'static str, String); 13] {
    [
        ("busy", load::busy()),
        ("fan-out", load::fan_out()),
        ("hot endpoint", hot_endpoint::page()),
        ("brown-out", brown_out::page()),
        ("failures", failures::page()),
        ("aws refuses", aws_refuses::page()),
        ("herd", herd::page()),
        ("breaks again", herd::breaks_again()),
        ("replays", replays::page()),
        ("small account", small_account::page()),
        ("review", review::page()),
        ("limits", limits()),
        ("costs", costs()),
    ]
}

fn limits() -> String {
    let value = |limit: &Limit| {
        let digits = limit.value.to_string();
        if limit.value < 1.0 {
            return digits;
        }
        let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group));
        groups.collect::<Vec<_>>().join(",")
    };
    let rows = limits::ALL.iter().map(|limit| [limit.what.to_owned(), value(limit), limit.source.to_owned()]);
    table(["limit", "value", "page of AWS"], rows)
}

fn costs() -> String {
    let Costs { before, after, hold, drop, batch, ingest, pick_up, leg, short_leg } = Costs::ASSUMED;
    let rows = [
        ("from the receive of a message to its claim, or to its request", before),
        ("from the answer to the write of its outcome", after),
        ("to put a delivery on hold", hold),
        ("to drop a message, or to put it back", drop),
        ("an invocation, in addition to its slowest message", batch),
        ("ingest, for a post", ingest),
        ("from a message of the Jobs queue to its leg", pick_up),
        ("a leg that releases or replays 500 deliveries", leg),
        ("a leg that probes or finds nothing", short_leg),
    ];
    table(["assumed", ""], rows.map(|(what, seconds)| [what.to_owned(), format!("{:.0} ms", seconds * 1e3)]))
}

/// Where a table is in the page.
fn place(page: &str, name: &str) -> std::ops::Range<usize> {
    let begin = format!("<!-- computed: {name} -->\n\n");
    let start = page.find(&begin).unwrap_or_else(|| panic!("docs/scale.md has no table {name}")) + begin.len();
    let end = page[start..].find("\n<!-- end -->").unwrap_or_else(|| panic!("the table {name} has no end"));
    start..start + end
}

#[test]
fn docs_scale_md_shows_what_the_simulation_gives() {
    let writes = std::env::var_os("POMBO_WRITE_SCALE").is_some();
    let mut page = std::fs::read_to_string(PATH).unwrap();
    for (name, computed) in tables() {
        let place = place(&page, name);
        if writes {
            page.replace_range(place, &computed);
            continue;
        }
        let written = &page[place];
        let todo = "write the tables anew with POMBO_WRITE_SCALE=1";
        assert!(written == computed, "docs/scale.md, {name}: {todo}\nit says\n{written}\ncomputed\n{computed}");
    }
    if writes {
        std::fs::write(PATH, page).unwrap();
    }
}
