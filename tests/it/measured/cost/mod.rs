//! What an event costs in dollars, and that `docs/cost.md` says so.
//!
//! Three kinds of events go through the real stack: one that succeeds at once, one that is sent twice, and one that fails for
//! good. Their AWS calls are counted at the proxy, and their log lines in the logs. What the emulator cannot show follows from
//! rules: units from the items' sizes, and the calls that Lambda itself makes to the queue from the size of a batch. What
//! nobody can count here is a constant of [`assumed`](pombo_aws::prices::assumed).
//!
//! `POMBO_WRITE_COST=1 cargo test -p tests --test it -- measured::cost` writes the page's tables anew.

mod bill;
mod page;
mod run;
mod units;

use pombo_aws::prices::assumed::{FULL_BATCH, MEMORY_GB};
use pombo_domain::retry::RetryPolicy;
use pombo_tests::{Template, scenario};

use self::bill::Traffic;
use self::run::Run;

/// The most that a million events may cost that succeed at once, in single posts with full batches, logs included.
const DOLLARS_A_MILLION: f64 = 3.20;

#[scenario(multi_thread)]
async fn a_million_events_cost_at_most_3_dollars_20_and_docs_cost_md_says_what_they_cost() {
    let template = Template::with(&[]).await;
    let default = |name: &str| template.json["Parameters"][name]["Default"].as_f64().unwrap();
    assert!((default("MemorySize") - MEMORY_GB * 1024.0).abs() < 1e-9, "the memory that the times are assumed for");
    let mappings = template.names("AWS::Lambda::EventSourceMapping");
    let batches: Vec<_> = mappings.iter().map(|name| &template.properties(name)["BatchSize"]).collect();
    assert!(batches.contains(&&serde_json::json!(FULL_BATCH as u64)), "{batches:?}");
    assert_eq!(RetryPolicy::Standard.attempts(), run::FAILING_ATTEMPTS, "the page is about the standard retries");

    let run = Run::new(&template).await;
    page::compare(&page::tables(&run));
    let million = bill::Bill::of(&run, &run.success, Traffic::Busy).dollars() * 1e6;
    assert!(million <= DOLLARS_A_MILLION, "${million:.3} a million:\n{}", page::tables(&run)[1].1);
}
