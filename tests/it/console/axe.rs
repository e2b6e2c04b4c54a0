//! Accessibility, as axe-core judges it.

use local::Progress;
use local::venv::{self, Npm, Requirements};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::console::operator::Operator;

const AXE: Requirements = Requirements {
    what: "axe-core",
    list: include_str!("requirements.txt"),
    npm: Some(Npm { package: include_str!("package.json"), lock: include_str!("package-lock.json") }),
};

/// Fails if axe-core finds a serious or critical problem on what is shown.
pub async fn assert_accessible(operator: &Operator, what: &str) {
    static SOURCE: OnceCell<String> = OnceCell::const_new();
    let source = SOURCE.get_or_init(|| async {
        let directory = venv::ensure(&AXE, Progress::Quiet).await.unwrap();
        std::fs::read_to_string(directory.join("node_modules/axe-core/axe.min.js")).unwrap()
    });
    if operator.tab.eval("typeof axe === 'undefined'").await == true {
        operator.tab.eval(&format!("{}; 0", source.await)).await;
    }
    let run = "axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations.map((one) => \
               [one.impact, one.id, one.nodes.slice(0, 3).map((node) => `${node.target}: ${node.failureSummary}`)]))";
    let found = operator.tab.eval(run).await;
    let grave: Vec<&Value> =
        found.as_array().unwrap().iter().filter(|one| one[0] == "serious" || one[0] == "critical").collect();
    assert!(grave.is_empty(), "{what}: {grave:#?}");
}
