//! The tables of `docs/cost.md`: made from what was counted, and compared with the page.

use pombo_aws::prices::assumed::{
    DISPATCH_SECONDS, ENDPOINTS_PER_PROCESS, FULL_BATCH, FULL_DISPATCH_SECONDS, INGEST_SECONDS, LOG_LINE_BYTES,
    MEMORY_GB, MONTH_HOURS, POLL_SECONDS, POLLERS, STORED_ITEM_BYTES, SWEEP_SECONDS,
};
use pombo_aws::prices::{
    ALARM, ALL, API_DESTINATION, BALANCER_HOUR, BUS_EVENT, CACHE_HOUR, DASHBOARD, DATABASE_HOUR, DATABASE_STORAGE,
    INSTANCE_HOUR, LAMBDA_GB_SECOND, LAMBDA_REQUEST, LOG_INGESTION, METRIC, Price, QUEUE_REQUEST, READ_UNIT, RECOVERY,
    SCHEDULE, STORAGE, TRANSFER_OUT, WRITE_UNIT,
};

use pombo_tests::bodies::{Bodies, USUAL, backwards_of};

use super::bill::{Bill, GIB, Traffic, chunks};
use super::run::{Run, Used, sizes};
use super::units;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md");
const MILLION: f64 = 1e6;
/// Event source mappings of the template, each of which polls a queue.
const QUEUES: f64 = 2.0;
/// The template's `SweepMinutes`.
const SWEEP_MINUTES: f64 = 5.0;
/// Bytes of a request's line and headers, signatures included.
const HEADER_BYTES: f64 = 700.0;
/// Bytes that a server's side of a database keeps free, in GB: its smallest useful disk.
const DISK_GB: f64 = 100.0;
/// How far a number of the page may be from the computed one: log lines and items differ by a few bytes from run to run.
const TOLERANCE: f64 = 0.01;

/// Every table, with the name that the page has it under.
pub fn tables(run: &Run) -> Vec<(&'static str, String)> {
    vec![
        ("events", events(run)),
        ("bill", bill(run)),
        ("failures", failures(run)),
        ("bodies", bodies(run)),
        ("dearer", dearer(run)),
        ("stored", stored(run)),
        ("idle", idle(run)),
        ("servers", servers(run)),
        ("bus", bus(run)),
        ("assumptions", assumptions()),
        ("prices", prices()),
    ]
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<_> = (0..head.len()).map(|column| if column == 0 { "---" } else { "--:" }.to_owned()).collect();
    let rows: String = rows.into_iter().map(|row| line(&row)).collect();
    format!("{}{}{rows}", line(&head), line(&rule))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).into()
}

fn dollars(amount: f64) -> String {
    format!("${amount:.2}")
}

/// With tenths of a cent, so that a line of half a write unit can be checked.
fn exact(amount: f64) -> String {
    format!("${amount:.3}")
}

/// A quantity with as many digits as tell something.
fn quantity(number: f64) -> String {
    match number {
        0.0 => "0".into(),
        1e3.. => format!("{number:.0}"),
        0.01.. => format!("{number:.2}"),
        _ => format!("{number:.6}"),
    }
}

fn million(run: &Run, used: &Used, traffic: Traffic) -> f64 {
    Bill::of(run, used, traffic).dollars() * MILLION
}

fn events(run: &Run) -> String {
    let kinds = [
        ("delivered at the first attempt", &run.success),
        ("delivered at the second attempt", &run.retry),
        ("failed for good, after four attempts", &run.failure),
    ];
    let row = |(kind, used): (&str, &Used)| {
        let [busy, thin] = [Traffic::Busy, Traffic::Thin].map(|traffic| dollars(million(run, used, traffic)));
        row([kind, &busy, &thin])
    };
    table(&["a million events that are", "busy", "thin"], kinds.map(row))
}

