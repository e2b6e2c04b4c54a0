//! docs/first-hour.md needs an account of AWS, so nobody runs it here. But it names outputs, resources, parameters and numbers of
//! the template, and these are looked up.

use std::collections::BTreeSet;
use std::process::Command;

use pombo_tests::{Template, scenario};
use serde_json::Value;

use super::blocks::{self, Block};

const PAGE: &str = include_str!("../../../docs/first-hour.md");
const RECEIVER: &str = include_str!("../../../docs/first-hour-receiver.yaml");
/// The shell's commands that look up an output and a resource of the stack.
const OUTPUT: &str = "output ";
const RESOURCE: &str = "resource ";

fn commands() -> Vec<Block> {
    blocks::commands_of(PAGE)
}

/// The shell's lines, with continued ones joined.
fn lines() -> Vec<String> {
    commands()
        .iter()
        .flat_map(|block| block.text.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The words after each `before` in a line.
fn words_after<'a>(line: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |letter: char| !letter.is_ascii_alphanumeric();
    line.split(before).skip(1).filter_map(move |rest| rest.split(ends).next().filter(|word| !word.is_empty()))
}

#[scenario]
async fn every_name_in_the_first_hour_is_one_of_the_templates() {
    let template = Template::with(&[]).await;
    let has = |section: &str, name: &str| template.json[section][name].is_object();
    let functions = template.names("AWS::Lambda::Function");
    let (mut looked_up, mut set, mut logs) = (BTreeSet::new(), BTreeSet::new(), 0);
    for line in lines() {
        if line.contains("STACK=pombo-receiver") {
            assert!(
                words_after(&line, OUTPUT).all(|name| RECEIVER.contains(&format!("\n  {name}:\n    Value:"))),
                "{line}"
            );
            continue;
        }
        for name in words_after(&line, OUTPUT).filter(|name| *name != "text" && *name != "json") {
            assert!(has("Outputs", name), "the template has no output {name}: {line}");
            looked_up.insert(name.to_owned());
        }
        for name in words_after(&line, RESOURCE) {
            assert!(has("Resources", name), "the template has no resource {name}: {line}");
            looked_up.insert(name.to_owned());
        }
        if let Some((_, overrides)) = line.split_once("--parameter-overrides ") {
            for (name, value) in overrides.split([' ', '\'']).filter_map(|word| word.split_once('=')) {
                assert_may_be(&template.json["Parameters"][name], value, &line);
                set.insert(name.to_owned());
            }
        }
        for name in words_after(&line, "/aws/lambda/$STACK-").chain(words_after(&line, "logged ")) {
            let pattern = format!("/aws/lambda/${{AWS::StackName}}-{name}");
            let is_group = |group: &str| template.properties(group)["LogGroupName"]["Fn::Sub"] == pattern.as_str();
            assert!(template.names("AWS::Logs::LogGroup").into_iter().any(is_group), "no log group {name}: {line}");
            logs += 1;
        }
    }
    assert!(
        looked_up.len() >= 8 && set.len() >= 5 && logs >= 3,
        "{looked_up:?} {set:?} {logs}: this looks in the wrong place"
    );
    let listed = lines().into_iter().find_map(|line| Some(line.strip_prefix("for function in ")?.to_owned())).unwrap();
    let listed: BTreeSet<_> = listed.trim_end_matches("; do").split(' ').collect();
    assert_eq!(listed, functions, "each function is looked at after the first deploy");
}

/// Whether a parameter may have a value, but for its pattern: the page has examples that are no real names.
fn assert_may_be(parameter: &Value, value: &str, line: &str) {
    assert!(parameter.is_object(), "no such parameter: {line}");
    if let Some(allowed) = parameter["AllowedValues"].as_array() {
        assert!(allowed.iter().any(|one| *one == value), "{value} is not allowed: {line}");
    }
    for (bound, is_kept) in [("MinValue", i64::ge as fn(&i64, &i64) -> bool), ("MaxValue", i64::le)] {
        if let Some(bound) = parameter[bound].as_i64() {
            assert!(is_kept(&value.parse().unwrap(), &bound), "{value} is past {bound}: {line}");
        }
    }
}

#[scenario]
async fn the_first_hours_numbers_are_the_templates() {
    let template = Template::with(&[]).await;
    let queue = template.properties("DeliveriesQueue");
    let visibility: u64 = template.text(&queue["VisibilityTimeout"]).parse().unwrap();
    let receives = queue["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap();
    let days = queue["MessageRetentionPeriod"].as_u64().unwrap() / 86_400;
    let minutes = (visibility * receives).div_ceil(60);
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        format!(
            "counts as received once in {visibility} seconds, and after {receives} receives, about {minutes} minutes,"
        ),
        format!("The queue keeps a message for {days} days."),
        format!("a message lives longer than {minutes} minutes"),
    ] {
        assert!(page.contains(&said), "the page does not say: {said}");
    }
}

#[scenario]
fn the_first_hours_commands_are_ones_that_a_shell_reads_and_its_links_lead_somewhere() {
    for block in commands() {
        let checked = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
        assert!(checked.status.success(), "{}\n{}", block.text, String::from_utf8_lossy(&checked.stderr));
        // A person is told the name of what a block needs, or pasted it above.
        assert!(!block.text.contains('<'), "{}", block.text);
    }
    let anchor = |title: &str| {
        let kept = title.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-'].contains(letter));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let anchors = |page: &str| {
        let titles = page.lines().filter_map(|line| line.strip_prefix("## "));
        titles.map(anchor).collect::<BTreeSet<_>>()
    };
    let page = PAGE.replace('\n', " ");
    let mut links = 0;
    for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        match target.split_once('#') {
            Some(("", anchor)) => assert!(anchors(PAGE).contains(anchor), "{target}"),
            Some(("../README.md", anchor)) => assert!(anchors(blocks::README).contains(anchor), "{target}"),
            _ => assert_eq!(target, "first-hour-receiver.yaml"),
        }
        links += 1;
    }
    assert!(links > 10, "{links}: this looks in the wrong place");
    assert!(blocks::README.contains("(docs/first-hour.md#stop-sending-and-start-again)"), "README.md leads here");
}
