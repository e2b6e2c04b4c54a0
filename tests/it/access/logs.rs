//! Nothing secret is in a log: no key, no signing secret, no custom header, no URL's query, nothing that an app or a receiver
//! sent, wherever the receiver puts it. At the lowest level that can be set in Lambda's console.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pombo_tests::{SOON, Stack, Template, eventually, scenario, unique};
use serde::de::IgnoredAny;

use crate::access::flows::driven;

/// As what a secret may be in a text: itself, what is behind its prefix, and the base64 of either.
fn forms(secret: &str) -> Vec<String> {
    let bare = secret.rsplit('_').next().unwrap();
    let mut forms = Vec::new();
    for text in [secret, bare] {
        forms.push(text.to_owned());
        // Without the last group, which depends on what stands behind.
        for encoded in [STANDARD.encode(text), URL_SAFE_NO_PAD.encode(text)] {
            forms.push(encoded[..encoded.len() / 4 * 4 - 4].to_owned());
        }
    }
    forms
}

/// The lines of the log in which a secret is.
fn leaks(log: &str, secrets: &[String]) -> Vec<String> {
    let forms: Vec<_> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    assert!(forms.iter().all(|form| form.len() >= 12), "too short to be told from other text");
    // All forms in one pass: looking for one after the other takes a minute.
    let search = AhoCorasick::new(&forms).unwrap();
    log.lines().filter(|line| search.is_match(line)).map(str::to_owned).collect()
}

/// Asks for something that is not there, by a path that has this text, which is logged; gives the log with it.
async fn log_with(stack: &Stack, text: &str) -> String {
    let (status, _) = stack.local.replay().get(&format!("/v1/replays/{text}")).await.unwrap();
    assert_eq!(status, 404);
    eventually("the request's line in the log", SOON, || async {
        let log = stack.log().await;
        log.contains(text).then_some(log)
    })
    .await
}

#[scenario(multi_thread)]
async fn nothing_secret_is_logged() {
    let stack = driven().await;
    // What is at the end of the log tells that the log is whole, and that a secret would be found.
    let planted = unique("planted-secret");
    let log = log_with(stack, &planted).await;
    assert!(!leaks(&log, std::slice::from_ref(&planted)).is_empty(), "what was planted is not found");
    for line in
        ["Attempt made.", "Sweep ended.", "Request answered.", "made by direct invocation", "\"level\":\"DEBUG\""]
    {
        assert!(log.contains(line), "no function logged {line:?}");
    }
    let secrets = stack.secrets();
    let kinds = ["query", "header", "data", "answer", "name", "cut"].map(|kind| format!("secret-{kind}"));
    for prefix in kinds.iter().map(String::as_str).chain(["pk_", "whsec_"]) {
        assert!(secrets.iter().any(|secret| secret.starts_with(prefix)), "no secret {prefix}… was made");
    }
    let leaks = leaks(&log, &secrets);
    assert!(leaks.is_empty(), "{} of {} secrets' lines:\n{}", leaks.len(), secrets.len(), leaks.join("\n"));
}

/// Fields that are in no line here: no function panics, and the emulator traces nothing.
const NOT_HERE: [&str; 3] = ["location", "panic", "xrayTraceId"];

#[scenario(multi_thread)]
async fn each_field_that_the_readme_names_is_in_a_line_of_the_functions() {
    const README: &str = include_str!("../../../README.md");
    let (_, table) = README.split_once("\n| field | is |\n| --- | --- |\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let fields = table.lines().flat_map(|row| row.split('|').nth(1).unwrap().split(','));
    let named: BTreeSet<_> = fields.map(|field| field.trim().trim_matches('`')).collect();
    assert!(named.contains("xrayTraceId") && named.contains("delivery"), "{named:?}");
    let log = driven().await.log().await;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<BTreeMap<String, IgnoredAny>>(line).ok());
    let written: BTreeSet<_> = lines.flat_map(BTreeMap::into_keys).collect();
    let missing: Vec<_> = named.iter().filter(|name| !written.contains(**name) && !NOT_HERE.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}: no line has them");
}

#[scenario]
async fn the_template_allows_no_level_at_which_secrets_would_be_logged() {
    let template = Template::with(&[]).await;
    let allowed = template.texts(&template.json["Parameters"]["LogLevel"]["AllowedValues"]);
    // Below it the libraries log requests whole, with their headers and bodies, if it is built.
    assert_eq!(allowed, ["DEBUG", "INFO", "WARN", "ERROR"]);
}