fn bill(run: &Run) -> String {
    let [busy, thin] = [Traffic::Busy, Traffic::Thin].map(|traffic| Bill::of(run, &run.success, traffic));
    let lines = busy.0.iter().filter(|line| thin.quantity(line.what) > 0.0);
    let lines = lines.map(|line| {
        let each = line.price.each() * MILLION;
        let thin = thin.quantity(line.what);
        let cells = [quantity(line.quantity), exact(line.quantity * each), quantity(thin), exact(thin * each)];
        let [busy, busy_dollars, thin, thin_dollars] = cells;
        row([line.what, &busy, &busy_dollars, &thin, &thin_dollars])
    });
    let logs = format!("{:.0} bytes", run.success.log_bytes);
    let log = row(["Logs", &logs, &exact(0.0), &logs, &exact(0.0)]);
    let sum = row([
        "**sum**",
        "",
        &format!("**{}**", exact(busy.dollars() * MILLION)),
        "",
        &format!("**{}**", exact(thin.dollars() * MILLION)),
    ]);
    assert!(run.success.log_bytes == 0.0, "then the logs have lines of their own in the bill");
    let head = ["what", "each event, busy", "a million, busy", "each event, thin", "a million, thin"];
    table(&head, lines.chain([log, sum]))
}

fn failures(run: &Run) -> String {
    let bills = [&run.success, &run.retry, &run.failure].map(|used| Bill::of(run, used, Traffic::Busy));
    let lines = bills[2].0.iter().map(|line| {
        let amounts = bills.each_ref().map(|bill| exact(bill.quantity(line.what) * line.price.each() * MILLION));
        let [success, retry, failure] = amounts;
        row([line.what, &success, &retry, &failure])
    });
    let [success, retry, failure] = bills.each_ref().map(|bill| format!("**{}**", exact(bill.dollars() * MILLION)));
    let head = ["a million, busy", "first attempt", "second attempt", "failed for good"];
    table(&head, lines.chain([row(["**sum**", &success, &retry, &failure])]))
}

fn mean(numbers: impl ExactSizeIterator<Item = usize>) -> f64 {
    let count = numbers.len() as f64;
    numbers.sum::<usize>() as f64 / count
}

fn bodies(run: &Run) -> String {
    let packed: Vec<_> = run.bodies.iter().map(|body| body.1).collect();
    let share =
        |wanted: usize| packed.iter().filter(|body| units::units(run.event_overhead + **body) == wanted).count();
    let rows = [
        ("mean size on the wire", format!("{:.0} bytes", mean(run.bodies.iter().map(|body| body.0)))),
        ("mean size as Pombo packs it", format!("{:.0} bytes", mean(packed.iter().copied()))),
        ("the rest of an event's item", format!("{} bytes", run.event_overhead)),
        ("largest packed body that costs one unit", format!("{} bytes", 1024 - run.event_overhead)),
        ("events whose item costs one unit", format!("{} %", share(1))),
        ("events whose item costs two units", format!("{} %", share(2))),
        ("the item of a delivery", format!("{} bytes", run.success.stored.0)),
    ];
    table(&["of the hundred bodies", ""], rows.map(|(what, value)| row([what, &value])))
}

/// A million events with a body of so many bytes, which packs as far as the others do.
fn million_of(run: &Run, bytes: usize, traffic: Traffic) -> f64 {
    let (wire, packed) = (mean(run.bodies.iter().map(|body| body.0)), mean(run.bodies.iter().map(|body| body.1)));
    let packed_bytes = bytes as f64 * packed / wire;
    million(&run.with_bodies(vec![(bytes, packed_bytes as usize)]), &run.success, traffic)
}

