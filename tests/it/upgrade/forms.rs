//! The forms of what is written: names, types, and the values of enumerations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::upgrade::scene;
use crate::upgrade::stand::Stand;
use pombo_tests::scenario;

/// Of these the values are part of the form.
const ENUMERATIONS: [&str; 15] = [
    "by",
    "e",
    "encoding",
    "include",
    "kind",
    "look",
    "reason",
    "retry_policy",
    "route",
    "scopes",
    "signatures",
    "status",
    "then",
    "trigger",
    "url_set_by",
];
/// The names in these maps are data.
const DATA: [&str; 3] = ["headers", "skipped", "u"];

/// The forms of each place: a table, a queue, the schedules.
fn forms(stand: &Stand) -> BTreeMap<String, BTreeSet<String>> {
    let mut forms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, items) in &stand.tables {
        let place = forms.entry(table.clone()).or_default();
        items.iter().for_each(|item| note(place, "", &plain(&serde_json::json!({"M": item}))));
    }
    let queues = [("deliveries", &stand.deliveries), ("jobs", &stand.jobs), ("schedules", &stand.schedules)];
    for (name, messages) in queues {
        let place = forms.entry(name.to_owned()).or_default();
        messages.iter().for_each(|message| note(place, "", message));
    }
    forms
}

/// An attribute without DynamoDB's types; numbers stay numbers, and bytes are told from texts.
fn plain(attribute: &Value) -> Value {
    let (kind, value) = attribute.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), value) {
        ("M", Value::Object(map)) => map.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        ("L", Value::Array(list)) => list.iter().map(plain).collect(),
        ("N", Value::String(number)) => serde_json::from_str(number).unwrap(),
        // Routes are JSON in a text.
        ("S", Value::String(text)) if text.starts_with("[[") => serde_json::from_str(text).unwrap(),
        ("S" | "BOOL", value) => value.clone(),
        ("B", _) => serde_json::json!({"bytes": true}),
        _ => panic!("{attribute} is of a type that older versions do not read"),
    }
}

fn note(forms: &mut BTreeSet<String>, path: &str, value: &Value) {
    let name = path.trim_end_matches("[]").rsplit('.').next().unwrap();
    match value {
        Value::Object(map) if DATA.contains(&name) => {
            map.values().for_each(|value| note(forms, &format!("{path}.*"), value));
        }
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| note(forms, &format!("{path}.{name}"), value));
        }
        Value::Array(list) if list.first().is_some_and(Value::is_array) => {
            let routes = list.iter().flat_map(|route| route.as_array().unwrap().iter().enumerate());
            routes.for_each(|(place, value)| note(forms, &format!("{path}.{place}"), value));
        }
        Value::Array(list) => list.iter().for_each(|value| note(forms, &format!("{path}[]"), value)),
        Value::String(text) if ENUMERATIONS.contains(&name) => _ = forms.insert(format!("{path} = {text}")),
        Value::String(_) => _ = forms.insert(format!("{path}: text")),
        Value::Number(_) => _ = forms.insert(format!("{path}: number")),
        Value::Bool(_) => _ = forms.insert(format!("{path}: bool")),
        Value::Null => _ = forms.insert(format!("{path}: null")),
    }
}

#[scenario(multi_thread)]
async fn the_forms_that_are_written_are_those_of_version_1() {
    let today = scene::play(crate::upgrade::stack("today").await).await;
    if let Ok(path) = std::env::var("POMBO_WRITE_STAND") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/upgrade").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_string_pretty(&today).unwrap() + "\n").unwrap();
        return;
    }
    let (today, v1) = (forms(&today), forms(&Stand::v1()));
    for (place, forms) in &v1 {
        let new: Vec<_> = today[place].difference(forms).collect();
        let gone: Vec<_> = forms.difference(&today[place]).collect();
        let todo = "the forms have changed: keep v1, and add the stand of a new version (see main.rs)";
        assert!(new.is_empty() && gone.is_empty(), "{place}: new {new:?}, no longer written {gone:?}; {todo}");
    }
}