fn dearer(run: &Run) -> String {
    let of = |more: &dyn Fn(Traffic) -> f64| [Traffic::Busy, Traffic::Thin].map(|traffic| dollars(more(traffic)));
    let base = |traffic| million(run, &run.success, traffic);
    let send = (QUEUE_REQUEST.each() + pombo_aws::prices::GROUPED_REQUEST.each()) * MILLION;
    let backwards = || Bodies::seeded(USUAL).take(run.bodies.len()).map(|data| sizes(&backwards_of(&data)));
    let rows: [(&str, [String; 2]); 7] = [
        (
            "each further endpoint",
            of(&|traffic| {
                let sent = send * chunks(FULL_BATCH * run.message_bytes) / FULL_BATCH;
                Bill::of_delivery(run, &run.success, traffic).dollars() * MILLION + sent
            }),
        ),
        ("a body of 10 KB", of(&|traffic| million_of(run, 10 * 1024, traffic) - base(traffic))),
        ("a body of 100 KB", of(&|traffic| million_of(run, 100 * 1024, traffic) - base(traffic))),
        (
            "bodies with every word backwards",
            of(&|traffic| million(&run.with_bodies(backwards().collect()), &run.success, traffic) - base(traffic)),
        ),
        // A slot, and the claim of the first attempt.
        ("a rate limit on the endpoint", of(&|_| 2.0 * WRITE_UNIT.each() * MILLION)),
        ("`ClaimFirstAttempts`", of(&|_| WRITE_UNIT.each() * MILLION)),
        (
            "a receiver that takes 5 seconds to answer",
            of(&|traffic| {
                let (batch, seconds) = match traffic {
                    Traffic::Busy => (FULL_BATCH, FULL_DISPATCH_SECONDS),
                    Traffic::Thin => (1.0, DISPATCH_SECONDS),
                };
                (5.0 - seconds) * MEMORY_GB * LAMBDA_GB_SECOND.each() / batch * MILLION
            }),
        ),
    ];
    table(&["more for a million events", "busy", "thin"], rows.map(|(what, [busy, thin])| row([what, &busy, &thin])))
}

/// GB that a million events and their deliveries take in tables alone, and with the indexes.
fn gigabytes(run: &Run) -> (f64, f64) {
    let rows = |bytes: usize, count: usize| bytes as f64 + count as f64 * STORED_ITEM_BYTES;
    let event = rows(run.event_overhead, 1) + mean(run.bodies.iter().map(|body| body.1));
    let (delivery, row_bytes, row_count) = run.success.stored;
    let table = event + rows(delivery, 1);
    let indexes = rows(run.event_rows.0, run.event_rows.1) + rows(row_bytes, row_count);
    (table * MILLION / GIB, (table + indexes) * MILLION / GIB)
}

fn stored(run: &Run) -> String {
    let (table_gb, all_gb) = gigabytes(run);
    let sent = (mean(run.bodies.iter().map(|body| body.0)) + HEADER_BYTES) * MILLION / GIB;
    let rows = [
        ("tables and indexes, for a month", all_gb, STORAGE),
        ("point-in-time recovery of the tables, for a month", table_gb, RECOVERY),
        ("requests to receivers on the Internet", sent, TRANSFER_OUT),
    ];
    let rows = rows.map(|(what, gb, price)| {
        row([what, &format!("{gb:.2} GB"), &format!("${:.2} a GB", price.dollars), &dollars(gb * price.each())])
    });
    table(&["for a million delivered events", "", "", ""], rows)
}

/// Dollars of a month without an event: a line each.
fn idle_lines(run: &Run) -> [(&'static str, f64); 5] {
    let month = MONTH_HOURS * 3600.0;
    let (sweeps, (reads, requests, bytes)) = (month / (SWEEP_MINUTES * 60.0), run.sweep);
    // A sweep's message is sent, received and deleted.
    let sweep = SCHEDULE.each()
        + (3.0 + requests) * QUEUE_REQUEST.each()
        + LAMBDA_REQUEST.each()
        + MEMORY_GB * SWEEP_SECONDS * LAMBDA_GB_SECOND.each()
        + reads * READ_UNIT.each()
        + bytes / GIB * LOG_INGESTION.each();
    [
        ("Lambda polls two empty queues", QUEUES * POLLERS * month / POLL_SECONDS * QUEUE_REQUEST.each()),
        ("a sweep every five minutes", sweeps * sweep),
        ("the metric that sweeps write", METRIC.each()),
        ("alarms, with `AlarmEmail`", run.alarms as f64 * ALARM.each()),
        ("the dashboard, with `CreateDashboard`", DASHBOARD.each()),
    ]
}

/// Dollars of an idle month of a stack without options.
fn idle_month(run: &Run) -> f64 {
    idle_lines(run)[..3].iter().map(|line| line.1).sum()
}

fn idle(run: &Run) -> String {
    let lines = idle_lines(run).map(|(what, amount)| row([what, &dollars(amount)]));
    let (plain, all) = (idle_month(run), idle_lines(run).iter().map(|line| line.1).sum::<f64>());
    let sums = [
        row(["**sum without alarms and dashboard**", &format!("**{}**", dollars(plain))]),
        row(["**sum with both**", &format!("**{}**", dollars(all))]),
    ];
    table(&["a month without events", ""], lines.into_iter().chain(sums))
}

fn servers(run: &Run) -> String {
    let hours = |count: f64, price: Price| count * price.each() * MONTH_HOURS;
    let disk = DISK_GB * DATABASE_STORAGE.each();
    let small = hours(2.0, INSTANCE_HOUR)
        + hours(1.0, DATABASE_HOUR)
        + disk
        + hours(1.0, CACHE_HOUR)
        + hours(1.0, BALANCER_HOUR);
    let doubled = hours(2.0, INSTANCE_HOUR)
        + hours(2.0, DATABASE_HOUR)
        + 2.0 * disk
        + hours(2.0, CACHE_HOUR)
        + hours(1.0, BALANCER_HOUR);
    let (table_gb, all_gb) = gigabytes(run);
    let stored = all_gb * STORAGE.each() + table_gb * RECOVERY.each();
    let cheaper_from = |month: f64, traffic| {
        let events = (month - idle_month(run)) / (million(run, &run.success, traffic) + stored);
        format!("{events:.0} million")
    };
    let rows = [
        ("two t4g.small, one db.t4g.medium with 100 GB, one cache.t4g.small, a load balancer", small),
        ("the same with a second database and a second cache that take over", doubled),
    ];
    let rows = rows.map(|(what, month)| {
        row([what, &format!("${month:.0}"), &cheaper_from(month, Traffic::Busy), &cheaper_from(month, Traffic::Thin)])
    });
    table(&["servers", "a month", "cheaper from, busy", "cheaper from, thin"], rows)
}

fn bus(run: &Run) -> String {
    let bus = (BUS_EVENT.each() + API_DESTINATION.each()) * MILLION;
    let rows = [
        ("EventBridge: publish and one API destination", bus),
        ("Pombo, busy", million(run, &run.success, Traffic::Busy)),
        ("Pombo, thin", million(run, &run.success, Traffic::Thin)),
    ];
    table(&["a million delivered events", ""], rows.map(|(what, amount)| row([what, &dollars(amount)])))
}

fn assumptions() -> String {
    let ms = |seconds: f64| format!("{:.0} ms", seconds * 1e3);
    let rows = [
        ("memory of each function", format!("{:.0} MB", MEMORY_GB * 1024.0)),
        ("ingest, for one post", ms(INGEST_SECONDS)),
        ("dispatch, for one delivery", ms(DISPATCH_SECONDS)),
        ("dispatch, for ten deliveries", ms(FULL_DISPATCH_SECONDS)),
        ("a sweep that finds nothing", ms(SWEEP_SECONDS)),
        ("a poll of an empty queue", format!("{POLL_SECONDS:.0} s")),
        ("polls of one empty queue at the same time", format!("{POLLERS:.0}")),
        ("endpoints that a busy process of dispatch sends to", format!("{ENDPOINTS_PER_PROCESS:.0}")),
        ("line and headers of a request", format!("{HEADER_BYTES:.0} bytes")),
        ("what CloudWatch adds to a log line", format!("{LOG_LINE_BYTES:.0} bytes")),
        ("what DynamoDB adds to a stored item or row", format!("{STORED_ITEM_BYTES:.0} bytes")),
    ];
    table(&["assumed", ""], rows.map(|(what, value)| row([what, &value])))
}

fn prices() -> String {
    let amount = |price: &Price| {
        let cents = price.dollars * 100.0;
        if (cents - cents.round()).abs() < 1e-9 { dollars(price.dollars) } else { format!("${}", price.dollars) }
    };
    let price = |price: &Price| match price.units {
        1e6 => format!("{} a million", amount(price)),
        1e4 => format!("{} for 10,000", amount(price)),
        _ => amount(price),
    };
    let rows = ALL.iter().map(|one| row([one.what, &price(one), one.source, one.date]));
    table(&["what", "price", "source", "its date"], rows)
}

/// Where a table is in the page.
fn place(page: &str, name: &str) -> std::ops::Range<usize> {
    let begin = format!("<!-- computed: {name} -->\n\n");
    let start = page.find(&begin).unwrap_or_else(|| panic!("docs/cost.md has no table {name}")) + begin.len();
    let end = page[start..].find("\n<!-- end -->").unwrap_or_else(|| panic!("the table {name} has no end"));
    start..start + end
}

/// Fails unless the page has these tables. With `POMBO_WRITE_COST` it gets them.
pub fn compare(tables: &[(&str, String)]) {
    let mut page = std::fs::read_to_string(PATH).unwrap();
    assert_eq!(page.matches("<!-- computed: ").count(), tables.len(), "each table of the page is computed");
    let writes = std::env::var_os("POMBO_WRITE_COST").is_some();
    for (name, computed) in tables {
        let place = place(&page, name);
        if writes {
            page.replace_range(place, computed);
        } else {
            let written = &page[place];
            let todo = "write the tables anew with POMBO_WRITE_COST=1";
            assert!(agree(written, computed), "docs/cost.md, {name}: {todo}\nit says\n{written}\ncomputed\n{computed}");
        }
    }
    if writes {
        std::fs::write(PATH, page).unwrap();
    }
}

/// Whether two texts are the same but for numbers that are close to each other.
fn agree(one: &str, other: &str) -> bool {
    let (one, other) = (parts(one), parts(other));
    one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| one == other || are_close(one, other))
}

/// The numbers of a text, and what stands between them.
fn parts(text: &str) -> Vec<&str> {
    let of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = of_number(first);
        let end = rest.find(|c| of_number(c) != is_number).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = &rest[end..];
    }
    parts
}

/// Whether both are numbers, with the same decimals, and differ by no more than their last digit or a hundredth.
fn are_close(one: &str, other: &str) -> bool {
    let (Ok(a), Ok(b)) = (one.parse::<f64>(), other.parse::<f64>()) else { return false };
    let decimals = |text: &str| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let last_digit = 10f64.powi(-(decimals(one) as i32)) * 1.001;
    decimals(one) == decimals(other) && (a - b).abs() <= last_digit.max(TOLERANCE * a.abs())
}

/// That the comparison sees a difference.
#[pombo_tests::scenario]
async fn a_number_of_the_page_may_differ_in_its_last_digit_and_by_a_hundredth_and_words_not_at_all() {
    assert!(agree("| busy | $3.11 |", "| busy | $3.12 |"));
    assert!(agree("| 1,951 bytes |", "| 1,952 bytes |"));
    assert!(!agree("| busy | $3.11 |", "| busy | $3.19 |"));
    assert!(!agree("| busy | $3.11 |", "| thin | $3.11 |"));
    assert!(!agree("| busy | $3.11 |", "| busy | $3.1 |"));
    assert!(!agree("| busy | $3.11 |", "| busy | $3.11 |\n| thin | $4.00 |"));
}
